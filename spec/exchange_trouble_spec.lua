-- The token call in trouble (contract 3, 4 and 8; design "Ambiguity"): answers lost, refused for a
-- while, or not to be read.

local world = require "support.world"

local w

local RAW = [[{"access_token":"raw-access","refresh_token":"raw-refresh","token_type":"Bearer"%s}]]

describe("exchange in trouble #network", function()
  local client, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
  end)

  local function exchange(given)
    local install = w:install()
    local account, err = (given or client):exchange(install.code)
    return account, err, install
  end

  -- Lost answers --------------------------------------------------------------------------------

  it("repeats once when the answer was lost before Ring did anything", function()
    w:fault { call = "token", drop = "before" }
    local attempts = w:attempts(client, "exchange")
    local account, _, install = exchange()
    assert.equal(install.account, account.id)
    assert.equal(2, attempts.n)
    assert.equal(2, w:count("token"))
  end)

  it("says exchange_outcome_unknown when the tokens were lost on the way", function()
    w:fault { call = "token", drop = "after" }
    local attempts = w:attempts(client, "exchange")
    local account, err, install = exchange()
    assert.is_nil(account)
    assert.equal("exchange_outcome_unknown", err.code)
    assert.is_true(err.ambiguous)
    assert.equal(2, err.attempts)
    assert.equal(2, attempts.n)
    assert.equal(2, w:count("token"))
    local _, again = client:exchange(install.code)
    assert.equal("exchange_outcome_unknown", again.code)
    assert.is_true(again.ambiguous)
    assert.equal(2, w:count("token"))
  end)

  it("repeats once only, and goes on later when it is asked again", function()
    w:fault { call = "token", drop = "before", count = 2 }
    local account, err, install = exchange()
    assert.is_nil(account)
    assert.equal("network", err.code)
    assert.is_true(err.ambiguous)
    assert.is_true(err.retryable)
    assert.equal(2, w:count("token"))
    assert.equal(install.account, assert(client:exchange(install.code)).id)
  end)

  it("remembers over a later attempt that tokens may have been lost", function()
    w:fault { call = "token", drop = "after" }
    w:fault { call = "token", drop = "before" }
    local _, first, install = exchange()
    assert.equal("network", first.code)
    local _, second = client:exchange(install.code)
    assert.equal("exchange_outcome_unknown", second.code)
    assert.is_true(second.ambiguous)
  end)

  it("finishes a lost exchange by work, while the code is still alive", function()
    local quick, time = w:quick_client { deadline_ms = 20000 }
    w:fault { call = "token", drop = "before", count = 2 }
    local _, _, install = exchange(quick)
    w:pass_time(time, 25000)
    assert.equal(1, assert(quick:work()).resumed)
    assert.equal("unclaimed", quick:account(install.account):state())
  end)

  -- 429 and 5xx ---------------------------------------------------------------------------------

  it("waits as long as Retry-After says in seconds", function()
    w:fault { call = "token", status = 429, retry_after = 7 }
    assert(exchange())
    assert.is_true(clock.slept_ms >= 7000)
    assert.equal(2, w:count("token"))
  end)

  it("waits until the date that Retry-After gives", function()
    w:fault { call = "token", status = 429, retry_after = 9, retry_after_form = "date" }
    assert(exchange())
    assert.is_true(clock.slept_ms >= 9000)
    assert.is_true(clock.slept_ms < 20000)
    assert.equal(2, w:count("token"))
  end)

  it("does not wait longer than the code lives: says how long Ring asked for", function()
    w:fault { call = "token", status = 429, retry_after = 120 }
    local account, err = exchange()
    assert.is_nil(account)
    assert.equal("rate_limited", err.code)
    assert.equal(120, err.retry_after)
    assert.is_true(err.retryable)
    assert.equal(0, clock.slept_ms)
    assert.equal(1, w:count("token"))
  end)

  for _, status in ipairs { 429, 500, 502, 503 } do
    it(("repeats after a %d that came before processing"):format(status), function()
      w:fault { call = "token", status = status, count = 2 }
      local account, _, install = exchange()
      assert.equal(install.account, account.id)
      assert.equal(3, w:count("token"))
    end)

    it(("says exchange_outcome_unknown after a %d that hid the tokens"):format(status), function()
      w:fault { call = "token", status = status, after = true }
      local _, err = exchange()
      assert.equal("exchange_outcome_unknown", err.code)
      assert.is_true(err.ambiguous)
    end)

    it(("remembers a %d that hid the tokens when no attempt was left"):format(status), function()
      local once = w:quick_client { max_attempts = 1 }
      w:fault { call = "token", status = status, after = true }
      local _, first, install = exchange(once)
      assert.equal(status, first.status)
      assert.is_true(first.ambiguous)
      local _, second = once:exchange(install.code)
      assert.equal("exchange_outcome_unknown", second.code)
      assert.is_true(second.ambiguous)
    end)
  end

  it("makes no more than max_attempts attempts", function()
    w:fault { call = "token", status = 503, count = "always" }
    local _, err = exchange((w:quick_client { max_attempts = 3 }))
    assert.equal("ring_error", err.code)
    assert.equal(503, err.status)
    assert.equal(3, err.attempts)
    assert.equal(3, w:count("token"))
  end)

  -- Bodies --------------------------------------------------------------------------------------

  for _, body in ipairs { "html", "truncated", "cut", "empty" } do
    it(("counts a 200 with a body that is %s as lost"):format(body), function()
      w:fault { call = "token", body = body }
      local _, err = exchange()
      assert.equal("exchange_outcome_unknown", err.code)
      assert.is_true(err.ambiguous)
      assert.equal(2, w:count("token"))
    end)
  end

  it("repeats after a proxy's HTML with 502", function()
    w:fault { call = "token", status = 502, body = "html" }
    local account, _, install = exchange()
    assert.equal(install.account, account.id)
  end)

  it("does not take a firewall's HTML for Ring's refusal, and keeps the code", function()
    for _, status in ipairs { 302, 400, 401, 403, 404 } do
      w:fault { call = "token", status = status, body = "html" }
      local _, err, install = exchange()
      assert.same({ "bad_response", status, true }, { err.code, err.status, err.retryable })
      assert.is_nil(err.title)
      assert.is_nil(err.ambiguous)
      assert.equal(install.account, assert(client:exchange(install.code)).id)
    end
  end)

  it("keeps the code when the credentials are wrong, and says that it may be used again", function()
    w:fault { call = "token", status = 401 }
    local _, err, install = exchange()
    assert.same({ "exchange_refused", 401, true }, { err.code, err.status, err.retryable })
    assert.equal("Ring refused the authorization code (HTTP 401, invalid_client, ordered by a fault): check "
      .. "client_id and client_secret, then exchange the same code again within its 60 s", err.message)
    assert.is_nil(err.ambiguous)
    assert.equal(install.account, assert(client:exchange(install.code)).id)
  end)

  it("keeps in mind, whatever comes next, that tokens may be lost", function()
    for _, fault in ipairs { { body = "html" }, {}, { title = "unsupported_grant_type" } } do
      w:fault { call = "token", drop = "before", count = 2 }
      local _, first, install = exchange()
      assert.is_true(first.ambiguous)
      w:fault { call = "token", status = 401, body = fault.body, title = fault.title }
      local _, second = client:exchange(install.code)
      assert.equal(401, second.status)
      assert.is_true(second.ambiguous)
      assert.equal(install.account, assert(client:exchange(install.code)).id)
    end
  end)

  it("shows what Ring said of a code that it refuses", function()
    local _, err = client:exchange("never-minted")
    assert.truthy(err.message:find("(HTTP 400, invalid_grant, ", 1, true), err.message)
  end)

  it("does not take a body larger than response_bytes_max, and tells that tokens may be lost", function()
    w:fault { call = "token", body = "huge" }
    local _, err, install = exchange()
    assert.equal("response_too_large", err.code)
    assert.equal("the answer is larger than allowed (the limit is 262144 bytes): check proxies in between",
      err.message)
    assert.is_true(err.ambiguous)
    assert.equal(1, w:count("token"))
    local _, again = client:exchange(install.code)
    assert.equal("exchange_outcome_unknown", again.code)
  end)

  it("counts tokens that cannot be used as lost", function()
    for _, raw in ipairs {
      "[]", "null", '"text"', "{}", '{"access_token":"only"}', '{"access_token":"a","refresh_token":7}',
      '{"access_token":"two words","refresh_token":"r"}', '{"access_token":"a","refresh_token":"r","token_type":"mac"}',
      '{"access_token":"","refresh_token":"r"}',
    } do
      w:fault { call = "token", status = 200, body = "raw", raw = raw, count = 2 }
      local account, err = exchange()
      assert.is_nil(account, raw)
      assert.equal("bad_response", err.code, raw)
      assert.is_true(err.ambiguous, raw)
    end
  end)

  it("says what is wrong with tokens that cannot be read, without a piece of them", function()
    w:fault { call = "token", status = 200, body = "raw", raw = '{"access_token":"short-secret', count = 2 }
    local _, err = exchange()
    assert.truthy(err.message:find("(HTTP 200, unusable JSON: Expected ", 1, true), err.message)
    assert.is_nil(tostring(err):find("short-secret", 1, true))
  end)

  it("tells that tokens may be lost when the local limit leaves no turn for the repeat", function()
    local slow, time = w:quick_client { rate_limit_per_s = 0.01 }
    w:fault { call = "token", drop = "after" }
    local _, err, install = exchange(slow)
    assert.equal("rate_limited", err.code)
    assert.is_true(err.ambiguous)
    assert.equal(1, w:count("token"))
    time.advance(100000)
    local _, again = slow:exchange(install.code)
    assert.equal("exchange_outcome_unknown", again.code)
  end)

  -- expires_in ----------------------------------------------------------------------------------

  local function lifetime_s(expires_in)
    w:fault { call = "token", status = 200, body = "raw", raw = RAW:format(expires_in) }
    w:fault { call = "me", status = 200, body = "raw", raw = '{"data":{"type":"users","id":"raw-account"}}' }
    local account = assert(exchange((w:quick_client())))
    local info = assert(account:info())
    return (info.access_expires_ms - info.refreshed_ms) / 1000
  end

  local function has_warned()
    for _, line in ipairs(w.log) do
      if line.level == "warn" then return true end
    end
    return false
  end

  it("takes an expires_in that is a number or a number's text", function()
    assert.equal(14400, lifetime_s(',"expires_in":14400'))
    assert.equal(14400, lifetime_s(',"expires_in":"14400"'))
    assert.is_false(has_warned())
  end)

  it("gives every hostile expires_in a safe lifetime, and warns", function()
    for _, expires_in in ipairs {
      "", ',"expires_in":null', ',"expires_in":0', ',"expires_in":-5', ',"expires_in":1e300',
      ',"expires_in":99999999999999999999', ',"expires_in":"abc"', ',"expires_in":{}', ',"expires_in":[1]',
      ',"expires_in":true', ',"expires_in":"-1"', ',"expires_in":"1e9999"',
    } do
      w.log = {}
      local s = lifetime_s(expires_in)
      assert.is_true(s >= 60 and s <= 86400, expires_in)
      assert.is_true(has_warned(), expires_in)
    end
  end)
end)
