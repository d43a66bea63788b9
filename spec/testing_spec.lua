-- The Ring inside the process that partners test their own code with: time that takes none, failures on
-- order, webhooks, and a client that is the real one but for its connections.

local errors = require "ringlink.errors"
local offline = require "support.offline"
local readme = require "support.readme"
local ringlink = require "ringlink"
local testing = require "ringlink.testing"
local times = require "ringlink.testing.time"

local IDENTIFIER = "user@partner.example.com"

describe("ringlink.testing", function()
  local ring, client

  before_each(function()
    ring = testing.new { now_ms = 1771130906289 }
    client = ring:client()
  end)

  local function link_of(visit, user)
    return client:link { nonce = visit.nonce, time = visit.time, user = user or "user-1",
      account_identifier = IDENTIFIER }
  end

  local function linked(user)
    local visit = ring:install()
    assert(client:exchange(visit.code))
    return assert(link_of(visit, user)), visit
  end

  local function calls()
    local names = {}
    for i, row in ipairs(ring:requests()) do names[i] = row.call end
    return table.concat(names, " ")
  end

  -- The links -----------------------------------------------------------------------------------

  it("links an account, and shows what came", function()
    local link, visit = linked()
    assert.equal("completed", link.status)
    assert.equal("completed", ring:state(visit.account).status)
    assert.equal("token me confirm complete", calls())
    assert.equal(1, #ring:requests { call = "confirm" })
    assert.equal(1, #ring:state().integrations)
    assert.equal(2, #assert(link.account:get("/v1/devices")).data)
  end)

  it("is another Ring each time", function()
    local visit = ring:install()
    local _, err = testing.new():client():exchange(visit.code)
    assert.equal("exchange_refused", err.code)
    assert.equal("", calls())
  end)

  it("serves several clients and apps of a choice", function()
    ring = testing.new { client_id = "one", client_secret = "two", hmac_key = "three" }
    client = ring:client()
    assert.equal("completed", (linked()).status)
    local _, err = ring:client { client_secret = "wrong" }:exchange(ring:install().code)
    assert.equal("exchange_refused", err.code)
    assert.equal(401, err.status)
  end)

  it("takes the options of a client, and of a Ring only what it knows", function()
    local text = offline.misuse(function() ring:client { stor = "memory" } end)
    assert.truthy(text:find("did you mean store", 1, true), text)
    for _, name in ipairs { "runtime", "clock" } do
      text = offline.misuse(function() ring:client { [name] = "loop" } end)
      assert.truthy(text:find(name .. " is this Ring's own", 1, true), text)
    end
    text = offline.misuse(function() testing.new { clock = 1 } end)
    assert.truthy(text:find("unknown field clock; known are", 1, true), text)
    text = offline.misuse(function() testing.new { variant = { wraped = true } } end)
    assert.truthy(text:find("unknown variant wraped", 1, true), text)
  end)

  it("has Ring's variants and limits", function()
    ring = testing.new { variant = { expires_in = 60 }, limits = { per_s = 7 } }
    client = ring:client()
    local link = linked()
    assert.equal(60, ring:state().variant.expires_in)
    local answer = assert(link.account:request { method = "GET", path = "/v1/devices" })
    assert.equal("7", answer.headers["x-ratelimit-limit"])
  end)

  it("forgets, on reset, all but the app", function()
    local visit = ring:install()
    ring:reset()
    assert.same({}, ring:state().accounts)
    local _, err = client:exchange(visit.code)
    assert.equal("exchange_refused", err.code)
  end)

  it("gives out copies", function()
    ring:install()
    ring:state().variant.wrapped = true
    ring:requests()[1] = "mine"
    assert.is_false(ring:state().variant.wrapped)
    assert.equal("", calls())
  end)

  it("signs the user in again", function()
    local link, visit = linked()
    local again = ring:sign_in(visit.account)
    assert.are_not.equal(visit.nonce, again.nonce)
    assert.equal(link.account.id, assert(link_of(again)).account.id)
    local text = offline.misuse(function() ring:sign_in("nobody") end)
    assert.truthy(text:find("unknown account", 1, true), text)
    text = offline.misuse(function() ring:state("nobody") end)
    assert.truthy(text:find("unknown account", 1, true), text)
  end)

  it("plays stale and future links", function()
    for code, offset_ms in pairs { link_expired = -601000, link_in_future = 61000 } do
      local visit = ring:install { time_offset_ms = offset_ms }
      assert(client:exchange(visit.code))
      local _, err = link_of(visit)
      assert.equal(code, err.code)
    end
  end)

  -- Time ----------------------------------------------------------------------------------------

  it("has a time of its own, that passes when it is told", function()
    local before = ring:now_ms()
    ring:advance(3600)
    assert.equal(before + 3600000, ring:now_ms())
    assert.equal(ring:now_ms(), client.clock.now_ms())
    for _, seconds in ipairs { -1, 1 / 0, 0 / 0, "1" } do
      local ok = pcall(ring.advance, ring, seconds)
      assert.is_false(ok)
    end
  end)

  it("lets codes, nonces and tokens expire", function()
    local visit = ring:install()
    ring:advance(61)
    local _, err = client:exchange(visit.code)
    assert.equal("exchange_refused", err.code)
    local link = linked()
    ring:advance(5 * 3600)
    assert(link.account:get("/v1/devices"))
    assert.equal(1, #ring:requests { call = "refresh" })
  end)

  it("waits without taking time", function()
    local link = linked()
    ring:fail_next("devices", "429", { retry_after = 30 })
    local before, began = ring:now_ms(), os.time()
    assert(link.account:get("/v1/devices"))
    assert.truthy(ring:now_ms() - before >= 30000)
    assert.truthy(os.time() - began < 20)
  end)

  it("lets tasks take turns in the order of their times", function()
    local said = {}
    local function sleeper(name, ...)
      for _, seconds in ipairs { ... } do
        ring:sleep(seconds)
        said[#said + 1] = name
      end
    end
    local before = ring:now_ms()
    ringlink.run(function()
      ringlink.spawn(sleeper, "a", 10, 10)
      ringlink.spawn(sleeper, "b", 1, 1, 17, 5)
      ringlink.spawn(sleeper, "c", 15)
    end)
    assert.equal("b b a c b a b", table.concat(said, " "))
    assert.equal(24000, ring:now_ms() - before)
  end)

  it("lets no time pass while somebody can go on", function()
    local before, at_ms = ring:now_ms(), nil
    ringlink.run(function()
      ringlink.spawn(ring.sleep, ring, 10)
      for _ = 1, 20 do ringlink.join(ringlink.spawn(function() end)) end
      at_ms = ring:now_ms()
    end)
    assert.same({ before, before + 10000 }, { at_ms, ring:now_ms() })
  end)

  it("has everything happen at its own instant", function()
    local time, said = times.new(0), {}
    local function say(word)
      return function() said[#said + 1] = word .. time.mono_ms end
    end
    time:after(300, say "c")
    time:after(100, say "a")
    local dropped = time:after(150, say "x")
    time:after(100, function() time:after(50, say "b") end)
    time:drop(dropped)
    time:advance(1000)
    assert.equal("a100 b150 c300", table.concat(said, " "))
    assert.same({ 1000, 1000 }, { time.mono_ms, time.wall_ms })
    time:ticket()
    assert.is_false((pcall(time.poll, time, 1)))                   -- nothing is to come: nobody waits for ever
  end)

  it("keeps many links under way at once", function()
    local now, most, links = 0, 0, 0
    client = ring:client { rate_limit_per_s = 100000 }
    ring:control("limits", { off = true })
    ring:fail_next("confirm", { delay_ms = 500, count = "always" })
    client:on("before_confirm", function()
      now = now + 1
      most = math.max(most, now)
    end)
    client:on("awaiting", function() now = now - 1 end)
    local before = ring:now_ms()
    ringlink.run(function()
      for i = 1, 30 do
        ringlink.spawn(function()
          local link = linked("user-" .. i)
          if link.status == "completed" then links = links + 1 end
        end)
      end
    end)
    assert.same({ 30, 30 }, { links, most })
    assert.truthy(ring:now_ms() - before < 1000)
  end)

  it("may be waited for in anybody's coroutine", function()
    local before = ring:now_ms()
    local status = coroutine.wrap(function()
      local link = linked()
      assert(link.account:get("/v1/devices"))
      ring:sleep(60)
      return link.status
    end)()
    assert.equal("completed", status)
    assert.truthy(ring:now_ms() - before >= 60000)
  end)

  it("obeys Ring's rate", function()
    client = ring:client { rate_limit_per_s = 10 }
    local link = linked()
    local before = ring:now_ms()
    for _ = 1, 30 do assert(link.account:get("/v1/devices")) end
    assert.truthy(ring:now_ms() - before >= 2000)
  end)

  -- Trouble -------------------------------------------------------------------------------------

  it("loses the answer to the POST, which was done", function()
    ring:fail_next("confirm", "lost")
    local link, visit = linked()
    assert.equal("completed", link.status)
    assert.equal("completed", ring:state(visit.account).status)
    assert.truthy(ring:requests({ call = "confirm" })[1].dropped)
  end)

  for kind, seen in pairs { ["500"] = { "ring_error", 500 }, ["403"] = { "forbidden", 403 },
    ["429"] = { "rate_limited", 429 }, lost = { "network" }, dropped = { "network" },
    timeout = { "timeout" }, cut = { "network" }, truncated = { "bad_response", 200 },
    html = { "bad_response", 200 }, empty = { "bad_response", 200 }, huge = { "response_too_large" } } do
    it("fails with " .. kind, function()
      local link = linked()
      ring:fail_next("devices", kind, { count = "always" })
      local _, err = link.account:get("/v1/devices")
      assert.same(seen, { err.code, err.status })
      ring:control("faults", { off = true })
      assert(link.account:get("/v1/devices"))
    end)
  end

  it("fails so often, and later", function()
    local link = linked()
    ring:fail_next("devices", "403", { skip = 1, count = 2 })
    local fine = {}
    for i = 1, 4 do fine[i] = link.account:get("/v1/devices") ~= nil end
    assert.same({ true, false, false, true }, fine)
  end)

  it("fails before or after the work is done, as the kind says", function()
    local link = linked()
    for kind, told in pairs { ["503"] = "status 503, none", ["503 after"] = "status 503, after processing, 200",
      ["429"] = "status 429, retry-after, none", ["429 after"] = "status 429, retry-after, after processing, 200",
      dropped = "drop before, none", lost = "drop after, 200", timeout = "delay 660000 ms, drop after, 200" } do
      ring:fail_next("devices", kind)
      assert(link.account:get("/v1/devices"))
      local rows = ring:requests { call = "devices" }
      local hit = rows[#rows - 1]
      assert.equal(told, hit.fault .. ", " .. tostring(hit.result or "none"))
      assert.equal("nil", tostring(rows[#rows].fault))
    end
  end)

  it("takes a fault's own fields", function()
    local link = linked()
    ring:fail_next("devices", { status = 400, title = "Bad Request", detail = "said so" })
    local _, err = link.account:get("/v1/devices")
    assert.same({ 400, "Bad Request" }, { err.status, err.title })
    assert.truthy(err.said:find("said so", 1, true))
  end)

  it("lets Ring do what the client has given up on", function()
    client = ring:client { timeout_ms = 1000, max_attempts = 1 }
    local link, visit = linked()
    ring:fail_next("update", { delay_ms = 5000 })
    local _, err = client:update(link.account, { status = "awaiting" })
    assert.same({ "timeout", true }, { err.code, err.ambiguous })
    assert.equal("completed", ring:state(visit.account).status)
    ring:advance(5)
    assert.equal("awaiting", ring:state(visit.account).status)
  end)

  it("knows its calls and kinds", function()
    local text = offline.misuse(function() ring:fail_next("confrim", "500") end)
    assert.truthy(text:find("unknown call confrim; known are *, authorize, complete, confirm, ", 1, true), text)
    for _, kind in ipairs { "lots", "200", "600", "500 later", "50" } do
      local ok, problem = pcall(ring.fail_next, ring, "confirm", kind)
      assert.is_false(ok)
      local said = ('unknown kind %s; known are "400" to "599"'):format(kind)
      assert.truthy(problem:find(said, 1, true), problem)
    end
    text = offline.misuse(function() ring:fail_next("confirm", { dorp = "after" }) end)
    assert.truthy(text:find("unknown field dorp", 1, true), text)
    assert.equal(0, ring:state().faults)
  end)

  it("tells an unknown operation, and what is wrong with one", function()
    local answer, problem = ring:control("explode")
    assert.is_nil(answer)
    assert.truthy(problem:find("^unknown operation explode; known are authorize, "), problem)
    assert.same({ nil, "account is required" }, { ring:control("expire", {}) })
  end)

  -- Large answers -------------------------------------------------------------------------------

  describe("hands a clip", function()
    local account, path

    before_each(function()
      ring:control("variant", { video_bytes = 40000 })
      account = linked().account
      path = { "v1", "devices", assert(account:get("/v1/devices")).data[1].id, "media", "video", "download" }
    end)

    local function clip(sink)
      return account:request { method = "POST", path = path, json = {}, sink = sink }
    end

    it("in parts to a function", function()
      local parts, bytes = 0, 0
      local answer = assert(clip(function(part) parts, bytes = parts + 1, bytes + #part end))
      assert.same({ 3, 40000, 40000 }, { parts, bytes, answer.written })
    end)

    it("that breaks off half way", function()
      ring:fail_next("video", "cut")
      local bytes = 0
      local _, err = clip(function(part) bytes = bytes + #part end)
      assert.same({ "network", 20000 }, { err.code, bytes })
    end)

    it("to a function that wants no more", function()
      local _, err = clip(function() return false, "enough" end)
      assert.equal("cancelled", err.code)
      assert(clip(function() end))
    end)

    it("to a file", function()
      local name = os.tmpname()
      assert.equal(40000, assert(clip(name)).written)
      local file = assert(io.open(name, "rb"))
      assert.equal(40000, #file:read("*a"))
      file:close()
      os.remove(name)
      local _, err = clip("/no/such/directory/clip")
      assert.equal("sink_failed", err.code)
    end)

    it("to no file when nobody waits for it any more", function()
      local name = os.tmpname()
      ring:fail_next("video", { delay_ms = 700000 })
      local _, err = clip(name)
      assert.equal("timeout", err.code)
      ring:advance(700)
      local file = assert(io.open(name, "rb"))
      assert.equal("", file:read("*a"))
      file:close()
      os.remove(name)
    end)
  end)

  -- Webhooks ------------------------------------------------------------------------------------

  it("writes and signs webhooks", function()
    local link, visit = linked()
    local seen = {}
    client:on("webhook:motion_detected", function(event, account)
      seen[#seen + 1] = { event.sub_type, account.id, event.data.attributes.zone }
    end)
    local body, signature = ring:webhook("motion_detected",
      { account = visit.account, subType = "human", attributes = { zone = "door" } })
    assert.equal("processed", client:webhook(body, signature))
    assert.equal("duplicate", client:webhook(body, signature))
    assert.same({ { "human", link.account.id, "door" } }, seen)
    body, signature = ring:webhook("motion_detected", { account = visit.account, signature = "wrong" })
    assert.equal("signature", select(2, client:webhook(body, signature)).code)
    assert.is_nil(select(2, ring:webhook("motion_detected", { account = visit.account, signature = "none" })))
    local text = offline.misuse(function() ring:webhook("motion_detected") end)
    assert.truthy(text:find("account is required", 1, true), text)
  end)

  it("hands over what is due, and again what failed", function()
    local _, visit = linked()
    local fails = true
    client:on("webhook:button_press", function() if fails then error("busy") end end)
    ring:deliver(client)
    ring:event("button_press", { account = visit.account })
    assert.same({ { type = "button_press", account = visit.account, status = 503 } }, ring:deliver(client))
    assert.same({}, ring:deliver(client))
    fails = false
    ring:advance(60)
    assert.equal(200, ring:deliver(client)[1].status)
    ring:advance(60)
    assert.same({}, ring:deliver(client))
  end)

  it("hands webhooks to a function", function()
    local _, visit = linked()
    local said = {}
    ring:deliver(function(body, signature)
      said[#said + 1] = assert(client:verify_webhook(body, signature)).type
      return 204
    end)
    assert.same({ "device_added", "device_added", "app_integration_added" }, said)
    assert.same({ "delivered", "delivered", "delivered" }, (function()
      local states = {}
      for i, one in ipairs(ring:state().webhooks) do states[i] = one.state end
      return states
    end)())
    assert.equal(visit.account, ring:state().webhooks[1].account)
  end)

  it("tells the client that a user has removed the app", function()
    local link, visit = linked()
    ring:unlink(visit.account)
    local _, err = link.account:get("/v1/devices")
    assert.truthy(err)
    ring:deliver(client)
    assert.equal("unlinked", link.account:state())
    assert.equal("unlinked", ring:state(visit.account).status)
  end)

  -- What a partner writes -----------------------------------------------------------------------

  it("ends what waits when its client is closed", function()
    local link = linked()
    ring:fail_next("devices", { delay_ms = 1000 })
    local seen
    ringlink.run(function()
      ringlink.spawn(function() seen = { link.account:get("/v1/devices") } end)
      ring:sleep(0.1)
      client:close()
    end)
    assert.equal("cancelled", seen[2].code)
    assert.equal("closed", select(2, link.account:get("/v1/devices")).code)
  end)

  it("holds on to nothing that is over", function()
    local link = linked()
    for _, fault in ipairs { { delay_ms = 100 }, { delay_ms = 100, drop = "after" }, { status = 503 } } do
      ring:fail_next("devices", fault)
      assert(link.account:get("/v1/devices"))
    end
    assert.same({}, ring.time.open)
    assert.is_nil(ring.time.coming:next_ms())
    assert.equal(0, client:metrics().transport.in_flight)
  end)

  it("shows no secret", function()
    assert.equal("ringlink.testing.ring", tostring(ring))
    assert.is_false(errors.is(ring))
    assert.equal(testing, ringlink.testing)
  end)
end)

-- The README's own test, of a flow that stands for the reader's.
describe("README's example", function()
  local shop = { flow = ringlink.flow { name = "shop" } }
  shop.flow:after("confirm", "provision", function() if shop.full then error("no space is left") end end)
  readme.example("testing", { shop = shop, describe = describe, it = it, before_each = before_each, assert = assert })()
end)
