--- The strict Ring's rules, without nginx, in virtual time: tokens, bearers, the link and its
--- variants. What the user and the tester do is in sandbox_play_spec.lua.

local cjson = require "cjson"
local core = require "ringlink.core"
local text = require "ringlink.sandbox.rules.text"
local rules = require "support.sandbox_rules"

local INTEGRATIONS = rules.INTEGRATIONS
local api, assert_error, assert_oauth, link, redeem, refresh, state_of, token_call, webhooks =
  rules.api, rules.assert_error, rules.assert_oauth, rules.link, rules.redeem, rules.refresh, rules.state_of,
  rules.token_call, rules.webhooks

describe("sandbox rules", function()
  local world
  before_each(function() world = rules.new() end)

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
      local body = cjson.encode {
        grant_type = "authorization_code", code = code, client_id = "id", client_secret = "secret" }
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
      local bodies = { "{}", '{"account_identifier":"a"}', '{"nonce":null}', '{"nonce":""}', "", "no json", "[]" }
      for _, body in ipairs(bodies) do
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
      assert.equal(200, reply.status)
      body.updated_at = "2026-02-15T04:48:26Z"
      assert.same(body, reply.value)
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
end)
