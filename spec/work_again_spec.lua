-- `client:work` beside others who are at the same rows: it looks again before it acts, deletes nothing
-- that changed, waits for no hook of a link under way, and completes none behind its caller's back.

local answers = require "support.answers"
local clocks = require "support.clock"
local grants = require "ringlink.grants"
local offline = require "support.offline"
local ringlink = require "ringlink"

local MINUTE_MS = 60 * 1000
local DAY_MS = 24 * 60 * MINUTE_MS
local TWO_DAYS_S = 2 * 86400

describe("work among others", function()
  local client, clock, ring

  local function start(options)
    client = offline.client(options)
    clock = client.clock
    ring = answers.serve(client)
  end

  before_each(function() start() end)

  local function row_of(key) return (client.store:get(key)) end

  local function redirect(user, account)
    local q = offline.redirect(client, account or "ring-1")
    q.user = user or "user-1"
    return q
  end

  local function state() return client:account("ring-1"):state() end

  describe("looks at a row again", function()
    -- One refresh after the other: so slow a client has one lane.
    before_each(function() start({ unclaimed_max_age_s = TWO_DAYS_S, rate_limit_per_s = 1 }) end)

    it("before it handles it: one that was linked meanwhile is not pruned", function()
      offline.grant(client, { state = "exchanging" })
      local key = offline.grant(client, { state = "unclaimed" })
      grants.postpone(client, key, TWO_DAYS_S * 1000)      -- so that its turn comes last
      clock.advance(TWO_DAYS_S * 1000)
      local linked
      client:on("failed", function() linked = assert(client:link(redirect())) end)
      local report = assert(client:work())
      assert.equal("completed", linked.status)
      assert.equal(0, report.pruned)
      assert.equal("completed", row_of(key).state)
    end)

    -- Two accounts are due; `act` is called with the one that does not come first.
    local function meanwhile(act)
      for i = 1, 2 do offline.grant(client, { account = "ring-" .. i }) end
      clock.advance(DAY_MS)
      local first
      client:on("token_rotated", function(account)
        if first then return end
        first = account.id
        act(client:account(first == "ring-1" and "ring-2" or "ring-1"))
      end)
      return assert(client:work())
    end

    it("before it refreshes it: one that somebody refreshed meanwhile is left alone", function()
      local report = meanwhile(function(other) assert(other:refresh({ force = true })) end)
      assert.equal(1, report.refreshed)
      assert.equal(2, ring:count("refresh"))
    end)

    it("and does nothing for one that is gone", function()
      local report = meanwhile(function(other) assert(other:forget()) end)
      assert.same({ 1, 0 }, { report.refreshed, report.refresh_failed })
      assert.equal(1, ring:count("refresh"))
    end)

    it("before it deletes it: one that changed since then stays", function()
      local key = offline.grant(client, { state = "unclaimed" })
      clock.advance(TWO_DAYS_S * 1000)
      local get = client.store.get
      client.store.get = function(store, wanted)
        local row, version = get(store, wanted)
        client.store.get = nil                       -- what a claim in another process does now
        assert(grants.update(client, wanted, function() return { touched = true } end))
        return row, version
      end
      assert.equal(0, assert(client:work()).pruned)
      assert.is_true(row_of(key).touched)
      assert.equal(1, assert(client:work()).pruned)
      assert.is_nil(row_of(key))
    end)
  end)

  describe("with a link whose configure is slow", function()
    it("goes on with the other rows and leaves the link to whoever conducts it", function()
      start({ clock = clocks.new() })
      local key = offline.grant(client, { state = "unclaimed" })
      local other = offline.grant(client, { account = "ring-0", state = "exchanging" })
      local may_go, link, report = false, nil, nil
      client:on("configure", function()
        answers.wait_until("leave to go on", function() return may_go end)
      end)
      ringlink.run(function()
        local task = ringlink.spawn(function() link = assert(client:link(redirect())) end)
        answers.wait_until("the POST", function() return row_of(key).state == "awaiting" end)
        clock.advance(MINUTE_MS)
        report = assert(client:work())
        assert.is_false(task.done)
        may_go = true
      end)
      assert.equal(0, report.resumed)
      assert.equal("failed", row_of(other).state)
      assert.equal("completed", link.status)
      assert.equal(1, ring:count("confirm"))
    end)
  end)

  describe("with a link that brought its own configure and was interrupted", function()
    local asked

    before_each(function()
      asked = 0
      start({ max_attempts = 1 })
      offline.grant(client, { state = "unclaimed" })
      ring.on.confirm = function(n) return n == 1 and { error = "timeout", sent = true } or nil end
      local q = redirect()
      q.configure = function() asked = asked + 1 end
      assert.is_true(select(2, client:link(q)).ambiguous)
      clock.advance(MINUTE_MS)
    end)

    it("never completes it behind the caller's back", function()
      assert.equal(0, assert(client:work()).resumed)
      assert.equal("awaiting", state())
      for _ = 1, 5 do
        clock.advance(DAY_MS)
        assert(client:work())
      end
      assert.equal("awaiting", state())
      assert.equal(0, asked)
      assert.equal(0, ring:count("complete"))
    end)

    it("asks a hook that is registered for it", function()
      local seen = {}
      client:on("configure", function(link) seen[#seen + 1] = link.user end)
      assert.equal(1, assert(client:work()).resumed)
      assert.same({ "user-1" }, seen)
      assert.equal("completed", state())
    end)

    it("leaves it to be completed by hand", function()
      assert(client:work())
      assert.equal("completed", assert(client:complete(client:account("ring-1"))).status)
    end)

    it("leaves it to the same link called again", function()
      assert(client:work())
      local q = redirect()
      q.configure = function() asked = asked + 1 end
      assert.equal("completed", assert(client:link(q)).status)
      assert.equal(1, asked)
    end)
  end)

  it("completes a link without a configure of its own that was interrupted", function()
    start({ max_attempts = 1 })
    offline.grant(client, { state = "unclaimed" })
    ring.on.confirm = function(n) return n == 1 and { error = "timeout", sent = true } or nil end
    assert.is_nil((client:link(redirect())))
    clock.advance(MINUTE_MS)
    assert.equal(1, assert(client:work()).resumed)
    assert.equal("completed", state())
  end)

  describe("with a grant that nobody came for", function()
    before_each(function() start({ max_attempts = 1, unclaimed_max_age_s = TWO_DAYS_S }) end)

    it("whose tokens Ring refuses: the user is told so, and it goes in time", function()
      local key = offline.grant(client, { state = "unclaimed" })
      ring.on.refresh = answers.invalid_grant
      assert.equal("relink_required", select(2, client:account("ring-1"):refresh({ force = true })).code)
      assert.equal("relink", row_of(key).state)
      assert.equal("relink_required", select(2, client:link(redirect())).code)
      clock.advance(TWO_DAYS_S * 1000 - 1)
      assert.equal(0, assert(client:work()).pruned)
      clock.advance(1)
      assert.equal(1, assert(client:work()).pruned)
      assert.is_nil(row_of(key))
    end)

    it("whose owner Ring never told: it goes in time", function()
      local key = offline.grant(client, { state = "identifying" })
      ring.on.me = function() return { status = 500 } end
      for _ = 1, 47 do
        clock.advance(60 * MINUTE_MS)
        assert.equal(0, assert(client:work()).pruned)
      end
      assert.equal("identifying", row_of(key).state)
      local pruned = 0
      for _ = 1, 3 do
        clock.advance(60 * MINUTE_MS)
        pruned = pruned + assert(client:work()).pruned
      end
      assert.equal(1, pruned)
      assert.is_nil(row_of(key))
    end)
  end)

  it("keeps a link that was somebody's and waits to be linked again", function()
    start({ unclaimed_max_age_s = TWO_DAYS_S })
    local key = offline.grant(client, { state = "relink" })
    clock.advance(10 * DAY_MS)
    assert.equal(0, assert(client:work()).pruned)
    assert.equal("relink", row_of(key).state)
  end)
end)
