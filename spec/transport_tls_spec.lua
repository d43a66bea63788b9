-- The transport against nginx with certificates good and bad, over HTTP/2 and 1.1; and, in processes
-- of their own, against another environment and a resolver that never answers.

local certificates = require("support.certificates")
local raw_server = require("support.raw_server")
local shell = require("support.shell")
local transfers = require("support.transfers")
local web_server = require("support.web_server")

local STREAM_COUNT = transfers.STREAM_COUNT
local call, drive, open, results = transfers.call, transfers.drive, transfers.open, transfers.results

local BLOCK = [[
server {
  listen 127.0.0.1:%d ssl%s;
  ssl_certificate %s;
  ssl_certificate_key %s;
  keepalive_timeout 60;
  %s
  location / { proxy_pass http://127.0.0.1:%d; proxy_set_header X-Client $ssl_client_s_dn; }
  location /hold { proxy_pass http://127.0.0.1:%d; }
  location /drop { return 444; }
}
]]

-- Whoever answers by `return` does so before the body has come, and then resets the stream.
local ANSWERS = [[
server {
  listen 127.0.0.1:%d;
  location / { return 200 "$request_method $http_x_client"; }
}
]]

describe("transport over TLS #network", function()
  local directory, ca, client, nginx, silent
  local urls = {}
  local blocks = {}
  local answering_port = raw_server.free_port()

  local function add(name, pair, listen, more)
    local port = raw_server.free_port()
    urls[name] = "https://127.0.0.1:" .. port
    blocks[#blocks + 1] = BLOCK:format(port, listen, pair.cert, pair.key, more, answering_port, silent.port)
  end

  setup(function()
    directory = shell.make_directory()
    silent = raw_server.start(function(connection) connection:wait_closed() end)
    ca = certificates.new(directory, "ca")
    client = ca:sign("client", "DNS:client")
    local good = ca:sign("good", "IP:127.0.0.1,DNS:localhost")
    add("h2", good, " http2", "")
    add("h1", good, "", "")
    add("few", good, " http2", "keepalive_requests 3;")
    add("client", good, "", "ssl_verify_client on; ssl_client_certificate " .. ca.file .. ";")
    add("name", ca:sign("name", "DNS:other.example"), "", "")
    add("expired", ca:sign("expired", "IP:127.0.0.1", -1), "", "")
    add("stranger", certificates.new(directory, "stranger"):sign("strange", "IP:127.0.0.1"), "", "")
    nginx = web_server.start(directory, table.concat(blocks) .. ANSWERS:format(answering_port))
  end)

  teardown(function()
    if nginx then nginx:stop() end
    if silent then silent:stop() end
    shell.remove_directory(directory)
  end)

  after_each(transfers.close_all)

  local function get(name, options)
    return call(open(options or { ca_file = ca.file }), nil, { method = "GET", url = urls[name] })
  end

  local function requests_for(path)
    local _, count = nginx:journal():gsub(" " .. path .. " ", "")
    return count
  end

  it("speaks HTTP/2, and 1.1 where there is nothing else or when told to", function()
    assert.equal("2", get("h2").http)
    assert.equal("1.1", get("h1").http)
    assert.equal("1.1", get("h2", { ca_file = ca.file, http_version = "1.1" }).http)
  end)

  it("shares one HTTP/2 connection, even before it is made", function()
    local t, tickets = open({ ca_file = ca.file }), {}
    for i = 1, STREAM_COUNT do
      tickets[i] = t:start({ method = "POST", url = urls.h2 .. "/" .. i, body = ("x"):rep(i) })
    end
    for _, result in pairs(results(t, nil, tickets)) do
      assert.equal("POST ", result.body)
      assert.equal("2", result.http)
    end
    assert.same({ started = STREAM_COUNT, reused = STREAM_COUNT - 1, connections = 1, in_flight = 0 }, t:stats())
  end)

  -- How many requests for a path each connection carried, as nginx tells once they have ended.
  local function carried(path)
    local counts, total = {}, 0
    for connection in nginx:journal():gmatch("%d+ (%d+) GET " .. path .. " ") do
      counts[connection], total = (counts[connection] or 0) + 1, total + 1
    end
    return counts, total
  end

  it("makes another HTTP/2 connection when one carries as much as it should", function()
    local t, count = open({ ca_file = ca.file }), 2 * STREAM_COUNT
    for _ = 1, count do t:start({ method = "GET", url = urls.h2 .. "/hold" }) end
    drive(t, silent, function() return silent.connections == count end)
    t:close()
    local counts, total
    repeat
      silent:step()
      counts, total = carried("/hold")
    until total == count
    for _, carries in pairs(counts) do assert.is_true(carries <= STREAM_COUNT, carries) end
  end)

  it("keeps HTTP/1.1 connections", function()
    local t = open({ ca_file = ca.file })
    for i = 1, 3 do
      assert.equal(i > 1, call(t, nil, { method = "POST", url = urls.h1, body = "x" }).reused)
    end
    assert.equal(1, t:stats().connections)
  end)

  it("goes on when the server retires its connections in an orderly way", function()
    local t = open({ ca_file = ca.file })
    for i = 1, 10 do
      assert.equal(200, call(t, nil, { method = "POST", url = urls.few .. "/orderly/" .. i, body = "x" }).status)
    end
    assert.is_true(t:stats().connections >= 3)
  end)

  for _, name in ipairs({ "h1", "h2" }) do
    it("sends a POST once when the server drops it (" .. name .. ")", function()
      local t = open({ ca_file = ca.file })
      call(t, nil, { method = "GET", url = urls[name] })
      local result = call(t, nil, { method = "POST", url = urls[name] .. "/drop/" .. name, body = "x" })
      assert.equal("network", result.error)
      assert.is_true(result.sent)
      assert.is_true(result.reused)
      for _ = 1, 20 do t:poll(1) end
      assert.equal(1, requests_for("/drop/" .. name))
    end)
  end

  it("refuses an unknown authority, a wrong name, an expired certificate", function()
    for _, name in ipairs({ "stranger", "name", "expired" }) do
      local result = get(name)
      assert.equal("tls", result.error, name)
      assert.is_false(result.sent)
    end
    assert.equal("tls", get("h1", {}).error) -- the system does not know our authority
    assert.equal("tls", get("stranger", { ca_file = ca.file }).error)
  end)

  it("refuses a file of authorities that holds none", function()
    local path = directory .. "/empty.pem"
    shell.write(path, "nothing here\n")
    assert.equal("tls", get("h1", { ca_file = path }).error)
  end)

  it("shows its client certificate", function()
    assert.equal(400, get("client").status)
    local result = get("client", { ca_file = ca.file, client_cert = client.cert, client_key = client.key })
    assert.equal("GET CN=client", result.body)
  end)

  it("tells a client certificate that does not fit its key", function()
    local other = ca:sign("other", "DNS:other")
    local result = get("client", { ca_file = ca.file, client_cert = client.cert, client_key = other.key })
    assert.equal("tls", result.error)
    assert.is_false(result.sent)
  end)

  describe("in another process", function()
    local interpreter = os.getenv("RINGLINK_LUA") or (rawget(_G, "jit") and "luajit" or "lua5.4")

    --- Runs transport_child.lua; returns its lines as a table.
    local function child(environment, ...)
      local words = {}
      for i, word in ipairs({ ... }) do words[i] = shell.quote(word) end
      local said = shell.run(("env LUA_PATH=%s LUA_CPATH=%s %s timeout 20 %s %s %s"):format(
        shell.quote(package.path), shell.quote(package.cpath), environment, interpreter,
        "spec/support/transport_child.lua", table.concat(words, " ")))
      local lines = {}
      for name, value in said:gmatch("([%w_]+) ([^\n]+)\n") do lines[name] = value end
      return lines
    end

    it("ignores the environment's proxies", function()
      local nowhere = "http://127.0.0.1:" .. raw_server.free_port()
      local environment = ("https_proxy=%s HTTPS_PROXY=%s http_proxy=%s ALL_PROXY=%s"):format(
        nowhere, nowhere, nowhere, nowhere)
      assert.equal("200", child(environment, "get", urls.h1, ca.file, "").status)
    end)

    it("ignores the environment's exceptions from a proxy", function()
      local nowhere = "http://127.0.0.1:" .. raw_server.free_port()
      assert.equal("connect", child("NO_PROXY='*' no_proxy='*'", "get", urls.h1, ca.file, nowhere).error)
    end)

    it("is not held up by a resolver that never answers", function()
      local shim = directory .. "/silent_resolver.so"
      shell.run("cc -shared -fPIC -o " .. shell.quote(shim) .. " spec/support/silent_resolver.c -ldl")
      local told = child("ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD=" .. shell.quote(shim), "resolver")
      assert.is_true(tonumber(told.cancel_ms) < 100, told.cancel_ms)
      assert.is_true(tonumber(told.close_ms) < 100, told.close_ms)
      told.cancel_ms, told.close_ms = nil, nil
      assert.same({
        other = "200", in_flight = "1", cancelled = "cancelled", cancelled_sent = "false",
        late = "timeout", late_sent = "false", unknown = "dns", unknown_sent = "false",
      }, told)
    end)
  end)
end)
