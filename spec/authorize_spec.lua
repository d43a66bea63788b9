-- Partner-initiated linking without a network: the URL, what goes into it, and the check of the state
-- (contract 11, RFC 7636).

local authorize = require "ringlink.authorize"
local core = require "ringlink.core"
local offline = require "support.offline"
local text = require "ringlink.sandbox.rules.text"
local vectors = require "support.vectors"

local BACK = "https://partner.example.com/ring/callback"

describe("authorize_url", function()
  local client = offline.client()

  local function fields_of(url)
    local _, _, query = text.target((url:gsub("^https://[^/]+", "")))
    return (text.form(query))
  end

  it("makes the challenge of RFC 7636, appendix B", function()
    for _, case in ipairs(vectors.cases("pkce")) do
      assert.equal(case.code_challenge, authorize.challenge(case.code_verifier))
    end
  end)

  it("sends to Ring's page with all that the contract names, and nothing else", function()
    local url, pending = assert(client:authorize_url { redirect_uri = BACK })
    assert.equal("https://account.ring.com/account/integrations/partner-link/authorize", url:match("^[^?]+"))
    assert.same({
      client_id = offline.client_id, redirect_uri = BACK, response_type = "code", scope = "ava.v1:read",
      state = pending.state, code_challenge = core.base64url(core.sha256(pending.code_verifier)),
      code_challenge_method = "S256",
    }, fields_of(url))
    assert.equal(BACK, pending.redirect_uri)
    assert.is_nil(url:find(pending.code_verifier, 1, true))
  end)

  it("makes a verifier and a state that fit RFC 7636 and are new each time", function()
    local seen = {}
    for _ = 1, 50 do
      local _, pending = assert(client:authorize_url { redirect_uri = BACK })
      for _, name in ipairs { "code_verifier", "state" } do
        assert.truthy(pending[name]:find("^[%w_-]+$"))
        assert.equal(43, #pending[name])
        assert.is_nil(seen[pending[name]])
        seen[pending[name]] = true
      end
    end
  end)

  it("takes a state of the partner's own", function()
    local url, pending = assert(client:authorize_url { redirect_uri = BACK, state = "of-the-partner&co=1" })
    assert.equal("of-the-partner&co=1", pending.state)
    assert.equal("of-the-partner&co=1", fields_of(url).state)
  end)

  for name, state in pairs { ["a short one"] = "fifteen-bytes--", ["a space"] = "a state with spaces", ["a number"] = 7,
    ["a table"] = {}, ["nothing in it"] = "", ["a line end"] = "sixteen-bytes--\n-" } do
    it("refuses a state with " .. name, function()
      local url, err = client:authorize_url { redirect_uri = BACK, state = state }
      assert.is_nil(url)
      assert.equal("invalid_request", err.code)
      assert.truthy(err.message:find("state must", 1, true), err.message)
    end)
  end

  it("waits for nothing", function()
    local url
    coroutine.wrap(function() url = client:authorize_url { redirect_uri = BACK } end)()
    assert.is_string(url)
  end)

  it("goes to another host when told so", function()
    local other = offline.client { account_url = "http://127.0.0.1:1/" }
    assert.truthy(assert(other:authorize_url { redirect_uri = BACK }):find("^http://127%.0%.0%.1:1/account/integ"))
  end)

  describe("tells the mistake of", function()
    local MISTAKES = { ["no redirect_uri"] = {}, ["no URL"] = { redirect_uri = "partner.example.com" },
      ["plain http"] = { redirect_uri = "http://partner.example.com/back" },
      ["a host that only begins like this machine"] = { redirect_uri = "http://localhost.example.com/back" },
      ["an address that only begins like this machine"] = { redirect_uri = "http://[::1].example.com/back" },
      ["a user that looks like this machine"] = { redirect_uri = "http://localhost@example.com/back" },
      ["a user and password that look like it"] = { redirect_uri = "http://localhost:80@example.com/back" },
      ["an address that looks like a user"] = { redirect_uri = "http://127.0.0.1@example.com" },
      ["a fragment of this machine's"] = { redirect_uri = "http://127.0.0.1:80#f" },
      ["a fragment"] = { redirect_uri = BACK .. "#here" }, ["a space"] = { redirect_uri = BACK .. " " },
      ["a number"] = { redirect_uri = 7 },
      ["no host"] = { redirect_uri = "https:///back" } }
    for name, q in pairs(MISTAKES) do
      it(name, function()
        local said = offline.misuse(function() client:authorize_url(q) end)
        assert.truthy(said:find("redirect_uri must be a URL like https://host/path", 1, true), said)
      end)
    end

    it("an argument that is not known", function()
      local said = offline.misuse(function() client:authorize_url { redirect_uri = BACK, scope = "all" } end)
      assert.truthy(said:find('unknown argument "scope"', 1, true), said)
    end)
  end)

  it("may lead back to this machine where http to it is allowed, and only there", function()
    assert(client:authorize_url { redirect_uri = "http://127.0.0.1:8080/back" })
    for _, uri in ipairs { "http://[::1]:8080/back", "http://localhost?x", "HTTP://LOCALHOST" } do
      assert.equal(uri, select(2, assert(client:authorize_url { redirect_uri = uri })).redirect_uri)
    end
    local strict = offline.client { allow_http_loopback = false, api_url = "https://127.0.0.1:1",
      oauth_url = "https://127.0.0.1:1" }
    offline.misuse(function() strict:authorize_url { redirect_uri = "http://127.0.0.1:8080/back" } end)
  end)
end)

describe("authorized", function()
  local client = offline.client()
  local _, pending = client:authorize_url { redirect_uri = BACK }

  local function refused(query, kept)
    local account, err = client:authorized(query, kept)
    assert.is_nil(account)
    return err
  end

  local FOREIGN = {
    ["no query"] = { nil, pending }, ["a query that is text"] = { "code=x", pending },
    ["no state"] = { { code = "a-code" }, pending },
    ["another state"] = { { code = "a-code", state = pending.state:reverse() .. "x" }, pending },
    ["the beginning of the state"] = { { code = "a-code", state = pending.state:sub(1, 42) }, pending },
    ["an empty state"] = { { code = "a-code", state = "" }, pending },
    ["a state that is no text"] = { { code = "a-code", state = { pending.state } }, pending },
    ["nothing in the session"] = { { code = "a-code", state = pending.state }, nil },
    ["a session without a state"] = { { code = "a-code", state = pending.state }, { code_verifier = "v" } },
    ["an empty state on both sides"] = { { code = "a-code", state = "" }, { state = "", code_verifier = "v" } },
    ["an error with a foreign state"] = { { error = "access_denied", state = "another" }, pending },
  }
  for name, row in pairs(FOREIGN) do
    it("exchanges nothing for " .. name, function()
      local err = refused(row[1], row[2])
      assert.same({ "invalid_request", "authorize" }, { err.code, err.stage })
      assert.is_nil(err.message:find(pending.state, 1, true))
      assert.is_nil((client.store:find({ state = "exchanging" })[1]))
    end)
  end

  it("tells what Ring's page said", function()
    local err = refused({ error = "access_denied", state = pending.state }, pending)
    assert.same({ "forbidden", "authorize", "access_denied" }, { err.code, err.stage, err.title })
    assert.truthy(err.message:find("the user did not allow it", 1, true), err.message)
    err = refused({ error = "unauthorized_client", state = pending.state }, pending)
    assert.truthy(err.message:find("this app is invited", 1, true), err.message)
    assert.equal("forbidden", refused({ error = { 7 }, state = pending.state }, pending).code)
  end)

  it("needs a code", function()
    assert.equal("invalid_request", refused({ state = pending.state }, pending).code)
    assert.equal("invalid_request", refused({ state = pending.state, code = { 1 } }, pending).code)
  end)

  it("answers closed once the client is", function()
    local other = offline.client()
    other:close()
    assert.equal("closed", select(2, other:authorized({}, pending)).code)
  end)
end)
