-- What can become of a refresh: refused, unavailable, limited, lost before or after Ring did it.

local json = require "ringlink.json"
local world = require "support.world"

local SECRETS_KEPT = { "access", "refresh", "fingerprint" }

describe("a refresh #network", function()
  local w, clock, client, account

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
    account = w:linked(client).account
  end)

  local function row()
    return client.store:get(account.key)
  end

  local function token()
    return assert(account:access_token()):reveal()
  end

  local function refresh()
    local done, err = account:refresh { force = true }
    assert.is_nil(done)
    return err
  end

  local function fault(fields)
    fields.call = "refresh"
    return w:fault(fields)
  end

  local function processed()
    local count = 0
    for _, one in ipairs(w:journal("refresh")) do
      if one.processed then count = count + 1 end
    end
    return count
  end

  -- The tokens are as they were, and good.
  local function assert_untouched(first)
    assert.equal("completed", account:state())
    assert.equal(first, token())
    assert.is_true(account:refresh { force = true })
    assert.not_equal(first, token())
    assert.equal(2, #assert(account:get("/v1/devices")).data)
  end

  local function assert_lost(err, attempts)
    assert.equal("refresh_outcome_unknown", err.code)
    assert.equal("invalid_grant", err.title)
    assert.is_true(err.ambiguous)
    assert.equal(attempts, err.attempts)
    assert.equal("relink", account:state())
    for _, name in ipairs(SECRETS_KEPT) do assert.is_not_nil(row()[name], name) end
  end

  describe("that is refused without invalid_grant leaves the link alone:", function()
    local refusals = {
      ["invalid_client, 401"] = { status = 401, title = "invalid_client" },
      ["invalid_client, 400"] = { status = 400, title = "invalid_client" },
      ["unsupported_grant_type"] = { status = 401, title = "unsupported_grant_type" },
      ["HTML 400"] = { status = 400, body = "html" },
      ["HTML 401"] = { status = 401, body = "html" },
      ["HTML 403"] = { status = 403, body = "html" },
      ["invalid_grant from a firewall's 403"] = { status = 403, title = "invalid_grant" },
      ["an empty 400"] = { status = 400, body = "empty" },
      ["a truncated 400"] = { status = 400, body = "truncated" },
      ["the text invalid_grant, not JSON"] = { status = 400, body = "raw", raw = "error=invalid_grant" },
    }
    for name, refusal in pairs(refusals) do
      it(name, function()
        local first, marked = token(), 0
        client:on("relink_required", function() marked = marked + 1 end)
        local copy = {}
        for field, value in pairs(refusal) do copy[field] = value end
        fault(copy)
        local err = refresh()
        assert.equal("refresh_failed", err.code)
        assert.equal(refusal.status, err.status)
        assert.is_true(err.retryable)
        assert.equal(1, w:count("refresh"))
        assert.equal(0, marked)
        assert_untouched(first)
      end)
    end
  end)

  it("by a client with a wrong secret leaves the link alone", function()
    local first = token()
    client.options.client_secret = { require("ringlink.core").secret("wrong-secret") }
    local err = refresh()
    assert.equal("refresh_failed", err.code)
    assert.equal("invalid_client", err.title)
    assert.equal("completed", account:state())
    assert.equal(first, token())
  end)

  it("tries the older client secret when Ring does not know the newest yet", function()
    local rotated = w:client { client_secret = { "the-next-secret", world.client_secret } }
    local other = w:linked(rotated, "user-2").account
    assert.is_true(other:refresh { force = true })
    assert.equal(2, w:count("refresh"))
  end)

  describe("whose answer is lost", function()
    it("before Ring did it is repeated", function()
      local first = token()
      fault { drop = "before" }
      assert.is_true(account:refresh { force = true })
      assert.equal(2, w:count("refresh"))
      assert.equal(1, processed())
      assert.not_equal(first, token())
      assert.equal("completed", account:state())
    end)

    it("after Ring did it is repeated once and then tells that nobody knows", function()
      local told = {}
      client:on("relink_required", function(which, err) told[#told + 1] = { which.id, err.code } end)
      fault { drop = "after" }
      assert_lost(refresh(), 2)
      assert.equal(2, w:count("refresh"))
      assert.same({ { account.id, "refresh_outcome_unknown" } }, told)
    end)

    it("comes again when Ring honours the old token for a while", function()
      assert(w.ring:control("variant", { old_refresh = "grace" }))
      local first = token()
      fault { drop = "after" }
      assert.is_true(account:refresh { force = true })
      assert.equal(2, w:count("refresh"))
      assert.not_equal(first, token())
      assert.is_true(account:refresh { force = true })
    end)

    it("twice is not repeated again; the next refusal is in doubt too", function()
      local first = token()
      fault { drop = "after" }
      fault { drop = "before" }
      local err = refresh()
      assert.equal("refresh_failed", err.code)
      assert.is_true(err.ambiguous)
      assert.equal(2, err.attempts)
      assert.equal(2, w:count("refresh"))
      assert.equal("completed", account:state())
      assert.equal(first, token())
      assert_lost(refresh(), 1)
    end)

    it("twice before Ring did it goes on with the old pair", function()
      fault { drop = "before", count = 2 }
      assert.is_true(refresh().ambiguous)
      assert.is_true(account:refresh { force = true })
      fault { status = 400, title = "invalid_grant" }
      assert.equal("relink_required", refresh().code)
    end)

    for _, body in ipairs { "empty", "truncated", "cut", "html" } do
      it("as " .. body .. " body is lost as well", function()
        fault { body = body }
        assert_lost(refresh(), 2)
        assert.equal(2, processed())
      end)
    end

    it("by its size is not asked for again", function()
      fault { body = "huge" }
      local err = refresh()
      assert.equal("refresh_failed", err.code)
      assert.equal("response_too_large", err.cause.code)
      assert.is_true(err.ambiguous)
      assert.equal(1, w:count("refresh"))
      assert_lost(refresh(), 1)
    end)
  end)

  describe("that Ring limits", function()
    it("waits as many seconds as Ring says", function()
      fault { status = 429, retry_after = 7 }
      assert.is_true(account:refresh { force = true })
      assert.is_true(clock.slept_ms >= 7000 and clock.slept_ms < 8000, clock.slept_ms)
      assert.equal(2, w:count("refresh"))
    end)

    it("waits until the date Ring says", function()
      fault { status = 429, retry_after = 9, retry_after_form = "date" }
      assert.is_true(account:refresh { force = true })
      assert.is_true(clock.slept_ms >= 9000 and clock.slept_ms < 11000, clock.slept_ms)
    end)

    it("for longer than there is time fails and says how long", function()
      local first = token()
      fault { status = 429, retry_after = 3600 }
      local err = refresh()
      assert.equal("refresh_failed", err.code)
      assert.equal("rate_limited", err.cause.code)
      assert.equal(3600, err.retry_after)
      assert.equal(1, w:count("refresh"))
      w:pass_time(clock, 3601 * 1000)
      assert_untouched(first)
    end)

    it("after it did the work is in doubt", function()
      fault { status = 429, retry_after = 1, after = true }
      assert_lost(refresh(), 2)
    end)
  end)

  describe("that finds Ring in trouble", function()
    it("is repeated until Ring is well", function()
      fault { status = 500 }
      fault { status = 503, body = "html" }
      fault { status = 502, body = "empty" }
      assert.is_true(account:refresh { force = true })
      assert.equal(4, w:count("refresh"))
    end)

    it("which had done the work is in doubt", function()
      fault { status = 503, after = true }
      assert_lost(refresh(), 2)
    end)

    it("and gives up after five attempts", function()
      local first = token()
      fault { status = 500, count = 5 }
      local err = refresh()
      assert.equal("refresh_failed", err.code)
      assert.equal(5, err.attempts)
      assert.is_true(err.ambiguous)
      assert_untouched(first)
    end)

    it("in its one attempt keeps in mind that Ring may have done it", function()
      local hasty, quick = w:quick_client { max_attempts = 1 }
      local other = w:linked(hasty, "user-2").account
      fault { status = 503, after = true }
      local _, err = other:refresh { force = true }
      assert.equal("refresh_failed", err.code)
      assert.is_true(err.ambiguous)
      w:pass_time(quick, 1000)
      _, err = other:refresh { force = true }
      assert.equal("refresh_outcome_unknown", err.code)
    end)
  end)

  describe("refused in doubt", function()
    before_each(function()
      fault { drop = "after" }
      refresh()
    end)

    it("comes back when Ring accepts the old token after all", function()
      fault { status = 200, body = "raw", raw = json.encode {
        access_token = "late-access-token-0001", refresh_token = "late-refresh-token-0001",
        expires_in = 14400, token_type = "Bearer" } }
      assert.is_true(account:refresh { force = true })
      assert.equal("completed", account:state())
      assert.equal("late-access-token-0001", token())
    end)

    it("stays in doubt when it is refused again", function()
      assert.equal("refresh_outcome_unknown", refresh().code)
    end)
  end)

  describe("of many accounts refused in a row", function()
    local accounts

    before_each(function()
      accounts = {}
      for i = 1, 7 do
        accounts[i] = w:linked(client, "user-" .. i + 1).account
        assert(w.ring:control("unlink", { account = accounts[i].id, webhook = false }))
      end
    end)

    local function codes(first, last)
      local list = {}
      for i = first, last do
        local _, err = accounts[i]:refresh { force = true }
        list[#list + 1] = err.code .. " " .. accounts[i]:state()
      end
      return list
    end

    local OPEN, MARKED = "refresh_circuit_open completed", "relink_required relink"

    it("opens a circuit and marks no further one", function()
      assert.same({ MARKED, MARKED, MARKED, MARKED, OPEN, OPEN, OPEN }, codes(1, 7))
      assert.equal(5, w:count("refresh"))
      local _, err = account:refresh { force = true }
      assert.equal("refresh_circuit_open", err.code)
      assert.is_true(err.retryable)
      assert.equal(2, #assert(account:get("/v1/devices")).data)
      assert.equal(5, w:count("refresh"))
    end)

    it("closes it again when one is accepted", function()
      codes(1, 5)
      w:pass_time(clock, 61000)
      assert.is_true(account:refresh { force = true })
      assert.same({ MARKED, MARKED, MARKED }, codes(5, 7))
    end)

    it("keeps it open while the next try is refused too", function()
      codes(1, 5)
      w:pass_time(clock, 61000)
      assert.same({ OPEN, OPEN }, codes(6, 7))
      assert.equal(6, w:count("refresh"))
      w:pass_time(clock, 61000)
      assert.same({ OPEN }, codes(7, 7))
      assert.equal(6, w:count("refresh"))
    end)

    it("is not opened by one account that is refused again and again", function()
      codes(1, 1)
      for _ = 1, 8 do codes(1, 1) end
      assert.is_true(account:refresh { force = true })
    end)
  end)

  it("gives its lease back, whatever came of it", function()
    local held, taken = w:leases(client)
    assert.is_true(account:refresh { force = true })
    assert.same({ 1, nil }, { #taken, next(held) })
    fault { status = 400, title = "invalid_grant" }
    refresh()
    assert.same({ 2, nil }, { #taken, next(held) })
  end)
end)
