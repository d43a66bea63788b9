-- The refreshes of `client:work`: several at once and never faster than the rate, spread out in time,
-- after the links, with room left to callers who wait.

local answers = require "support.answers"
local clocks = require "support.clock"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local offline = require "support.offline"
local ringlink = require "ringlink"

local SECOND_MS = 1000
local MINUTE_MS = 60 * SECOND_MS
local DAY_MS = 24 * 60 * MINUTE_MS

describe("work's refreshes", function()
  local client, clock, ring

  local function start(options)
    client, clock = offline.client(options)
    ring = answers.serve(client)
  end

  before_each(function() start() end)

  local function row_of(key) return (client.store:get(key)) end

  --- Grants whose daily refresh has come; their keys.
  local function all_due(count)
    local keys = {}
    for i = 1, count do keys[i] = offline.grant(client, { account = "ring-" .. i }) end
    clock.advance(DAY_MS)
    return keys
  end

  --- Takes calls out of the limiter until so many are left.
  local function leave(calls)
    while client.limiter:take(clock.monotonic_ms()) == 0 do end
    clock.advance(calls * SECOND_MS / client.options.rate_limit_per_s)
  end

  local function timed(fn, ...)
    local began_ms = clock.monotonic_ms()
    local result = assert(fn(...))
    return clock.monotonic_ms() - began_ms, result
  end

  local function refreshed(report) return report.refreshed end

  describe("and the rate:", function()
    for _, case in ipairs({ { 10, 31 }, { 100, 101 }, { 2.5, 11 } }) do
      local rate, count = case[1], case[2]
      it(("%d of them take so long at %s a second, however full the bucket is"):format(count, rate), function()
        start({ rate_limit_per_s = rate })
        all_due(count)
        local took_ms, report = timed(client.work, client, { limit = count })
        assert.equal(count, refreshed(report))
        assert.truthy(took_ms >= (count - 1) * SECOND_MS / rate, tostring(took_ms))
        assert.truthy(took_ms <= (count + 1) * SECOND_MS / rate, tostring(took_ms))
      end)
    end

    it("they wait until more than half of the bucket is left", function()
      start({ rate_limit_per_s = 10 })
      all_due(1)
      leave(5)
      assert.equal(100, (timed(client.work, client)))
    end)

    it("a caller who waits takes what is left, meanwhile", function()
      start({ rate_limit_per_s = 10 })
      offline.grant(client, { account = "ring-1" })
      leave(1)
      assert.equal(0, (timed(client.account(client, "ring-1").get, client:account("ring-1"), "/v1/devices")))
    end)

    it("links that are taken on leave room too", function()
      start({ rate_limit_per_s = 10 })
      offline.grant(client, { state = "awaiting", conducted = true })
      clock.advance(MINUTE_MS)
      leave(3)
      local took_ms, report = timed(client.work, client)
      assert.equal(1, report.resumed)
      assert.equal(300, took_ms)
    end)

    it("they get their turn although callers take all that comes", function()
      start({ rate_limit_per_s = 10 })
      all_due(1)
      leave(1)
      local sleep = clock.sleep
      clock.sleep = function(seconds)
        sleep(seconds)
        leave(1)
      end
      local took_ms, report = timed(client.work, client)
      assert.equal(1, refreshed(report))
      assert.truthy(took_ms >= 30 * SECOND_MS and took_ms < 31 * SECOND_MS, tostring(took_ms))
    end)

    it("what comes after work is nobody's background any more", function()
      client:on("token_rotated", function() error("a mistake") end)
      all_due(20)
      assert(client:work())
      assert.is_false(flight.is_background(client))
      assert.same({}, client.sections)
    end)
  end)

  describe("at once:", function()
    local function under_way()
      local count = 0
      for _ in pairs(client.flights) do count = count + 1 end
      return count
    end

    -- Each refresh waits until so many have reached Ring; the most that were under way.
    local function together(wanted)
      local open, most, all = 0, 0, false
      ring.on.refresh = function()
        open, most = open + 1, math.max(most, under_way())
        all = all or open >= wanted
        answers.wait_until("the others", function() return all end)
        open = open - 1
      end
      return function() return most end
    end

    before_each(function() start({ clock = clocks.new() }) end)

    it("eight, outside of any task", function()
      all_due(20)
      local most = together(8)
      assert.equal(20, refreshed(assert(client:work())))
      assert.equal(8, most())
    end)

    it("eight, in a task", function()
      all_due(9)
      local most = together(8)
      assert.equal(9, refreshed(ringlink.run(function() return assert(client:work()) end)))
      assert.equal(8, most())
    end)

    it("eight, in a foreign coroutine of a blocking client", function()
      start({ clock = clocks.new(), runtime = "blocking" })
      all_due(9)
      local most = together(8)
      local ended, report = coroutine.resume(coroutine.create(function() return assert(client:work()) end))
      assert.is_true(ended, tostring(report))
      assert.equal(9, refreshed(report))
      assert.equal(8, most())
    end)

    it("not where nothing can be waited for, and nothing is begun there", function()
      all_due(2)
      client.runtime.spawn = function() error("a task that nobody would wait for") end
      local _, raised = coroutine.resume(coroutine.create(function() return client:work() end))
      assert.equal("foreign_coroutine", raised.code)
      assert.same({}, ring.calls)
    end)

    it("no more than the rate has in a second", function()
      start({ clock = clocks.new(), rate_limit_per_s = 3 })
      all_due(4)
      local most = together(3)
      assert.equal(4, refreshed(assert(client:work())))
      assert.equal(3, most())
    end)

    it("their hooks run in the caller", function()
      all_due(20)
      together(8)
      local where = {}
      client:on("token_rotated", function() where[#where + 1] = coroutine.running() or "main" end)
      local caller = coroutine.running() or "main"
      assert(client:work())
      assert.equal(20, #where)
      for _, one in ipairs(where) do assert.equal(caller, one) end
    end)

    it("a report counts them all, whatever each came to", function()
      local said = { [2] = answers.invalid_grant(), [4] = { status = 503 } }
      start({ max_attempts = 1 })
      all_due(6)
      ring.on.refresh = function(n) return said[n] end
      local report = assert(client:work())
      assert.same({ 4, 1, 1 }, { report.refreshed, report.relink, report.refresh_failed })
    end)
  end)

  describe("when one raises", function()
    --- Reading a row raises, from the nth time on.
    local function broken(key, problem, nth)
      local get, count = client.store.get, 0
      client.store.get = function(store, wanted)
        if wanted == key then count = count + 1 end
        if wanted == key and count >= (nth or 1) then error(problem, 0) end
        return get(store, wanted)
      end
      return function() client.store.get = get end
    end

    it("a failure of the store: the others are refreshed, and the call returns it", function()
      local keys = all_due(12)
      broken(keys[5], errors.new("store_error"))
      local report, err = client:work()
      assert.is_nil(report)
      assert.equal("store_error", err.code)
      assert.equal(11, ring:count("refresh"))
    end)

    it("a mistake of the program: the others are refreshed, and it is raised", function()
      local keys = all_due(12)
      broken(keys[5], "a mistake")
      local ok, problem = pcall(client.work, client)
      assert.same({ false, "a mistake" }, { ok, problem })
      assert.equal(11, ring:count("refresh"))
    end)

    it("a mistake that a row leads to does so once", function()
      local key = offline.grant(client, {})
      assert(grants.update(client, key, function() return { access = false, refresh = 7 } end))
      clock.advance(DAY_MS)
      local other = offline.grant(client, { account = "ring-2" })
      clock.advance(DAY_MS)
      assert.is_false((pcall(client.work, client)))
      assert.equal(1, ring:count("refresh"))
      assert.equal(clock.now_ms(), row_of(other).refreshed_ms)
      assert.equal(0, refreshed(assert(client:work())))
    end)

    describe("that it is over:", function()
      local keys

      before_each(function()
        start({ rate_limit_per_s = 1 })
        keys = all_due(5)
        table.sort(keys, function(a, b) return row_of(a).due_ms < row_of(b).due_ms end)
      end)

      it("nothing more is begun once the client is closed", function()
        broken(keys[2], errors.new("closed"))
        assert.equal("closed", select(2, client:work()).code)
        assert.equal(1, ring:count("refresh"))
      end)

      it("nothing more is begun once the program is interrupted, and nothing is passed over", function()
        local mend = broken(keys[2], "a.lua:1: interrupted!", 2)
        assert.same({ false, "a.lua:1: interrupted!" }, { pcall(client.work, client) })
        assert.equal(1, ring:count("refresh"))
        mend()
        assert.equal(4, refreshed(assert(client:work())))
      end)
    end)
  end)

  describe("in order:", function()
    it("the longest overdue first", function()
      start({ rate_limit_per_s = 1 })
      local order = {}
      for i = 1, 5 do
        offline.grant(client, { account = "ring-" .. i })
        clock.advance(DAY_MS)
      end
      client:on("token_rotated", function(account) order[#order + 1] = account.id end)
      assert(client:work())
      assert.same({ "ring-1", "ring-2", "ring-3", "ring-4", "ring-5" }, order)
    end)

    it("links before all of them, however much is overdue", function()
      all_due(30)
      local link = offline.grant(client, { account = "ring-0", state = "matched" })
      clock.advance(MINUTE_MS)
      local report = assert(client:work({ limit = 2 }))
      assert.same({ 1, 2 }, { report.resumed, report.refreshed })
      assert.equal("awaiting", row_of(link).state)
      assert.equal("confirm", ring.calls[1])
    end)

    it("links have the time of one operation, then the refreshes have theirs", function()
      for i = 1, 3 do offline.grant(client, { account = "ring-" .. i, state = "identifying" }) end
      clock.advance(MINUTE_MS)
      all_due(1)
      ring.on.me = function()
        clock.advance(40 * SECOND_MS)
        return { status = 404 }
      end
      local report = assert(client:work())
      assert.equal(2, ring:count("me"))
      assert.same({ 1, 0 }, { report.refreshed, report.next_due_s })
    end)

    it("and no refresh is begun after that time; the next call goes on", function()
      start({ rate_limit_per_s = 1 })
      all_due(5)
      ring.on.refresh = function() clock.advance(25 * SECOND_MS) end
      local report = assert(client:work())
      assert.same({ 3, 0 }, { report.refreshed, report.next_due_s })
      assert.equal(2, refreshed(assert(client:work())))
    end)
  end)

  describe("are spread out:", function()
    local COUNT, SLICES = 1000, 10

    --- How many of the rows are due in each tenth of a time.
    local function spread(keys, from_ms, to_ms)
      local slices = {}
      for i = 1, SLICES do slices[i] = 0 end
      for _, key in ipairs(keys) do
        local share = (row_of(key).due_ms - from_ms) / (to_ms - from_ms)
        assert.truthy(share >= 0 and share <= 1, tostring(share))
        local slice = math.min(math.floor(share * SLICES) + 1, SLICES)
        slices[slice] = slices[slice] + 1
      end
      return slices
    end

    local function assert_even(slices)
      for _, count in ipairs(slices) do
        assert.truthy(count > COUNT / SLICES / 2 and count < COUNT / SLICES * 2, table.concat(slices, " "))
      end
    end

    --- As if all of it took no time.
    local function without_limit()
      client.limiter = { take = function() return 0 end, observe = function() end }
    end

    local function imported()
      local keys = {}
      for i = 1, COUNT do keys[i] = offline.grant(client, { account = "ring-" .. i }) end
      return keys
    end

    local function assert_daily(keys, refreshed_ms)
      assert_even(spread(keys, refreshed_ms + 0.9 * DAY_MS, refreshed_ms + DAY_MS))
    end

    it("accounts that came in the same instant", function()
      assert_daily(imported(), clock.now_ms())
    end)

    it("accounts that were all refreshed in the same instant, by force", function()
      local keys = imported()
      clock.advance(3600 * SECOND_MS)
      without_limit()
      for i = 1, COUNT do assert(client:account("ring-" .. i):refresh({ force = true })) end
      assert_daily(keys, clock.now_ms())
    end)

    it("accounts that were all due when Ring came back after days", function()
      local keys = imported()
      clock.advance(5 * DAY_MS)
      without_limit()
      assert.equal(COUNT, refreshed(assert(client:work({ limit = COUNT }))))
      assert_daily(keys, clock.now_ms())
    end)

    it("accounts whose refresh failed in the same instant", function()
      start({ max_attempts = 1 })
      local keys = imported()
      clock.advance(DAY_MS)
      without_limit()
      ring.on.refresh = function() return { status = 503 } end
      assert(client:work({ limit = COUNT }))
      assert_even(spread(keys, clock.now_ms() + MINUTE_MS / 2, clock.now_ms() + MINUTE_MS))
    end)
  end)
end)
