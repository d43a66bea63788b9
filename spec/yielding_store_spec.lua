-- Tasks of one process at one SQLite file. Every call of the store lets the others go on, so that what
-- is begun at once meets in between: of what all want one does it, and all have its result.

local answers = require "support.answers"
local deliveries = require "support.deliveries"
local disks = require "support.disk"
local errors = require "ringlink.errors"
local grants = require "ringlink.grants"
local offline = require "support.offline"
local ringlink = require "ringlink"
local shell = require "support.shell"

local MANY = 20
local DAY_MS = 24 * 3600 * 1000
local EXPIRED = offline.now_ms + 1
local TURN_S, TURNS = 0.001, 8         -- enough for any call of the store

--- A clock that stands still until a sleep moves it, which lets other tasks run.
local function yielding_clock()
  local clock = offline.clock()
  local sleep = clock.sleep
  function clock.sleep(seconds)
    sleep(seconds)
    ringlink.sleep(TURN_S)
  end
  return clock
end

describe("tasks at one SQLite file", function()
  local folder, client, clock, ring

  local function open()
    client = offline.client({ store = ("sqlite:%s/ringlink.db"):format(folder), store_key = disks.key(1),
      clock = clock })
    ring = answers.serve(client, ring)
  end

  before_each(function()
    folder, clock, ring = shell.make_directory(), yielding_clock(), nil
    open()
  end)

  after_each(function()
    client:close()
    shell.remove_directory(folder)
  end)

  local function let_others_run()
    for _ = 1, TURNS do ringlink.sleep(TURN_S) end
  end

  --- What a function gives in each of so many tasks: begun at once, or one store call after the other.
  local function each_of(count, staggered, fn)
    local results = {}
    ringlink.run(function()
      for i = 1, count do
        ringlink.spawn(function()
          for _ = 1, staggered and i or 0 do client.store:get("none") end
          results[i] = { fn(i) }
        end)
      end
    end)
    return results
  end

  local function value(result)
    assert.is_truthy(result[1], tostring(result[2]))
    return result[1]
  end

  --- How often each value or error code came.
  local function tally(results)
    local count = {}
    for _, result in ipairs(results) do
      local said = tostring(result[1] or result[2].code)
      count[said] = (count[said] or 0) + 1
    end
    return count
  end

  local function count_told(name)
    local told = { n = 0 }
    client:on(name, function() told.n = told.n + 1 end)
    return told
  end

  --- Before each row that is written `before` is called; at first it fails, until the store is mended.
  local function break_store()
    local state = { pairs = 0, before = function() errors.new("store_error", { detail = "gone" }):raise() end }
    function state.mend() state.before = function() end end
    local put_if = client.store.put_if
    client.store.put_if = function(store, key, row, version)
      state.pairs = state.pairs + 1
      state.before(row)
      return put_if(store, key, row, version)
    end
    return state
  end

  for _, staggered in ipairs({ false, true }) do
    describe(staggered and "one after the other" or "at once", function()
      it("find out together whose a new file is", function()
        local tags = each_of(MANY, staggered, function() return grants.user_tag(client, "user-1") end)
        assert.same({ [tags[1][1]] = MANY }, tally(tags))
        client:close()
        open()
        assert.equal(tags[1][1], grants.user_tag(client, "user-1"))
      end)

      it("exchange one code by one call", function()
        local results = each_of(MANY, staggered, function() return client:exchange("a-code") end)
        for _, result in ipairs(results) do assert.equal("ring-1", value(result).id) end
        assert.same({ "token", "me" }, ring.calls)
        assert.equal(1, #client.store:find({ account = "ring-1" }))
      end)

      it("link one user once", function()
        offline.grant(client, { state = "unclaimed" })
        local q = offline.redirect(client, "ring-1")
        q.user = "user-1"
        local results = each_of(MANY, staggered, function() return client:link(q) end)
        for _, result in ipairs(results) do assert.equal("completed", value(result).status) end
        assert.same({ "confirm", "complete" }, ring.calls)
      end)

      it("link one of several users with one nonce", function()
        offline.grant(client, { state = "unclaimed" })
        local q = offline.redirect(client, "ring-1")
        local results = each_of(MANY, staggered, function(i)
          local link, err = client:link({ nonce = q.nonce, time = q.time, user = "user-" .. i })
          return link and link.status, err
        end)
        assert.same({ completed = 1, already_linked = MANY - 1 }, tally(results))
        assert.same({ "confirm", "complete" }, ring.calls)
      end)

      it("give two fresh nonces of one user their turns", function()
        for _, state in ipairs({ "unclaimed", "completed" }) do
          local account = "ring-of-" .. state
          offline.grant(client, { state = state, account = account })
          clock.advance(1000)
          ring.calls = {}
          local nonces = { offline.redirect(client, account), offline.redirect(client, account, clock.now_ms() - 1) }
          local results = each_of(2, staggered, function(i)
            return client:link({ nonce = nonces[i].nonce, time = nonces[i].time, user = "user-1" })
          end)
          for _, result in ipairs(results) do assert.equal("completed", value(result).status) end
          assert.equal(2, ring:count("confirm"))
        end
      end)

      it("refresh an expired token once, and all have the new one", function()
        offline.grant(client, { expires_ms = EXPIRED })
        clock.advance(1)
        local rotated = count_told("token_rotated")
        local account = client:account("ring-1")
        local results = each_of(MANY, staggered, function() return account:access_token() end)
        for _, result in ipairs(results) do assert.equal("served-access-1", value(result):reveal()) end
        assert.same({ "refresh" }, ring.calls)
        assert.equal(1, rotated.n)
      end)

      it("act on a webhook once", function()
        offline.grant(client, {})
        local heard, event = count_told("webhook"), deliveries.event(client, "motion_detected")
        local count = tally(each_of(MANY, staggered, function() return deliveries.send(client, event) end))
        assert.equal(1, heard.n)
        assert.equal(1, count.processed)
        assert.equal(MANY - 1, (count.in_progress or 0) + (count.duplicate or 0))
      end)

      it("act on several that say the same, once", function()
        offline.grant(client, {})
        local heard = count_told("unlinked")
        local count = tally(each_of(MANY, staggered, function()
          return deliveries.send(client, deliveries.event(client, "app_integration_removed"))
        end))
        assert.same({ processed = MANY }, count)
        assert.equal(1, heard.n)
      end)

      it("do once what is due", function()
        for i = 1, 5 do offline.grant(client, { account = "ring-" .. i }) end
        clock.advance(DAY_MS)
        ring.on.refresh = function() ringlink.sleep(TURN_S) end
        local results = each_of(5, staggered, function() return client:work() end)
        for _, result in ipairs(results) do assert.equal(0, value(result).refresh_failed) end
        assert.equal(5, ring:count("refresh"))
      end)

      it("forget an account once", function()
        offline.grant(client, {})
        local audits = count_told("audit")
        local count = tally(each_of(MANY, staggered, function() return client:account("ring-1"):forget() end))
        assert.is_truthy(count["true"])
        assert.equal(MANY, count["true"] + (count.not_found or 0))
        assert.equal(1, audits.n)
        assert.equal(0, #client.store:find({ account = "ring-1" }))
      end)

      it("change one account in turn", function()
        offline.grant(client, {})
        local results = each_of(MANY, staggered, function(i)
          return client:update(client:account("ring-1"), { account_identifier = ("u%d@partner.example.com"):format(i) })
        end)
        for _, result in ipairs(results) do value(result) end
        assert.equal(MANY, ring:count("update"))
      end)
    end)
  end

  it("find out together whose a store of the partner's own is, which lets others run too", function()
    local own = disks.new(clock):store()
    for name, fn in pairs(own) do
      own[name] = function(...)
        if name ~= "close" then ringlink.sleep(TURN_S) end
        return fn(...)
      end
    end
    client:close()
    client = offline.client({ store = own, store_key = disks.key(1), clock = clock })
    local tags = each_of(MANY, false, function() return grants.user_tag(client, "user-1") end)
    assert.same({ [tags[1][1]] = MANY }, tally(tags))
    assert.equal(1, #own:find({}))
  end)

  describe("with a pair that has to be written", function()
    local account, key, rotated

    before_each(function()
      key = offline.grant(client, {})
      account, rotated = client:account("ring-1"), count_told("token_rotated")
    end)

    local function refresh_in_task(results)
      return ringlink.spawn(function() results[1], results[2] = account:refresh({ force = true }) end)
    end

    it("wait for the one who writes it, and hear the same", function()
      local state, results, entered, go = nil, {}, false, false
      ring.on.refresh = function()
        state = break_store()
        state.before = function()
          entered = true
          answers.wait_until("leave to write", function() return go end)
        end
      end
      ringlink.run(function()
        refresh_in_task(results)
        answers.wait_until("the write", function() return entered end)
        for i = 3, 6 do ringlink.spawn(function() results[i] = account:access_token() end) end
        let_others_run()
        go = true
      end)
      assert.is_true(results[1], tostring(results[2]))
      for i = 3, 6 do assert.equal("served-access-1", results[i]:reveal()) end
      assert.equal(1, state.pairs)
      assert.equal(1, rotated.n)
    end)

    it("hear that another wrote it while they paused", function()
      local state, results, asleep, go = nil, {}, false, false
      ring.on.refresh = function() state = break_store() end
      local sleep = clock.sleep
      clock.sleep = function(seconds)
        asleep = true
        answers.wait_until("the end of the pause", function() return go end)
        sleep(seconds)
      end
      ringlink.run(function()
        refresh_in_task(results)
        answers.wait_until("a pause", function() return asleep end)
        state.mend()
        results[3] = assert(account:access_token()):reveal()
        go = true
      end)
      assert.is_true(results[1], tostring(results[2]))
      assert.equal("served-access-1", results[3])
      assert.equal(1, ring:count("refresh"))
      assert.equal(1, rotated.n)
      assert.is_nil(client.unsaved[key])
    end)

    it("leave it to the next when they are interrupted", function()
      ring.on.refresh = function() break_store() end
      assert.equal("store_error", select(2, account:refresh({ force = true })).code)
      ring.on.refresh = nil
      client.store.put_if = function() errors.new("cancelled"):raise() end
      assert.equal("cancelled", select(2, pcall(account.access_token, account)).code)
      client.store.put_if = nil
      assert.equal("served-access-1", assert(account:access_token()):reveal())
      assert.equal(1, rotated.n)
    end)
  end)

  describe("of which one closes the client", function()
    it("have what they wait for stored, and hear that it is closed", function()
      offline.grant(client, {})
      local results = {}
      ringlink.run(function()
        for i = 1, MANY do
          ringlink.spawn(function() results[i] = { client:account("ring-1"):access_token() } end)
          ringlink.spawn(function() client.store:put_if("k" .. i, { kind = "code", state = "code" }, 0) end)
        end
        let_others_run()
        for i = 1, MANY do
          ringlink.spawn(function() client.store:put_if("late" .. i, { kind = "code", state = "code" }, 0) end)
          ringlink.spawn(function() results[i + MANY] = { client:account("ring-1"):access_token() } end)
        end
        ringlink.spawn(function() client:close() end)
      end)
      for i = 1, MANY do value(results[i]) end
      for i = MANY + 1, 2 * MANY do assert.equal("closed", results[i][2].code) end
      open()
      for i = 1, MANY do
        assert.is_truthy(client.store:get("k" .. i))
        assert.is_truthy(client.store:get("late" .. i))
      end
    end)

    it("let a refresh end that begins while it writes what was kept", function()
      offline.grant(client, {})
      offline.grant(client, { account = "ring-2" })
      local state
      ring.on.refresh = function(n) if n == 1 then state = break_store() end end
      assert.equal("store_error", select(2, client:account("ring-2"):refresh({ force = true })).code)
      local second
      state.before = function()
        state.mend()
        second = ringlink.spawn(function() return client:account("ring-1"):refresh({ force = true }) end)
        answers.wait_until("another refresh", function() return ring:count("refresh") == 2 end)
      end
      ring.on.refresh = function() let_others_run() end
      local results = {}
      ringlink.run(function()
        ringlink.spawn(function() client:close() end)
        answers.wait_until("the section", function() return second ~= nil end)
        ringlink.spawn(function() results[1], results[2] = client.runtime.join(second) end)
      end)
      assert.is_true(results[1], tostring(results[2]))
      ring.on.refresh = nil
      open()
      assert.equal("served-access-1", assert(client:account("ring-2"):access_token()):reveal())
      assert.equal("served-access-2", assert(client:account("ring-1"):access_token()):reveal())
    end)

    it("close the store once, when several close", function()
      offline.grant(client, {})
      ring.on.refresh = function() break_store() end
      assert.equal("store_error", select(2, client:account("ring-1"):refresh({ force = true })).code)
      local closes, close = 0, client.store.close
      client.store.close = function(store)
        closes = closes + 1
        return close(store)
      end
      each_of(3, false, function() return client:close() end)
      assert.equal(1, closes)
    end)
  end)
end)
