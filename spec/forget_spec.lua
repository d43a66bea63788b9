-- Forgetting an account: everything about them goes, and nothing in flight brings it back.

local core = require "ringlink.core"
local json = require "ringlink.json"
local ringlink = require "ringlink"
local search = require "support.search"
local world = require "support.world"

describe("forget #network", function()
  local w, client, clock, account, install

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
    local link
    link, install = w:linked(client)
    account = link.account
  end)

  local function stored(text) return w:stored(client, text) end

  local function webhook(fields)
    local body = json.encode {
      meta = { version = "1.1", request_id = fields.id or "request-1", account_id = account.id, time = fields.time },
      data = { id = "data-" .. (fields.id or "1"), type = fields.type or "motion_detected" },
    }
    return client:webhook(body, core.hmac_key({ world.hmac_key }):sign(body))
  end

  local function assert_gone()
    local none, err = account:state()
    assert.is_nil(none)
    assert.equal("not_found", err.code)
    assert.is_nil(stored(account.id))
    assert.is_nil(client:accounts()())
  end

  it("leaves nothing of them in the store", function()
    local access = assert(account:access_token()):reveal()
    assert.equal("processed", webhook { id = "before" })
    for _, text in ipairs { account.id, access, "user-1", "u***r@partner.example.com" } do
      assert.is_truthy(stored(text), text)
    end
    assert.is_true(account:forget())
    for _, text in ipairs { account.id, access, "user-1", "u***r@partner.example.com", install.nonce } do
      assert.is_nil(stored(text), text)
    end
    assert_gone()
  end)

  it("answers every later call with not_found, without a request", function()
    assert.is_true(account:forget())
    local before = w:state().requests
    for _, call in ipairs { "access_token", "refresh", "me", "info", "export", "forget" } do
      local none, err = account[call](account)
      assert.is_nil(none, call)
      assert.equal("not_found", err.code)
    end
    local _, err = account:get("/v1/devices")
    assert.equal("not_found", err.code)
    assert.equal(before, w:state().requests)
  end)

  it("is told to the hook audit, with the id masked", function()
    local told = {}
    client:on("audit", function(event) told[#told + 1] = event end)
    assert.is_true(account:forget())
    assert.equal(1, #told)
    assert.equal("forgotten", told[1].what)
    assert.is_nil(search.find(told, account.id))
  end)

  it("is not for another user", function()
    local none, err = client:account(account.id, { user = "user-2" }):forget()
    assert.is_nil(none)
    assert.equal("not_found", err.code)
    assert.equal("completed", account:state())
    assert.is_true(client:account(account.id, { user = "user-1" }):forget())
  end)

  describe("with notify", function()
    it("first pauses the link at Ring", function()
      assert.is_true(account:forget { notify = true })
      assert.equal("awaiting", w:status(account.id))
      assert_gone()
    end)

    it("forgets a link that is paused already", function()
      assert(client:update(account, { status = "awaiting" }))
      assert.is_true(account:forget { notify = true })
      assert.equal("awaiting", w:status(account.id))
      assert_gone()
    end)

    it("forgets an account that was never linked", function()
      account = w:unclaimed(client)
      assert.is_true(account:forget { notify = true })
      assert.is_nil(stored(account.id))
      assert.equal("pending", w:status(account.id))
    end)

    it("forgets nothing when Ring cannot be told", function()
      w:fault { call = "update", status = 500, count = 5 }
      local none, err = account:forget { notify = true }
      assert.is_nil(none)
      assert.equal("ring_error", err.code)
      assert.equal("forget", err.stage)
      assert.equal("completed", account:state())
      assert.is_true(account:forget { notify = true })
    end)

    it("forgets an account that Ring has forgotten itself", function()
      assert(w.ring:control("unlink", { account = account.id, webhook = false, keep_tokens = true }))
      assert.is_true(account:forget { notify = true })
      assert_gone()
    end)
  end)

  describe("while something is in flight:", function()
    local function wait_for(call)
      while w:count(call) == 0 do ringlink.sleep(0.002) end
    end

    it("an exchange does not bring them back", function()
      local again = w:install { account = account.id }
      w:fault { call = "me", delay_ms = 100 }
      local seen = w:count("me")
      local none, err
      ringlink.run(function()
        ringlink.spawn(function() none, err = client:exchange(again.code) end)
        while w:count("me") == seen do ringlink.sleep(0.002) end
        assert.is_true(account:forget())
      end)
      assert.is_nil(none)
      assert.equal("not_found", err.code)
      assert_gone()
      assert.equal("no_unclaimed_match", select(2, client:link(w.redirect_of(again))).code)
    end)

    it("a code that is delivered again does not either", function()
      assert.is_true(account:forget())
      local none, err = client:exchange(install.code)
      assert.is_nil(none)
      assert.equal("exchange_refused", err.code)
      assert.equal("not_found", select(2, account:state()).code)
      assert.is_nil(stored(account.id))
    end)

    it("a refresh does not", function()
      w:fault { call = "refresh", delay_ms = 100 }
      local none, err
      ringlink.run(function()
        ringlink.spawn(function() none, err = account:refresh { force = true } end)
        wait_for("refresh")
        assert.is_true(account:forget())
      end)
      assert.is_nil(none)
      assert.equal("not_found", err.code)
      assert_gone()
    end)

    it("a link does not", function()
      account, install = w:unclaimed(client)
      w:fault { call = "confirm", delay_ms = 100 }
      local seen = w:count("confirm")
      local none, err
      ringlink.run(function()
        ringlink.spawn(function() none, err = client:link(w.redirect_of(install, "user-3")) end)
        while w:count("confirm") == seen do ringlink.sleep(0.002) end
        assert.is_true(account:forget())
      end)
      assert.is_nil(none)
      assert.equal("not_found", err.code)
      assert.is_nil(stored(account.id))
      assert.is_nil(stored("user-3"))
    end)

    it("webhooks are answered and dropped", function()
      local told = 0
      client:on("webhook", function() told = told + 1 end)
      assert.is_true(account:forget())
      for i, kind in ipairs { "motion_detected", "app_integration_added", "app_integration_removed" } do
        assert.equal("processed", webhook { id = "late-" .. i, type = kind })
      end
      assert.equal(0, told)
      assert_gone()
      assert.equal(0, assert(client:work()).events)
    end)

    it("a webhook that waited for its hook is dropped too", function()
      local off = client:on("webhook", function() error("not now") end)
      assert.is_nil((webhook { id = "waiting" }))
      off()
      assert.is_true(account:forget())
      assert.equal(0, assert(client:work()).events)
      assert_gone()
    end)
  end)

  describe("and then", function()
    it("a new install links afresh, and its webhooks count", function()
      assert.is_true(account:forget())
      w:pass_time(clock, 1000)
      local again = w:install { account = account.id }
      assert.equal(account.id, assert(client:exchange(again.code)).id)
      assert.equal("completed", assert(client:link(w.redirect_of(again, "user-2"))).status)
      assert.equal(2, #assert(account:get("/v1/devices")).data)
      local told = 0
      client:on("webhook", function() told = told + 1 end)
      assert.equal("processed", webhook { id = "new" })
      assert.equal(1, told)
    end)

    it("the mark of it goes in time", function()
      assert.is_true(account:forget())
      assert.is_truthy(client.store:find({})[1])
      w:pass_time(clock, 31 * 86400 * 1000)
      assert(client:work())
      assert.is_nil(client.store:find({})[1])
    end)
  end)

  it("takes an account whose owner is not known yet", function()
    w:fault { call = "me", status = 500, count = 5 }
    assert.is_nil((client:exchange(w:install().code)))
    local unknown
    for one in client:accounts { state = "identifying" } do unknown = one end
    assert.is_nil(unknown.id)
    assert.is_true(unknown:forget())
    assert.is_nil(client:accounts { state = "identifying" }())
  end)

  describe("forget_user", function()
    it("forgets all of a user's accounts and no other's", function()
      local second = w:linked(client, "user-1").account
      local other = w:linked(client, "user-2").account
      assert.equal(2, client:forget_user("user-1"))
      for _, gone in ipairs { account, second } do
        assert.equal("not_found", select(2, gone:state()).code)
        assert.is_nil(stored(gone.id))
      end
      assert.equal("completed", other:state())
      assert.equal(0, client:forget_user("user-1"))
    end)

    it("leaves the link of the user who still holds the account", function()
      client:on("reassign", function() return true end)
      w:pass_time(clock, 1000)
      local again = w:install { account = account.id }
      assert(client:exchange(again.code))
      local claim = assert(client:match { nonce = again.nonce, time = again.time })
      assert.equal("awaiting", assert(client:confirm(claim, { user = "user-2" })).status)
      assert.equal(1, client:forget_user("user-2"))
      assert.equal("completed", account:state())
      assert.equal("user-1", assert(account:info()).user)
      assert.is_nil(stored("user-2"))
    end)

    it("refuses what is no user", function()
      for _, user in ipairs { "", 7, "a\0b", ("x"):rep(1024 * 1024) } do
        local none, err = client:forget_user(user)
        assert.is_nil(none)
        assert.equal("invalid_request", err.code)
      end
      local _, err = client:forget_user(nil)
      assert.equal("invalid_request", err.code)
    end)
  end)

  it("is helped by export, which tells what is held and no secret", function()
    local access = assert(account:access_token()):reveal()
    local refresh = client.vault:open(account.key, "refresh", client.store:get(account.key).refresh)
    local held = assert(account:export())
    assert.equal(account.id, held.account.id)
    assert.equal("user-1", held.account.user)
    assert.equal("u***r@partner.example.com", held.account.account_identifier)
    assert.equal("completed", held.grants[1].state)
    for _, secret in ipairs { access, refresh, install.code, install.nonce } do
      assert.is_nil(search.find_opened(held, secret))
    end
    assert.is_string(json.encode(held))
  end)
end)
