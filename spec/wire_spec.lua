-- What can go wrong on the wire, as a partner sees it: certificates, names, refusals, broken answers.

local children = require "support.child"
local raw_server = require "support.raw_server"
local ringlink = require "ringlink"
local shell = require "support.shell"
local world = require "support.world"

local OFFLINE = { path = "/v1/devices" }

describe("the wire #network", function()
  local w

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function() w:reset() end)
  after_each(children.stop_all)

  local function exchange_fails(client, code)
    local none, err = client:exchange(code or w:install().code)
    assert.is_nil(none)
    return err
  end

  local function assert_error(expected, err)
    local got = {}
    for name in pairs(expected) do got[name] = err[name] end
    assert.same(expected, got)
    assert.equal(expected.ambiguous, err.ambiguous)
    assert.is_truthy(tostring(err):find(err.code, 1, true))
  end

  -- An account of `w.ring` on a client that reaches it at another address.
  local function moved(address)
    local client, clock = w:quick_client()
    local account = w:linked(client).account
    client.options.api_url = address
    return account, client, clock
  end

  describe("with a certificate that is", function()
    for _, kind in ipairs { "wrong_name", "expired", "untrusted" } do
      it(kind .. " carries nothing", function()
        local bad = world.start { cert = kind }
        local client = bad:quick_client()
        local code = bad:install().code
        local err = exchange_fails(client, code)
        local requests = bad:state().requests
        bad:stop()
        assert_error({ code = "tls", stage = "exchange", retryable = false, attempts = 1 }, err)
        assert.is_nil(err.ambiguous)
        assert.is_nil(err.status)
        assert.equal(0, requests)
        assert.is_nil(tostring(err):find(code, 1, true))
      end)
    end

    it("bad for one client is no trouble for another beside it", function()
      local bad = world.start { cert = "expired" }
      local distrusting, trusting = bad:client(), w:client()
      local code, install = bad:install().code, w:install()
      local err, link
      ringlink.run(function()
        ringlink.spawn(function() err = exchange_fails(distrusting, code) end)
        ringlink.spawn(function()
          assert(trusting:exchange(install.code))
          link = assert(trusting:link(w.redirect_of(install)))
        end)
      end)
      bad:stop()
      assert.equal("tls", err.code)
      assert.equal("completed", link.status)
    end)

    it("signed by an authority that nobody named is refused", function()
      local settings = w:quick_client { ca_file = "/etc/ssl/certs/ca-certificates.crt" }
      assert.equal("tls", exchange_fails(settings).code)
      assert.equal(0, w:count("token"))
    end)
  end)

  it("that nobody answers is tried again and told", function()
    local client = w:quick_client { oauth_url = "https://127.0.0.1:" .. raw_server.free_port() }
    local err = exchange_fails(client)
    assert_error({ code = "connect", stage = "exchange", retryable = true, attempts = 5 }, err)
    assert.is_nil(err.ambiguous)
  end)

  it("that nobody answers carries a POST later", function()
    local account, client = moved("https://127.0.0.1:" .. raw_server.free_port())
    local waited = 0
    client:on("request", function()
      waited = waited + 1
      if waited == 3 then client.options.api_url = w.ring.api_url end
    end)
    local none, err = account:request { method = "POST", path = "/v1/nowhere" }
    assert.is_nil(none)
    assert_error({ code = "connect", stage = "request", retryable = true, attempts = 5 }, err)
    assert.is_nil(err.ambiguous)
  end)

  describe("to a server that", function()
    local server

    after_each(function() server:stop() end)

    -- One GET beside a server that answers each connection by `handler`.
    local function get(handler, options)
      server = raw_server.start(handler)
      local client = w:quick_client(options)
      local account = w:linked(client).account
      client.options.api_url, client.options.allow_http_loopback = server.url, true
      client:drop_transport(client.transport)
      local answer, err, done
      ringlink.run(function()
        ringlink.spawn(function()
          answer, err = account:request(OFFLINE)
          done = true
        end)
        while not done do
          server:step()
          ringlink.sleep(0.002)
        end
      end)
      return answer, err
    end

    it("speaks no HTTP is an error of the network", function()
      local _, err = get(function(connection)
        connection:read()
        connection:write("SSH-2.0-OpenSSH_9.2p1\r\n")
      end)
      assert_error({ code = "network", stage = "request", retryable = true, attempts = 5 }, err)
      assert.is_nil(err.ambiguous)
    end)

    it("hangs up is tried again", function()
      local _, err = get(function(connection) connection:read() end)
      assert_error({ code = "network", retryable = true, attempts = 5 }, err)
      assert.equal(5, #server.requests)
    end)

    it("hangs up once is forgiven", function()
      local answer = get(function(connection)
        connection:read()
        if #server.requests > 1 then
          connection:answer(200, '{"data":[]}', { "Content-Type: application/json" })
        end
      end)
      assert.same({ data = {} }, answer.json)
    end)

    it("sends endless headers is an error", function()
      local _, err = get(function(connection)
        connection:read()
        connection:write("HTTP/1.1 200 OK\r\n" .. ("X-Filler: " .. ("x"):rep(1000) .. "\r\n"):rep(2000))
        connection:wait_closed()
      end, { max_attempts = 1 })
      assert.is_truthy(err.code == "response_too_large" or err.code == "network", err.code)
      assert.equal(1, err.attempts)
    end)
  end)

  describe("with an answer of users/me that is", function()
    local client
    before_each(function() client = w:quick_client() end)

    for _, body in ipairs { "html", "truncated", "empty", "cut" } do
      it(body .. " is asked for again", function()
        w:fault { call = "me", body = body, count = 2 }
        local account = assert(client:exchange(w:install().code))
        assert.equal("unclaimed", account:state())
        assert.equal(3, w:count("me"))
        assert.equal(1, w:count("token"))
      end)
    end

    for _, raw in ipairs { "null", "[]", "{}", "7", '"x"', '{"data":null}', '{"data":[]}', '{"data":{"id":7}}',
      '{"data":{"id":""}}', ("["):rep(100000), '{"data":{"id":"a\\u0000b"}}' } do
      it("no user (" .. raw:sub(1, 24) .. ") is told, and the tokens stay", function()
        w:fault { call = "me", status = 200, body = "raw", raw = raw }
        local code, hasty = w:install().code, w:quick_client { max_attempts = 1 }
        local err = exchange_fails(hasty, code)
        assert.equal("bad_response", err.code)
        assert.equal("identify", err.stage)
        assert.is_true(err.retryable)
        assert.is_nil(err.ambiguous)
        assert.equal("unclaimed", assert(hasty:exchange(code)):state())
        assert.equal(1, w:count("token"))
      end)
    end

    it("too large is told at once", function()
      w:fault { call = "me", body = "huge" }
      local err = exchange_fails(client)
      assert_error({ code = "response_too_large", stage = "identify", retryable = false, attempts = 1 }, err)
    end)
  end)

  describe("with an answer to a GET that is", function()
    local account
    before_each(function() account = w:linked((w:quick_client())).account end)

    for _, body in ipairs { "html", "truncated", "empty" } do
      it(body .. " is no JSON", function()
        w:fault { call = "devices", body = body }
        local none, err = account:get("/v1/devices")
        assert.is_nil(none)
        assert_error({ code = "bad_response", stage = "request", status = 200, retryable = true }, err)
      end)
    end

    it("an error in HTML has no title", function()
      w:fault { call = "devices", status = 502, body = "html", count = 5 }
      local _, err = account:get("/v1/devices")
      assert_error({ code = "ring_error", stage = "request", status = 502, retryable = true, attempts = 5 }, err)
      assert.is_nil(err.title)
      assert.is_nil(err.ring_id)
      assert.is_nil(tostring(err):find("<", 1, true))
    end)

    for _, raw in ipairs { '{"errors":[]}', '{"errors":7}', '{"errors":[7]}', '{"errors":[{"title":{}}]}',
      '{"errors":[{"title":"a\\r\\nb"}]}', '{"errors":{"title":"x"}}', "[]", "null" } do
      it("an error of another shape, " .. raw .. ", is told", function()
        w:fault { call = "devices", status = 400, body = "raw", raw = raw }
        local _, err = account:get("/v1/devices")
        assert_error({ code = "ring_error", status = 400, retryable = false }, err)
        assert.is_nil(tostring(err):find("[\r\n]"))
      end)
    end
  end)

  it("without a resolver holds nobody else up", function()
    local directory = shell.make_directory()
    local shim = directory .. "/silent_resolver.so"
    shell.run("cc -shared -fPIC -o " .. shell.quote(shim) .. " spec/support/silent_resolver.c -ldl")
    local install = w:install()
    local child = children.start("spec/support/client_child.lua",
      { "resolver", w.ring.api_url, w.ring.ca_file, input = { install.code, install.nonce, install.time } },
      "ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD=" .. shell.quote(shim))
    local status, said = child:wait()
    shell.remove_directory(directory)
    assert.equal("linked completed\nstuck true\nsilent timeout exchange nil\nunknown dns exchange nil\nend\n", said)
    assert.equal(0, status)
  end)
end)
