--- The sandbox as it runs: nginx, TLS, HTTP/2, kept connections, deliveries, control plane, stop.
--- The rules themselves are in sandbox_rules_spec.lua and sandbox_play_spec.lua.

local core = require "ringlink.core"
local places = require "ringlink.sandbox.places"
local process = require "ringlink.sandbox.process"
local sandbox = require "ringlink.sandbox"
local support = require "support.sandbox_live"

local http = support.http
local INTEGRATIONS = "/v1/accounts/me/app-integrations"

local function token_form(sb, fields)
  fields.client_id, fields.client_secret = sb.client_id, sb.client_secret
  return { method = "POST", url = sb.oauth_url .. "/oauth/token", ca_file = sb.ca_file, form = fields }
end

local function redeem(sb, code, args)
  local request = token_form(sb, { grant_type = "authorization_code", code = code })
  request.args = args
  return http(request)
end

local function api(sb, method, path, token, body, args)
  return http { method = method, url = sb.api_url .. path, ca_file = sb.ca_file, json = body, args = args,
    headers = { "Authorization: Bearer " .. token } }
end

local function link(sb, args)
  local one = assert(sb:control("install", { deliver = false }))
  one.access = redeem(sb, one.code, args).value.access_token
  assert.equal(200, api(sb, "POST", INTEGRATIONS, one.access, { nonce = one.nonce }, args).status)
  assert.equal(200, api(sb, "PATCH", INTEGRATIONS, one.access, { status = "completed" }, args).status)
  return one
end

local function control_raw(sb, name, headers, base)
  return http { url = (base or sb.control_url) .. "/_sandbox/" .. name, headers = headers, ca_file = sb.ca_file }
end

local function wait_for_hits(partner, count)
  local hits = {}
  for _ = 1, 100 do
    for _, hit in ipairs(partner:hits()) do hits[#hits + 1] = hit end
    if #hits >= count then break end
    process.pause()
  end
  return hits
end

describe("sandbox over http #network", function()
  local partner, sb

  setup(function()
    partner = support.partner()
    sb = assert(sandbox.start {
      token_exchange_url = partner.url .. "/token-exchange", account_link_url = partner.url .. "/account-link",
      webhook_url = partner.url .. "/webhook", client_id = "id", client_secret = "s3cret with space",
      hmac_key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
    })
  end)
  teardown(function()
    assert(sb:stop())
    partner:stop()
  end)
  before_each(function()
    partner:answer(200)
    partner:hits()
    assert(sb:control("reset"))
  end)

  it("links, and Ring's state says completed, then unlinked", function()
    local one = link(sb)
    assert.equal("completed", sb:control("state").accounts[1].status)
    assert.equal(200, api(sb, "GET", "/v1/devices?include=status", one.access).status)
    sb:control("unlink", { account = one.account })
    assert.equal("unlinked", sb:control("state").accounts[1].status)
  end)

  it("delivers the code to the Token Exchange URL and names the redirect", function()
    local one = assert(sb:control("install"))
    local hits = partner:hits()
    assert.equal(1, #hits)
    assert.equal("POST /token-exchange", hits[1].method .. " " .. hits[1].uri)
    assert.equal("code=" .. one.code, hits[1].body)
    assert.equal("application/x-www-form-urlencoded", hits[1].headers["content-type"])
    assert.equal(partner.url .. "/account-link?nonce=" .. one.nonce .. "&time=" .. one.time, one.redirect)
  end)

  it("delivers the code twice at once", function()
    partner:answer(200, 0.3)
    local one = assert(sb:control("install", { twice = true }))
    assert.same({ { status = 200 }, { status = 200 } }, one.delivered)
    local hits = partner:hits()
    assert.equal(2, #hits)
    assert.equal(hits[1].body, hits[2].body)
    assert.is_true(math.abs(hits[1].at - hits[2].at) < 0.2)
  end)

  it("redirects at once while the code is still under way, and can follow the redirect", function()
    partner:answer(200, 0.5)
    local before = core.monotonic_ms()
    local one = assert(sb:control("install", { redirect = "at_once" }))
    assert.is_true(core.monotonic_ms() - before < 400)
    assert.is_string(one.redirect)
    partner:answer(200)
    local again = assert(sb:control("redirect", { account = one.account, follow = true }))
    assert.equal(200, again.followed.status)
    local uris = {}
    for _, hit in ipairs(wait_for_hits(partner, 2)) do uris[hit.method .. " " .. hit.uri:match("^[^?]*")] = true end
    assert.same({ ["POST /token-exchange"] = true, ["GET /account-link"] = true }, uris)
  end)

  it("tells when the partner does not answer, and then does not redirect", function()
    partner:answer(503)
    local one = assert(sb:control("install"))
    assert.same({ { status = 503 } }, one.delivered)
    assert.is_nil(one.redirect)
  end)

  describe("webhooks", function()
    it("are delivered, rightly signed, in order", function()
      local one = link(sb)
      local happened = sb:control("event", { account = one.account, type = "motion_detected", subType = "human" })
      assert.equal(1, happened.queued)
      assert.is_true(sb:control("deliver").done)
      local hits, key = partner:hits(), core.hmac_key { sb.hmac_key }
      local types = {}
      for i, hit in ipairs(hits) do
        types[i] = hit.body:match('"type":"([%w_]+_[%w_]+)"')
        assert.equal("/webhook", hit.uri)
        assert.equal("application/json", hit.headers["content-type"])
        assert.is_true(key:verify(hit.body, hit.headers["x-signature"]))
      end
      assert.same({ "device_added", "device_added", "app_integration_added", "motion_detected" }, types)
    end)

    it("are retried by the schedule on the movable clock, the same bytes again", function()
      local one = link(sb)
      sb:control("deliver")
      partner:hits()
      partner:answer(500)
      sb:control("event", { account = one.account, type = "button_press" })
      sb:control("deliver")
      for _, wait_ms in ipairs { 1000, 5000, 30000, 120000, 600000, 3600000 } do
        sb:control("clock", { advance_ms = wait_ms })
        assert.is_true(sb:control("deliver").done)
      end
      local hits = partner:hits()
      assert.equal(7, #hits)
      for _, hit in ipairs(hits) do assert.equal(hits[1].body, hit.body) end
      local hooks = sb:control("state").webhooks
      assert.equal("undelivered", hooks[#hooks].state)
      assert.equal(7, #hooks[#hooks].attempts)
      partner:answer(200)
      assert.equal(1, sb:control("replay").replayed)
      sb:control("deliver")
      hooks = sb:control("state").webhooks
      assert.equal("delivered", hooks[#hooks].state)
    end)

    it("run by themselves when the clock makes them due", function()
      local one = link(sb)
      sb:control("deliver")
      partner:answer(500)
      sb:control("event", { account = one.account, type = "button_press" })
      sb:control("deliver")
      partner:answer(200)
      partner:hits()
      sb:control("clock", { advance_ms = 1000 })
      assert.equal(1, #wait_for_hits(partner, 1))
    end)

    it("are never retried after 4xx", function()
      local one = link(sb)
      sb:control("deliver")
      partner:hits()
      partner:answer(401)
      sb:control("event", { account = one.account, type = "button_press" })
      sb:control("deliver")
      sb:control("clock", { advance_ms = 7200000 })
      sb:control("deliver")
      assert.equal(1, #partner:hits())
    end)

    it("time out", function()
      local one = link(sb)
      sb:control("deliver")
      sb:control("variant", { webhook_timeout_ms = 200 })
      partner:answer(200, 0.6)
      sb:control("event", { account = one.account, type = "button_press" })
      sb:control("deliver")
      local hooks = sb:control("state").webhooks
      assert.equal("timeout", hooks[#hooks].attempts[1].error)
      assert.equal("due", hooks[#hooks].state)
    end)
  end)

  it("keeps the rate limit, with its headers and both forms of Retry-After", function()
    sb:control("limits", { per_s = 2 })
    local urls = {}
    for i = 1, 5 do urls[i] = sb.api_url .. "/v1/users/me" end
    local said = http({ url = sb.api_url .. "/v1/users/me", args = urls }).text:lower()
    assert.truthy(said:find("http/1.1 429", 1, true))
    assert.truthy(said:find("retry-after: 1\r", 1, true))
    assert.truthy(said:find("x-ratelimit-limit: 2\r", 1, true))
    assert.truthy(said:find("x-ratelimit-remaining: 0\r", 1, true))
    sb:control("variant", { retry_after = "date" })
    said = http({ url = sb.api_url .. "/v1/users/me", args = urls }).text:lower()
    assert.truthy(said:find("retry%-after: %a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d gmt"))
  end)

  it("follows its movable clock in Date and in lifetimes", function()
    local one = link(sb)
    sb:control("clock", { advance_ms = 14400 * 1000 })
    assert.equal(401, api(sb, "GET", "/v1/devices", one.access).status)
    assert.equal(403, api(sb, "GET", "/v1/users/me", one.access).status)
    sb:control("clock", { set_ms = 1771130906289 })
    assert.equal("Sun, 15 Feb 2026 04:48:26 GMT", api(sb, "GET", "/v1/users/me", one.access).headers.date)
  end)

  it("redirects image downloads to another host name, where the credential is dropped", function()
    local one = link(sb)
    local path = "/v1/devices/" .. sb:control("state").accounts[1].devices[1].id .. "/media/image/download"
    local reply = http { method = "POST", url = sb.api_url .. path,
      headers = { "Authorization: Bearer " .. one.access, "Content-Type: application/json" }, args = { "--data", "" } }
    assert.equal(303, reply.status)
    local location = reply.headers.location
    assert.truthy(location:find("^http://localhost:%d+/media/"))
    assert.equal(400, http({ url = location, headers = { "Authorization: Bearer " .. one.access } }).status)
    assert.equal(200, http({ url = location }).status)
  end)

  describe("control plane", function()
    it("wants its token", function()
      assert.equal(401, control_raw(sb, "state").status)
      assert.equal(401, control_raw(sb, "state", { "X-Sandbox-Token: " .. ("0"):rep(#sb.token) }).status)
      assert.equal(200, control_raw(sb, "state", { "X-Sandbox-Token: " .. sb.token }).status)
    end)

    it("is on Ring's own port as well", function()
      local tls = assert(sandbox.start { tls = true })
      assert.are_not.equal(tls.api_url, tls.control_url)
      local token = "X-Sandbox-Token: " .. tls.token
      assert.equal(200, control_raw(tls, "state", { token }, tls.api_url).status)
      assert.equal(401, control_raw(tls, "state", {}, tls.api_url).status)
      assert(tls:stop())
    end)

    it("wants a loopback Host", function()
      local token = "X-Sandbox-Token: " .. sb.token
      for _, host in ipairs { "evil.example", "evil.example:" .. sb.port, "127.0.0.1:1", "localhost.evil.example" } do
        assert.equal(403, control_raw(sb, "state", { token, "Host: " .. host }).status)
      end
      assert.equal(403, http({ url = sb.api_url .. "/", headers = { "Host: evil.example" } }).status)
      assert.equal(200, control_raw(sb, "state", { token, "Host: localhost:" .. sb.port }).status)
    end)

    it("answers mistakes with a sentence", function()
      for name, fields in pairs { nothing = {}, install = { nothing = 1 }, clock = { advance_ms = "x" } } do
        local answer, problem = sb:control(name, fields)
        assert.is_nil(answer)
        assert.truthy(#problem > 5)
      end
      local reply = http { method = "POST", url = sb.control_url .. "/_sandbox/install",
        headers = { "X-Sandbox-Token: " .. sb.token }, args = { "--data", "no json" } }
      assert.equal(400, reply.status)
    end)
  end)

  it("serves its page with nothing from elsewhere, and its policy fits it", function()
    local page = http { url = sb.control_url .. "/" }
    assert.equal(200, page.status)
    assert.is_nil(page.body:find("https?://[%w]"))
    assert.is_nil(page.body:find(sb.token, 1, true))
    local function digest(tag)
      local content = page.body:match("<" .. tag .. ">(.-)</" .. tag .. ">")
      return "sha256-" .. core.base64url(core.sha256(content)):gsub("-", "+"):gsub("_", "/") .. "="
    end
    local policy = page.headers["content-security-policy"]
    assert.truthy(policy:find("script-src '" .. digest("script") .. "'", 1, true))
    assert.truthy(policy:find("style-src '" .. digest("style") .. "'", 1, true))
    assert.truthy(policy:find("default-src 'none'", 1, true))
    assert.equal("DENY", page.headers["x-frame-options"])
  end)

  it("keeps secrets out of its log, and its directory to itself", function()
    local one = link(sb)
    http { url = sb.api_url .. "/oauth/token?code=" .. one.code }
    local log = process.read(sb.prefix .. "/error.log")
    for _, secret in ipairs { one.code, one.access, one.nonce, sb.client_secret, sb.hmac_key, sb.token } do
      assert.is_nil(log:find(secret, 1, true))
    end
    local _, mode = process.run("stat -c %a " .. sb.prefix)
    assert.equal("700", mode)
    local _, listening = process.run("cat /proc/net/tcp | grep -i " .. (":%04X"):format(sb.port) .. " | grep ' 0A '")
    assert.truthy(listening:find("0100007F:", 1, true))
  end)
end)

describe("sandbox over TLS #network", function()
  local sb
  setup(function() sb = assert(sandbox.start { tls = true }) end)
  teardown(function() assert(sb:stop()) end)
  before_each(function() assert(sb:control("reset")) end)

  it("speaks HTTP/2 and HTTP/1.1 under its own CA, by both names", function()
    for _, version in ipairs { "2", "1.1" } do
      for _, host in ipairs { "127.0.0.1", "localhost" } do
        local url = sb.api_url:gsub("127%.0%.0%.1", host)
        local reply = http { url = url .. "/v1/users/me", ca_file = sb.ca_file, args = { "--http" .. version } }
        assert.equal(403, reply.status)
        assert.equal(version, reply.http)
      end
    end
    assert.equal(0, http({ url = sb.api_url .. "/v1/users/me" }).status)
    link(sb, { "--http1.1" })
    link(sb)
  end)

  -- What curl says, with its own words on errors; bodies are thrown away, certificates not looked at.
  local function curl_says(version, format, ...)
    local _, said = process.run(process.line("curl", "-q", "-k", "-sS", version, "-o", "/dev/null", "-w", format, ...))
    return said
  end

  -- A request on a connection that was used before, in one curl process; tells curl's words and the rows.
  local function on_kept_connection(fault, version)
    local code = sb:control("codes").code
    assert(sb:control("faults", fault))
    local seen = sb:control("state").requests
    local form = os.tmpname()
    process.write(form, "grant_type=authorization_code&client_id=" .. sb.client_id .. "&client_secret="
      .. sb.client_secret .. "&code=" .. code)
    local said = curl_says(version, "[%{http_code}]", sb.api_url .. "/v1/users/me", "--next", "-k", "-sS", version,
      "-w", "[%{http_code}]", "-o", "/dev/null", "-d", "@" .. form, sb.oauth_url .. "/oauth/token")
    os.remove(form)
    return said, sb:control("requests", { since = tostring(seen) })
  end

  it("closes a kept HTTP/1.1 connection after the request was read; plain curl then resends by itself", function()
    local _, rows = on_kept_connection({ call = "token", drop = "after" }, "--http1.1")
    assert.equal(3, #rows)
    assert.equal(rows[1].connection, rows[2].connection)
    assert.is_true(rows[2].dropped)
    assert.is_true(rows[2].processed)
    assert.are_not.equal(rows[2].connection, rows[3].connection)
    assert.equal(rows[2].code, rows[3].code)
    assert.equal(400, rows[3].status)
  end)

  it("does not process what it drops before", function()
    local said, rows = on_kept_connection({ call = "token", drop = "before" }, "--http1.1")
    assert.is_false(rows[2].processed)
    assert.equal(200, rows[3].status)
    assert.truthy(said:find("%[200%]"))
  end)

  it("closes the whole HTTP/2 connection, not only the stream", function()
    local said, rows = on_kept_connection({ call = "token", drop = "after" }, "--http2")
    assert.truthy(said:find("[000]", 1, true))
    assert.equal(2, #rows)
    assert.equal("2", rows[2].http)
    assert.equal(rows[1].connection, rows[2].connection)
    assert.is_true(rows[2].processed)
  end)

  it("cuts bodies off on either protocol, and sends huge ones", function()
    for _, version in ipairs { "--http1.1", "--http2" } do
      assert(sb:control("faults", { call = "me", body = "cut", status = 500 }))
      local me = sb.api_url .. "/v1/users/me"
      assert.truthy(curl_says(version, "[%{http_code}]", me):find("curl: (18)", 1, true))
      assert(sb:control("faults", { call = "me", body = "huge", bytes = 2000000 }))
      assert.is_true(tonumber(curl_says(version, "%{size_download}", me)) > 2000000)
    end
  end)

  it("delays", function()
    assert(sb:control("faults", { call = "me", delay_ms = 300 }))
    local before = core.monotonic_ms()
    http { url = sb.api_url .. "/v1/users/me", ca_file = sb.ca_file }
    assert.is_true(core.monotonic_ms() - before >= 300)
  end)

  it("sends every Ring certificate that is wrong in a way of its own", function()
    for kind, words in pairs { wrong_name = "subject name", expired = "expired", untrusted = "issuer certificate" } do
      local wrong = assert(sandbox.start { tls = true, cert = kind })
      local reply = http { url = wrong.api_url .. "/v1/users/me", ca_file = wrong.ca_file }
      assert.equal(0, reply.status)
      assert.truthy(reply.text:find(words, 1, true), reply.text)
      assert.truthy(wrong:control("state"))
      assert(wrong:stop())
    end
  end)

  it("can leave HTTP/2 out", function()
    local old = assert(sandbox.start { tls = true, http2 = false })
    assert.equal("1.1", http({ url = old.api_url .. "/x", ca_file = old.ca_file, args = { "--http2" } }).http)
    assert(old:stop())
  end)
end)

describe("sandbox instances #network", function()
  local function is_free(port)
    local _, said = process.run("curl -q -sS --noproxy '*' http://127.0.0.1:" .. port .. "/")
    return said:find("Couldn't connect", 1, true) ~= nil or said:find("onnection refused", 1, true) ~= nil
  end

  it("live side by side and know nothing of each other", function()
    local one, two = assert(sandbox.start()), assert(sandbox.start())
    assert.are_not.equal(one.port, two.port)
    one:control("codes")
    assert.equal(1, #one:control("state").accounts)
    assert.equal(0, #two:control("state").accounts)
    assert.equal(401, control_raw(two, "state", { "X-Sandbox-Token: " .. one.token }).status)
    assert(one:stop())
    assert.equal(0, #two:control("state").accounts)
    assert(two:stop())
  end)

  it("leave no process, file or port behind, and stop twice harmlessly", function()
    local one = assert(sandbox.start { tls = true })
    local pid, prefix, port = one.pid, one.prefix, one.port
    assert.is_true(process.alive(pid))
    assert.is_true(one:stop())
    assert.is_true(one:stop())
    assert.is_false(process.alive(pid))
    assert.is_false((process.run("test -e " .. prefix)))
    assert.is_true(is_free(port))
  end)

  it("can be stopped by prefix from another process", function()
    local one = assert(sandbox.start { detached = true })
    assert.is_true(sandbox.stop(one.prefix))
    assert.is_false(process.alive(one.pid))
    local ok, problem = sandbox.stop(one.prefix)
    assert.is_nil(ok)
    assert.truthy(problem:find("is no sandbox"))
    assert.is_nil(sandbox.stop("/tmp"))
  end)

  it("stop in the middle of a slow request", function()
    local one = assert(sandbox.start())
    one:control("faults", { delay_ms = 20000 })
    process.run("curl -q -s -m 30 " .. one.api_url .. "/x >/dev/null 2>&1 & sleep 0.2")
    local before = core.monotonic_ms()
    assert(one:stop())
    assert.is_true(core.monotonic_ms() - before < 3000)
  end)

  it("say why they do not start, and leave nothing", function()
    local one = assert(sandbox.start())
    local none, problem = sandbox.start { port = one.port, prefix = one.prefix .. "/second" }
    assert.is_nil(none)
    assert.truthy(problem:find("Address already in use", 1, true))
    assert.is_false((process.run("test -e " .. one.prefix .. "/second")))
    none, problem = sandbox.start { luajit_cpath = "/usr/local/lib/lua/5.1" }
    assert.is_nil(none)
    assert.equal("RINGLINK_LUAJIT_CPATH (or the option luajit_cpath) must be a pattern like /dir/?.so", problem)
    none, problem = sandbox.start { nginx = "no-such-nginx" }
    assert.is_nil(none)
    assert.truthy(problem:find("nginx"))
    assert(one:stop())
  end)

  it("try another port when one was taken meanwhile", function()
    local one = assert(sandbox.start())
    local real, calls = places.free_port, 0
    places.free_port = function()
      calls = calls + 1
      return calls == 1 and one.port or real()
    end
    local two, problem = sandbox.start()
    places.free_port = real
    assert(two, problem)
    assert.are_not.equal(one.port, two.port)
    assert(two:stop())
    assert(one:stop())
  end)

  it("take a prefix and refuse one that exists", function()
    local _, base = process.run("mktemp -d")
    local one = assert(sandbox.start { prefix = base .. "/ring" })
    assert.equal(base .. "/ring", one.prefix)
    assert.is_nil(sandbox.start { prefix = base .. "/ring" })
    assert(one:stop())
    process.run("rmdir " .. base)
    assert.is_false((process.run("test -e " .. base)))
  end)

  it("refuse deliveries beyond loopback and raise on unknown options", function()
    for _, name in ipairs { "token_exchange_url", "webhook_url", "account_link_url" } do
      local none, problem = sandbox.start { [name] = "http://example.com/" }
      assert.is_nil(none)
      assert.truthy(problem:find(name, 1, true))
    end
    assert.has_error(function() sandbox.start { nothing = 1 } end)
    assert.has_error(function() sandbox.start { port = "1" } end)
    assert.has_error(function() sandbox.start { cert = "good" } end)
  end)
end)
