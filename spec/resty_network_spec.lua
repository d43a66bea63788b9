--- The example backend in a real nginx against the sandbox, with curl as the browser: the whole journey,
--- each outcome, and each way somebody could try to link wrongly.

local browser = require "support.browser"
local child = require "support.child"
local core = require "ringlink.core"
local deliveries = require "support.deliveries"
local offline = require "support.offline"
local resty_server = require "support.resty_server"
local world = require "support.world"

local OPTIONS = [[rate_limit_per_s = 100, max_attempts = 2,]]

local function heading(page)
  local text = page.body:match("<h1>(.-)</h1>")
  return text and text:gsub("<[^>]*>", "") or ("no page: " .. page.status .. " " .. page.body)
end

local masked = require("ringlink").mask

local function fields(page)
  return (browser.forms(page)[1] or { fields = {} }).fields
end

describe("the example backend #network", function()
  local w, server, tab, me
  setup(function()
    local at = resty_server.reserve()
    w = world.start { token_exchange_url = at.token_exchange_url, account_link_url = at.account_link_url,
      webhook_url = at.webhook_url }
    server = resty_server.start(w.ring, { at = at, setup = OPTIONS, change = {
      { "client_body_buffer_size 1m;", "client_body_buffer_size 1k;" }, { "rate=20r/m", "rate=1000r/s" },
      { 'label = "Demo Partner", continue_url', 'label = "Demo Partner", wait_s = 0.3, continue_url' },
    } })
  end)
  teardown(function()
    browser.close_all()
    if server then server:stop() end
    w:stop()
  end)
  before_each(function()
    w:reset()
    tab, me = browser.new(server), server:new_user()
  end)

  -- Ring delivers the code and says where its user's browser goes.
  local function install(options)
    return assert(w.ring:control("install", options or {}))
  end

  local function path_of(install_answer)
    return "/ring/link?nonce=" .. install_answer.nonce .. "&time=" .. install_answer.time
  end

  local function sign_in(page, as)
    return tab:submit(page, { email = as or me, password = resty_server.password })
  end

  -- From the redirect to the question, through the sign-in.
  local function arrive(path)
    local page = tab:follow(tab:get(path))
    if page.url:find("/sign-in", 1, true) then page = tab:follow(sign_in(page)) end
    return page
  end

  local function metric(name)
    local text = tab:get(server.admin .. "/metrics").body
    return tonumber(text:match("\n" .. name:gsub("[%-%.%[%]]", "%%%0") .. "{[^\n]-} (%d+)"))
  end

  local function settled()
    child.wait_until("no exchange is under way", function()
      return metric("ringlink_token_exchanges_in_flight") == 0
    end)
  end

  local function outcome(page, status, title)
    assert.equal(title, heading(page))
    assert.equal(status, page.status)
    return page
  end

  it("takes a user from the Ring app to a completed link", function()
    local it_was = install()
    assert.equal(200, it_was.delivered[1].status)
    settled()
    local page = arrive(path_of(it_was))
    assert.equal("Connect Ring to " .. masked(me) .. "?", heading(page))
    assert.equal(0, w:count("confirm"))
    local done = tab:follow(tab:submit(page))
    outcome(done, 200, "Ring is connected")
    assert.equal("completed", w:state().integrations[1].status)
    assert.equal(masked(me), w:state().integrations[1].account_identifier)
    w.ring:control("deliver", {})
    for _, webhook in ipairs(w:state().webhooks or {}) do assert.equal("delivered", webhook.state) end
  end)

  it("lets the user pause, resume and disconnect on the homepage", function()
    local it_was = install()
    settled()
    tab:submit(arrive(path_of(it_was)))
    local function press(operation)
      return tab:follow(tab:submit(tab:get("/ring/home"), {}, { "do", operation }))
    end
    assert.truthy(press("pause").body:find(">Paused<", 1, true))
    assert.equal("awaiting", w:state().integrations[1].status)
    assert.truthy(press("resume").body:find(">Connected<", 1, true))
    assert.equal("completed", w:state().integrations[1].status)
    local asked = press("forget")
    outcome(asked, 200, "Disconnect Ring?")
    outcome(tab:follow(tab:submit(asked)), 200, "Ring is not connected")
    assert.equal("awaiting", w:state().integrations[1].status)
  end)

  it("answers Ring before it exchanges the code", function()
    w:fault { call = "token", delay_ms = 3000 }
    local answer = install { redirect = false }
    assert.equal(200, answer.delivered[1].status)
    assert.equal(1, metric("ringlink_token_exchanges_in_flight"))
    assert.is_nil(w:state().integrations[1])
    settled()
    assert.equal(1, w:count("me"))
  end)

  it("exchanges a code although whoever posted it hangs up", function()
    local code = w:install().code
    w:fault { call = "token", delay_ms = 500 }
    tab:post(server.exchange_url, { code = code }, { args = { "--max-time", "0.05" } })
    child.wait_until("the exchange", function() return w:count("me") == 1 end)
    settled()
  end)

  it("uses a code that Ring delivers twice once", function()
    local answer = install { twice = true, redirect = false }
    assert.same({ 200, 200 }, { answer.delivered[1].status, answer.delivered[2].status })
    settled()
    assert.equal(1, w:count("token"))
    assert.equal(1, w:count("me"))
  end)

  it("takes a code as JSON, and no junk", function()
    local code = w:install().code
    local function post(text, headers) return tab:post(server.exchange_url, text, { headers = headers }).status end
    assert.equal(200, post('{"code":"' .. code .. '"}', { "Content-Type: application/json" }))
    assert.equal(400, post("code="))
    assert.equal(400, post("code=a%0d%0aX-Evil:+1"))
    assert.equal(413, post("code=" .. ("x"):rep(9000)))
    assert.equal(413, post("code=" .. ("x"):rep(20000)))
    assert.equal(413, post("code=" .. ("x"):rep(9000), { "Transfer-Encoding: chunked", "Expect:" }))
    assert.equal(405, tab:get(server.exchange_url).status)
    assert.equal(404, tab:post("/ring/token/guess", { code = "abc" }).status)
    settled()
    assert.equal(1, w:count("token"))
  end)

  it("says clearly what became of it: each outcome", function()
    local broken = tab:get("/ring/link?nonce=x")
    outcome(broken, 400, "This link is not complete")
    local it_was = w:install { time_offset_ms = -601000 }
    outcome(tab:get(path_of(it_was)), 410, "This link has expired")

    it_was = w:install()                                             -- the code never comes
    local page = arrive(path_of(it_was))
    local waiting = outcome(tab:submit(page), 409, "Ring is not ready yet")
    tab:post(server.exchange_url, { code = it_was.code })
    settled()
    w:fault { call = "confirm", status = 503, count = 2 }
    local trouble = outcome(tab:submit(waiting), 503, "That did not work just now")
    outcome(tab:follow(tab:submit(trouble)), 200, "Ring is connected")
    outcome(tab:submit(trouble), 200, "Ring is already connected")
  end)

  it("does not hand a Ring account to a second user", function()
    local it_was = install()
    settled()
    tab:submit(arrive(path_of(it_was)))
    local again = w:sign_in_again(it_was.account)
    tab = browser.new(server)
    local page = tab:follow(tab:get(path_of(again)))
    local other = server:new_user()
    page = tab:follow(sign_in(page, other))
    assert.equal("Connect Ring to " .. masked(other) .. "?", heading(page))
    outcome(tab:submit(page), 409, "This Ring account is connected already")
  end)

  it("a mailed or intercepted address opens nothing for others once its user has followed it", function()
    local it_was = install()
    settled()
    local mine, page = tab, arrive(path_of(it_was))
    tab = browser.new(server)
    outcome(tab:get(path_of(it_was)), 409, "This link belongs to another browser")
    assert.equal(200, tab:follow(sign_in(tab:get("/sign-in?next=/ring/home"), server:new_user())).status)
    outcome(tab:post("/ring/link", fields(page)), 409, "This link belongs to another browser")
    assert.equal(0, w:count("confirm"))
    tab = mine
    outcome(tab:follow(tab:submit(page)), 200, "Ring is connected")
  end)

  it("HEAD, prefetch and previews neither link nor spoil the link", function()
    local it_was = install()
    settled()
    local bot = browser.new(server)
    assert.equal(200, bot:send("HEAD", path_of(it_was)).status)
    local ahead = bot:get(path_of(it_was), { headers = { "Sec-Purpose: prefetch;prerender" } })
    assert.equal(503, ahead.status)
    assert.same({}, ahead.cookies)
    assert.equal(303, bot:get(path_of(it_was)).status)
    outcome(tab:follow(tab:submit(arrive(path_of(it_was)))), 200, "Ring is connected")
    for _, method in ipairs { "PUT", "DELETE", "OPTIONS" } do
      assert.equal(405, tab:send(method, path_of(it_was)).status)
    end
  end)

  it("a second tab does not change what the first one links", function()
    local first, second = install(), install()
    settled()
    local page = arrive(path_of(first))
    arrive(path_of(second))
    outcome(tab:follow(tab:submit(page)), 200, "Ring is connected")
    assert.equal("completed", w:status(first.account))
    assert.are_not.equal("completed", w:status(second.account))
  end)

  it("a token of another ticket, another session or none links nothing", function()
    local first, second = install(), install()
    settled()
    local one, two = fields(arrive(path_of(first))), fields(arrive(path_of(second)))
    local FORGED = "This page is out of date"
    outcome(tab:post("/ring/link", { attempt = one.attempt, csrf = two.csrf }), 403, FORGED)
    outcome(tab:post("/ring/link", { attempt = one.attempt }), 403, FORGED)
    outcome(tab:post("/ring/link", one, { headers = { "Sec-Fetch-Site: cross-site" } }), 403, FORGED)
    sign_in(tab:get("/sign-in"), server:new_user())
    outcome(tab:post("/ring/link", one), 403, FORGED)
    sign_in(tab:get("/sign-in"))
    outcome(tab:post("/ring/link", one), 403, FORGED)      -- the same user, another session
    assert.equal(0, w:count("confirm"))
  end)

  it("without cookies nothing is linked", function()
    local it_was = install()
    settled()
    local first = tab:get(path_of(it_was))
    local stranger = browser.new(server)
    outcome(stranger:get(first.headers.location), 409, "This link belongs to another browser")
  end)

  it("brings a link to its end although the user goes away in the middle of it", function()
    local it_was = install()
    settled()
    local page = arrive(path_of(it_was))
    w:fault { call = "confirm", delay_ms = 700 }
    tab:post("/ring/link", fields(page), { args = { "--max-time", "0.3" } })
    child.wait_until("the link", function() return w:status(it_was.account) == "completed" end)
    outcome(tab:follow(tab:submit(page)), 200, "Ring is connected")      -- and the page knows it
    assert.equal(1, w:count("confirm"))
    assert.equal(1, w:count("complete"))
  end)

  it("acts on webhooks, also on one that nginx kept in a file", function()
    local it_was = install()
    settled()
    tab:submit(arrive(path_of(it_was)))
    local client = offline.client { hmac_key = world.hmac_key }
    local function send(event, more)
      local body, signature = deliveries.sign(client, event)
      return tab:post("/ring/webhook", more and more.body or body,
        { headers = { "Content-Type: application/json", "X-Signature: " .. (more and more.signature or signature),
          "Expect:" } })
    end
    local now_ms = core.now_ms()
    local event = deliveries.event(client, "motion_detected", { account = it_was.account, time_ms = now_ms })
    assert.equal(401, send(event, { signature = "sha256=" .. ("0"):rep(64) }).status)
    event.data.attributes.filler = ("x"):rep(300000)
    assert.equal(200, send(event).status)
    assert.truthy(send(event).body:find("duplicate", 1, true))
    local removed = deliveries.event(client, "app_integration_removed",
      { account = it_was.account, time_ms = now_ms + 5000 })
    assert.equal(200, send(removed).status)
    child.wait_until("the unlink", function()
      return tab:get("/ring/home").body:find("Ring is not connected", 1, true)
    end)
  end)

  it("is not fooled by what stands in addresses and names", function()
    local evil = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E%0d%0aSet-Cookie:%20x=y"
    for _, path in ipairs { "/ring/link?nonce=" .. evil .. "&time=1", "/ring/link?attempt=" .. evil,
      "/ring/link?nonce=" .. ("a"):rep(43) .. "&time=" .. evil, "/sign-in?next=" .. evil } do
      local answer = tab:get(path)
      assert.falsy(answer.body:find("<script", 1, true), path)
      for _, cookie in ipairs(answer.cookies) do assert.falsy(cookie:find("^x=")) end
    end
    for _, target in ipairs { "//evil.example/", "https://evil.example/", "/%5Cevil.example", "%09//evil.example" } do
      local answer = sign_in(tab:get("/sign-in?next=" .. target))
      assert.equal(303, answer.status)
      assert.equal("/", answer.headers.location)
    end
  end)

  it("keeps pages from caches, frames, scripts and Referers", function()
    for _, path in ipairs { "/ring/link?nonce=x", "/sign-in", "/ring/home" } do
      local headers = tab:get(path).headers
      assert.equal("no-store", headers["cache-control"], path)
      assert.equal("no-referrer", headers["referrer-policy"], path)
      assert.equal("nosniff", headers["x-content-type-options"], path)
    end
    local policy = tab:get("/sign-in").headers["content-security-policy"]
    assert.truthy(policy:find("default-src 'none'", 1, true) and policy:find("frame-ancestors 'none'", 1, true))
    assert.falsy(policy:find("unsafe", 1, true) or policy:find("script", 1, true))
  end)

  it("shows those who run it how things stand", function()
    local page = tab:get(server.admin .. "/status")
    assert.equal(200, page.status)
    assert.truthy(page.body:find("Accounts by state", 1, true))
    assert.equal(1, metric("ringlink_background_leaders"))
    assert.is_true(metric("ringlink_token_exchanges_total") > 0)
    assert.equal(404, tab:get("/status").status)
    assert.equal(404, tab:get("/metrics").status)
  end)

  it("writes no code, nonce, token or password into its logs and its store", function()
    local it_was = install()
    settled()
    local page = arrive(path_of(it_was))
    tab:submit(page)
    local stored = ""
    for _, bytes in pairs(require("support.stores").files_beside(server.directory .. "/store/x")) do
      stored = stored .. bytes
    end
    for _, text in ipairs { server:log(), server:access_log(), stored } do
      for _, secret in ipairs { it_was.code, it_was.nonce, fields(page).csrf, resty_server.password, me } do
        assert.falsy(text:find(secret, 1, true), secret)
      end
    end
    assert.falsy(server:access_log():find("?", 1, true), "a query")
    assert.falsy(server:access_log():find(server.at.secret, 1, true), "the Token Exchange URL's secret")
  end)
end)
