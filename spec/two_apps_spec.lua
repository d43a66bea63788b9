-- Two apps of one partner, two client_ids, in one SQLite file: each with its own keys, accounts, codes,
-- nonces, events and work; what one does leaves the other's rows as they are.

local answers = require "support.answers"
local deliveries = require "support.deliveries"
local disks = require "support.disk"
local offline = require "support.offline"
local stores = require "support.stores"

local DAY_MS = 24 * 3600 * 1000
local APPS = { "app-one", "app-two" }

describe("two apps in one file", function()
  local path, clock, apps

  --- A client of app n, whose Ring answers in place.
  local function open(n, keys)
    local client = offline.client { client_id = APPS[n], clock = clock, store = "sqlite:" .. path,
      store_key = keys or disks.key(n) }
    local ring = answers.serve(client)
    ring.account = "ring-1"                                 -- the same person uses both
    return { client = client, ring = ring, id = APPS[n] }
  end

  before_each(function()
    path, clock = stores.new_path(), offline.clock()
    apps = { open(1), open(2) }
  end)
  after_each(function()
    for _, app in ipairs(apps) do app.client:close() end
    stores.remove_all()
  end)

  local function rows(app) return stores.raw_rows(path, app.id) end

  local function link(app, code)
    assert(app.client:exchange(code or "one-code"))
    local q = offline.redirect(app.client, app.ring.account)
    q.user = "user-1"
    return assert(app.client:link(q)).account, q
  end

  --- What the first app does leaves the second one's rows as they are, to the byte, and sends nothing.
  local function beside(act)
    local before, sent = rows(apps[2]), #apps[2].ring.calls
    act()
    assert.same(before, rows(apps[2]))
    assert.equal(sent, #apps[2].ring.calls)
  end

  it("use one code, one nonce and one Ring account each for itself", function()
    local q
    beside(function() q = select(2, link(apps[1])) end)
    assert.equal("no_unclaimed_match", select(2, apps[2].client:link(q)).code)
    assert(apps[2].client:exchange("one-code"))
    assert.equal("completed", assert(apps[2].client:link(q)).status)
    for _, app in ipairs(apps) do
      assert.equal(1, app.ring:count("token"))
      assert.equal(1, app.ring:count("confirm"))
      assert.equal("completed", app.client:account("ring-1"):state())
    end
  end)

  describe("that are linked", function()
    local accounts

    before_each(function() accounts = { (link(apps[1])), (link(apps[2])) } end)

    local function one_account(app)
      local count = 0
      for account in app.client:accounts() do
        assert.equal("ring-1", account.id)
        count = count + 1
      end
      assert.equal(1, count)
    end

    it("list and refresh their own", function()
      beside(function()
        one_account(apps[1])
        assert.is_true(accounts[1]:refresh { force = true })
      end)
      assert.equal(0, apps[2].ring:count("refresh"))
    end)

    it("do their own daily work", function()
      clock.advance(DAY_MS)
      beside(function() assert.equal(1, assert(apps[1].client:work()).refreshed) end)
      assert.equal(1, assert(apps[2].client:work()).refreshed)
    end)

    it("hear of one event each, and of a removal of their own", function()
      local event = deliveries.event(apps[1].client, "motion_detected", { request_id = "r1" })
      beside(function() assert.equal("processed", deliveries.send(apps[1].client, event)) end)
      assert.equal("processed", deliveries.send(apps[2].client, event))
      beside(function()
        deliveries.send(apps[1].client, deliveries.event(apps[1].client, "app_integration_removed",
          { time_ms = clock.now_ms() + 1000 }))
      end)
      assert.same({ "unlinked", "completed" }, { (accounts[1]:state()), (accounts[2]:state()) })
    end)

    it("forget their own", function()
      beside(function()
        assert.is_true(accounts[1]:forget())
        assert.equal(0, apps[1].client:forget_user("user-1"))
      end)
      assert.equal("not_found", select(2, accounts[1]:state()).code)
      assert.equal("user-1", assert(accounts[2]:info()).user)
    end)

    it("bring their own under a newer key", function()
      apps[1].client:close()
      apps[1] = open(1, { disks.key(3), disks.key(1) })
      beside(function() assert.is_true(assert(apps[1].client:reseal()) > 0) end)
      apps[1].client:close()
      apps[1] = open(1, disks.key(3))
      assert(apps[1].client:account("ring-1"):access_token())
      assert(accounts[2]:access_token())
    end)

    it("cannot open what is the other's: its key does not fit, nor does the place", function()
      apps[2].client:close()
      apps[2] = open(2, disks.key(1))
      beside(function()
        assert.equal("store_key", select(2, apps[2].client:account("ring-1"):access_token()).code)
      end)
    end)
  end)
end)
