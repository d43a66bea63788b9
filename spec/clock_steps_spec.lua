-- A wall clock that is set by an hour, forth or back, under a running client, and two processes whose
-- clocks differ by one: tokens, leases, due times, redirects and webhooks. Ring's clock goes on as before.

local core = require "ringlink.core"
local json = require "ringlink.json"
local ringlink = require "ringlink"
local world = require "support.world"

local HOUR_MS = 3600 * 1000
local DAY_MS = 24 * HOUR_MS
local LIFETIME_MS = 4 * HOUR_MS
local ROUNDS = 5

describe("a wall clock set by an hour #network", function()
  local w, client, clock, account

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
    account = w:linked(client).account
  end)

  local function token_of(one) return assert(one:account(account.id):access_token()):reveal() end

  --- The same machine's clock, but for the wall clock, which differs.
  local function apart(by_ms)
    local other = {}
    for name, fn in pairs(clock) do other[name] = fn end
    function other.now_ms() return clock.now_ms() + by_ms end
    return other
  end

  local function works(one)
    assert.equal(2, #assert(one:account(account.id):get("/v1/devices")).data)
  end

  describe("leaves tokens", function()
    it("as they are when it goes forth within their life", function()
      local before = token_of(client)
      clock.step(HOUR_MS)
      assert.equal(before, token_of(client))
      assert.equal(0, w:count("refresh"))
    end)

    it("refreshed once when it goes back, and then as they are", function()
      local before = token_of(client)
      clock.step(-HOUR_MS)
      local after = token_of(client)
      assert.not_equal(before, after)
      for _ = 1, ROUNDS do assert.equal(after, token_of(client)) end
      works(client)
      assert.equal(1, w:count("refresh"))
    end)

    it("refreshed once, however often it goes back and forth", function()
      for _ = 1, ROUNDS do
        clock.step(-HOUR_MS)
        token_of(client)
        clock.step(HOUR_MS)
        token_of(client)
      end
      assert.equal(1, w:count("refresh"))
    end)

    it("refreshed once when their end is passed by it", function()
      w:pass_time(clock, LIFETIME_MS - HOUR_MS)
      token_of(client)
      assert.equal(0, w:count("refresh"))
      clock.step(HOUR_MS)
      for _ = 1, ROUNDS do token_of(client) end
      assert.equal(1, w:count("refresh"))
    end)

    it("usable when Ring's clock says that they are over: the call is made once more", function()
      w:pass_time(clock, LIFETIME_MS - HOUR_MS - 600000)
      clock.step(-HOUR_MS + 60000)
      assert(w.ring:control("clock", { advance_ms = HOUR_MS + 600000 }))
      works(client)
      assert.equal(1, w:count("refresh"))
    end)
  end)

  for name, by_ms in pairs { ahead = HOUR_MS, behind = -HOUR_MS } do
    describe(("in one of two processes, %s,"):format(name), function()
      local other

      before_each(function() other = w:client_beside(client, { clock = apart(by_ms) }) end)

      it("has both use one pair, without refreshing in turn", function()
        for _ = 1, ROUNDS do
          token_of(client)
          works(other)
          works(client)
        end
        assert.equal(token_of(client), token_of(other))
        assert.is_true(w:count("refresh") <= 1)
      end)

      it("takes over no lease: a refresh under way is waited for", function()
        w:pass_time(clock, LIFETIME_MS + HOUR_MS)
        w:fault { call = "refresh", delay_ms = 100 }
        local tokens = {}
        ringlink.run(function()
          for i, one in ipairs { client, other } do
            ringlink.spawn(function() tokens[i] = token_of(one) end)
          end
        end)
        assert.equal(tokens[1], tokens[2])
        assert.is_true(w:count("refresh") <= 2)           -- one for the pair, one for a clock that is behind it
        for _, row in ipairs(w:journal("refresh")) do assert.equal(200, row.status) end
      end)

      it("has each account refreshed once a day between them", function()
        for _ = 1, 3 do
          w:pass_time(clock, DAY_MS)
          assert(client:work())
          assert(other:work())
          assert(client:work())
        end
        assert.is_true(w:count("refresh") <= 4, tostring(w:count("refresh")))
        assert.is_true(w:count("refresh") >= 3)
        assert.equal("completed", account:state())
      end)
    end)
  end

  describe("moves what is due", function()
    it("by that hour only, whichever way", function()
      local due_s = assert(client:work()).next_due_s
      for _, by_ms in ipairs { HOUR_MS, -2 * HOUR_MS, HOUR_MS } do
        clock.step(by_ms)
        due_s = due_s - by_ms / 1000
        local report = assert(client:work())
        assert.equal(0, report.refreshed + report.refresh_failed)
        assert.is_true(math.abs(report.next_due_s - due_s) < 60)
      end
    end)

    it("but not for ever: what was put off is done an hour later at most", function()
      w:pass_time(clock, DAY_MS)
      w:fault { call = "refresh", status = 500, count = 5 }
      assert.equal(1, assert(client:work()).refresh_failed)
      clock.step(-HOUR_MS)
      local again = assert(client:work())
      assert.equal(0, again.refreshed)
      assert.is_true(again.next_due_s <= (HOUR_MS + 120000) / 1000)
      w:pass_time(clock, again.next_due_s * 1000)
      assert.equal(1, assert(client:work()).refreshed)
    end)
  end)

  describe("meets a redirect", function()
    local install

    before_each(function() install = select(2, w:unclaimed(client)) end)

    it("as too old when it is ahead, says by how much, and what to look at", function()
      clock.step(HOUR_MS)
      local _, err = client:link(w.redirect_of(install))
      assert.equal("link_expired", err.code)
      assert.is_true(math.abs(err.difference_ms - HOUR_MS) < 60000)
      assert.truthy(err.message:find("it is 360%d%.%d s old, 600 s are allowed"), err.message)
      assert.truthy(err.message:find("check the clock", 1, true), err.message)
    end)

    it("as one of the future when it is behind, says by how much, and what to look at", function()
      clock.step(-HOUR_MS)
      local _, err = client:link(w.redirect_of(install))
      assert.equal("link_in_future", err.code)
      assert.is_true(math.abs(math.abs(err.difference_ms) - HOUR_MS) < 60000)
      assert.truthy(err.message:find("it lies 3%d%d%d%.%d s ahead of this clock"), err.message)
      assert.truthy(err.message:find("synchronise the clock", 1, true), err.message)
    end)

    for name, by_ms in pairs { ahead = HOUR_MS, behind = -HOUR_MS } do
      it(("of which nothing was used up while it was %s: set right, it links"):format(name), function()
        clock.step(by_ms)
        assert.is_nil((client:link(w.redirect_of(install))))
        assert.equal(1, w:count("confirm"))               -- the one of before_each
        clock.step(-by_ms)
        assert.equal("completed", assert(client:link(w.redirect_of(install))).status)
      end)
    end
  end)

  describe("meets webhooks", function()
    local function deliver(kind, at_ms, id)
      local time = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(at_ms / 1000))
      local body = json.encode { meta = { version = "1.1", time = time, request_id = id, account_id = account.id },
        data = { id = "data-" .. id, type = kind } }
      return client:webhook(body, core.hmac_key { world.hmac_key }:sign(body))
    end

    for name, by_ms in pairs { ahead = HOUR_MS, behind = -HOUR_MS } do
      it(("when it is %s: each is acted on, and once"):format(name), function()
        local told, now_ms = 0, clock.now_ms()
        client:on("webhook", function() told = told + 1 end)
        clock.step(by_ms)
        assert.equal("processed", deliver("motion_detected", now_ms, "r1"))
        clock.step(-by_ms)
        assert.equal("duplicate", deliver("motion_detected", now_ms, "r1"))
        assert.equal(1, told)
      end)

      it(("of a removal when it was %s at the exchange: Ring's times are compared with Ring's"):format(name), function()
        local now_ms = clock.now_ms()
        clock.step(by_ms)
        account = w:unclaimed(client)
        assert.equal("processed", deliver("app_integration_removed", now_ms - 600000, "before the grant"))
        assert.equal("unclaimed", account:state())
        assert.equal("processed", deliver("app_integration_removed", now_ms + 1000, "after it"))
        assert.equal("unlinked", account:state())
      end)
    end

    it("when it is behind, and a hook fails: the event is tried again an hour later at most", function()
      local failing, told = true, 0
      client:on("webhook", function()
        if failing then error("not yet") end
        told = told + 1
      end)
      assert.is_nil((deliver("motion_detected", clock.now_ms(), "r1")))
      clock.step(-HOUR_MS)
      failing = false
      clock.advance(HOUR_MS + 120000)
      assert.equal(1, assert(client:work()).events)
      assert.equal(1, told)
    end)
  end)
end)
