-- The lease of a critical section: short, so that a dead process does not keep the others waiting, and
-- kept as long as the section goes on, whatever it waits for.

local answers = require "support.answers"
local clocks = require "support.clock"
local errors = require "ringlink.errors"
local offline = require "support.offline"
local ringlink = require "ringlink"

local DEADLINE_MS = 60000
local LEASE_MS = 2 * DEADLINE_MS + 15000

describe("the lease of a section", function()
  local client, clock, ring, account, key

  local function start(options)
    client = offline.client(options)
    clock, ring = client.clock, answers.serve(client)
    key = offline.grant(client, { state = "awaiting", expires_ms = clock.now_ms() + 400 * 1000 })
    account = client:account("ring-1")
  end

  before_each(function() start() end)

  local function left_ms(name)
    local lease = client.store.leases[name .. "/" .. key]
    return lease and lease.until_ms - clock.monotonic_ms()
  end

  --- A call takes almost all the time it has; what is left of the leases when it begins.
  local function slow(list, said)
    return function(n)
      for _, name in ipairs({ "integrate", "refresh" }) do list[#list + 1] = left_ms(name) end
      clock.advance(DEADLINE_MS - 1000)
      return said and said(n)
    end
  end

  it("lasts for a call and what follows it", function()
    local left
    ring.on.complete = function() left = left_ms("integrate") end
    assert(client:complete(account))
    assert.equal(LEASE_MS, left)
  end)

  it("is written once when all goes well", function()
    local count, lease = 0, client.store.lease
    client.store.lease = function(...)
      count = count + 1
      return lease(...)
    end
    assert(client:complete(account))
    assert.equal(1, count)
  end)

  it("is kept through calls that take long, and through a refresh among them", function()
    local left = {}
    ring.on.complete = slow(left, function(n) return n == 1 and answers.refusal(401) or nil end)
    ring.on.refresh = slow(left)
    assert.equal("completed", assert(client:complete(account)).status)
    assert.same({ "complete", "refresh", "complete" }, ring.calls)
    assert.equal(4, #left)
    for _, ms in ipairs(left) do assert.truthy(ms >= 2 * DEADLINE_MS, tostring(ms)) end
  end)

  it("is kept while a refresh within waits for another process", function()
    clock.advance(400 * 1000)
    client.store:lease("refresh/" .. key, "another", LEASE_MS)
    local least, sleep = LEASE_MS, clock.sleep
    clock.sleep = function(seconds)
      sleep(seconds)
      least = math.min(least, left_ms("integrate"))
    end
    assert.equal("completed", assert(client:complete(account)).status)
    assert.truthy(least >= 2 * DEADLINE_MS, tostring(least))
  end)

  it("is kept while it joins a refresh that waits for another process", function()
    start({ clock = clocks.new() })
    clock.advance(400 * 1000)
    client.store:lease("refresh/" .. key, "another", LEASE_MS)
    local least, sleep, refreshed, completed = LEASE_MS, clock.sleep, nil, nil
    clock.sleep = function(seconds)
      sleep(seconds)
      least = math.min(least, left_ms("integrate") or LEASE_MS)
    end
    ringlink.run(function()
      ringlink.spawn(function() refreshed = account:refresh({ force = true }) end)
      answers.wait_until("the refresh", function() return next(client.flights) end)
      completed = assert(client:complete(account)).status
    end)
    assert.same({ true, "completed", 1 }, { refreshed, completed, ring:count("refresh") })
    assert.truthy(least >= 2 * DEADLINE_MS, tostring(least))
  end)

  describe("that another process has by now", function()
    local function expire() clock.advance(400 * 1000) end

    local function take()
      client.store.leases["integrate/" .. key] = { owner = "another", until_ms = clock.monotonic_ms() + 3600 * 1000 }
    end

    --- While the first call of the section, a refresh, is under way; what is written after it is counted.
    local function taken_meanwhile(act)
      local written = 0
      ring.on.refresh = function(n)
        clock.advance(10000)
        return act(n)
      end
      client:on("token_rotated", function() written = written - 1 end)
      local put_if = client.store.put_if
      client.store.put_if = function(...)
        if ring:count("refresh") > 0 then written = written + 1 end
        return put_if(...)
      end
      return function() return written end
    end

    local function refused(done, err)
      assert.is_nil(done)
      assert.same({ "in_progress", true }, { err.code, err.retryable })
      assert.is_nil(next(client.flights))
    end

    for call, case in pairs({
      confirm = { "matched", function()
        return client:link({ nonce = ring.nonce, time = ring.time, user = "user-1" })
      end },
      complete = { "awaiting", function() return client:complete(account) end },
      pause = { "completed", function() return client:update(account, { status = "awaiting" }) end },
    }) do
      it("ends it before the call " .. call .. ", and nothing more is written", function()
        client = offline.client()
        clock, ring = client.clock, answers.serve(client)
        local redirect = offline.redirect(client, "ring-1")
        ring.nonce, ring.time = redirect.nonce, redirect.time
        key = offline.grant(client, { state = case[1], expires_ms = clock.now_ms() + 400 * 1000 })
        account = client:account("ring-1")
        expire()
        local written = taken_meanwhile(take)
        refused(case[2]())
        assert.same({ "refresh" }, ring.calls)
        assert.equal(0, written())                         -- but for the pair
        assert.equal("another", client.store.leases["integrate/" .. key].owner)
        client.store.leases["integrate/" .. key] = nil
        ring.on.refresh = nil
        assert(case[2]())
        assert.equal(1, ring:count(call))
      end)
    end

    it("ends it although that one has given it back", function()
      expire()
      taken_meanwhile(function(n)
        if n == 1 then take() else client.store.leases["integrate/" .. key] = nil end
        return n == 1 and { status = 503, json = {} } or nil
      end)
      refused(client:complete(account))
      assert.same({ "refresh", "refresh" }, ring.calls)
    end)

    it("or may have had, for it ran out, ends it", function()
      expire()
      taken_meanwhile(function() clock.advance(LEASE_MS) end)
      refused(client:complete(account))
      assert.same({ "refresh" }, ring.calls)
    end)

    it("ends it between two attempts, and what may have worked is said", function()
      ring.on.complete = function()
        clock.advance(10000)
        take()
        return { error = "timeout", sent = true }
      end
      local done, err = client:complete(account)
      refused(done, err)
      assert.same({ true, "complete" }, { err.ambiguous, err.stage })
      assert.same({ "complete" }, ring.calls)
    end)
  end)

  it("that the store does not prolong ends nothing", function()
    key = offline.grant(client, { account = "ring-2", state = "confirming" })
    clock.advance(11 * 60000)
    ring.on.update = function()                        -- the first call that settles a lost POST
      clock.advance(10000)
      client.store.lease = function() errors.new("store_error"):raise() end
    end
    ring.on.devices = function() client.store.lease = nil end       -- the second
    assert.equal(1, assert(client:work()).resumed)
    assert.same({ "update", "devices" }, ring.calls)
    assert.equal("awaiting", client:account("ring-2"):state())
  end)
end)
