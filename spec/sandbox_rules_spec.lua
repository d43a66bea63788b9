--- The strict Ring's rules, without nginx: every promise of the contract, in virtual time.

local cjson = require "cjson"
local control = require "ringlink.sandbox.control"
local core = require "ringlink.core"
local ring_module = require "ringlink.sandbox.ring"
local target = require "ringlink.sandbox.rules.target"
local text = require "ringlink.sandbox.rules.text"

local KEY = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
local START_MS = 1771130906289
local INTEGRATIONS = "/v1/accounts/me/app-integrations"

-- A Ring with a host in virtual time; deliveries are answered by `world.answer`.
local function new_world(settings)
  local world = { now = START_MS, offset = 0, sent = {}, answer = { status = 200, headers = {} }, seed = 1 }
  local function random(count)
    local bytes = {}
    for i = 1, count do
      world.seed = (world.seed * 1103515245 + 12345) % 2147483648
      bytes[i] = string.char(math.floor(world.seed / 65536) % 256)
    end
    return table.concat(bytes)
  end
  local all = {
    client_id = "id", client_secret = "secret", hmac_key = KEY, media_url = "http://localhost:1",
    token_exchange_url = "http://127.0.0.1:1/token", account_link_url = "http://127.0.0.1:1/link?from=ring",
    webhook_url = "http://127.0.0.1:1/hook",
  }
  for name, value in pairs(settings or {}) do all[name] = value end
  world.ring = ring_module.new(all, random)
  local host = {}
  function host.now_ms() return world.now + world.offset end
  function host.sleep_ms(ms) world.now = world.now + ms end
  function host.clock_offset_ms() return world.offset end
  function host.move_clock(ms) world.offset = ms end
  function host.deliver() end
  function host.background(fn) world.later = fn end
  function host.send(request) world.sent[#world.sent + 1] = request return world.answer end
  function host.send_all(requests)
    local results = {}
    for i, request in ipairs(requests) do results[i] = { status = host.send(request).status } end
    return results
  end
  world.host = host
  function world.control(name, fields)
    local reads = name == "state" or name == "requests"
    local status, body = control.run(world.ring, host, reads and "GET" or "POST", name, fields or {})
    if status == 200 then return body end
    return nil, body.error
  end
  function world.serve(method, path, headers, body)
    local lower = {}
    for name, value in pairs(headers or {}) do lower[name:lower()] = value end
    local reply = world.ring:serve(
      { method = method, target = path, headers = lower, body = body or "", connection = 1, http = "1.1" }, host)
    if reply and (reply.headers["Content-Type"] or ""):find("json") and reply.body ~= "" then
      local ok, value = pcall(cjson.decode, reply.body)
      reply.value = ok and value or nil
    end
    return reply
  end
  return world
end

local function token_call(world, fields, headers)
  local form = { client_id = "id", client_secret = "secret" }
  for name, value in pairs(fields) do form[name] = value or nil end
  headers = headers or { ["Content-Type"] = "application/x-www-form-urlencoded" }
  return world.serve("POST", "/oauth/token", headers, text.to_form(form))
end

local function redeem(world, code, more)
  local fields = { grant_type = "authorization_code", code = code }
  for name, value in pairs(more or {}) do fields[name] = value end
  return token_call(world, fields)
end

local function refresh(world, refresh_token)
  return token_call(world, { grant_type = "refresh_token", refresh_token = refresh_token })
end

local function api(world, method, path, token, body)
  local headers = { Authorization = token and "Bearer " .. token or nil }
  if body then headers["Content-Type"] = "application/json" end
  return world.serve(method, path, headers, type(body) == "table" and cjson.encode(body) or body)
end

-- A linked account: installed, code redeemed, redirected; POST and PATCH when asked for.
local function link(world, upto, account)
  local one = assert(world.control("install", { deliver = false, account = account }))
  local pair = redeem(world, one.code).value
  one.access, one.refresh = pair.access_token, pair.refresh_token
  if upto == "token" then return one end
  assert.equal(200, api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce }).status)
  if upto == "post" then return one end
  assert.equal(200, api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" }).status)
  return one
end

local function title(reply) return reply.value.errors[1].title end

local function assert_error(reply, status, wanted)
  assert.equal(status, reply.status)
  assert.equal(wanted, title(reply))
  assert.equal(tostring(status), reply.value.errors[1].status)
  assert.truthy(reply.value.errors[1].id:find("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$"))
end

local function assert_oauth(reply, status, wanted)
  assert.equal(status, reply.status)
  assert.equal(wanted, reply.value.error)
  assert.is_string(reply.value.error_description)
end

local function state_of(world, account)
  for _, one in ipairs(world.control("state").accounts) do
    if one.id == account then return one end
  end
end

local function webhooks(world, kind)
  local found = {}
  for _, one in ipairs(world.ring.outbox.list) do
    if not kind or one.type == kind then found[#found + 1] = one end
  end
  return found
end

describe("sandbox rules", function()
  local world
  before_each(function() world = new_world() end)

  describe("token call", function()
    it("redeems a code into what the seed page shows", function()
      local code = world.control("codes").code
      local reply = redeem(world, code)
      assert.equal(200, reply.status)
      assert.equal(14400, reply.value.expires_in)
      assert.equal("Bearer", reply.value.token_type)
      assert.is_string(reply.value.scope)
      assert.are_not.equal(reply.value.access_token, reply.value.refresh_token)
      assert.equal("no-store", reply.headers["Cache-Control"])
    end)

    it("takes a code at 60 seconds and refuses it a millisecond later", function()
      local codes = world.control("codes", { count = 2 }).codes
      world.now = world.now + 60000
      assert.equal(200, redeem(world, codes[1]).status)
      world.now = world.now + 1
      assert_oauth(redeem(world, codes[2]), 400, "invalid_grant")
    end)

    it("revokes what a reused code gave, rotated tokens too", function()
      local code = world.control("codes").code
      local first = redeem(world, code).value
      local second = refresh(world, first.refresh_token).value
      assert.equal(200, api(world, "GET", "/v1/users/me", second.access_token).status)
      assert_oauth(redeem(world, code), 400, "invalid_grant")
      assert.equal(403, api(world, "GET", "/v1/users/me", first.access_token).status)
      assert.equal(403, api(world, "GET", "/v1/users/me", second.access_token).status)
      assert_oauth(refresh(world, second.refresh_token), 400, "invalid_grant")
    end)

    it("refuses unknown codes and refresh tokens", function()
      assert_oauth(redeem(world, "nothing"), 400, "invalid_grant")
      assert_oauth(refresh(world, "nothing"), 400, "invalid_grant")
      local pair = redeem(world, world.control("codes").code).value
      assert_oauth(refresh(world, pair.access_token), 400, "invalid_grant")
    end)

    it("checks the client's credentials, and a refusal does not use the code up", function()
      local code = world.control("codes").code
      for _, wrong in ipairs { { client_secret = "other" }, { client_id = "other" }, { client_secret = "" } } do
        assert_oauth(redeem(world, code, wrong), 401, "invalid_client")
      end
      assert.equal(200, redeem(world, code).status)
    end)

    it("refuses other grant types with 401, and malformed calls with invalid_request", function()
      assert_oauth(token_call(world, { grant_type = "password" }), 401, "unsupported_grant_type")
      assert_oauth(token_call(world, {}), 400, "invalid_request")
      assert_oauth(token_call(world, { grant_type = "authorization_code" }), 400, "invalid_request")
      assert_oauth(token_call(world, { grant_type = "refresh_token" }), 400, "invalid_request")
    end)

    it("takes a form and nothing else", function()
      local code = world.control("codes").code
      local json = { ["Content-Type"] = "application/json" }
      local body = cjson.encode { grant_type = "authorization_code", code = code, client_id = "id", client_secret = "secret" }
      assert_oauth(world.serve("POST", "/oauth/token", json, body), 400, "invalid_request")
      assert_oauth(world.serve("POST", "/oauth/token", {}, "grant_type=authorization_code"), 400, "invalid_request")
      local form = { ["Content-Type"] = "application/x-www-form-urlencoded" }
      local query = "?grant_type=authorization_code&client_id=id&client_secret=secret&code=" .. code
      assert_oauth(world.serve("POST", "/oauth/token" .. query, form, ""), 400, "invalid_request")
      local twice = "grant_type=authorization_code&client_id=id&client_secret=secret&code=a&code=" .. code
      assert_oauth(world.serve("POST", "/oauth/token", form, twice), 400, "invalid_request")
    end)

    it("rotates: a new pair, and the old refresh token dies at once", function()
      local first = redeem(world, world.control("codes").code).value
      local second = refresh(world, first.refresh_token)
      assert.equal(200, second.status)
      assert.are_not.equal(first.refresh_token, second.value.refresh_token)
      assert_oauth(refresh(world, first.refresh_token), 400, "invalid_grant")
      assert.equal(200, refresh(world, second.value.refresh_token).status)
    end)

    it("keeps the old access token alive unless the variant says otherwise", function()
      local first = redeem(world, world.control("codes").code).value
      local second = refresh(world, first.refresh_token).value
      assert.equal(200, api(world, "GET", "/v1/users/me", first.access_token).status)
      world.control("variant", { old_access = "dies" })
      refresh(world, second.refresh_token)
      assert.equal(403, api(world, "GET", "/v1/users/me", second.access_token).status)
    end)

    it("gives the old refresh token a minute with variant old_refresh = grace", function()
      world.control("variant", { old_refresh = "grace" })
      local first = redeem(world, world.control("codes").code).value
      refresh(world, first.refresh_token)
      world.now = world.now + 60000
      assert.equal(200, refresh(world, first.refresh_token).status)
      world.now = world.now + 1
      assert_oauth(refresh(world, first.refresh_token), 400, "invalid_grant")
    end)

    it("lets the refresh token lapse after 30 days", function()
      local first = redeem(world, world.control("codes").code).value
      world.now = world.now + 30 * 86400000 - 1
      local second = refresh(world, first.refresh_token)
      assert.equal(200, second.status)
      world.now = world.now + 30 * 86400000
      assert_oauth(refresh(world, second.value.refresh_token), 400, "invalid_grant")
    end)
  end)

  describe("partner-initiated codes", function()
    local VERIFIER = ("v"):rep(43)
    local CHALLENGE = core.base64url(core.sha256(VERIFIER))

    it("need their verifier, live 10 minutes, and need no POST", function()
      local one = world.control("codes", { code_challenge = CHALLENGE, count = 2 })
      assert_oauth(redeem(world, one.codes[1]), 400, "invalid_grant")
      assert_oauth(redeem(world, one.codes[1], { code_verifier = ("w"):rep(43) }), 400, "invalid_grant")
      world.now = world.now + 600000
      local pair = redeem(world, one.codes[1], { code_verifier = VERIFIER })
      assert.equal(200, pair.status)
      assert.equal(200, api(world, "GET", "/v1/devices", pair.value.access_token).status)
      assert.equal(200, api(world, "PATCH", INTEGRATIONS, pair.value.access_token, { status = "completed" }).status)
      world.now = world.now + 1
      assert_oauth(redeem(world, one.codes[2], { code_verifier = VERIFIER }), 400, "invalid_grant")
    end)

    it("refuses a verifier for a code without a challenge", function()
      assert_oauth(redeem(world, world.control("codes").code, { code_verifier = VERIFIER }), 400, "invalid_grant")
    end)

    it("plays the authorize page", function()
      local url = "https://account.ring.com/account/integrations/partner-link/authorize?" .. text.to_form {
        client_id = "id", redirect_uri = "http://127.0.0.1:9/back", response_type = "code", scope = "ava.v1:read",
        state = "s1", code_challenge = CHALLENGE, code_challenge_method = "S256",
      }
      local one = assert(world.control("authorize", { url = url }))
      assert.equal("http://127.0.0.1:9/back?code=" .. one.code .. "&state=s1", one.redirect)
      assert.equal(200, redeem(world, one.code, { code_verifier = VERIFIER }).status)
      local nothing, problem = world.control("authorize", { url = (url:gsub("S256", "plain")) })
      assert.is_nil(nothing)
      assert.truthy(problem:find("code_challenge_method"))
    end)

    it("may delete their integration", function()
      local one = world.control("codes", { code_challenge = CHALLENGE })
      local pair = redeem(world, one.code, { code_verifier = VERIFIER }).value
      assert.equal(204, api(world, "DELETE", INTEGRATIONS, pair.access_token).status)
      assert.equal(401, api(world, "GET", "/v1/devices", pair.access_token).status)
    end)
  end)

  describe("bearer tokens", function()
    it("users/me answers 403 for bad tokens, the others 401 Invalid Client", function()
      for _, token in ipairs { "nothing", false } do
        assert.equal(403, api(world, "GET", "/v1/users/me", token or nil).status)
        assert_error(api(world, "GET", "/v1/devices", token or nil), 401, "Invalid Client")
        assert_error(api(world, "POST", INTEGRATIONS, token or nil, { nonce = "x" }), 401, "Invalid Client")
      end
      world.control("variant", { me_refusal = 401 })
      assert_error(api(world, "GET", "/v1/users/me", "nothing"), 401, "Invalid Client")
    end)

    it("live 14400 seconds", function()
      local one = link(world)
      world.now = world.now + 14400 * 1000 - 1
      assert.equal(200, api(world, "GET", "/v1/users/me", one.access).status)
      world.now = world.now + 1
      assert.equal(403, api(world, "GET", "/v1/users/me", one.access).status)
      assert_error(api(world, "GET", "/v1/devices", one.access), 401, "Invalid Client")
    end)

    it("a refresh token as Bearer gets 401", function()
      local one = link(world)
      assert_error(api(world, "GET", "/v1/devices", one.refresh), 401, "Invalid Client")
      assert_error(api(world, "GET", "/v1/users/me", one.refresh), 401, "Invalid Client")
    end)

    it("can be made to lapse by control", function()
      local one = link(world)
      assert.equal(1, world.control("expire", { account = one.account }).expired)
      assert.equal(401, api(world, "GET", "/v1/devices", one.access).status)
      assert.equal(200, refresh(world, one.refresh).status)
    end)
  end)

  describe("users/me and unknown paths", function()
    it("tells the account id", function()
      local one = link(world, "token")
      local reply = api(world, "GET", "/v1/users/me", one.access)
      assert.equal(one.account, reply.value.data.id)
      assert.equal("users", reply.value.data.type)
      assert.is_string(reply.value.data.attributes.email)
    end)

    it("answers 403 for unknown paths and methods, 404 for unknown devices", function()
      local one = link(world)
      for _, path in ipairs { "/v1/nothing", "/v2/users/me", "/v1/devices/a/nothing", "/x", "/v1//devices" } do
        assert.equal(403, api(world, "GET", path, one.access).status)
      end
      assert.equal(403, api(world, "PUT", "/v1/users/me", one.access, {}).status)
      assert_error(api(world, "GET", "/v1/devices/nothing", one.access), 404, "Not Found")
    end)

    it("refuses DELETE of a one-way integration", function()
      local one = link(world)
      assert.equal(403, api(world, "DELETE", INTEGRATIONS, one.access).status)
      assert.equal(200, api(world, "GET", "/v1/devices", one.access).status)
    end)
  end)

  describe("POST app-integrations", function()
    it("issues nonces as the vectors have them", function()
      local one = world.control("install", { deliver = false, account = "ava1.ring.account.XXXYYY" })
      assert.equal("1771130906289", one.time)
      assert.equal("Jf4RdqEuSmvQLd9l5CwXZ-GLkDQ8OJHYqSp_mU8NCVE", one.nonce)
      assert.equal("http://127.0.0.1:1/link?from=ring&nonce=" .. one.nonce .. "&time=" .. one.time, one.redirect)
    end)

    it("confirms, and only then devices are readable", function()
      local one = link(world, "token")
      assert_error(api(world, "GET", "/v1/devices", one.access), 403, "Out of Scope Access")
      local reply = api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce, account_identifier = "u***r@x" })
      assert.same({ status = "awaiting" }, reply.value)
      assert.equal(200, api(world, "GET", "/v1/devices", one.access).status)
      assert.equal("awaiting", state_of(world, one.account).status)
      assert.equal("u***r@x", world.control("state").integrations[1].account_identifier)
    end)

    it("names missing fields", function()
      local one = link(world, "token")
      for _, body in ipairs { "{}", '{"account_identifier":"a"}', '{"nonce":null}', '{"nonce":""}', "", "no json", "[]" } do
        assert_error(api(world, "POST", INTEGRATIONS, one.access, body), 400, "Missing Required Fields")
      end
      assert_error(api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce, account_identifier = 1 }),
        400, "Missing Required Fields")
      assert.equal(200, api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce }).status)
    end)

    it("takes JSON only", function()
      local one = link(world, "token")
      local headers = { Authorization = "Bearer " .. one.access, ["Content-Type"] = "text/plain" }
      local reply = world.serve("POST", INTEGRATIONS, headers, cjson.encode { nonce = one.nonce })
      assert_error(reply, 415, "Unsupported Media Type")
      headers["Content-Type"] = "application/json; charset=utf-8"
      assert.equal(200, world.serve("POST", INTEGRATIONS, headers, cjson.encode { nonce = one.nonce }).status)
    end)

    it("refuses forged, foreign, used, old and future nonces", function()
      local one, other = link(world, "token"), link(world, "token")
      local function try(nonce) return api(world, "POST", INTEGRATIONS, one.access, { nonce = nonce }) end
      assert_error(try(("A"):rep(43)), 400, "Invalid Nonce")
      assert_error(try(12), 400, "Invalid Nonce")
      assert_error(try(other.nonce), 400, "Invalid Nonce")
      local old = world.control("redirect", { account = one.account, time_offset_ms = -600001 })
      assert_error(try(old.nonce), 400, "Invalid Nonce")
      local future = world.control("redirect", { account = one.account, time_offset_ms = 1 })
      assert_error(try(future.nonce), 400, "Invalid Nonce")
      assert.equal(200, try(one.nonce).status)
      assert_error(try(one.nonce), 400, "Invalid Nonce")
    end)

    it("takes a nonce at 600 seconds and refuses it a millisecond later", function()
      local one, other = link(world, "token"), link(world, "token")
      world.now = world.now + 600000
      assert.equal(200, api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce }).status)
      world.now = world.now + 1
      assert_error(api(world, "POST", INTEGRATIONS, other.access, { nonce = other.nonce }), 400, "Invalid Nonce")
    end)

    it("takes a fresh nonce for the same tokens, and begins anew", function()
      local one = link(world)
      local again = world.control("redirect", { account = one.account })
      assert.are_not.equal(one.nonce, again.nonce)
      assert.equal(200, api(world, "POST", INTEGRATIONS, one.access, { nonce = again.nonce }).status)
      assert.equal("awaiting", state_of(world, one.account).status)
      assert.equal(200, api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" }).status)
    end)

    it("answers 404 when the integration is gone but the token lives", function()
      local one = link(world)
      world.control("unlink", { account = one.account, keep_tokens = true })
      assert_error(api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce }), 404, "Not Found")
      assert_error(api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" }), 404, "Not Found")
    end)
  end)

  describe("PATCH app-integrations", function()
    it("completes with the three fields of the seed page", function()
      local one = link(world, "post")
      local body = { status = "completed", account_identifier = "u***r@x" }
      local reply = api(world, "PATCH", INTEGRATIONS, one.access, body)
      assert.same({ status = "completed", account_identifier = "u***r@x", updated_at = "2026-02-15T04:48:26Z" }, reply.value)
    end)

    it("refuses an empty body", function()
      local one = link(world, "post")
      for _, body in ipairs { "{}", "", '{"status":null}', '{"other":1}' } do
        assert_error(api(world, "PATCH", INTEGRATIONS, one.access, body), 400, "Missing Required Fields")
      end
    end)

    it("allows awaiting -> completed -> awaiting and nothing else", function()
      local one = link(world, "token")
      local function patch(status) return api(world, "PATCH", INTEGRATIONS, one.access, { status = status }) end
      assert_error(patch("completed"), 400, "Invalid Status Transition")
      api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce })
      for _, status in ipairs { "awaiting", "pending", "other", 7 } do
        assert_error(patch(status), 400, "Invalid Status Transition")
      end
      assert.equal(200, patch("completed").status)
      assert_error(patch("completed"), 400, "Invalid Status Transition")
      assert.equal("awaiting", patch("awaiting").value.status)
      assert.equal("completed", patch("completed").value.status)
    end)

    it("changes the identifier alone at any time, without completing", function()
      local one = link(world, "token")
      local function rename(to) return api(world, "PATCH", INTEGRATIONS, one.access, { account_identifier = to }) end
      assert.equal("pending", rename("a").value.status)
      api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce })
      assert.equal("awaiting", rename("b").value.status)
      assert.equal("b", rename("b").value.account_identifier)
    end)

    it("applies nothing when the status is refused", function()
      local one = link(world, "token")
      api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed", account_identifier = "x" })
      assert.is_nil(world.control("state").integrations[1].account_identifier)
    end)
  end)

  describe("variants", function()
    it("awaiting = redirect: PATCH is accepted without the POST, but gives no devices and no webhooks", function()
      world.control("variant", { awaiting = "redirect" })
      local one = link(world, "token")
      assert.equal("awaiting", state_of(world, one.account).status)
      assert.equal(200, api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" }).status)
      assert_error(api(world, "GET", "/v1/devices", one.access), 403, "Out of Scope Access")
      assert.equal(0, #webhooks(world))
    end)

    it("awaiting = redirect works whichever of redirect and exchange comes first", function()
      world.control("variant", { awaiting = "redirect" })
      local minted = world.control("codes")
      local pair = redeem(world, minted.code).value
      assert.equal("pending", state_of(world, minted.account).status)
      world.control("redirect", { account = minted.account })
      assert.equal("awaiting", state_of(world, minted.account).status)
      assert.equal(200, api(world, "PATCH", INTEGRATIONS, pair.access_token, { status = "completed" }).status)
    end)

    it("wrapped: the status comes as data.attributes.status", function()
      world.control("variant", { wrapped = true })
      local one = link(world, "token")
      local reply = api(world, "POST", INTEGRATIONS, one.access, { nonce = one.nonce })
      assert.equal("awaiting", reply.value.data.attributes.status)
      reply = api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" })
      assert.equal("completed", reply.value.data.attributes.status)
    end)

    it("devices = after: chosen once the partner answered 200", function()
      world.control("variant", { devices = "after", device_added = "install" })
      world.answer = { status = 500, headers = {} }
      world.control("install", {})
      assert.equal(0, #webhooks(world, "device_added"))
      world.answer = { status = 200, headers = {} }
      world.control("install", {})
      assert.equal(2, #webhooks(world, "device_added"))
    end)

    it("refuses unknown names and values and then changes nothing", function()
      assert.is_nil(world.control("variant", { nothing = 1 }))
      assert.is_nil(world.control("variant", { wrapped = true, awaiting = "never" }))
      assert.is_false(world.control("state").variant.wrapped)
    end)
  end)

  describe("devices", function()
    it("lists, includes parts, and reads one by its percent-encoded id", function()
      local one = link(world)
      local list = api(world, "GET", "/v1/devices?include=status,location", one.access).value
      assert.equal(2, #list.data)
      assert.equal(4, #list.included)
      local odd = list.data[2].id
      assert.truthy(odd:find("/", 1, true))
      assert.equal(odd, api(world, "GET", "/v1/devices/" .. text.percent_encode(odd), one.access).value.data.id)
      assert.equal(403, api(world, "GET", "/v1/devices/" .. odd, one.access).status)
      for _, part in ipairs { "status", "capabilities", "location", "configurations" } do
        assert.equal(200, api(world, "GET", list.data[1].links.self .. "/" .. part, one.access).status)
      end
      assert_error(api(world, "GET", "/v1/devices?include=nothing", one.access), 400, "Bad Request")
      assert.equal(200, api(world, "GET", "/v1/accounts/me/subscriptions", one.access).status)
    end)

    it("pages history by relative links; the empty page still carries one", function()
      local one = link(world)
      local id = state_of(world, one.account).devices[1].id
      local path, count, pages = "/v1/history/devices/" .. id .. "/events?event_types=motion_detected", 0, 0
      local seen = {}
      repeat
        local page = api(world, "GET", path, one.access).value
        count, pages = count + #page.data, pages + 1
        assert.truthy(page.links.next:find("^/v1/history/devices/"))
        seen[path], path = true, page.links.next
      until #page.data == 0
      assert.equal(5, count)
      assert.equal(4, pages)
      assert.is_true(seen[path])
      assert.equal(400, api(world, "GET", "/v1/history/devices/" .. id .. "/events?page[key]=zz", one.access).status)
      world.control("variant", { pages = "ends" })
      local last = api(world, "GET", "/v1/history/devices/" .. id .. "/events?page%5Bkey%5D=" .. core.hex("page:4"), one.access)
      assert.is_nil(last.value.links.next)
    end)

    it("hands images out by a pre-signed address that refuses credentials", function()
      local one = link(world)
      local device = "/v1/devices/" .. state_of(world, one.account).devices[1].id
      local reply = api(world, "POST", device .. "/media/image/download", one.access, {})
      assert.equal(303, reply.status)
      local path = reply.headers.Location:match("^http://localhost:1(/media/.+)$")
      assert.equal(400, api(world, "GET", path, one.access).status)
      assert.equal("GIF89a", world.serve("GET", path).body:sub(1, 6))
      world.now = world.now + 5 * 60000 + 1
      assert.equal(403, world.serve("GET", path).status)
    end)

    it("serves clips whole and by range, live sessions, and 503 Device Unavailable", function()
      local one = link(world)
      local device = "/v1/devices/" .. state_of(world, one.account).devices[1].id
      local video = device .. "/media/video/download"
      assert.equal(200, api(world, "POST", video, one.access, {}).status)
      local function range(text_range)
        return world.serve("POST", video, { Authorization = "Bearer " .. one.access, Range = text_range })
      end
      assert.equal(206, range("bytes=4-7").status)
      assert.equal("ftyp", range("bytes=4-7").body)
      assert.equal(416, range("bytes=999-").status)
      local whep = device .. "/media/streaming/whep/sessions"
      local sdp = { Authorization = "Bearer " .. one.access, ["Content-Type"] = "application/sdp" }
      local session = world.serve("POST", whep, sdp, "v=0")
      assert.equal(201, session.status)
      assert.equal(204, api(world, "DELETE", session.headers.Location, one.access).status)
      assert_error(api(world, "DELETE", session.headers.Location, one.access), 404, "Not Found")
      world.control("event", { account = one.account, type = "device_offline" })
      assert_error(api(world, "POST", video, one.access, {}), 503, "Device Unavailable")
    end)
  end)

  describe("rate limit", function()
    it("is 100 a second over all calls, and says so in the headers", function()
      for i = 1, 100 do
        local reply = api(world, "GET", "/v1/users/me", "nothing")
        assert.equal(403, reply.status)
        assert.equal("100", reply.headers["X-RateLimit-Limit"])
        assert.equal(tostring(100 - i), reply.headers["X-RateLimit-Remaining"])
      end
      local refused = redeem(world, "code")
      assert_error(refused, 429, "Rate Limit Exceeded")
      assert.equal("1", refused.headers["Retry-After"])
      world.now = world.now + 1000
      assert.equal(403, api(world, "GET", "/v1/users/me", "nothing").status)
    end)

    it("does not process what it refuses, and can give an HTTP-date", function()
      local code = world.control("codes").code
      world.control("limits", { per_s = 1 })
      world.control("variant", { retry_after = "date" })
      world.serve("GET", "/x")
      local refused = redeem(world, code)
      assert.equal("Sun, 15 Feb 2026 04:48:28 GMT", refused.headers["Retry-After"])
      assert.is_false(world.control("requests")[2].processed)
      world.control("limits", { off = true })
      assert.equal(200, redeem(world, code).status)
    end)
  end)

  describe("webhooks", function()
    it("come after the completion: devices first, then the integration; signed; once", function()
      local one = link(world, "post")
      assert.equal(0, #webhooks(world))
      api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" })
      local types = {}
      for i, hook in ipairs(webhooks(world)) do
        types[i] = hook.type
        assert.equal(core.hmac_key { KEY }:sign(hook.body), hook.signature)
        local body = cjson.decode(hook.body)
        assert.equal(one.account, body.meta.account_id)
        assert.truthy(body.meta.time:find("^%d+%-%d+%-%d+T%d+:%d+:%d+%.%d%d%d%d%d%d%d%d%dZ$"))
        assert.equal(hook.request_id, body.meta.request_id)
      end
      assert.same({ "device_added", "device_added", "app_integration_added" }, types)
      api(world, "PATCH", INTEGRATIONS, one.access, { status = "awaiting" })
      api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" })
      assert.equal(3, #webhooks(world))
    end)

    it("can come earlier by variant", function()
      world.control("variant", { device_added = "install", added = "post" })
      link(world, "token")
      assert.equal(2, #webhooks(world, "device_added"))
      link(world, "post")
      assert.equal(1, #webhooks(world, "app_integration_added"))
    end)

    it("have the bodies of the contract", function()
      local one = link(world)
      local function data(fields)
        fields.account = one.account
        assert.equal(1, world.control("event", fields).queued)
        local hooks = webhooks(world)
        return cjson.decode(hooks[#hooks].body).data
      end
      local motion = data { type = "motion_detected", subType = "human" }
      assert.equal("human", motion.subType)
      assert.equal("devices", motion.attributes.source_type)
      assert.equal(START_MS, motion.attributes.timestamp)
      assert.equal("/v1/devices/" .. motion.attributes.source, motion.relationships.devices.links.self)
      local active = data { type = "subscription_activated", sub_type = "trial" }
      assert.equal("subscriptions", active.attributes.source)
      assert.equal(cjson.null, active.attributes.plan_id)
      assert.is_string(active.attributes.expires_at)
      assert.is_nil(active.attributes.timestamp)
      assert.is_nil(active.attributes.source_type)
      assert.equal("device", active.relationships.devices.data[1].type)
      assert.is_nil(data({ type = "subscription_deactivated" }).attributes.expires_at)
      local unknown = data { type = "something_new", attributes = { extra = 1 } }
      assert.equal(1, unknown.attributes.extra)
    end)

    it("can be forged, repeated and old, for tests", function()
      local one = link(world)
      world.control("event", { account = one.account, type = "button_press", times = 2, signature = "wrong", age_ms = 86400000 })
      local hooks = webhooks(world, "button_press")
      assert.equal(2, #hooks)
      assert.equal(hooks[1].request_id, hooks[2].request_id)
      assert.are_not.equal(core.hmac_key { KEY }:sign(hooks[1].body), hooks[1].signature)
      assert.truthy(hooks[1].body:find("2026-02-14T04:48:26", 1, true))
    end)

    it("are not sent before the completion or after a pause, unless forced", function()
      local one = link(world, "post")
      assert.equal(0, world.control("event", { account = one.account, type = "motion_detected" }).queued)
      assert.equal(1, world.control("event", { account = one.account, type = "motion_detected", force = true }).queued)
    end)

    it("unlinking revokes everything and tells it", function()
      local one = link(world)
      assert.equal(1, world.control("unlink", { account = one.account }).revoked)
      assert.equal(403, api(world, "GET", "/v1/users/me", one.access).status)
      assert_oauth(refresh(world, one.refresh), 400, "invalid_grant")
      local hook = cjson.decode(webhooks(world, "app_integration_removed")[1].body)
      assert.is_nil(hook.data.relationships)
      assert.equal("users", hook.data.attributes.source_type)
      assert.equal("unlinked", state_of(world, one.account).status)
    end)
  end)

  describe("outbox", function()
    local outbox = require "ringlink.sandbox.rules.outbox"

    local function one_delivery()
      local box = outbox.new()
      return box, outbox.add(box, { url = "http://127.0.0.1/" }, 0)
    end

    it("retries 5xx and time-outs after 1 s, 5 s, 30 s, 2 min, 10 min, 1 h, then gives up", function()
      local box, one = one_delivery()
      local now = 0
      for i, wait in ipairs { 1000, 5000, 30000, 120000, 600000, 3600000 } do
        assert.equal(one, outbox.take(box, now))
        assert.is_nil(outbox.take(box, now))
        outbox.settle(one, i % 2 == 0 and 503 or nil, "timeout", now)
        assert.equal(now + wait, outbox.next_due(box))
        assert.is_nil(outbox.take(box, now + wait - 1))
        now = now + wait
      end
      outbox.settle(outbox.take(box, now), 500, nil, now)
      assert.equal("undelivered", one.state)
      assert.is_nil(outbox.next_due(box))
    end)

    it("never retries 4xx, and ends with 2xx", function()
      for status, state in pairs { [400] = "refused", [429] = "refused", [302] = "refused", [200] = "delivered", [204] = "delivered" } do
        local box, one = one_delivery()
        outbox.settle(outbox.take(box, 0), status, nil, 0)
        assert.equal(state, one.state)
        assert.is_nil(outbox.next_due(box))
      end
    end)

    it("replays what was not delivered within 72 hours, with the whole schedule again", function()
      local box, one = one_delivery()
      one.state = "undelivered"
      one.attempts = { {}, {}, {}, {}, {}, {}, {} }
      assert.equal(0, outbox.replay(box, nil, 72 * 3600000 + 1))
      assert.equal(1, outbox.replay(box, nil, 72 * 3600000))
      outbox.settle(outbox.take(box, 72 * 3600000), 500, nil, 72 * 3600000)
      assert.equal(72 * 3600000 + 1000, outbox.next_due(box))
    end)
  end)

  describe("install", function()
    it("posts the code as a form and redirects after the 200", function()
      local one = world.control("install", {})
      assert.equal("code=" .. one.code, world.sent[1].body)
      assert.equal("application/x-www-form-urlencoded", world.sent[1].headers["Content-Type"])
      assert.same({ { status = 200 } }, one.delivered)
      assert.is_string(one.redirect)
    end)

    it("does not redirect when the partner does not answer 200", function()
      world.answer = { status = 202, headers = {} }
      local one = world.control("install", {})
      assert.is_nil(one.redirect)
      assert.is_nil(one.nonce)
    end)

    it("delivers twice, and redirects at once when asked", function()
      world.control("install", { twice = true })
      assert.equal(2, #world.sent)
      assert.equal(world.sent[1].body, world.sent[2].body)
      local one = world.control("install", { redirect = "at_once" })
      assert.is_string(one.redirect)
      assert.equal(2, #world.sent)
      world.later()
      assert.equal(3, #world.sent)
    end)

    it("a second install gives a second pair and leaves the first link alone", function()
      local one = link(world)
      local two = link(world, "token", one.account)
      assert.are_not.equal(one.access, two.access)
      assert.equal(200, api(world, "GET", "/v1/devices", one.access).status)
      assert_error(api(world, "GET", "/v1/devices", two.access), 403, "Out of Scope Access")
      assert.equal(2, state_of(world, one.account).grants)
    end)
  end)

  describe("faults", function()
    it("refuse before processing, so that the code is still good", function()
      local code = world.control("codes").code
      world.control("faults", { call = "token", status = 503 })
      assert.equal(503, redeem(world, code).status)
      assert.is_false(world.control("requests")[1].processed)
      assert.equal(200, redeem(world, code).status)
    end)

    it("answer an error after processing, so that the code is gone", function()
      local code = world.control("codes").code
      world.control("faults", { call = "token", status = 429, after = true, retry_after = 7 })
      local reply = redeem(world, code)
      assert_error(reply, 429, "Rate Limit Exceeded")
      assert.equal("7", reply.headers["Retry-After"])
      assert.is_true(world.control("requests")[1].processed)
      assert.equal(200, world.control("requests")[1].result)
      assert_oauth(redeem(world, code), 400, "invalid_grant")
    end)

    it("drop before and after processing", function()
      local codes = world.control("codes", { count = 2 }).codes
      world.control("faults", { call = "token", drop = "before" })
      assert.is_nil(redeem(world, codes[1]))
      world.control("faults", { call = "token", drop = "after" })
      assert.is_nil(redeem(world, codes[2]))
      local rows = world.control("requests")
      assert.is_false(rows[1].processed)
      assert.is_true(rows[2].processed)
      assert.is_true(rows[1].dropped)
      assert.is_nil(rows[1].status)
      assert.equal(200, redeem(world, codes[1]).status)
    end)

    it("count, skip and tell calls apart", function()
      local pair = redeem(world, world.control("codes").code).value
      world.control("faults", { call = "refresh", status = 500, skip = 1, count = 2 })
      local second = refresh(world, pair.refresh_token)
      assert.equal(200, second.status)
      assert.equal(200, redeem(world, world.control("codes").code).status)
      assert.equal(500, refresh(world, second.value.refresh_token).status)
      assert.equal(500, refresh(world, second.value.refresh_token).status)
      assert.equal(200, refresh(world, second.value.refresh_token).status)
      world.control("faults", { call = "*", status = 500, count = "always" })
      for _ = 1, 5 do assert.equal(500, world.serve("GET", "/x").status) end
    end)

    it("tell complete from update, and give their titles", function()
      local one = link(world, "post")
      world.control("faults", { call = "complete", status = 400, title = "Invalid Status Transition", after = true })
      assert.equal(200, api(world, "PATCH", INTEGRATIONS, one.access, { account_identifier = "a" }).status)
      assert_error(api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" }), 400, "Invalid Status Transition")
      assert.equal("completed", state_of(world, one.account).status)
    end)

    it("speak OAuth to the token call", function()
      world.control("faults", { call = "token", status = 401 })
      world.control("faults", { call = "token", status = 400, title = "invalid_grant" })
      assert_oauth(redeem(world, "x"), 401, "invalid_client")
      assert_oauth(redeem(world, "x"), 400, "invalid_grant")
    end)

    it("delay on the virtual clock, and garble bodies", function()
      local one = link(world)
      world.control("faults", { call = "me", delay_ms = 1500 })
      local before = world.now
      assert.equal(200, api(world, "GET", "/v1/users/me", one.access).status)
      assert.equal(before + 1500, world.now)
      local function garbled(fault)
        fault.call = "me"
        assert(world.control("faults", fault))
        return api(world, "GET", "/v1/users/me", one.access)
      end
      assert.equal("text/html", garbled({ body = "html", status = 502 }).headers["Content-Type"])
      assert.is_nil(garbled({ body = "truncated" }).value)
      assert.is_true(garbled({ body = "cut" }).cut)
      assert.equal("", garbled({ body = "empty" }).body)
      assert.equal(5000000, garbled({ body = "huge", bytes = 5000000 }).pad_bytes)
      assert.equal("{}", garbled({ body = "raw", raw = "{}" }).body)
      local dated = garbled { status = 429, retry_after = 2, retry_after_form = "date" }
      assert.truthy(dated.headers["Retry-After"]:find("GMT$"))
      assert.equal("99999999999999999999", garbled({ status = 429, retry_after = "99999999999999999999" }).headers["Retry-After"])
    end)

    it("refuse unknown calls and fields", function()
      for _, wrong in ipairs { { call = "nothing" }, { status = 42 }, { drop = "never" }, { nothing = 1 }, { count = 0 },
        { body = "raw" }, { delay_ms = -1 }, { headers = "x" } } do
        assert.is_nil(world.control("faults", wrong))
      end
      assert.equal(0, world.control("state").faults)
    end)
  end)

  describe("journal and state", function()
    it("hold no secret: fingerprints only", function()
      local one = link(world)
      refresh(world, one.refresh)
      local said = cjson.encode(world.control("requests")) .. cjson.encode(world.control("state"))
      for _, secret in ipairs { one.code, one.access, one.refresh, one.nonce, "secret", KEY } do
        assert.is_nil(said:find(secret, 1, true))
      end
      local rows = world.control("requests")
      assert.equal(text.fingerprint(one.code), rows[1].code)
      assert.equal(text.fingerprint(one.nonce), rows[2].nonce)
      assert.equal(text.fingerprint(one.access), rows[2].bearer)
      assert.equal(text.fingerprint(one.refresh), rows[4].refresh_token)
    end)

    it("name calls, and can be filtered", function()
      local one = link(world)
      local names = {}
      for i, row in ipairs(world.control("requests")) do names[i] = row.call end
      assert.same({ "token", "confirm", "complete" }, names)
      assert.equal(1, #world.control("requests", { call = "confirm" }))
      assert.equal(2, #world.control("requests", { since = "1" }))
      assert.equal(3, #world.control("requests", { account = one.account }))
    end)

    it("hide what a pre-signed path and a query hold", function()
      world.serve("GET", "/media/verysecret")
      world.serve("GET", "/v1/devices?token=verysecret")
      assert.is_nil(cjson.encode(world.control("requests")):find("verysecret", 1, true))
    end)
  end)

  describe("control", function()
    it("moves the clock, which the Date header follows, and resets", function()
      assert.equal(START_MS + 5000, world.control("clock", { advance_ms = 5000 }).now_ms)
      assert.equal("Sun, 15 Feb 2026 04:48:31 GMT", world.serve("GET", "/x").headers.Date)
      assert.equal(1000, world.control("clock", { set_ms = 1000 }).now_ms)
      world.control("reset")
      assert.equal(START_MS, world.control("state").now_ms)
      assert.equal(0, #world.control("state").accounts)
    end)

    it("refuses unknown operations, fields and accounts, and wrong methods", function()
      local function status(method, name, fields)
        return (control.run(world.ring, world.host, method, name, fields or {}))
      end
      assert.equal(404, status("POST", "nothing"))
      assert.equal(405, status("GET", "install"))
      assert.equal(400, status("POST", "install", { nothing = 1 }))
      assert.equal(400, status("POST", "install", { twice = "yes" }))
      assert.equal(400, status("POST", "unlink", { account = "nobody" }))
      assert.equal(400, status("POST", "codes", { count = 100000 }))
    end)

    it("compares its token whole", function()
      assert.is_true(control.may("token", "token"))
      for _, wrong in ipairs { "toke", "tokens", "", "Token" } do assert.is_false(control.may("token", wrong)) end
      assert.is_false(control.may("token", nil))
    end)

    it("delivers to loopback only", function()
      for _, url in ipairs { "http://127.0.0.1:8080/x", "https://localhost/x?y=1", "http://[::1]:9/" } do
        assert.truthy(target.parse(url))
      end
      for _, url in ipairs { "http://example.com/", "http://127.0.0.1.example.com/", "http://127.0.0.1@example.com/",
        "http://10.0.0.1/", "ftp://127.0.0.1/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://127.0.0.1:8 0/",
        "http://127.0.0.1\r\nX: y/", "", 5 } do
        assert.is_nil(target.parse(url))
      end
    end)
  end)
end)
