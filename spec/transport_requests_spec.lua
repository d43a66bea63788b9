-- What the transport refuses before anything is sent: as invalid_request where the wire may bring it,
-- as a raised error where only a mistake in the calling program can.

local core = require("ringlink.core")
local raw_server = require("support.raw_server")
local transfers = require("support.transfers")

local open = transfers.open

describe("transport", function()
  after_each(transfers.close_all)

  describe("refuses before anything is sent:", function()
    local function refused(request, options)
      local t = open(options)
      local ticket, code, detail = t:start(request)
      assert.is_nil(ticket)
      assert.equal("invalid_request", code)
      assert.is_string(detail)
      assert.equal(0, t:stats().started)
    end

    local function refused_url(url, options) refused({ method = "GET", url = url }, options) end

    it("http, unless it stays on this machine and was allowed", function()
      refused_url("http://127.0.0.1/", { allow_http_loopback = false })
      refused_url("http://localhost/", { allow_http_loopback = false })
      refused_url("http://example.com/")
      refused_url("http://127.0.0.1.example.com/")
      refused_url("http://127.0.0.2/")
      local server = raw_server.start(raw_server.each_request(function(connection) connection:answer(200, "") end))
      local url = "http://localhost:" .. server.port
      assert.equal(200, transfers.call(open(), server, { method = "GET", url = url }).status)
      server:stop()
    end)

    it("other schemes, and what is no URL", function()
      for _, url in ipairs({ "ftp://example.com/", "file:///etc/passwd", "example.com", "", "https://",
        "https://exa mple.com/", "https://example.com:99999/", "gopher://127.0.0.1/" }) do
        refused_url(url)
      end
    end)

    it("credentials in the URL", function()
      refused_url("https://user:password@example.com/")
      refused_url("https://user@example.com/")
    end)

    it("CR, LF and NUL in the URL", function()
      for _, bytes in ipairs({ "\r", "\n", "\0" }) do refused_url("https://example.com/" .. bytes .. "x") end
    end)

    it("a URL of a megabyte", function() refused_url("https://example.com/" .. ("x"):rep(1024 * 1024)) end)

    it("headers with CR, LF or NUL, without a name or without a value", function()
      for _, header in ipairs({ "A: b\r\nC: d", "A: b\nC: d", "A: b\r", "A: b\0c", "A\r: b", ": b", "A", "A:",
        "A: ", "A;", "A b: c", "", ("A: %s"):format(("x"):rep(40000)) }) do
        refused({ method = "GET", url = "https://example.com/", headers = { header } })
      end
    end)

    it("too many headers", function()
      local headers = {}
      for i = 1, 65 do headers[i] = "A: " .. i end
      refused({ method = "GET", url = "https://example.com/", headers = headers })
    end)

    it("other methods, and a body where none belongs", function()
      for _, method in ipairs({ "get", "TRACE", "CONNECT", "", "GET / HTTP/1.1\r\nA: b", "GET\0" }) do
        refused({ method = method, url = "https://example.com/" })
      end
      refused({ method = "GET", url = "https://example.com/", body = "" })
    end)
  end)

  describe("raises for", function()
    local function raises(text, fn, ...)
      local good, message = pcall(fn, ...)
      assert.is_false(good)
      assert.truthy(tostring(message):find(text, 1, true), message)
    end

    it("unknown and wrong options", function()
      raises("unknown field 'ca_fiel'", core.transport, { ca_fiel = "x" })
      raises("unknown field", core.transport, { "x" })
      raises("ca_file", core.transport, { ca_file = 1 })
      raises("ca_file", core.transport, { ca_file = "a\0b" })
      raises("connect_timeout_ms", core.transport, { connect_timeout_ms = 0 })
      raises("connect_timeout_ms", core.transport, { connect_timeout_ms = "5" })
      raises("response_bytes_max", core.transport, { response_bytes_max = -1 })
      raises("http_version", core.transport, { http_version = "3" })
      raises("table", core.transport, "x")
    end)

    it("unknown and wrong fields of a request", function()
      local t = open()
      local url = "https://example.com/"
      raises("unknown field 'uri'", t.start, t, { method = "GET", uri = url })
      raises("method: missing", t.start, t, { url = url })
      raises("url: missing", t.start, t, { method = "GET" })
      raises("headers", t.start, t, { method = "GET", url = url, headers = "A: b" })
      raises("headers", t.start, t, { method = "GET", url = url, headers = { 1 } })
      raises("body", t.start, t, { method = "POST", url = url, body = 1 })
      for _, timeout_ms in ipairs({ 0, -1, 0 / 0, 1 / 0, 1e300 }) do
        raises("timeout_ms", t.start, t, { method = "GET", url = url, timeout_ms = timeout_ms })
      end
    end)

    it("something else than a transport", function()
      raises("ringlink.transport", open().poll, io.stdout)
    end)
  end)

  it("tells files that cannot be read and proxies that are none", function()
    for name, value in pairs({
      ca_file = "/no/such/file", client_cert = "/no/such/file", client_key = "/no/such/file",
      proxy = "socks9://user:s3cr3t@host",
    }) do
      local t, code, detail = core.transport({ [name] = value })
      assert.is_nil(t)
      assert.equal("invalid_option", code)
      assert.truthy(detail:find(name, 1, true))
      assert.is_nil(detail:find("s3cr3t", 1, true))
    end
  end)
end)
