-- A closed client: it waits for what must not be cut off, and answers `closed` afterwards.

local json = require "ringlink.json"
local ringlink = require "ringlink"
local world = require "support.world"

describe("close #network", function()
  local w, client, account, install

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client = w:quick_client()
    local link
    link, install = w:linked(client)
    account = link.account
  end)

  local function webhook_body()
    return json.encode { meta = { request_id = "r-1", account_id = account.id }, data = { type = "motion_detected" } }
  end

  describe("makes every call answer `closed`:", function()
    local CALLS = {
      exchange = function() return client:exchange("a-code") end,
      match = function() return client:match { nonce = install.nonce, time = install.time } end,
      confirm = function()
        return client:confirm({ account = account, nonce = install.nonce, time = install.time }, { user = "user-1" })
      end,
      update = function() return client:update(account, { status = "awaiting" }) end,
      complete = function() return client:complete(account) end,
      link = function() return client:link(w.redirect_of(install)) end,
      work = function() return client:work() end,
      webhook = function() return client:webhook(webhook_body(), "sha256=") end,
      forget_user = function() return client:forget_user("user-1") end,
      state = function() return account:state() end,
      info = function() return account:info() end,
      access_token = function() return account:access_token() end,
      refresh = function() return account:refresh { force = true } end,
      request = function() return account:request { path = "/v1/devices" } end,
      get = function() return account:get("/v1/devices") end,
      me = function() return account:me() end,
      export = function() return account:export() end,
      forget = function() return account:forget() end,
      ["another handle"] = function() return client:account(account.id):state() end,
    }
    for name, call in pairs(CALLS) do
      it(name, function()
        client:close()
        local before = w:state().requests
        local none, err = call()
        assert.is_nil(none)
        assert.equal("closed", err and err.code)
        assert.is_false(err.retryable)
        assert.equal(before, w:state().requests)
      end)
    end

    for name, iterate in pairs {
      accounts = function() return client:accounts() end,
      pages = function() return account:pages("/v1/devices") end,
    } do
      it(name .. ", by raising", function()
        client:close()
        local ok, err = pcall(function() return iterate()() end)
        assert.is_false(ok)
        assert.equal("closed", err.code)
      end)
    end
  end)

  for _, hook in ipairs { "matched", "before_confirm", "configure", "before_complete", "completed" } do
    it("in " .. hook .. " makes the link it belongs to answer `closed`", function()
      client:on(hook, function() client:close() end)
      local other = w:install()
      assert(client:exchange(other.code))
      local link, err = client:link(w.redirect_of(other))
      assert.is_nil(link)
      assert.equal("closed", err.code)
    end)
  end

  it("may be called again", function()
    client:close()
    client:close()
    assert.equal("ringlink.client(production)", tostring(client))
    assert.is_table(client:metrics())
  end)

  it("before anything was done opens nothing", function()
    local idle = w:client()
    idle:close()
    local _, err = idle:exchange("a-code")
    assert.equal("closed", err.code)
  end)

  it("waits for a refresh that has begun", function()
    w:fault { call = "refresh", delay_ms = 100 }
    local rotated
    client:on("token_rotated", function() rotated = true end)
    ringlink.run(function()
      local task = ringlink.spawn(function() return account:refresh { force = true } end)
      while w:count("refresh") == 0 do ringlink.sleep(0.002) end
      assert.is_false(task.done)
      client:close()
    end)
    assert.is_true(rotated)
    assert.equal(200, w:journal("refresh")[1].status)
  end)

  it("waits for several sections, and for what they begin", function()
    local other = w:linked(client, "user-2").account
    local codes = { w:install().code, w:install().code }
    w:fault { call = "refresh", delay_ms = 60, count = 2 }
    w:fault { call = "token", delay_ms = 60, count = 2 }
    ringlink.run(function()
      for _, one in ipairs { account, other } do
        ringlink.spawn(function() one:refresh { force = true } end)
      end
      for _, code in ipairs(codes) do
        ringlink.spawn(function() client:exchange(code) end)
      end
      while w:count("refresh") + w:count("token") < 6 do ringlink.sleep(0.002) end
      client:close()
      assert.is_nil(next(client.flights))
    end)
    for _, row in ipairs(w:journal()) do assert.equal(200, row.status, row.call) end
  end)

  it("does not wait for another process, which may have died", function()
    client.store:lease("refresh/" .. assert(account:grant()).key, "another", 60000)
    local asked, lease, err = false, client.store.lease, nil
    client.store.lease = function(...)
      asked = true
      return lease(...)
    end
    ringlink.run(function()
      ringlink.spawn(function()
        local _
        _, err = account:refresh { force = true }
      end)
      while not asked do ringlink.sleep(0.002) end
      client:close()
    end)
    assert.equal("closed", err.code)
    assert.equal(0, w:count("refresh"))
  end)

  it("cancels a plain request that waits", function()
    w:fault { call = "devices", delay_ms = 5000 }
    local err
    ringlink.run(function()
      ringlink.spawn(function()
        local _
        _, err = account:get("/v1/devices")
      end)
      while w:count("devices") == 0 do ringlink.sleep(0.002) end
      client:close()
    end)
    assert.equal("cancelled", err.code)
  end)
end)
