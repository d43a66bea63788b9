-- Between processes: one that was stopped while it had the lease, and finds another one at it when it
-- goes on; and whoever refreshes early, and does not wait for another process. Within one: whoever
-- comes to wait for what `work` has begun.

local answers = require "support.answers"
local clocks = require "support.clock"
local flight = require "ringlink.flight"
local offline = require "support.offline"
local processes = require "support.processes"
local ringlink = require "ringlink"

local HOUR_MS = 3600 * 1000
local EARLY_MS = 200 * 1000            -- before the end of a token: within its early window

processes.over_each_store(function(kind, start)
  describe("a process that was stopped in a refresh, in " .. kind, function()
    local one, two, ring, clock, key, told

    before_each(function()
      one, two, ring, clock = start()
      key, told = offline.grant(one, {}), {}
      for who, client in pairs({ one = one, two = two }) do
        for _, name in ipairs({ "relink_required", "refresh_failed" }) do
          client:on(name, function(_, err) told[#told + 1] = table.concat({ who, name, err.code }, " ") end)
        end
      end
    end)
    after_each(processes.stop)

    local function row() return (one.store:get(key)) end

    local function force(client) return client:account("ring-1"):refresh({ force = true }) end

    local function code_of(_, err) return err and err.code end

    --- Once, when a call `fits`, an hour passes and then `act` happens before it.
    local function stopped_before(object, method, fits, act)
      local original = object[method]
      object[method] = function(...)
        if fits(...) then
          object[method] = original
          clock.advance(HOUR_MS)
          act()
        end
        return original(...)
      end
    end

    local function lost(n) return n <= 2 and { error = "timeout", sent = true } or answers.invalid_grant() end

    it("before it says what it will send: the token that another one has sent is not sent again", function()
      ring.on.refresh = lost
      local function to_send(_, _, field) return field == "refresh" end
      stopped_before(two.vault, "open", to_send, function()
        assert.equal("refresh_failed", code_of(force(one)))
      end)
      assert.equal("in_progress", code_of(force(two)))
      assert.equal(2, ring:count("refresh"))
      assert.same({ "one refresh_failed refresh_failed" }, told)
      assert.same({ "completed", one:owner() }, { row().state, row().intent_owner })
    end)

    it("before it sends: it does not while another one has the lease", function()
      stopped_before(flight, "prolong", function() return true end, function()
        assert.is_true(one.store:lease("refresh/" .. key, one:owner(), HOUR_MS))
      end)
      assert.equal("in_progress", code_of(force(two)))
      assert.equal(0, ring:count("refresh"))
      assert.same({}, told)
    end)

    it("before it hears that it failed: what another one brought is no failure", function()
      ring.on.refresh = function(n)
        if n > 1 then return nil end
        clock.advance(HOUR_MS)
        assert.is_true(force(one))
        return { status = 404, json = {} }
      end
      assert.equal("refresh_failed", code_of(force(two)))
      assert.same({}, told)
      assert.is_nil(row().refresh_failures)
    end)

    it("before it hears that it failed: what another one is about to do stays known", function()
      ring.on.refresh = function(n)
        if n == 1 then
          clock.advance(HOUR_MS)
          assert.equal("refresh_failed", code_of(force(one)))
        end
        return n == 1 and { status = 404, json = {} } or { error = "timeout", sent = true }
      end
      assert.equal("refresh_failed", code_of(force(two)))
      assert.same({ row().fingerprint, one:owner() }, { row().intent, row().intent_owner })
    end)
  end)

  describe("another process that has the lease, in " .. kind, function()
    local one, two, ring, clock, key

    before_each(function()
      one, two, ring, clock = start()
      key = offline.grant(one, {})
    end)
    after_each(processes.stop)

    local function at_it(left_ms)
      clock.advance(offline.token_lifetime_ms - left_ms)
      assert.is_true(one.store:lease("refresh/" .. key, one:owner(), 135000))
    end

    local function use(client)
      local began_ms = clock.now_ms()
      return assert(client:account("ring-1"):access_token()):reveal(), clock.now_ms() - began_ms
    end

    it("keeps nobody waiting whose token is good", function()
      at_it(EARLY_MS)
      local token, waited_ms = use(two)
      assert.truthy(token:find("^planted%-access"))
      assert.truthy(waited_ms < 1000, tostring(waited_ms))
      assert.equal(0, ring:count("refresh"))
    end)

    it("keeps `work` waiting no more, and is no failure", function()
      use(two)
      at_it(EARLY_MS)
      local began_ms = clock.now_ms()
      local report = assert(two:work())
      assert.same({ 0, 0 }, { report.refreshed, report.refresh_failed })
      assert.truthy(clock.now_ms() - began_ms < 1000)
      assert.is_true(report.next_due_s > 0)
    end)

    -- The lease is not asked for before the one who must has come.
    local function let_join()
      local lease = two.store.lease
      two.store.lease = function(...)
        answers.wait_until("the other one", function() return two.flights["refresh/" .. key].patient end)
        return lease(...)
      end
    end

    it("keeps whoever must have another token waiting, also behind one who need not", function()
      at_it(EARLY_MS)
      let_join()
      local token, forced
      ringlink.run(function()
        ringlink.spawn(function() token = use(two) end)
        ringlink.spawn(function() forced = two:account("ring-1"):refresh({ force = true }) end)
      end)
      assert.same({ "served-access-1", true }, { token, forced })
      assert.equal(1, ring:count("refresh"))
    end)

    it("keeps whoever has no token waiting", function()
      at_it(0)
      local token, waited_ms = use(two)
      assert.equal("served-access-1", token)
      assert.truthy(waited_ms >= 135000, tostring(waited_ms))
    end)
  end)
end)

describe("who waits for what `work` has begun", function()
  local client, ring, key

  before_each(function()
    client = offline.client({ clock = clocks.new() })
    ring = answers.serve(client)
    key = offline.grant(client, {})
    client.clock.advance(86400 * 1000)
  end)

  --- Whether a call gives way to others before and after `act` in another task.
  local function gives_way(act, call)
    local before, after, begun, acted
    ring.on[call or "refresh"] = function()
      before = flight.is_background(client)
      answers.wait_until("the other one", function() return acted end)
      after = flight.is_background(client)
    end
    ringlink.run(function()
      ringlink.spawn(function() assert(client:work()) end)
      answers.wait_until("the refresh", function() return before ~= nil end)
      local task = ringlink.spawn(function()
        begun = true
        act()
      end)
      answers.wait_until("whoever joins", function()
        if call then return begun end
        return task.done or #client.flights["refresh/" .. key].task.waiters == 2
      end)
      acted = true
    end)
    return before, after
  end

  it("no longer gives way to others", function()
    local before, after = gives_way(function() assert(client:account("ring-1"):access_token()) end)
    assert.same({ true, false }, { before, after })
    assert.equal(1, ring:count("refresh"))
  end)

  local function complete() assert(client:complete(client:account("ring-2"))) end

  local function leave_link()
    offline.grant(client, { account = "ring-2", state = "awaiting", conducted = true })
    client.clock.advance(60000)
  end

  it("no longer gives way, when it is a link", function()
    leave_link()
    assert.same({ true, false }, { gives_way(complete, "complete") })
    assert.equal(1, ring:count("complete"))
  end)

  it("still does, when it is a link and `work` again", function()
    leave_link()
    assert.same({ true, true },
      { gives_way(function() flight.in_background(client, nil, complete) end, "complete") })
    assert.equal(1, ring:count("complete"))
  end)

  it("still does, when it is `work` again", function()
    local before, after = gives_way(function()
      flight.in_background(client, nil, function() assert(client:account("ring-1"):access_token()) end)
    end)
    assert.same({ true, true }, { before, after })
  end)
end)
