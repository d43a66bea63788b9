-- Tokens against the strict sandbox: when they are refreshed, by whom, and what each refusal means.

local ringlink = require "ringlink"
local world = require "support.world"

local LIFETIME_MS = 14400 * 1000
local INTO_EARLY_MS = LIFETIME_MS - 200 * 1000
local INTO_MANDATORY_MS = LIFETIME_MS - 30 * 1000

describe("tokens #network", function()
  local w, clock, client, account

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
    account = w:linked(client).account
  end)

  local function token()
    return assert(account:access_token()):reveal()
  end

  local function refreshes()
    return w:count("refresh")
  end

  local function row()
    return client.store:get(account.key)
  end

  local function heard(name)
    local calls = {}
    client:on(name, function(...) calls[#calls + 1] = { ... } end)
    return calls
  end

  it("are used as they are while they are fresh", function()
    local first = token()
    w:pass_time(clock, 3 * 3600 * 1000)
    assert.equal(first, token())
    assert(account:refresh())
    assert.equal(0, refreshes())
  end)

  it("are refreshed early, once", function()
    local first = token()
    w:pass_time(clock, INTO_EARLY_MS)
    local second = token()
    assert.not_equal(first, second)
    assert.equal(second, token())
    assert.equal(1, refreshes())
  end)

  it("are refreshed early by one task while the others go on with the present one", function()
    local first = token()
    w:pass_time(clock, INTO_EARLY_MS)
    w:fault { call = "refresh", delay_ms = 200 }
    local order = {}
    local function ask(name)
      local got = token()
      order[#order + 1] = { name = name, token = got }
    end
    ringlink.run(function()
      ringlink.spawn(ask, "first")
      ringlink.spawn(ask, "second")
    end)
    assert.equal("second", order[1].name)
    assert.equal(first, order[1].token)
    assert.not_equal(first, order[2].token)
    assert.equal(1, refreshes())
  end)

  it("stay in use when an early refresh fails, which is not tried again at once", function()
    local first, failures = token(), heard("refresh_failed")
    w:pass_time(clock, INTO_EARLY_MS)
    w:fault { call = "refresh", status = 500, count = 5 }
    assert.equal(first, token())
    assert.equal("refresh_failed", failures[1][2].code)
    local tried = refreshes()
    assert.equal(5, tried)
    assert.equal(first, token())
    assert.equal(tried, refreshes())
    w:pass_time(clock, 31000)
    assert.not_equal(first, token())
    assert.equal(tried + 1, refreshes())
    assert.equal(1, #failures)
  end)

  it("must be refreshed in the last minute: a failure surfaces", function()
    local first = token()
    w:pass_time(clock, INTO_MANDATORY_MS)
    w:fault { call = "refresh", status = 500, count = 5 }
    local none, err = account:access_token()
    assert.is_nil(none)
    assert.equal("refresh_failed", err.code)
    assert.equal("refresh", err.stage)
    assert.equal(500, err.status)
    assert.equal(5, err.attempts)
    assert.is_true(err.retryable)
    assert.equal("completed", account:state())
    assert.not_equal(first, token())
  end)

  it("are refreshed when they have expired", function()
    local first = token()
    w:pass_time(clock, LIFETIME_MS + 1000)
    assert.not_equal(first, token())
    assert.equal(2, #assert(account:get("/v1/devices")).data)
    assert.equal(1, refreshes())
  end)

  it("are refreshed when the clock stepped back, but not for a small difference", function()
    local first = token()
    clock.step(-30 * 1000)
    assert.equal(first, token())
    clock.step(-3600 * 1000)
    assert.not_equal(first, token())
    assert.equal(1, refreshes())
  end)

  it("are refreshed once, however many tasks want them", function()
    w:pass_time(clock, LIFETIME_MS + 1000)
    w:fault { call = "refresh", delay_ms = 100 }
    local got = {}
    ringlink.run(function()
      for i = 1, 20 do
        ringlink.spawn(function() got[i] = token() end)
      end
    end)
    assert.equal(20, #got)
    for i = 2, 20 do assert.equal(got[1], got[i]) end
    assert.equal(1, refreshes())
  end)

  it("of different accounts are refreshed side by side and never mixed up", function()
    local accounts, tokens = { account }, {}
    for i = 2, 4 do accounts[i] = w:linked(client, "user-" .. i).account end
    w:pass_time(clock, LIFETIME_MS + 1000)
    ringlink.run(function()
      for i, one in ipairs(accounts) do
        ringlink.spawn(function() tokens[i] = assert(one:access_token()):reveal() end)
      end
    end)
    assert.equal(4, refreshes())
    for i, one in ipairs(accounts) do
      assert.equal(tokens[i], assert(one:access_token()):reveal())
      assert.equal(one.id, assert(one:me()).id)
    end
    assert.equal(4, refreshes())
  end)

  describe("refused by the API", function()
    it("are refreshed and the call is repeated, once", function()
      assert(w.ring:control("expire", { account = account.id }))
      assert.equal(2, #assert(account:get("/v1/devices")).data)
      assert.equal(1, refreshes())
      assert.equal(2, w:count("devices"))
    end)

    it("again after the refresh end in an error", function()
      w:fault { call = "devices", status = 401, count = "always" }
      local none, err = account:get("/v1/devices")
      assert.is_nil(none)
      assert.equal("unauthorized", err.code)
      assert.equal("Invalid Client", err.title)
      assert.is_false(err.retryable)
      assert.equal(1, refreshes())
      assert.equal(2, w:count("devices"))
      assert.equal("completed", account:state())
    end)

    it("for many tasks at once are refreshed once", function()
      assert(w.ring:control("expire", { account = account.id }))
      local good = 0
      ringlink.run(function()
        for _ = 1, 8 do
          ringlink.spawn(function()
            assert(account:get("/v1/devices"))
            good = good + 1
          end)
        end
      end)
      assert.equal(8, good)
      assert.equal(1, refreshes())
    end)

    for _, status in ipairs { 401, 403 } do
      it(("are refreshed after users/me's %d"):format(status), function()
        assert(w.ring:control("variant", { me_refusal = status }))
        assert(w.ring:control("expire", { account = account.id }))
        assert.equal(account.id, assert(account:me()).id)
        assert.equal(1, refreshes())
      end)
    end

    it("are not refreshed for another call's 403", function()
      w:fault { call = "devices", status = 403 }
      local none, err = account:get("/v1/devices")
      assert.is_nil(none)
      assert.equal("forbidden", err.code)
      assert.equal(0, refreshes())
    end)
  end)

  describe("revoked, both of them", function()
    local told

    before_each(function()
      told = heard("relink_required")
      assert(w.ring:control("unlink", { account = account.id, webhook = false }))
    end)

    it("mean that the user must link again; they are kept", function()
      local none, err = account:get("/v1/devices")
      assert.is_nil(none)
      assert.equal("relink_required", err.code)
      assert.equal("invalid_grant", err.title)
      assert.is_nil(err.ambiguous)
      assert.is_false(err.retryable)
      assert.equal("relink", account:state())
      assert.equal(1, #told)
      assert.equal(account.id, told[1][1].id)
      assert.equal("relink_required", told[1][2].code)
      assert.is_not_nil(row().access)
      assert.is_not_nil(row().refresh)
    end)

    it("are not asked for again by themselves", function()
      account:refresh { force = true }
      local tried = w:state().requests
      local none, err = account:access_token()
      assert.is_nil(none)
      assert.equal("relink_required", err.code)
      none, err = account:get("/v1/devices")
      assert.is_nil(none)
      assert.equal("relink_required", err.code)
      assert.equal(tried, w:state().requests)
      assert.equal(1, #told)
    end)

    it("can be tried once more", function()
      account:refresh { force = true }
      local none, err = account:refresh { force = true }
      assert.is_nil(none)
      assert.equal("relink_required", err.code)
      assert.equal(2, refreshes())
      assert.equal(1, #told)
    end)
  end)

  it("bring a relink back when Ring accepts them after all", function()
    local first = token()
    w:fault { call = "refresh", status = 400, title = "invalid_grant" }
    local none, err = account:refresh { force = true }
    assert.is_nil(none)
    assert.equal("relink_required", err.code)
    assert.equal("relink", account:state())
    assert.is_true(account:refresh { force = true })
    assert.equal("completed", account:state())
    assert.not_equal(first, token())
    assert.equal(2, #assert(account:get("/v1/devices")).data)
  end)

  it("that tell no new refresh token keep the old one", function()
    w:fault { call = "refresh", status = 200, body = "raw",
      raw = '{"access_token":"lonely-access-token-000","expires_in":14400,"token_type":"Bearer"}' }
    assert.is_true(account:refresh { force = true })
    assert.equal("lonely-access-token-000", token())
    assert.is_true(account:refresh { force = true })
    assert.equal(2, #assert(account:get("/v1/devices")).data)
  end)

  for _, lifetime in ipairs { "null", '"soon"', "-1", "0", "1e300", "[]" } do
    it("with the lifetime " .. lifetime .. " are used for a short time", function()
      w:fault { call = "refresh", status = 200, body = "raw",
        raw = ('{"access_token":"short-lived","expires_in":%s,"token_type":"Bearer"}'):format(lifetime) }
      assert.is_true(account:refresh { force = true })
      local info = assert(account:info())
      assert.is_true(info.access_expires_ms > clock.now_ms())
      assert.is_true(info.access_expires_ms <= clock.now_ms() + 86400 * 1000)
      assert.equal("expires_in was missing or absurd; a safe lifetime is assumed", w.log[#w.log].message)
    end)
  end

  describe("the hook token_rotated", function()
    it("runs once the new pair is stored", function()
      local first, seen = token(), nil
      client:on("token_rotated", function(rotated)
        seen = { id = rotated.id, token = assert(rotated:access_token()):reveal() }
      end)
      assert(account:refresh { force = true })
      assert.equal(account.id, seen.id)
      assert.not_equal(first, seen.token)
      assert.equal(token(), seen.token)
      assert.equal(1, refreshes())
    end)

    it("may raise without harm", function()
      local first = token()
      client:on("token_rotated", function() error("a mistake of the partner's") end)
      assert.is_true(account:refresh { force = true })
      assert.not_equal(first, token())
      assert.equal(2, #assert(account:get("/v1/devices")).data)
    end)
  end)

  it("are masked when they are printed", function()
    local access = assert(account:access_token())
    assert.is_nil(tostring(access):find(access:reveal(), 1, true))
    assert.is_nil((("%s"):format(tostring(access))):find(access:reveal(), 1, true))
    assert.equal("secret(****)", tostring(access))
  end)
end)
