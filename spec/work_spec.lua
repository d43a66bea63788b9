-- `client:work` on a virtual clock: what is due, what is put off, when to come back. Where it would
-- call Ring, nobody listens.

local deliveries = require "support.deliveries"
local grants = require "ringlink.grants"
local offline = require "support.offline"

local MINUTE_MS = 60 * 1000
local HOUR_MS = 60 * MINUTE_MS
local DAY_MS = 24 * HOUR_MS

describe("work", function()
  local client, clock

  before_each(function() client, clock = offline.client({ max_attempts = 1 }) end)

  local function row_of(key)
    return (client.store:get(key))
  end

  --- Between half of it, which is random, and all of it.
  local function about(seconds, next_due_s)
    assert.truthy(next_due_s >= seconds / 2 and next_due_s <= seconds, tostring(next_due_s))
    return next_due_s
  end

  --- Moves the clock to when a row is due.
  local function wait_for(key)
    clock.advance(row_of(key).due_ms - clock.now_ms())
  end

  local function nothing_but(expected)
    local report = { refreshed = 0, refresh_failed = 0, relink = 0, resumed = 0, events = 0, pruned = 0 }
    for name, value in pairs(expected) do report[name] = value end
    return report
  end

  --- Works once and compares the report, all but next_due_s, which is returned.
  local function work(expected, options)
    local report = assert(client:work(options))
    local next_due_s = report.next_due_s
    report.next_due_s = nil
    assert.same(nothing_but(expected), report)
    return next_due_s
  end

  describe("with nothing to do", function()
    it("reports nothing, and when the next daily refresh could be due", function()
      assert.equal(86400, work({}))
      offline.assert_silent(client)
    end)

    it("comes back by the option refresh_interval_s", function()
      client = offline.client({ refresh_interval_s = 3600 })
      assert.equal(3600, work({}))
    end)

    it("says to the millisecond when the next row is due", function()
      local key = offline.grant(client, {})
      local due_ms = row_of(key).due_ms
      assert.equal((due_ms - clock.now_ms()) / 1000, work({}))
      clock.advance(due_ms - clock.now_ms() - 1)
      assert.equal(0.001, work({}))
      offline.assert_silent(client)
    end)
  end)

  describe("a daily refresh", function()
    it("is due in the last tenth of the interval", function()
      for _ = 1, 20 do
        local key = offline.grant(client, {})
        local after_ms = row_of(key).due_ms - clock.now_ms()
        assert.truthy(after_ms >= 0.9 * DAY_MS and after_ms <= DAY_MS, tostring(after_ms))
      end
    end)

    it("is for grants that are unclaimed, awaiting or completed", function()
      for _, state in ipairs({ "unclaimed", "awaiting", "completed" }) do
        offline.grant(client, { state = state, account = "of " .. state })
      end
      clock.advance(DAY_MS)
      work({ refresh_failed = 3 })
    end)

    it("is never for a link that waits to be linked again", function()
      offline.grant(client, { state = "relink" })
      clock.advance(40 * DAY_MS)
      work({})
      offline.assert_silent(client)
    end)

    it("that fails keeps state and tokens, and is put off, longer each time", function()
      local key = offline.grant(client, {})
      local before = row_of(key)
      wait_for(key)
      local wait_s = about(60, work({ refresh_failed = 1 }))
      assert.equal(wait_s, work({}))
      clock.advance(wait_s * 1000)
      wait_s = about(120, work({ refresh_failed = 1 }))
      clock.advance(wait_s * 1000)
      about(240, work({ refresh_failed = 1 }))
      local after = row_of(key)
      assert.same({ "completed", before.access, before.refresh, before.fingerprint },
        { after.state, after.access, after.refresh, after.fingerprint })
    end)

    it("is put off for about an hour at most", function()
      local key = offline.grant(client, {})
      wait_for(key)
      for _ = 1, 12 do clock.advance(work({ refresh_failed = 1 }) * 1000) end
      about(64 * 60, work({ refresh_failed = 1 }))
    end)

    it("that fails tells refresh_failed", function()
      local told = {}
      client:on("refresh_failed", function(account, err) told[#told + 1] = { account.id, err.code } end)
      wait_for(offline.grant(client, {}))
      work({ refresh_failed = 1 })
      assert.same({ { "ring-1", "refresh_failed" } }, told)
    end)
  end)

  describe("the limit", function()
    it("bounds a turn, and says to come back at once", function()
      local keys, earliest_ms = {}, math.huge
      for i = 1, 5 do keys[i] = offline.grant(client, { account = "ring-" .. i }) end
      clock.advance(DAY_MS)
      assert.equal(0, work({ refresh_failed = 2 }, { limit = 2 }))
      assert.equal(0, work({ refresh_failed = 2 }, { limit = 2 }))
      local next_due_s = work({ refresh_failed = 1 }, { limit = 2 })
      for _, key in ipairs(keys) do earliest_ms = math.min(earliest_ms, row_of(key).due_ms) end
      assert.equal(earliest_ms - clock.now_ms(), math.floor(next_due_s * 1000 + 0.5))
    end)

    it("lets the longest overdue go first", function()
      local first = offline.grant(client, { account = "ring-1" })
      clock.advance(DAY_MS)
      local second = offline.grant(client, { account = "ring-2" })
      clock.advance(DAY_MS)
      work({ refresh_failed = 1 }, { limit = 1 })
      assert.equal(1, row_of(first).refresh_failures)
      assert.is_nil(row_of(second).refresh_failures)
    end)
  end)

  describe("exchanges left half way", function()
    it("are not touched before the deadline of whoever began them", function()
      offline.grant(client, { state = "exchanging" })
      clock.advance(MINUTE_MS - 1)
      assert.equal(0.001, work({}))
    end)

    it("are given up when the code has lapsed, without a call", function()
      local told = {}
      client:on("failed", function(_, err) told[#told + 1] = err.code end)
      local key = offline.grant(client, { state = "exchanging" })
      clock.advance(MINUTE_MS)
      work({})
      assert.same({ "failed", "exchange_refused" }, { row_of(key).state, row_of(key).failure })
      assert.same({ "exchange_refused" }, told)
      assert.is_nil(row_of(key).code)
      offline.assert_silent(client)
    end)

    it("are in doubt when the code was sent", function()
      local key = offline.grant(client, { state = "exchanging" })
      grants.update(client, key, function() return { sent_ms = clock.now_ms() } end)
      clock.advance(MINUTE_MS)
      work({})
      assert.equal("exchange_outcome_unknown", row_of(key).failure)
    end)

    it("are put off when Ring cannot be asked whose they are", function()
      local key = offline.grant(client, { state = "identifying" })
      clock.advance(MINUTE_MS)
      about(60, work({}))
      assert.equal("identifying", row_of(key).state)
      assert.same({ ["identify connect"] = 1 }, client:metrics().calls)
    end)
  end)

  describe("links left half way", function()
    it("are not touched before the deadline of whoever began them", function()
      offline.grant(client, { state = "matched" })
      clock.advance(MINUTE_MS - 1)
      assert.equal(0.001, work({}))
      offline.assert_silent(client)
    end)

    it("are tried again inside the window, and stay when Ring cannot be reached", function()
      local key = offline.grant(client, { state = "matched" })
      clock.advance(MINUTE_MS)
      work({})
      assert.same({ ["confirm connect"] = 1 }, client:metrics().calls)
      assert.equal("confirming", row_of(key).state)
      assert.is_false(grants.has(row_of(key), "post_maybe"))
    end)

    it("are released when the window has passed and nothing was sent, without a call", function()
      local key = offline.grant(client, { state = "matched", user = "user-1" })
      clock.advance(11 * MINUTE_MS)
      work({})
      local row = row_of(key)
      assert.equal("unclaimed", row.state)
      assert.same({}, { row.user, row.user_sealed, row.identifier, row.nonce, row.time })
      offline.assert_silent(client)
    end)

    it("are settled when the window has passed and the POST was sent", function()
      local key = offline.grant(client, { state = "confirming" })
      clock.advance(11 * MINUTE_MS)
      work({})
      assert.same({ ["settle connect"] = 1 }, client:metrics().calls)
      assert.equal("confirming", row_of(key).state)
    end)

    it("wait for the partner's configure, and ask it", function()
      local asked = 0
      client:on("configure", function(link)
        asked = asked + 1
        assert(link.account.id == "ring-1" and link.user == "user-1")
        return false, "not yet"
      end)
      local key = offline.grant(client, { state = "awaiting", conducted = true })
      clock.advance(MINUTE_MS)
      work({})
      assert.equal(1, asked)
      assert.equal("awaiting", row_of(key).state)
      offline.assert_silent(client)
    end)

    it("are not completed behind the back of a partner who goes step by step", function()
      local asked = 0
      client:on("configure", function() asked = asked + 1 end)
      offline.grant(client, { state = "awaiting" })
      clock.advance(2 * HOUR_MS)
      work({})
      assert.equal(0, asked)
      offline.assert_silent(client)
    end)
  end)

  describe("pruning", function()
    it("takes unclaimed grants that nobody came for", function()
      client, clock = offline.client({ max_attempts = 1, refresh_interval_s = 29 * 86400 })
      local key = offline.grant(client, { state = "unclaimed" })
      grants.postpone(client, key, 30 * DAY_MS)
      clock.advance(30 * DAY_MS)
      work({ pruned = 1 })
      assert.is_nil(row_of(key))
      offline.assert_silent(client)
    end)

    it("obeys unclaimed_max_age_s", function()
      client, clock = offline.client({ max_attempts = 1, unclaimed_max_age_s = 3600 })
      local key = offline.grant(client, { state = "unclaimed" })
      clock.advance(HOUR_MS - 1)
      assert.equal(0.001, work({}))
      clock.advance(1)
      work({ pruned = 1 })
      assert.is_nil(row_of(key))
    end)

    for _, state in ipairs({ "failed", "superseded", "unlinked" }) do
      it("takes a grant 30 days after it " .. state, function()
        local key = offline.grant(client, { state = state })
        clock.advance(30 * DAY_MS - 1)
        assert.equal(0.001, work({}))
        clock.advance(1)
        work({ pruned = 1 })
        assert.is_nil(row_of(key))
      end)
    end

    it("takes what is left of a forgotten account", function()
      offline.grant(client, {})
      assert(client:account("ring-1"):forget())
      local key = grants.tombstone_key(client, "ring-1")
      assert.truthy(row_of(key))
      clock.advance(30 * DAY_MS)
      work({ pruned = 1 })
      assert.is_nil(row_of(key))
    end)

    it("takes the trace of a code after a day", function()
      client:exchange("a-code")
      local key = grants.code_key(client, "a-code")
      assert.truthy(row_of(key))
      clock.advance(DAY_MS)
      assert(client:work())
      assert.is_nil(row_of(key))
    end)

    it("takes events that were done a week ago", function()
      assert.equal("processed", deliveries.send(client, deliveries.event(client, "motion_detected")))
      clock.advance(7 * DAY_MS)
      work({})
      clock.advance(1)
      work({ pruned = 1 })
    end)
  end)

  describe("events", function()
    it("that failed are taken up, at most so many", function()
      local broken = true
      client:on("webhook", function() if broken then error("down") end end)
      for _ = 1, 3 do deliveries.send(client, deliveries.event(client, "motion_detected")) end
      broken = false
      clock.advance(60000)
      work({ events = 2 }, { limit = 2 })
      work({ events = 1 }, { limit = 2 })
      work({}, { limit = 2 })
    end)

    it("that fail again wait on", function()
      local runs = 0
      client:on("webhook", function()
        runs = runs + 1
        error("down")
      end)
      deliveries.send(client, deliveries.event(client, "motion_detected"))
      clock.advance(60000)
      work({})
      assert.equal(60, assert(client:work()).next_due_s)
      assert.equal(2, runs)
    end)
  end)

  it("puts a link that keeps failing off, longer each time, and says why in the log", function()
    local lines = {}
    client, clock = offline.client({ log = function(level, _, fields) lines[#lines + 1] = { level, fields } end })
    local key = offline.grant(client, { account = "ring-1", state = "confirming" })
    local waits = {}
    for i = 1, 3 do
      clock.advance(math.max(0, row_of(key).due_ms - clock.now_ms()))
      lines = {}
      assert(client:work())
      waits[i] = row_of(key).not_before_ms - clock.now_ms()
      assert.equal("warn", lines[#lines][1])
      assert.equal("confirming", lines[#lines][2].state)
      assert.equal("connect", lines[#lines][2].error)
    end
    assert.truthy(waits[1] < waits[2] and waits[2] < waits[3])
  end)

  it("goes on after an account that fails", function()
    client:on("configure", function() error("broken configure") end)
    offline.grant(client, { account = "ring-1", state = "awaiting", conducted = true })
    local other = offline.grant(client, { account = "ring-2", state = "exchanging" })
    clock.advance(MINUTE_MS)
    work({})
    assert.equal("failed", row_of(other).state)
  end)
end)
