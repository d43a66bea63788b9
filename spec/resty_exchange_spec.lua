--- The Token Exchange URL and the webhook as handlers: what strangers may cause, and what Ring is told.
local answers = require "support.answers"
local deliveries = require "support.deliveries"
local errors = require "ringlink.errors"
local grants = require "ringlink.grants"
local json = require "ringlink.json"
local token_exchange = require "ringlink.resty.token_exchange"
local visits = require "support.visits"
local webhook = require "ringlink.resty.webhook"

local PATH = "/ring/token/" .. visits.secret
local FORM = { ["Content-Type"] = "application/x-www-form-urlencoded" }

describe("the Token Exchange URL", function()
  local app, clock, ring
  before_each(function()
    app, clock = visits.app()
    ring = answers.serve(app.client)
  end)

  local function post(text, more)
    local request = { method = "POST", path = PATH, text = text, headers = FORM }
    for name, value in pairs(more or {}) do request[name] = value end
    return visits.answer(app, token_exchange, request, request.options)
  end

  local function refuse_codes()
    ring.on.token = answers.invalid_grant
  end

  local function states()
    local list = {}
    for _, entry in ipairs(app.client.store:find({})) do
      if entry.row.kind == "grant" then list[#list + 1] = entry.row.state end
    end
    return list
  end

  it("stores a code, answers 200, and then exchanges it", function()
    local answer = post("code=abc", { wait = true })
    assert.equal(200, answer.status)
    assert.equal('{"status":"ok"}', answer.body)
    assert.same({ "exchanging" }, states())
    assert.same({}, ring.calls)
    answer.after[1](answer.after[2], answer.after[3], answer.after[4])
    assert.same({ "unclaimed" }, states())
    assert.same({ "token", "me" }, ring.calls)
  end)

  it("gives the task values only", function()
    local answer = post("code=no-hex-digits", { wait = true })
    for i = 2, #answer.after do assert.equal("string", type(answer.after[i])) end
    assert.falsy(table.concat(answer.after, " ", 2):find("no-hex-digits", 1, true), "a code in the clear")
  end)

  it("takes forms and JSON, with or without their type", function()
    for i, case in ipairs { { "code=abc&x=y", FORM }, { '{"code":"abc"}', { ["Content-Type"] = "application/json" } },
      { ' {"code":"abc"}', {} }, { "code=abc", {} } } do
      local text = case[1]:gsub("abc", "code-" .. i)
      assert.equal(200, post(text, { headers = case[2] }).status)
    end
    assert.equal(4, ring:count("token"))
  end)

  it("takes a query only when asked to", function()
    assert.equal(400, post("", { path = PATH .. "?code=abc" }).status)
    assert.equal(200, post("", { path = PATH .. "?code=abc", options = { query = true } }).status)
    assert.equal(1, ring:count("token"))
  end)

  it("uses a code that is delivered twice once", function()
    local first = post("code=abc", { wait = true })
    local second = post("code=abc")
    assert.equal(200, second.status)
    first.after[1](first.after[2], first.after[3], first.after[4])
    assert.equal(200, post("code=abc").status)
    assert.equal(1, ring:count("token"))
    assert.same({ "unclaimed" }, states())
  end)

  it("with ack = after answers what came of it", function()
    local after = { options = { ack = "after" } }
    assert.equal(200, post("code=abc", after).status)
    assert.same({ "unclaimed" }, states())
    ring.on.token = function() return { status = 503 } end
    local answer = post("code=def", after)
    assert.equal(503, answer.status)
    assert.is_nil(answer.headers["Retry-After"], "whether Ring repeats this call is not known")
    refuse_codes()
    answer = post("code=ghi", after)
    assert.equal(400, answer.status)
    assert.equal("exchange_refused", json.decode(answer.body).error)
    assert.equal(400, post("code=ghi", after).status)
  end)

  it("takes POST only", function()
    for _, method in ipairs { "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post" } do
      local answer = post("code=abc", { method = method })
      assert.equal(405, answer.status)
      assert.equal("POST", answer.headers.Allow)
    end
    assert.same({}, ring.calls)
  end)

  it("is not found without its secret", function()
    for _, path in ipairs { "/ring/token/", PATH:sub(1, -2), PATH .. "0", "/ring/token/x", PATH .. "/" } do
      assert.equal(404, post("code=abc", { path = path }).status, path)
    end
    assert.same({}, states())
  end)

  it("refuses what is no code, and stores nothing of it", function()
    for _, text in ipairs { "", "code=", "code=a+b", "code=a%0Ab", "code=%00", "code=a&code=b",
      "code=" .. ("x"):rep(2049), "code=%C3%A4", "nocode=1", "{", '{"code":7}', '{"code":["a"]}',
      '{"code":null}', "[]", "code" } do
      local answer = post(text)
      assert.equal(400, answer.status, text)
      assert.equal('{"error":"invalid_request"}', answer.body)
    end
    assert.same({}, app.client.store:find({}))
    assert.equal(413, post("code=" .. ("x"):rep(9000)).status)
  end)

  it("does not take a code that Ring refused to Ring again", function()
    refuse_codes()
    assert.equal(200, post("code=junk").status)
    local calls = #ring.calls
    for _ = 1, 5 do assert.equal(200, post("code=junk").status) end
    assert.equal(calls, #ring.calls)
    for _, key in ipairs(app.board:keys("refused")) do assert.falsy(key:find("junk", 1, true)) end
  end)

  it("takes a code to Ring again once client_secret is put right, and says meanwhile what is wrong", function()
    ring.on.token = function() return { status = 401, json = { error = "invalid_client" } } end
    assert.equal(503, post("code=abc", { options = { ack = "after" } }).status)
    assert.same({}, app.board:keys("refused"))
    assert.equal("exchange_refused", require("ringlink.resty.failures").list(app.board, app.name)[1].code)
    ring.on.token = nil
    assert.equal(200, post("code=abc", { options = { ack = "after" } }).status)
  end)

  it("does not touch the store for a refused code, until it has forgotten it", function()
    refuse_codes()
    post("code=junk")
    local gets, get = 0, app.client.store.get
    app.client.store.get = function(...)
      gets = gets + 1
      return get(...)
    end
    post("code=junk")
    assert.equal(0, gets)
    clock.advance(600001)
    post("code=junk")
    assert.is_true(gets > 0)
    assert.equal(1, ring:count("token"))
  end)

  it("answers strangers the same whether a code is good or junk", function()
    local good = post("code=good")
    refuse_codes()
    local junk = post("code=junk")
    assert.same({ good.status, good.body, good.headers }, { junk.status, junk.body, junk.headers })
    assert.equal(good.body, post("code=junk").body)
  end)

  it("lets one address in so often and all together so often", function()
    local function passed(n, prefix, from, limits)
      local count = 0
      for i = 1, n do
        local answer = post("code=" .. prefix .. i, { from = from, options = { limits = limits } })
        if answer.status == 200 then count = count + 1 else assert.equal(429, answer.status) end
      end
      return count
    end
    local limits = { each = { count = 5, window_s = 10 }, all = { count = 8, window_s = 10 } }
    assert.equal(5, passed(20, "a", "10.0.0.1", limits))
    assert.equal(3, passed(20, "b", "10.0.0.2", limits))
    assert.equal(8, ring:count("token"))
    clock.advance(10000)
    assert.equal(5, passed(20, "c", "10.0.0.1", limits))
  end)

  it("leaves most of the rate to Ring to refreshes and links by default", function()
    for i = 1, 400 do post("code=x" .. i, { from = "10.0.0." .. i }) end
    assert.equal(200, ring:count("token"))                 -- 20 a second for 10 s, two calls each, of 100 a second
  end)

  it("does not spend the limit of all on malformed posts and refused codes", function()
    refuse_codes()
    local options = { limits = { all = { count = 2, window_s = 10 } } }
    post("code=junk", { options = options })
    for _ = 1, 10 do
      post("code=junk", { options = options })
      post("not a code", { options = options })
    end
    ring.on.token = nil
    assert.equal(200, post("code=good", { options = options }).status)
    assert.equal(429, post("code=good2", { options = options }).status)
  end)

  it("has so many exchanges under way and no more", function()
    app.in_flight = 2
    local answer = post("code=abc", { options = { limits = { in_flight = 2 } } })
    assert.equal(503, answer.status)
    assert.same({}, states())
    app.in_flight = 1
    assert.equal(200, post("code=abc", { options = { limits = { in_flight = 2 } } }).status)
    assert.equal(1, app.in_flight)
  end)

  it("counts an exchange down even when it breaks", function()
    app.client.store.lease = function() error("the disk is gone") end
    local answer = post("code=abc", { wait = true })
    assert.has_error(function() answer.after[1](answer.after[2], answer.after[3], answer.after[4]) end)
    assert.equal(0, app.in_flight)
  end)

  it("answers 5xx and promises nothing when the code cannot be stored", function()
    app.client.store.put_if = function() errors.new("store_busy"):raise() end
    local answer = post("code=abc")
    assert.equal(503, answer.status)
    assert.is_nil(answer.after)
    app.client.store.put_if = function() errors.new("store_corrupt"):raise() end
    assert.equal(500, post("code=def").status)
  end)

  it("says to those who run it what failed, without the code", function()
    refuse_codes()
    post("code=junk-code-1234567890")
    local list = require("ringlink.resty.failures").list(app.board, app.name)
    assert.equal(1, #list)
    assert.equal("exchange_refused", list[1].code)
    assert.falsy(json.encode(list):find("junk", 1, true))
    assert.falsy(json.encode(app.log):find("junk", 1, true))
  end)

  it("wants a secret that cannot be guessed", function()
    app = visits.app({ exchange_secret = false })
    assert.error_matches(function() post("code=abc") end, "needs a secret")
    for _, secret in ipairs { "short", ("x"):rep(15), "with/a/slash/and/more", "" } do
      assert.has_error(function() visits.app({ exchange_secret = secret }) end)
    end
    assert.equal(200, post("code=abc", { options = { secret = visits.secret } }).status)
  end)

  it("names mistakes in its options", function()
    for _, options in ipairs { { ack = "later" }, { unknown = 1 }, { limits = { every = {} } }, { limits = 7 } } do
      assert.has_error(function() post("code=abc", { options = options }) end)
    end
  end)

  it("keeps its answers out of caches", function()
    local answer = post("code=abc")
    assert.equal("no-store", answer.headers["Cache-Control"])
    assert.equal("application/json", answer.headers["Content-Type"])
    assert.equal("nosniff", answer.headers["X-Content-Type-Options"])
  end)
end)

describe("the webhook URL", function()
  local app, clock, heard
  before_each(function()
    heard = {}
    app, clock = visits.app()
    answers.serve(app.client)
    app.client:on("webhook", function(event) heard[#heard + 1] = event.type end)
  end)

  local function post(body, signature, more)
    local request = { method = "POST", path = "/ring/webhook", text = body, headers = { ["X-Signature"] = signature } }
    for name, value in pairs(more or {}) do request[name] = value end
    return visits.answer(app, webhook, request)
  end

  local function send(event, more)
    local body, signature = deliveries.sign(app.client, event)
    return post(body, signature, more)
  end

  local function run(answer)
    return answer.after[1](answer.after[2], answer.after[3])
  end

  it("stores an event and answers before any hook runs", function()
    local answer = send(deliveries.event(app.client, "motion_detected"), { wait = true })
    assert.equal(200, answer.status)
    assert.same({}, heard)
    assert.equal(1, app.client.store:tally().pending)
    for i = 2, #answer.after do assert.equal("string", type(answer.after[i])) end
    run(answer)
    assert.same({ "motion_detected" }, heard)
    assert.equal(0, app.client.store:tally().pending)
  end)

  it("runs hooks that failed again until they succeed", function()
    local fails = 2
    app.client:on("webhook:button_press", function()
      fails = fails - 1
      if fails >= 0 then error("the partner's side is down") end
    end)
    assert.equal(200, send(deliveries.event(app.client, "button_press")).status)
    for _ = 1, 3 do
      clock.advance(600000)
      assert(app.client:work())
    end
    assert.equal(-1, fails)
    assert.equal(0, app.client.store:tally().pending)
  end)

  it("answers 401 to what Ring did not sign, and keeps nothing of it", function()
    local body = deliveries.sign(app.client, deliveries.event(app.client, "motion_detected"))
    for _, signature in ipairs { "", "sha256=", "sha256=" .. ("0"):rep(64), "x" } do
      assert.equal(401, post(body, signature).status)
    end
    assert.equal(401, post(body, nil).status)
    local _, other = deliveries.sign(app.client, "another body")
    assert.equal(401, post(body, other).status)
    assert.equal(0, app.client.store:tally().pending)
  end)

  it("answers 200 to duplicates and does nothing twice", function()
    local event = deliveries.event(app.client, "motion_detected")
    assert.equal('{"status":"accepted"}', send(event).body)
    local again = send(event)
    assert.equal(200, again.status)
    assert.equal('{"status":"duplicate"}', again.body)
    assert.same({ "motion_detected" }, heard)
  end)

  it("answers 200 to a duplicate whose hooks have not succeeded yet", function()
    local event = deliveries.event(app.client, "motion_detected")
    send(event, { wait = true })
    assert.equal(200, send(event).status)
    assert.same({ "motion_detected" }, heard)
  end)

  it("answers 200 to what is too old, or rightly signed and not readable", function()
    assert.equal(200, send(deliveries.event(app.client, "motion_detected",
      { time_ms = clock.now_ms() - 8 * 86400000 })).status)
    assert.equal(200, send("no JSON").status)
    assert.equal(200, send('{"x":"' .. ("y"):rep(1024 * 1024) .. '"}').status)
    assert.same({}, heard)
  end)

  it("answers 413 to more than can be read", function()
    assert.equal(413, send(("x"):rep(4 * 1024 * 1024 + 1)).status)
  end)

  it("answers 503 and when to come again when an event could not be stored", function()
    for _, code in ipairs { "store_busy", "store_error", "store_corrupt" } do
      app.client.store.event_add = function() errors.new(code):raise() end
      local answer = send(deliveries.event(app.client, "motion_detected"))
      assert.is_true(answer.status >= 500)
      assert.equal("5", answer.headers["Retry-After"])
      assert.is_nil(answer.after)
    end
  end)

  it("answers 200 for a forgotten account and keeps nothing", function()
    local client = app.client
    client.store:put_if(grants.tombstone_key(client, "ring-1"), { kind = "gone", state = "gone" }, 0)
    local answer = send(deliveries.event(client, "motion_detected"), { wait = true })
    assert.equal(200, answer.status)
    assert.is_nil(answer.after)
    assert.equal(0, client.store:tally().pending)
  end)

  it("acts on an unlink although the hooks fail", function()
    local offline = require "support.offline"
    local key = offline.grant(app.client, { account = "ring-1", state = "completed", user = "user-1" })
    app.client:on("webhook", function() error("down") end)
    assert.equal(200, send(deliveries.event(app.client, "app_integration_removed")).status)
    assert.equal("unlinked", app.client.store:get(key).state)
  end)

  it("takes POST only", function()
    for _, method in ipairs { "GET", "HEAD", "PUT" } do
      assert.equal(405, send(deliveries.event(app.client, "motion_detected"), { method = method }).status)
    end
  end)

  it("counts what it answered and what became of it", function()
    send(deliveries.event(app.client, "motion_detected"))
    post("x", "y")
    local counts = app.tally:read()
    assert.equal(1, counts["webhooks|accepted"])
    assert.equal(1, counts["webhooks|processed"])
    assert.equal(1, counts["webhooks|signature"])
  end)
end)
