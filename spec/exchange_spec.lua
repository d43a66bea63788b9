-- From a code to an unclaimed account (contract 3 and 5), as the strict Ring answers it.

local ringlink = require "ringlink"
local world = require "support.world"

local w

describe("exchange #network", function()
  local client, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
  end)

  it("makes an unclaimed account of a code, by one token call and one users/me", function()
    local install = w:install()
    local account = assert(client:exchange(install.code))
    assert.equal(install.account, account.id)
    assert.equal("unclaimed", account:state())
    assert.equal(1, w:count("token"))
    assert.equal(1, w:count("me"))
  end)

  it("says the lifetime Ring gave", function()
    assert(w.ring:control("variant", { expires_in = 7200 }))
    local before = clock.now_ms()
    local info = assert(w:unclaimed(client):info())
    assert.is_true(info.access_expires_ms - before >= 7200000)
    assert.is_true(info.access_expires_ms - clock.now_ms() <= 7200000)
  end)

  -- Codes that do not work ----------------------------------------------------------------------

  it("refuses an expired code and leaves a failed grant", function()
    local install = w:install()
    assert(w.ring:control("clock", { advance_ms = 61000 }))
    local account, err = client:exchange(install.code)
    assert.is_nil(account)
    assert.equal("exchange_refused", err.code)
    assert.equal("exchange", err.stage)
    assert.equal(400, err.status)
    assert.equal("invalid_grant", err.title)
    assert.is_nil(err.ambiguous)
    assert.is_false(err.retryable)
    assert.equal(1, w:count("token"))
  end)

  it("refuses a code that another process has used", function()
    local install = w:install()
    assert(client:exchange(install.code))
    local _, err = w:quick_client():exchange(install.code)
    assert.equal("exchange_refused", err.code)
    assert.equal("invalid_grant", err.title)
  end)

  it("refuses a code Ring never gave, and says the same again without a call, wherever it is asked", function()
    local _, first = client:exchange("not-a-code")
    assert.equal("Ring refused the authorization code (HTTP 400, invalid_grant, unknown code): the code was used "
      .. "before, is over a minute old or another app's; the user must remove and reconnect the app in the Ring app",
      first.message)
    for _, other in ipairs { client, (w:client_beside(client)) } do
      local _, second = other:exchange("not-a-code")
      assert.same({ "exchange_refused", "exchange", 400, "invalid_grant" },
        { second.code, second.stage, second.status, second.title })
      assert.equal((first.message:gsub(", unknown code", "")), second.message)
      assert.is_false(second.retryable)
    end
    assert.equal(1, w:count("token"))
  end)

  it("says of a code that an earlier version saw refused what that version kept", function()
    local _, first = client:exchange("not-a-code")
    local entry = client.store:find({ state = "failed" })[1]
    local row, version = client.store:get(entry.key)
    assert.equal("invalid_grant", row.failure_title)
    row.failure_stage, row.failure_status, row.failure_title = nil, nil, nil
    assert(client.store:put_if(entry.key, row, version))
    local _, second = client:exchange("not-a-code")
    assert.same({ first.code, "exchange" }, { second.code, second.stage })
    assert.is_nil(second.status)
    assert.truthy(second.message:find("^Ring refused the authorization code: exchange codes at once"), second.message)
  end)

  it("says of a code that nobody could use in time that its time had passed, and says so again", function()
    local install = w:install()
    w:fault { call = "token", status = 401 }
    assert.equal("invalid_client", select(2, client:exchange(install.code)).title)
    w:pass_time(clock, 61000)
    for _ = 1, 2 do
      local _, err = client:exchange(install.code)
      assert.same({ "exchange_refused", "exchange", false }, { err.code, err.stage, err.retryable })
      assert.truthy(err.message:find("^Ring refused the authorization code %(the code's time had passed%): "
        .. "exchange codes at once; check client_id and client_secret"), err.message)
      assert.is_nil(err.status)
    end
    assert.equal(1, w:count("token"))
  end)

  it("does not send a code that was put off past its 60 seconds", function()
    local install = w:install()
    w:fault { call = "token", count = "always", status = 503 }
    local _, first = client:exchange(install.code)
    assert.equal("ring_error", first.code)
    local sent = w:count("token")
    clock.advance(61000)
    local _, late = client:exchange(install.code)
    assert.equal("exchange_outcome_unknown", late.code)
    assert.equal(sent, w:count("token"))
  end)

  -- Delivered more than once --------------------------------------------------------------------

  it("uses a code that is delivered twice at once one time, and gives both the account", function()
    local install = w:install()
    local accounts = {}
    ringlink.run(function()
      for i = 1, 2 do
        ringlink.spawn(function() accounts[i] = assert(client:exchange(install.code)) end)
      end
    end)
    assert.equal(install.account, accounts[1].id)
    assert.equal(install.account, accounts[2].id)
    assert.equal(1, w:count("token"))
    assert.equal(1, w:count("me"))
  end)

  it("answers a code that is delivered again after success from the store", function()
    local account, install = w:unclaimed(client)
    local again = assert(client:exchange(install.code))
    assert.equal(account.id, again.id)
    assert.equal("unclaimed", again:state())
    assert.equal(1, w:count("token"))
  end)

  it("makes a grant of each of two codes of one account", function()
    local codes = assert(w.ring:control("codes", { count = 2 }))
    local first = assert(client:exchange(codes.codes[1]))
    clock.advance(1000)
    local second = assert(client:exchange(codes.codes[2]))
    assert.equal(first.id, second.id)
    assert.equal(2, #assert(second:export()).grants)
  end)

  -- Credentials ---------------------------------------------------------------------------------

  it("tells invalid_client from invalid_grant: the code is kept and works once it is put right", function()
    local install = w:install()
    w:fault { call = "token", status = 401, title = "invalid_client" }
    local _, err = client:exchange(install.code)
    assert.equal("exchange_refused", err.code)
    assert.equal("invalid_client", err.title)
    assert.equal(401, err.status)
    assert.is_nil(err.ambiguous)
    assert.equal(install.account, assert(client:exchange(install.code)).id)
  end)

  it("says invalid_client for a wrong secret, without using the code up", function()
    local install = w:install()
    local _, err = w:quick_client({ client_secret = "wrong" }):exchange(install.code)
    assert.equal("exchange_refused", err.code)
    assert.equal("invalid_client", err.title)
    assert.equal(install.account, assert(client:exchange(install.code)).id)
  end)

  it("tries an older client_secret when Ring does not know the newest", function()
    local rotating = w:quick_client { client_secret = { "not-known-yet", world.client_secret } }
    assert.equal("unclaimed", w:unclaimed(rotating):state())
    assert.equal(2, w:count("token"))
  end)

  it("does not touch the older secret while the newest works", function()
    w:unclaimed((w:quick_client { client_secret = { world.client_secret, "retired" } }))
    assert.equal(1, w:count("token"))
  end)

  it("says the title of an unsupported_grant_type, as it was seen live with 401", function()
    local install = w:install()
    w:fault { call = "token", status = 401, title = "unsupported_grant_type" }
    local _, err = client:exchange(install.code)
    assert.equal("exchange_refused", err.code)
    assert.equal("unsupported_grant_type", err.title)
    assert.equal(401, err.status)
    assert.equal(1, w:count("token"))
  end)

  -- users/me ------------------------------------------------------------------------------------

  for _, refusal in ipairs { 403, 401 } do
    it(("refreshes once when users/me answers %d"):format(refusal), function()
      w:fault { call = "me", status = refusal }
      assert.equal("unclaimed", w:unclaimed(client):state())
      assert.equal(1, w:count("refresh"))
      assert.equal(2, w:count("me"))
    end)
  end

  it("keeps the pair when users/me goes on refusing, and exchange goes on from there", function()
    local install = w:install()
    w:fault { call = "me", status = 403, count = 2 }
    local _, err = client:exchange(install.code)
    assert.equal("forbidden", err.code)
    assert.equal("identify", err.stage)
    assert.equal(1, w:count("refresh"))
    assert.equal(install.account, assert(client:exchange(install.code)).id)
    assert.equal(1, w:count("token"))
  end)

  it("repeats users/me after a 500", function()
    w:fault { call = "me", status = 500, count = 2 }
    assert.equal("unclaimed", w:unclaimed(client):state())
    assert.equal(3, w:count("me"))
    assert.equal(0, w:count("refresh"))
  end)

  it("leaves it to work when users/me is down for long", function()
    local install = w:install()
    w:fault { call = "me", status = 500, count = 5 }
    local _, err = client:exchange(install.code)
    assert.equal("ring_error", err.code)
    assert.equal(500, err.status)
    assert.is_true(err.retryable)
    w:pass_time(clock, 61000)
    local report = assert(client:work())
    assert.equal(1, report.resumed)
    assert.equal("unclaimed", client:account(install.account):state())
    assert.equal(1, w:count("token"))
  end)

  it("fails a grant whose user Ring does not know", function()
    local install = w:install()
    w:fault { call = "me", status = 404 }
    local _, err = client:exchange(install.code)
    assert.same({ "not_found", "identify", 404, "Not Found" }, { err.code, err.stage, err.status, err.title })
    local _, again = client:exchange(install.code)
    assert.same({ "not_found", "identify", 404, "Not Found" }, { again.code, again.stage, again.status, again.title })
    assert.equal((err.message:gsub(", ordered by a fault", "")), again.message)
    assert.equal(1, w:count("me"))
  end)

  it("gives a typed error when data.id is missing, and asks again next time", function()
    local install = w:install()
    w:fault { call = "me", body = "raw", raw = '{"data":{"type":"users","attributes":{}}}' }
    local _, err = client:exchange(install.code)
    assert.same({ "bad_response", "identify", 200 }, { err.code, err.stage, err.status })
    assert.truthy(err.message:find("(HTTP 200, no data.id that is text)", 1, true), err.message)
    assert.equal(install.account, assert(client:exchange(install.code)).id)
    assert.equal(1, w:count("token"))
  end)

  for said, fault in pairs {
    ["no JSON but text/html"] = { body = "html" },
    ["no JSON but text/plain"] = { body = "raw", raw = "short-secret", content_type = "text/plain" },
    ["an empty body"] = { body = "empty" },
    ["unusable JSON: null"] = { body = "raw", raw = "null" },
    ["unusable JSON: neither an object nor an array"] = { body = "raw", raw = '"short-secret"' },
    ["unusable JSON: Expected [%w ]+ at character %d+"] = { body = "raw", raw = '{"data":"short-secret' },
  } do
    it("says what is wrong with an answer of users/me that cannot be read: " .. said, function()
      fault.call, fault.status = "me", fault.body == "raw" and 200 or nil
      w:fault(fault)
      local _, err = w:quick_client({ max_attempts = 1 }):exchange(w:install().code)
      assert.same({ "bad_response", "identify", 200 }, { err.code, err.stage, err.status })
      assert.truthy(err.message:find("^the answer could not be understood %(HTTP 200, " .. said .. "%): try again; "),
        err.message)
      assert.is_nil(tostring(err):find("short-secret", 1, true))
    end)
  end
end)
