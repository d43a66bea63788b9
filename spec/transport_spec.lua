-- The transport against a server that answers byte for byte what a test says, in this process:
-- what is sent how often, what comes back, how it ends. TLS is in transport_tls_spec.lua, what is
-- refused at once in transport_requests_spec.lua.

local core = require("ringlink.core")
local raw_server = require("support.raw_server")
local transfers = require("support.transfers")

local HOST_COUNT = transfers.HOST_COUNT
local call, drive, open, results = transfers.call, transfers.drive, transfers.open, transfers.results

describe("transport", function()
  local server

  local function serve(handler)
    server = raw_server.start(handler)
    return server
  end

  --- Answers everything: 200, with the method and body it got.
  local function serve_echo()
    return serve(raw_server.each_request(function(connection, request)
      connection:answer(200, request.method .. " " .. request.body)
    end))
  end

  --- Reads a request and then does nothing until the client goes.
  local function serve_silence()
    return serve(function(connection)
      connection:read()
      connection:wait_closed()
    end)
  end

  after_each(function()
    transfers.close_all()
    if server then server:stop() end
    server = nil
  end)

  local function get(path, more)
    local request = { method = "GET", url = server.url .. path }
    for name, value in pairs(more or {}) do request[name] = value end
    return request
  end

  local function post(path, body)
    return { method = "POST", url = server.url .. path, body = body or "" }
  end

  describe("answers", function()
    it("brings status, headers in lower case, repeated ones joined, and the body", function()
      serve(raw_server.each_request(function(connection)
        connection:answer(404, "no\0pe", { "X-One: 1", "Set-Cookie: a=1", "SET-COOKIE:  b=2 ", "X-Empty:" })
      end))
      local result = call(open(), server, get("/"))
      assert.same({
        status = 404, body = "no\0pe", http = "1.1", sent = true, reused = false, time_ms = result.time_ms,
        headers = { ["content-length"] = "5", ["x-one"] = "1", ["set-cookie"] = "a=1, b=2", ["x-empty"] = "" },
      }, result)
    end)

    it("keeps the final answer only, without interim headers and trailers", function()
      serve(function(connection)
        connection:read()
        connection:write("HTTP/1.1 103 Early Hints\r\nX-Hint: early\r\n\r\n"
          .. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Final: yes\r\n\r\n"
          .. "3\r\nabc\r\n0\r\nX-Trailer: late\r\n\r\n")
        connection:wait_closed()
      end)
      local result = call(open(), server, get("/"))
      assert.equal("abc", result.body)
      assert.same({ ["transfer-encoding"] = "chunked", ["x-final"] = "yes" }, result.headers)
    end)

    it("sends what it was given and nothing that it was not asked for", function()
      serve_echo()
      local t = open({ user_agent = "ringlink-test" })
      call(t, server, {
        method = "PATCH", url = server.url .. "/a?b=c", body = "x=1",
        headers = { "Content-Type: application/json", "Authorization: Bearer t" },
      })
      local request = server.requests[1]
      assert.equal("PATCH /a?b=c HTTP/1.1", request.line)
      assert.same({
        host = "127.0.0.1:" .. server.port, accept = "*/*", ["user-agent"] = "ringlink-test",
        ["content-type"] = "application/json", authorization = "Bearer t", ["content-length"] = "3",
      }, request.headers)
      assert.equal("x=1", request.body)
    end)

    it("sends an empty body as one, and a long one without waiting for 100-continue", function()
      serve_echo()
      local t = open()
      call(t, server, { method = "POST", url = server.url .. "/" })
      assert.equal("0", server.requests[1].headers["content-length"])
      assert.is_nil(server.requests[1].headers["content-type"])
      local long = ("x"):rep(2 * 1024 * 1024)
      local result = call(open({ response_bytes_max = #long + 100 }), server, post("/", long))
      assert.equal("POST " .. long, result.body)
      assert.is_nil(server.requests[2].headers.expect)
    end)

    it("follows no redirect", function()
      serve(raw_server.each_request(function(connection)
        connection:answer(302, "", { "Location: " .. server.url .. "/elsewhere" })
      end))
      local result = call(open(), server, get("/"))
      assert.equal(302, result.status)
      assert.equal(server.url .. "/elsewhere", result.headers.location)
      assert.equal(1, #server.requests)
    end)

    it("knows that HEAD has no body", function()
      serve(raw_server.each_request(function(connection)
        connection:write("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
      end))
      local result = call(open(), server, { method = "HEAD", url = server.url .. "/" })
      assert.equal(200, result.status)
      assert.equal("", result.body)
    end)

    it("hands completions out in the order in which they were done", function()
      local held
      serve(raw_server.each_request(function(connection, request)
        if request.path == "/first" then
          held = connection
        else
          connection:answer(200, "second")
        end
      end))
      local t = open()
      local first, second = t:start(get("/first")), t:start(get("/second"))
      drive(t, server, function() return held and t:poll(0) == 1 end)
      held:answer(200, "first")
      drive(t, server, function() return t:poll(0) == 2 end)
      assert.equal(second, (t:take()))
      assert.equal(first, (t:take()))
      assert.is_nil(t:take())
    end)
  end)

  describe("connections", function()
    it("are kept and counted", function()
      serve_echo()
      local t = open()
      assert.is_false(call(t, server, get("/1")).reused)
      assert.is_true(call(t, server, get("/2")).reused)
      assert.is_true(call(t, server, post("/3", "b")).reused)
      assert.same({ started = 3, reused = 2, connections = 1, in_flight = 0 }, t:stats())
      assert.equal(1, server.connections)
    end)

    it("carry 200 transfers at once", function()
      serve_echo()
      local t = open({ http_version = "1.1" })
      local tickets = {}
      for i = 1, 200 do tickets[i] = assert(t:start(post("/" .. i, "n" .. i))) end
      assert.equal(200, t:stats().in_flight)
      local all = results(t, server, tickets)
      for i, ticket in ipairs(tickets) do assert.equal("POST n" .. i, all[ticket].body) end
      assert.equal(200, #server.requests)
      assert.is_true(server.connections <= 64)
    end)

    it("to a host that speaks 1.1 only become more than HTTP/2 would need", function()
      local waiting, count = {}, HOST_COUNT + 8
      serve(raw_server.each_request(function(connection, request)
        if request.path == "/probe" then return connection:answer(200, "") end
        waiting[#waiting + 1] = connection
      end))
      local t, tickets = open(), {}
      call(t, server, get("/probe"))
      for i = 1, count do tickets[i] = t:start(get("/" .. i)) end
      drive(t, server, function() return #waiting == count end)
      for _, connection in ipairs(waiting) do connection:answer(200, "ok") end
      results(t, server, tickets)
    end)
  end)

  describe("once-only sends", function()
    --- Answers the first request of a connection, reads the next one and closes without a word.
    local function serve_once_a_connection()
      return serve(function(connection)
        connection:read()
        connection:answer(200, "fine")
        connection:read()
        connection:close()
      end)
    end

    for _, method in ipairs({ "POST", "PATCH", "PUT", "DELETE" }) do
      it("sends " .. method .. " once when a kept connection dies after reading it", function()
        serve_once_a_connection()
        local t = open()
        call(t, server, get("/warm"))
        local result = call(t, server, { method = method, url = server.url .. "/oauth/token", body = "code=1" })
        assert.equal("network", result.error)
        assert.is_true(result.sent)
        assert.is_true(result.reused)
        -- whatever libcurl had in mind has had its time to arrive
        for _ = 1, 20 do t:poll(1) server:step() end
        assert.equal(2, #server.requests)
        assert.equal(method, server.requests[2].method)
      end)
    end

    for _, method in ipairs({ "GET", "HEAD" }) do
      it("lets libcurl repeat " .. method, function()
        serve_once_a_connection()
        local t = open()
        call(t, server, get("/warm"))
        local result = call(t, server, { method = method, url = server.url .. "/again" })
        assert.equal(200, result.status)
        assert.is_true(result.sent)
        assert.is_false(result.reused)
        assert.equal("/again", server.requests[2].path)
        assert.equal("/again", server.requests[3].path)
      end)
    end

    it("are usable again after such an end", function()
      serve_once_a_connection()
      local t = open()
      call(t, server, get("/warm"))
      call(t, server, post("/lost"))
      assert.equal(200, call(t, server, post("/next")).status)
    end)

    it("do not repeat on a new connection either", function()
      serve(function(connection)
        connection:read()
        connection:close()
      end)
      local result = call(open(), server, post("/", "x"))
      assert.equal("network", result.error)
      assert.is_true(result.sent)
      assert.is_false(result.reused)
      assert.equal(1, #server.requests)
    end)

    it("see that an idle connection was closed before anything is sent", function()
      serve(function(connection)
        connection:read()
        connection:answer(200, "fine")
        connection:close()
      end)
      local t = open()
      call(t, server, get("/"))
      drive(t, server, function() return server.closed == 1 end)
      assert.equal(200, call(t, server, post("/")).status)
      assert.equal(2, #server.requests)
    end)
  end)

  describe("failures", function()
    it("tell a refused connection, with nothing sent", function()
      local url = "http://127.0.0.1:" .. raw_server.free_port() .. "/"
      local result = call(open(), nil, { method = "POST", url = url, body = "x" })
      assert.equal("connect", result.error)
      assert.is_false(result.sent)
      assert.is_false(result.reused)
      assert.is_string(result.detail)
      assert.is_nil(result.status)
    end)

    it("tell a time-out after sending", function()
      serve_silence()
      local result = call(open(), server, get("/", { timeout_ms = 50 }))
      assert.equal("timeout", result.error)
      assert.is_true(result.sent)
      assert.is_true(result.time_ms >= 40)
    end)

    it("tell a time-out before sending", function()
      serve(function(connection) connection:wait_closed() end)
      local t = open({ connect_timeout_ms = 50 })
      local result = call(t, server, { method = "POST", url = "https://127.0.0.1:" .. server.port, body = "x" })
      assert.equal("timeout", result.error)
      assert.is_false(result.sent)
    end)

    it("tell a time-out while waiting for a free connection", function()
      serve_silence()
      local t = open()
      for i = 1, HOST_COUNT do t:start(get("/" .. i)) end
      drive(t, server, function() return #server.requests == HOST_COUNT end)
      local result = call(t, server, { method = "POST", url = server.url .. "/more", body = "", timeout_ms = 30 })
      assert.equal("timeout", result.error)
      assert.is_false(result.sent)
      assert.equal(HOST_COUNT, t:stats().in_flight)
    end)

    it("tell each time-out by itself, whichever was started first", function()
      serve_silence()
      local t = open()
      local patient = t:start(get("/patient"))
      for i = 1, 2 do assert.equal("timeout", call(t, server, get("/" .. i, { timeout_ms = 30 })).error) end
      local first, second = t:start(get("/3", { timeout_ms = 60 })), t:start(get("/4", { timeout_ms = 30 }))
      local both = results(t, server, { first, second })
      assert.equal("timeout", both[first].error)
      assert.equal("timeout", both[second].error)
      assert.is_true(t:cancel(patient))
    end)

    it("tell a handshake that broke off from a certificate that is wrong", function()
      serve(function(connection) connection:close() end)
      local result = call(open(), server, { method = "GET", url = "https://127.0.0.1:" .. server.port })
      assert.equal("connect", result.error)
      assert.is_false(result.sent)
    end)

    it("tell a server that speaks no TLS", function()
      serve(function(connection)
        connection:write("HTTP/1.1 400 Bad Request\r\n\r\n")
        connection:wait_closed()
      end)
      local result = call(open(), server, { method = "GET", url = "https://127.0.0.1:" .. server.port })
      assert.equal("tls", result.error)
      assert.is_false(result.sent)
    end)

    --- What a server writes after reading a request, and then closes.
    local function answer_to(bytes, options)
      serve(function(connection)
        connection:read()
        connection:write(bytes)
        connection:close()
      end)
      return call(open(options), server, get("/"))
    end

    it("tell a body that is cut short", function()
      local result = answer_to("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
      assert.equal("network", result.error)
      assert.is_true(result.sent)
      assert.is_nil(result.body)
    end)

    it("tell a chunked body that is cut short", function()
      assert.equal("network",
        answer_to("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc").error)
    end)

    it("tell an answer that is no HTTP", function()
      local result = answer_to("secret-token-in-garbage\r\n\r\n")
      assert.equal("network", result.error)
      assert.is_true(result.sent)
      assert.is_nil(result.detail:find("secret", 1, true))
    end)

    it("cap the body, announced or not", function()
      local body = ("x"):rep(2000)
      local head = "HTTP/1.1 200 OK\r\n"
      for _, bytes in ipairs({
        head .. "Content-Length: 2000\r\n\r\n" .. body,
        head .. "Transfer-Encoding: chunked\r\n\r\n7d0\r\n" .. body .. "\r\n0\r\n\r\n",
        head .. "\r\n" .. body,
      }) do
        local result = answer_to(bytes, { response_bytes_max = 1999 })
        assert.equal("response_too_large", result.error)
        assert.is_true(result.sent)
        server:stop()
      end
      assert.equal(body, answer_to(head .. "\r\n" .. body, { response_bytes_max = 2000 }).body)
    end)

    it("let a request set a cap of its own", function()
      serve_echo()
      local t = open()
      local request = post("/", "12345")
      request.response_bytes_max = 9
      assert.equal("response_too_large", call(t, server, request).error)
      request.response_bytes_max = 10
      assert.equal("POST 12345", call(t, server, request).body)
    end)

    it("cap the headers, of interim answers too", function()
      local line = "X-Long: " .. ("x"):rep(1000) .. "\r\n"
      local result = answer_to("HTTP/1.1 200 OK\r\n" .. line:rep(100) .. "\r\n")
      assert.equal("response_too_large", result.error)
      server:stop()
      result = answer_to(("HTTP/1.1 103 Hint\r\n" .. line .. "\r\n"):rep(100))
      assert.equal("response_too_large", result.error)
    end)

    it("are told before the connection is used again", function()
      serve(function(connection)
        connection:read()
        connection:write("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" .. ("x"):rep(2000))
        connection:wait_closed()
      end)
      local t = open({ response_bytes_max = 1000 })
      call(t, server, get("/"))
      drive(t, server, function() return server.closed == 1 end)
    end)

    it("never repeat a secret", function()
      local secret = "s3cr3t"
      local function said(url, options)
        local result = call(open(options), server, {
          method = "POST", url = url .. "/" .. secret .. "?nonce=" .. secret, body = "code=" .. secret,
          headers = { "Authorization: Bearer " .. secret }, timeout_ms = 50,
        })
        assert.is_string(result.error)
        assert.is_nil(result.detail:find(secret, 1, true), result.detail)
      end
      said("http://127.0.0.1:" .. raw_server.free_port())
      said("https://no-such-host.invalid")
      serve_silence()
      said(server.url)
      said("https://127.0.0.1:" .. server.port)
      said("https://example.invalid", { proxy = "http://user:" .. secret .. "@127.0.0.1:" .. server.port })
      server:stop()
      answer_to("HTTP/1.1 200 OK\r\nContent-Length: " .. secret .. "\r\n\r\n")
    end)
  end)

  describe("proxy", function()
    it("is asked for a tunnel, and is not given the request's headers", function()
      local lines = {}
      serve(function(connection)
        repeat
          local line = connection:read_line()
          lines[#lines + 1] = line
        until not line or line == "\r\n"
        connection:write("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        connection:wait_closed()
      end)
      local t = open({ proxy = "http://127.0.0.1:" .. server.port })
      local result = call(t, server, {
        method = "POST", url = "https://api.example.invalid/v1", body = "x", headers = { "Authorization: Bearer t" },
      })
      assert.equal("network", result.error)
      assert.is_false(result.sent)
      assert.equal("CONNECT api.example.invalid:443 HTTP/1.1\r\n", lines[1])
      assert.is_nil(table.concat(lines):find("Authorization", 1, true))
    end)

    it("that is not there is a connection that cannot be made", function()
      local t = open({ proxy = "http://127.0.0.1:" .. raw_server.free_port() })
      local result = call(t, nil, { method = "GET", url = "https://api.example.invalid/" })
      assert.equal("connect", result.error)
      assert.is_false(result.sent)
    end)

    it("sees nothing of what stays on this machine", function()
      serve_echo()
      local t = open({ proxy = "http://127.0.0.1:" .. raw_server.free_port() })
      assert.equal(200, call(t, server, get("/")).status)
    end)
  end)

  describe("ending early", function()
    it("completes a cancelled ticket once, as cancelled", function()
      serve_silence()
      local t = open()
      local ticket = t:start(post("/"))
      drive(t, server, function() return #server.requests == 1 end)
      assert.is_true(t:cancel(ticket))
      assert.is_false(t:cancel(ticket))
      assert.equal(1, t:poll(10000)) -- does not wait
      local taken, result = t:take()
      assert.equal(ticket, taken)
      assert.equal("cancelled", result.error)
      assert.is_true(result.sent)
      assert.is_nil(t:take())
      assert.equal(0, t:stats().in_flight)
      drive(t, server, function() return server.closed == 1 end)
    end)

    it("says that a request cancelled at once was not sent", function()
      serve_echo()
      local t = open()
      local ticket = t:start(post("/"))
      assert.is_true(t:cancel(ticket))
      local _, result = t:take()
      assert.is_false(result.sent)
      assert.equal(0, #server.requests)
    end)

    it("leaves other transfers alone", function()
      serve_echo()
      local t = open()
      local first, second = t:start(post("/1", "1")), t:start(post("/2", "2"))
      t:cancel(first)
      local all = results(t, server, { first, second })
      assert.equal("cancelled", all[first].error)
      assert.equal("POST 2", all[second].body)
    end)

    it("knows no ticket but those in flight", function()
      serve_echo()
      local t = open()
      local ticket = t:start(get("/"))
      results(t, server, { ticket })
      assert.is_false(t:cancel(ticket))
      assert.is_false(t:cancel(4711))
    end)

    it("closes while transfers are in flight, and stays closed", function()
      serve_silence()
      local t = open()
      for i = 1, 4 do t:start(get("/" .. i)) end
      drive(t, server, function() return #server.requests == 4 end)
      t:close()
      t:close()
      assert.same({ nil, "closed", "the transport is closed" }, { t:start(get("/")) })
      assert.equal("closed", select(2, t:poll(10000)))
      assert.is_nil(t:take())
      assert.is_false(t:cancel(1))
      assert.equal(0, t:stats().in_flight)
      drive(open(), server, function() return server.closed == 4 end)
    end)

    it("closes with completions that nobody took", function()
      serve_echo()
      local t = open()
      t:start(get("/"))
      drive(t, server, function() return t:poll(0) == 1 end)
      t:close()
      assert.is_nil(t:take())
    end)

    it("lets the collector close a forgotten transport", function()
      serve_silence()
      local t = core.transport({ allow_http_loopback = true })
      t:start(get("/"))
      drive(t, server, function() return #server.requests == 1 end)
      t = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      drive(open(), server, function() return server.closed == 1 end)
    end)

    it("is part of leaving a scope, where Lua has that", function()
      local t = open()
      local close = debug.getmetatable(t).__close
      close(t, nil)
      assert.equal("closed", select(2, t:start({ method = "GET", url = "https://example.com/" })))
    end)
  end)

  it("keeps transports apart", function()
    serve_echo()
    local a, b = open(), open()
    call(a, server, get("/"))
    assert.is_false(call(b, server, get("/")).reused)
    a:close()
    assert.is_true(call(b, server, get("/")).reused)
  end)

  it("survives a hostile collector", function()
    serve_echo()
    local t = open()
    collectgarbage("setpause", 0)
    collectgarbage("setstepmul", 10000)
    local tickets = {}
    for i = 1, 20 do
      tickets[i] = t:start({
        method = "POST", url = server.url .. "/" .. i, body = ("b"):rep(i),
        headers = { "X-N: " .. i, "X-M: " .. i * 2 },
      })
      collectgarbage()
    end
    local all = results(t, server, tickets)
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 100)
    for i, ticket in ipairs(tickets) do assert.equal("POST " .. ("b"):rep(i), all[ticket].body) end
    for _, request in ipairs(server.requests) do
      assert.equal(request.path, "/" .. request.headers["x-n"])
    end
  end)
end)
