--- The strict Ring's other half, without nginx, in virtual time: devices, limits, webhooks,
--- installs, faults, journal and control.

local cjson = require "cjson"
local control = require "ringlink.sandbox.control"
local core = require "ringlink.core"
local target = require "ringlink.sandbox.rules.target"
local text = require "ringlink.sandbox.rules.text"
local rules = require "support.sandbox_rules"

local INTEGRATIONS = rules.INTEGRATIONS
local KEY = rules.KEY
local START_MS = rules.START_MS
local api, assert_error, assert_oauth, link, redeem, refresh, state_of, webhooks =
  rules.api, rules.assert_error, rules.assert_oauth, rules.link, rules.redeem, rules.refresh, rules.state_of,
  rules.webhooks

describe("sandbox play", function()
  local world
  before_each(function() world = rules.new() end)

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
      local place = "/v1/history/devices/" .. id .. "/events?page%5Bkey%5D=" .. core.hex("page:4")
      local last = api(world, "GET", place, one.access)
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
      world.control("event", { account = one.account, type = "button_press", times = 2, signature = "wrong",
        age_ms = 86400000 })
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
      local ends = { [400] = "refused", [429] = "refused", [302] = "refused", [200] = "delivered", [204] = "delivered" }
      for status, state in pairs(ends) do
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

    -- Which of so many calls are hit, as text: "-" and "x".
    local function pattern(rate, seed, count)
      world.control("faults", { off = true })
      world.control("limits", { off = true })
      assert(world.control("faults", { call = "unknown", status = 500, count = "always", rate = rate, seed = seed }))
      local marks = {}
      for i = 1, count do marks[i] = world.serve("GET", "/x").status == 500 and "x" or "-" end
      return table.concat(marks)
    end

    it("hit a part of the calls, the same ones for a seed", function()
      local once = pattern(0.05, 7, 2000)
      local _, hits = once:gsub("x", "")
      assert.is_true(hits > 60 and hits < 140, hits)
      assert.equal(once, pattern(0.05, 7, 2000))
      assert.are_not.equal(once, pattern(0.05, 8, 2000))
      assert.equal(("x"):rep(20), pattern(1, 7, 20))
    end)

    it("that miss a call leave it to the next in line", function()
      world.control("faults", { call = "unknown", status = 500, rate = 0.000001, count = "always" })
      world.control("faults", { call = "unknown", status = 503 })
      assert.equal(503, world.serve("GET", "/x").status)
      assert.equal(403, world.serve("GET", "/x").status)
    end)

    it("are taken back", function()
      world.control("faults", { status = 500, count = "always" })
      assert.equal(0, world.control("faults", { off = true }).faults)
      assert.equal(403, world.serve("GET", "/x").status)
    end)

    it("tell complete from update, and give their titles", function()
      local one = link(world, "post")
      world.control("faults", { call = "complete", status = 400, title = "Invalid Status Transition", after = true })
      assert.equal(200, api(world, "PATCH", INTEGRATIONS, one.access, { account_identifier = "a" }).status)
      local completing = api(world, "PATCH", INTEGRATIONS, one.access, { status = "completed" })
      assert_error(completing, 400, "Invalid Status Transition")
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
      local hostile = garbled { status = 429, retry_after = "99999999999999999999" }
      assert.equal("99999999999999999999", hostile.headers["Retry-After"])
    end)

    it("refuse unknown calls and fields", function()
      for _, wrong in ipairs { { call = "nothing" }, { status = 42 }, { drop = "never" }, { nothing = 1 },
        { count = 0 }, { body = "raw" }, { delay_ms = -1 }, { headers = "x" },
        { rate = 0 }, { rate = 1.01 }, { rate = "1" }, { seed = 0.5 } } do
        assert.is_nil(world.control("faults", wrong))
      end
      assert.equal(0, world.control("state").faults)
    end)

    it("list what is known", function()
      local _, call = world.control("faults", { call = "nothing" })
      assert.truthy(call:find("^unknown call nothing; known are %*, authorize, complete, confirm, "), call)
      local _, field = world.control("expire", { nothing = 1 })
      assert.equal("unknown field nothing; known are account, tokens", field)
      assert.equal("unknown field nothing; it takes none", select(2, world.control("reset", { nothing = 1 })))
      local _, other = world.control("variant", { nothing = 1 })
      assert.truthy(other:find("^unknown variant nothing; known are added, awaiting, "), other)
    end)
  end)

  it("says what an operation lacks", function()
    for _, name in ipairs { "redirect", "unlink", "event", "expire" } do
      assert.equal("account is required", select(2, world.control(name, {})))
      assert.equal("unknown account", select(2, world.control(name, { account = "nobody" })))
    end
    assert.equal("url is required", select(2, world.control("authorize", {})))
    assert.truthy(select(2, world.control("authorize", { url = "nothing" })):find("^client_id is missing"))
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
        "http://10.0.0.1/", "ftp://127.0.0.1/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/",
        "http://127.0.0.1:8 0/", "http://127.0.0.1\r\nX: y/", "", 5 } do
        assert.is_nil(target.parse(url))
      end
    end)
  end)
end)
