-- Accounts in use: `work` refreshes their tokens when the early window begins, so that no caller has
-- to wait; and only theirs.

local answers = require "support.answers"
local clocks = require "support.clock"
local grants = require "ringlink.grants"
local in_use = require "ringlink.in_use"
local offline = require "support.offline"
local ringlink = require "ringlink"

local EARLY_MS = 300 * 1000
local FRESH_MS = offline.token_lifetime_ms - EARLY_MS
local MINUTE_MS = 60 * 1000
local LONG_S = 20 * 86400              -- so that no daily refresh comes in between

describe("accounts in use", function()
  local client, clock, ring, account, key

  local function start(options)
    local settings = { refresh_interval_s = LONG_S, unclaimed_max_age_s = 2 * LONG_S }
    for name, value in pairs(options or {}) do settings[name] = value end
    client, clock = offline.client(settings)
    ring = answers.serve(client)
    key = offline.grant(client, {})
    account = client:account("ring-1")
  end

  before_each(function() start() end)

  local function use() return assert(account:access_token()):reveal() end

  local function work(limit) return assert(client:work({ limit = limit })) end

  local function refreshes() return ring:count("refresh") end

  it("are refreshed when their early window begins, and nobody waits", function()
    use()
    clock.advance(FRESH_MS - 1)
    assert.equal(0, work().refreshed)
    clock.advance(1)
    assert.equal(1, work().refreshed)
    assert.equal("served-access-1", use())
    assert.equal(1, refreshes())
  end)

  it("are not counted as refreshed when they are unlinked just before", function()
    use()
    clock.advance(FRESH_MS)
    local lease = client.store.lease
    client.store.lease = function(...)
      client.store.lease = nil
      assert(grants.apply(client, {}, key, "unlink"))
      return lease(...)
    end
    local report = work()
    assert.same({ 0, 0, 0, 0 }, { report.refreshed, report.refresh_failed, report.relink, refreshes() })
    assert.equal("unlinked", account:state())
  end)

  it("are refreshed ever again while they are in use", function()
    for round = 1, 3 do
      use()
      clock.advance(FRESH_MS)
      assert.equal(1, work().refreshed)
      assert.equal("served-access-" .. round, use())
    end
  end)

  it("are not, when nobody has asked for the token that is there", function()
    clock.advance(FRESH_MS)
    assert.equal(0, work().refreshed)
    use()
    local before = refreshes()
    clock.advance(FRESH_MS)
    assert.equal(1, work().refreshed)
    clock.advance(FRESH_MS)
    assert.equal(0, work().refreshed)
    assert.equal(before + 1, refreshes())
  end)

  it("are let be for a while after it failed, also when it was the first thing a process did", function()
    clock.advance(FRESH_MS)
    ring.on.refresh = function() return answers.refusal(404) end
    for _ = 1, 3 do use() end
    assert.equal(1, refreshes())
    clock.advance(MINUTE_MS)
    use()
    assert.equal(2, refreshes())
  end)

  it("count as such for a call to Ring, and for the repetition after a 401", function()
    assert(account:get("/v1/devices"))
    clock.advance(FRESH_MS)
    assert.equal(1, work().refreshed)
    ring.on.devices = function(n) return n == 2 and answers.refusal(401) or nil end
    assert(account:get("/v1/devices"))
    assert.equal(2, refreshes())
    clock.advance(FRESH_MS)
    assert.equal(1, work().refreshed)
  end)

  it("tell when to come back", function()
    assert.equal((client.store:get(key).due_ms - clock.now_ms()) / 1000, work().next_due_s)
    use()
    assert.equal(FRESH_MS / 1000, work().next_due_s)
    clock.advance(FRESH_MS - 1500)
    assert.equal(1.5, work().next_due_s)
    clock.advance(1500)
    assert.truthy(work().next_due_s > 86400)
  end)

  it("have a window that is a quarter of a short lifetime, or none", function()
    key = offline.grant(client, { account = "ring-2", expires_ms = clock.now_ms() + 400 * 1000 })
    account = client:account("ring-2")
    use()
    clock.advance(299999)
    assert.equal(0, work().refreshed)
    clock.advance(1)
    assert.equal(1, work().refreshed)
    start({ refresh_early_s = 0 })
    use()
    clock.advance(offline.token_lifetime_ms - 1)
    assert.equal(0, work().refreshed)
    clock.advance(1)
    assert.equal(0, work().refreshed)
  end)

  it("are at most `limit` in a call, the one that ends first before the others", function()
    local order = {}
    start({ rate_limit_per_s = 1 })
    for i = 2, 4 do
      clock.advance(MINUTE_MS / 2)
      offline.grant(client, { account = "ring-" .. i })
    end
    for i = 4, 1, -1 do assert(client:account("ring-" .. i):access_token()) end
    client:on("token_rotated", function(which) order[#order + 1] = which.id end)
    clock.advance(FRESH_MS)
    local report = work(3)
    assert.same({ 3, 0 }, { report.refreshed, report.next_due_s })
    assert.equal(1, work(3).refreshed)
    assert.same({ "ring-1", "ring-2", "ring-3", "ring-4" }, order)
  end)

  it("are left to whoever refreshed them elsewhere", function()
    use()
    local other = offline.client({ clock = clock })
    other.store, other.vault = client.store, client.vault
    answers.serve(other, ring)
    clock.advance(FRESH_MS)
    assert(other:account("ring-1"):refresh({ force = true }))
    assert.equal(0, work().refreshed)
    assert.equal(1, refreshes())
    assert.truthy(work().next_due_s > 3600)
  end)

  it("are left alone when nobody here has the token that somebody got elsewhere", function()
    use()
    clock.advance(FRESH_MS)
    ring.on.refresh = function()
      return { json = { access_token = "brief", refresh_token = "another", expires_in = 100 } }
    end
    assert(account:refresh({ force = true }))
    clock.advance(80 * 1000)
    assert.equal(0, work().refreshed)
    assert.equal(1, refreshes())
  end)

  it("stay in use when work joins the refresh of somebody who has the new token by then", function()
    start({ clock = clocks.new() })
    use()
    clock.advance(offline.token_lifetime_ms - 30 * 1000)
    ring.on.refresh = function() answers.wait_until("work", function() return ring.waiting end) end
    local report
    ringlink.run(function()
      ringlink.spawn(use)
      answers.wait_until("the refresh", function() return refreshes() == 1 end)
      ring.waiting = true
      report = work()
    end)
    assert.same({ 1, 1 }, { report.refreshed, refreshes() })
    assert.is_true(client.in_use:is_of(key, (client.store:get(key))))
  end)

  it("are let be once they are unlinked, or forgotten", function()
    for _, ending in ipairs({
      function() assert(require("ringlink.grants").apply(client, {}, key, "unlink")) end,
      function() assert(account:forget()) end,
    }) do
      start()
      use()
      ending()
      clock.advance(FRESH_MS)
      assert.same({ 0, 0 }, { work().refreshed, refreshes() })
      assert.same({}, { next(client.in_use.young), next(client.in_use.old) })
    end
  end)

  it("are forgotten once the token has lapsed: whoever comes next refreshes", function()
    use()
    clock.advance(offline.token_lifetime_ms)
    assert.equal(0, work().refreshed)
    assert.is_nil(next(client.in_use.young))
    use()
    assert.equal(1, refreshes())
  end)

  it("whose early refresh fails keep their token, and are tried again in the window", function()
    local failures, first = {}, use()
    client:on("refresh_failed", function(which) failures[#failures + 1] = which.id end)
    clock.advance(FRESH_MS)
    ring.on.refresh = function() return { status = 400, json = { error = "invalid_client" } } end
    local report = work()
    assert.same({ 0, 1, 30 }, { report.refreshed, report.refresh_failed, report.next_due_s })
    assert.equal(first, use())
    assert.is_nil(client.store:get(key).not_before_ms)
    assert.same({ "ring-1" }, failures)
    ring.on.refresh = nil
    clock.advance(29999)
    assert.equal(0, work().refreshed)
    clock.advance(1)
    assert.equal(1, work().refreshed)
  end)

  it("that Ring refuses are counted as lost", function()
    use()
    clock.advance(FRESH_MS)
    ring.on.refresh = answers.invalid_grant
    local report = work()
    assert.same({ 0, 1 }, { report.refresh_failed, report.relink })
    assert.equal(0, work().relink)
  end)

  it("cost no write to the store", function()
    local writes, put_if = 0, client.store.put_if
    client.store.put_if = function(...)
      writes = writes + 1
      return put_if(...)
    end
    for _ = 1, 5 do use() end
    clock.advance(FRESH_MS - 1)
    work()
    assert.equal(0, writes)
  end)

  describe("that a process remembers", function()
    local MAX, now_ms = 16384, 1000

    local function row(obtained_ms) return { access_obtained_ms = obtained_ms, access_expires_ms = 2000 } end

    local function held(used) return #used:due(now_ms + 900, 0) end

    it("are so many at most; those asked for since stay", function()
      local used = in_use.new()
      used:note("first", row(0), 500)
      for i = 1, 3 * MAX do
        used:note("k" .. i, row(0), 500)
        if i % 100 == 0 then used:note("first", row(0), 500) end
      end
      assert.is_true(held(used) <= MAX and held(used) >= MAX / 2)
      assert.is_true(used:is_of("first", row(0)))
      assert.is_true(used:is_of("k" .. 3 * MAX, row(0)))
      assert.is_false(used:is_of("k1", row(0)))
    end)

    it("leave room for others when they go", function()
      local used = in_use.new()
      used:note("first", row(0), 500)
      for i = 1, 3 * MAX do
        used:note("k" .. i, row(0), 500)
        used:drop("k" .. i)
      end
      assert.is_true(used:is_of("first", row(0)))
      assert.equal(1, held(used))
    end)

    it("are looked through only when one of them can be due", function()
      local used = in_use.new()
      used:note("late", row(0), 500)
      used.young.hidden = { obtained_ms = 0, early_ms = 0, expires_ms = 2000 }       -- behind its back
      assert.same({ {}, 1 }, { used:due(1499, 0) })
      assert.same({ "hidden", "late" }, (used:due(1500, 0)))
    end)

    it("are known by their token", function()
      local used = in_use.new()
      used:note("k", row(0), 500)
      used:pause("k", 50)
      assert.is_true(used:is_paused("k", 49))
      assert.is_false(used:is_of("k", row(1)))
      used:note("k", row(1), 500)
      assert.is_true(used:is_of("k", row(1)))
      assert.is_false(used:is_paused("k", 0))
      assert.equal(1, held(used))
    end)
  end)
end)
