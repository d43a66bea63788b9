--- The pages of a link as handlers: each outcome, and each way somebody could try to link wrongly.
local account_link = require "ringlink.resty.account_link"
local answers = require "support.answers"
local errors = require "ringlink.errors"
local json = require "ringlink.json"
local offline = require "support.offline"
local ringlink = require "ringlink"
local visits = require "support.visits"

local heading = visits.heading
local PATH = "/ring/link"

describe("the Account Link URL", function()
  local app, clock, ring, options, user
  before_each(function()
    app, clock = visits.app()
    ring = answers.serve(app.client)
    user = { id = "user-1", identifier = "user@partner.example.com" }
    options = { label = "Demo", continue_url = "/home", wait_s = 0, authenticate = function(return_to)
      if user then return user end
      return nil, "/sign-in?next=" .. return_to
    end }
  end)

  local function browser() return visits.browser(app, account_link, options, PATH) end

  local function redirect(account, time_ms) return offline.redirect(app.client, account or "ring-1", time_ms) end

  local function query(q) return ("?nonce=%s&time=%s"):format(q.nonce, q.time) end

  -- A browser that stands before the question, and the page.
  local function arrive(q, tab)
    tab = tab or browser()
    local answer = tab:get(query(q or redirect()))
    return tab, tab:follow(answer), answer
  end

  local function exchanged(account)
    ring.account = account or "ring-1"
    return assert(app.client:exchange("code-" .. ring.account .. #ring.calls))
  end

  local function linked_calls() return ring:count("confirm"), ring:count("complete") end

  local function log_text() return json.encode(app.log) end

  -- What anybody may see of an answer.
  local function seen(answer)
    local parts = { answer.body, table.concat(answer.cookies or {}, "\n") }
    for name, value in pairs(answer.headers) do parts[#parts + 1] = name .. ": " .. value end
    return table.concat(parts, "\n")
  end

  -- The way -------------------------------------------------------------------------------------

  it("drops the query, keeps it server-side, and shows it nowhere", function()
    local q = redirect()
    local _, page, first = arrive(q)
    assert.equal(303, first.status)
    assert.truthy(first.headers.Location:find("^/ring/link%?attempt=%x+$"))
    assert.equal(1, #first.cookies)
    assert.truthy(first.cookies[1]:find(
      "^__Host%-ringlink%-%x+=[%w_-]+; Path=/; Max%-Age=600; Secure; HttpOnly; SameSite=Lax$"))
    for _, answer in ipairs { first, page } do
      assert.falsy(seen(answer):find(q.nonce, 1, true))
      assert.falsy(seen(answer):find(q.time, 1, true))
    end
  end)

  it("links on the POST and not before", function()
    exchanged()
    local tab, page = arrive()
    assert.equal("Connect Ring to u***r@partner.example.com?", heading(page))
    assert.same({ 0, 0 }, { linked_calls() })
    local done = tab:post(visits.fields(page))
    assert.equal(303, done.status)
    assert.same({ 1, 1 }, { linked_calls() })
    assert.equal("Ring is connected", heading(tab:follow(done)))
    assert.equal("Ring is connected", heading(tab:follow(done)), "a reload says the same")
  end)

  it("links by a flow, whose steps may say no or later", function()
    local ran, answer = {}, { false, "not yet" }
    app.client:flow(ringlink.flow { name = "shop" }:after("confirm", "provision", function(link)
      ran[#ran + 1] = link.user
      return answer[1], answer[2]
    end))
    options.flow = "shop"
    exchanged()
    local tab, page = arrive()
    local fields = visits.fields(page)
    assert.equal("Almost there", heading(tab:post(fields)))
    assert.same({ 1, 0 }, { linked_calls() })
    answer = { "later" }
    assert.equal("Ring is connected", heading(tab:follow(tab:post(fields))))
    assert.same({ "user-1", "user-1" }, ran)
    assert.same({ 1, 0 }, { linked_calls() })
  end)

  it("sends whoever is not signed in to the sign-in and lets them come back", function()
    exchanged()
    user = nil
    local tab, page = arrive()
    assert.equal(303, page.status)
    assert.truthy(page.headers.Location:find("^/sign%-in%?next=/ring/link%?attempt=%x+$"))
    user = { id = "user-1" }
    page = tab:get(page.headers.Location:match("next=(.*)$"))
    assert.equal("Connect Ring to your account?", heading(page))
    assert.equal(303, tab:post(visits.fields(page)).status)
  end)

  it("sends whoever was signed out meanwhile to the sign-in, and links nothing", function()
    exchanged()
    local tab, page = arrive()
    user = nil
    assert.equal(303, tab:post(visits.fields(page)).status)
    assert.same({ 0, 0 }, { linked_calls() })
  end)

  it("gives each attempt a cookie of its own, so that a second tab does not change the first", function()
    exchanged("ring-1")
    local tab, page = arrive(redirect("ring-1"))
    local _, other = arrive(redirect("ring-evil"), tab)
    exchanged("ring-evil")
    assert.equal(303, tab:post(visits.fields(page)).status)
    local linked = app.client:accounts { user = "user-1" }
    assert.equal("ring-1", linked().id)
    assert.is_nil(linked())
    assert.are_not.equal(visits.fields(page).attempt, visits.fields(other).attempt)
  end)

  it("does not let attempts fill a browser's cookie jar", function()
    local tab = browser()
    for i = 1, 30 do
      arrive(redirect("ring-" .. i), tab)
      clock.advance(2000)
    end
    local count = 0
    for _ in pairs(tab.jar) do count = count + 1 end
    assert.is_true(count <= 9, "there are " .. count)
  end)

  -- Outcomes ------------------------------------------------------------------------------------

  local function outcome(page, status, title)
    assert.equal(status, page.status)
    assert.equal(title, heading(page))
    return page
  end

  it("says when the link is too old, or not whole", function()
    local tab = browser()
    outcome(tab:get(query(redirect("ring-1", clock.now_ms() - 600001))), 410, "This link has expired")
    outcome(tab:get(query(redirect("ring-1", clock.now_ms() + 60001))), 410, "This link has expired")
    for _, broken in ipairs { "", "?nonce=x&time=1", "?nonce=" .. redirect().nonce, "?attempt=x", "?attempt=" } do
      outcome(tab:get(broken), 400, "This link is not complete")
    end
  end)

  it("says when the ticket has grown old on the way", function()
    exchanged()
    local tab, page = arrive()
    clock.advance(600000)
    outcome(tab:post(visits.fields(page)), 410, "This link has expired")
    outcome(tab:get("?attempt=" .. visits.fields(page).attempt), 410, "This link has expired")
    assert.same({ 0, 0 }, { linked_calls() })
  end)

  it("says when Ring's code has not come yet, and the same page can be tried again", function()
    local tab, page = arrive()
    local waiting = outcome(tab:post(visits.fields(page)), 409, "Ring is not ready yet")
    exchanged()
    assert.equal(303, tab:post(visits.fields(waiting)).status)
  end)

  it("waits some seconds for the code by itself", function()
    options.wait_s = 3
    local tab, page = arrive()
    local slept = clock.sleep
    clock.sleep = function(seconds)
      slept(seconds)
      if clock.slept_s > 1 and ring:count("token") == 0 then exchanged() end
    end
    assert.equal(303, tab:post(visits.fields(page)).status)
    assert.is_true(clock.slept_s >= 1)
  end)

  it("says when somebody else holds the Ring account", function()
    offline.grant(app.client, { account = "ring-1", state = "completed", user = "user-2" })
    exchanged()
    local tab, page = arrive()
    outcome(tab:post(visits.fields(page)), 409, "This Ring account is connected already")
    assert.same({ 0, 0 }, { linked_calls() })
  end)

  it("says when it was done already", function()
    exchanged()
    local tab, page = arrive()
    tab:post(visits.fields(page))
    outcome(tab:post(visits.fields(page)), 200, "Ring is already connected")
    assert.same({ 1, 1 }, { linked_calls() })
  end)

  it("says when Ring does not answer just now, and goes on from the same page", function()
    exchanged()
    local tab, page = arrive()
    app.client.options.max_attempts = 1
    ring.on.confirm = function(n) return n == 1 and { error = "connect", sent = false } or nil end
    local trouble = outcome(tab:post(visits.fields(page)), 503, "That did not work just now")
    assert.equal(303, tab:post(visits.fields(trouble)).status)
  end)

  it("says when the partner declined or could not finish", function()
    exchanged()
    local off = app.client:on("configure", function() return false, "planted reason about user-1" end)
    local tab, page = arrive()
    local unfinished = outcome(tab:post(visits.fields(page)), 409, "Almost there")
    assert.falsy(unfinished.body:find("planted", 1, true))
    off()
    assert.equal(303, tab:post(visits.fields(unfinished)).status)
    app.client:on("before_confirm", function() return false, "not from here" end)
    exchanged("ring-2")
    tab, page = arrive(redirect("ring-2"))
    outcome(tab:post(visits.fields(page)), 403, "Ring was not connected")
  end)

  it("says to connect anew when Ring no longer knows the integration", function()
    exchanged()
    ring.on.confirm = function() return answers.refusal(404, "Not Found") end
    local tab, page = arrive()
    outcome(tab:post(visits.fields(page)), 409, "Please connect once more")
  end)

  it("says it is not their fault when the store is broken", function()
    local tab, page = arrive()
    app.client.store.get = function() errors.new("store_corrupt"):raise() end
    local ok, problem = pcall(tab.post, tab, visits.fields(page))
    assert.is_false(ok)
    outcome(account_link.failed(app, problem, options), 500, "Something went wrong here")
    outcome(account_link.failed(app, errors.new("store_busy"), options), 503, "That did not work just now")
    outcome(account_link.failed(app, "any Lua error", options), 500, "Something went wrong here")
  end)

  it("says to sign in when there is nowhere to be sent to", function()
    options.authenticate = function() return nil end
    local _, page = arrive()
    outcome(page, 401, "Please sign in first")
  end)

  it("tells those who run it of trouble, and not of what people do", function()
    local failures = require "ringlink.resty.failures"
    local tab, page = arrive()
    tab:post(visits.fields(page))
    browser():get("?nonce=x")
    assert.same({}, failures.list(app.board, app.name))
    exchanged()
    app.client.options.max_attempts = 1
    ring.on.confirm = function() return { error = "connect", sent = false } end
    tab:post(visits.fields(page))
    assert.equal("connect", failures.list(app.board, app.name)[1].code)
  end)

  -- Attacks -------------------------------------------------------------------------------------

  it("a redirect's address opened by somebody else after its user opens nothing", function()
    exchanged()
    local q = redirect()
    local tab, page = arrive(q)
    local thief = browser()
    outcome(thief:get(query(q)), 409, "This link belongs to another browser")
    outcome(thief:get("?attempt=" .. visits.fields(page).attempt), 409, "This link belongs to another browser")
    outcome(thief:post(visits.fields(page)), 409, "This link belongs to another browser")
    assert.same({ 0, 0 }, { linked_calls() })
    assert.equal(303, tab:post(visits.fields(page)).status)
  end)

  it("a preview of the address does not spoil it for its user", function()
    exchanged()
    local q = redirect()
    browser():get(query(q))                                -- a bot: it keeps no cookies
    local tab, page = arrive(q)
    assert.equal(303, tab:post(visits.fields(page)).status)
  end)

  it("HEAD and pages fetched ahead make no ticket", function()
    local tab, q = browser(), redirect()
    local head = tab:send({ method = "HEAD", path = PATH .. query(q) })
    assert.equal(200, head.status)
    for _, purpose in ipairs { "prefetch", "prefetch;prerender" } do
      assert.equal(503, tab:get(query(q), { ["Sec-Purpose"] = purpose }).status)
    end
    assert.same({}, tab.jar)
    assert.same({}, app.client.store:find({ state = "ticket" }))
  end)

  it("takes no other methods", function()
    for _, method in ipairs { "PUT", "DELETE", "PATCH", "OPTIONS" } do
      local answer = browser():send({ method = method, path = PATH .. query(redirect()) })
      assert.equal(405, answer.status)
      assert.equal("GET, HEAD, POST", answer.headers.Allow)
    end
  end)

  local function refused_as_forged(tab, fields, headers)
    local page = outcome(tab:post(fields, headers), 403, "This page is out of date")
    assert.falsy(page.body:find("<form", 1, true))
    assert.same({ 0, 0 }, { linked_calls() })
  end

  it("a token of another user, another ticket or nobody links nothing", function()
    exchanged()
    local tab, page = arrive()
    local mine = visits.fields(page)
    local _, second = arrive(redirect("ring-2"), tab)
    user = { id = "user-2", identifier = "user@partner.example.com" }
    refused_as_forged(tab, mine)                            -- somebody else has signed in meanwhile
    user = { id = "user-1", identifier = "user@partner.example.com", session = "another" }
    refused_as_forged(tab, mine)
    user = { id = "user-1", identifier = "user@partner.example.com" }
    refused_as_forged(tab, { attempt = mine.attempt, csrf = visits.fields(second).csrf })
    for _, token in ipairs { "", "x", mine.csrf:sub(1, -2), ("0"):rep(64) } do
      refused_as_forged(tab, { attempt = mine.attempt, csrf = token })
    end
    refused_as_forged(tab, { attempt = mine.attempt })
    assert.equal(303, tab:post(mine).status)
  end)

  it("a post that another site made the browser send links nothing", function()
    exchanged()
    local tab, page = arrive()
    for _, site in ipairs { "cross-site", "same-site" } do
      refused_as_forged(tab, visits.fields(page), { ["Sec-Fetch-Site"] = site })
    end
    assert.equal(303, tab:post(visits.fields(page), { ["Sec-Fetch-Site"] = "same-origin" }).status)
  end)

  it("a ticket that was used links nothing for somebody who signs in afterwards", function()
    exchanged()
    local tab, page = arrive()
    tab:post(visits.fields(page))
    user = { id = "user-2", identifier = "b@partner.example.com" }
    local attempt = visits.fields(page).attempt
    local shown = outcome(tab:get("?attempt=" .. attempt), 410, "This link has expired")
    assert.falsy(shown.body:find("u***r", 1, true))
    assert.same({ 1, 1 }, { linked_calls() })
  end)

  it("nonce, time and user in the form change nothing", function()
    exchanged()
    local tab, page = arrive()
    local fields = visits.fields(page)
    fields.nonce, fields.time, fields.user, fields.id = redirect("ring-evil").nonce, "1", "user-2", "user-2"
    assert.equal(303, tab:post(fields).status)
    assert.equal("ring-1", app.client:accounts { user = "user-1" }().id)
  end)

  it("an oversized form links nothing", function()
    exchanged()
    local tab, page = arrive()
    local fields = visits.fields(page)
    fields.filler = ("x"):rep(5000)
    outcome(tab:post(fields), 400, "This link is not complete")
    assert.same({ 0, 0 }, { linked_calls() })
  end)

  it("writes nothing of a request into a page or a header unescaped", function()
    local evil = '"><script>alert(1)</script>\r\nSet-Cookie: x=y'
    user = { id = '<i>"', identifier = '"><script>alert(1)</script>@x.example' }
    local tab, page = arrive()
    assert.falsy(page.body:find("<script", 1, true))
    local encoded = require("ringlink.url").encode(evil)
    for _, bad in ipairs { "?nonce=" .. encoded .. "&time=1", "?nonce=" .. redirect().nonce .. "&time=" .. encoded,
      "?attempt=" .. encoded, "?" .. encoded .. "=1" } do
      local answer = tab:get(bad)
      assert.is_true(answer.status >= 400)
      assert.falsy(seen(answer):find("<script", 1, true) or seen(answer):find("Set-Cookie: x", 1, true))
    end
  end)

  it("is led nowhere else by the sign-in's address", function()
    for _, url in ipairs { "https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)",
      "/a\r\nSet-Cookie: x=y", "", 7 } do
      options.authenticate = function() return nil, url end
      local tab = browser()
      clock.advance(1)
      local first = tab:get(query(redirect()))
      local ok, problem = pcall(tab.follow, tab, first)
      assert.is_false(ok)
      assert.truthy(tostring(problem):find("neither a path of this host nor of sign_in_origins", 1, true))
    end
    options.sign_in_origins = { "https://login.example" }
    options.authenticate = function() return nil, "https://login.example/?x" end
    local tab = browser()
    clock.advance(1)
    assert.equal("https://login.example/?x", tab:follow(tab:get(query(redirect()))).headers.Location)
  end)

  it("names what authenticate does wrong", function()
    for _, wrong in ipairs { "text", 7, true, {}, { id = 7 }, { id = "" }, { id = ("x"):rep(257) },
      { id = "u", identifier = 7 }, { id = "u", identifier = "\0" }, { id = "u", session = 7 } } do
      options.authenticate = function() return wrong end
      local tab = browser()
      clock.advance(1)
      assert.error_matches(function() tab:follow(tab:get(query(redirect()))) end, "authenticate")
    end
    options.authenticate = nil
    local tab = browser()
    clock.advance(1)
    assert.error_matches(function() tab:follow(tab:get(query(redirect()))) end, "authenticate must be a function")
    options.authentikate = function() end
    assert.error_matches(function() tab:get() end, "authentikate")
  end)

  it("makes only so many tickets for an address, and for all", function()
    local statuses = {}
    for i = 1, 40 do
      local answer = browser():get(query(redirect("ring-" .. i)))
      statuses[answer.status] = (statuses[answer.status] or 0) + 1
    end
    assert.same({ [303] = 30, [429] = 10 }, statuses)
    assert.equal(30, #app.client.store:find({ state = "ticket" }))
  end)

  it("lets a user try only so often", function()
    local tab, page = arrive()
    local statuses = {}
    for _ = 1, 15 do
      local answer = tab:post(visits.fields(page))
      statuses[answer.status] = (statuses[answer.status] or 0) + 1
    end
    assert.same({ [409] = 10, [429] = 5 }, statuses)
  end)

  it("shows the way back where a page is not the end", function()
    options.sign_out_url = function(back) return "/sign-out?next=" .. back end
    local tab, page = arrive()
    local here = PATH .. "?attempt=" .. visits.fields(page).attempt
    assert.truthy(page.body:find('href="/sign-out?next=' .. here .. '"', 1, true))
    local forged = tab:post { attempt = visits.fields(page).attempt }
    assert.truthy(forged.body:find('href="' .. here .. '">Open it again<', 1, true))
    for _ = 1, 10 do tab:post(visits.fields(page)) end
    assert.truthy(tab:post(visits.fields(page)).body:find('href="' .. here .. '">Try again<', 1, true))
    user, options.authenticate = nil, function() return nil end
    assert.truthy(tab:get(here).body:find('href="' .. here .. '">I have signed in<', 1, true))
  end)

  it("keeps nonce, identifier and user out of the log and the figures", function()
    exchanged()
    local q = redirect()
    local tab, page = arrive(q)
    ring.on.confirm = function() return answers.refusal(404, "Not Found") end
    tab:post(visits.fields(page))
    local text = log_text()
    for _, key in ipairs(app.board:keys("")) do text = text .. key .. tostring(app.board:get(key)) end
    for _, secret in ipairs { q.nonce, "user@partner", "user-1", visits.fields(page).csrf } do
      assert.falsy(text:find(secret, 1, true), secret)
    end
  end)

  it("keeps pages from caches, frames and Referers", function()
    local _, page, first = arrive()
    for _, answer in ipairs { first, page, browser():get("?x") } do
      assert.equal("no-store", answer.headers["Cache-Control"])
      assert.equal("no-referrer", answer.headers["Referrer-Policy"])
      assert.equal("nosniff", answer.headers["X-Content-Type-Options"])
    end
    assert.truthy(page.headers["Content-Security-Policy"]:find("frame-ancestors 'none'", 1, true))
    assert.equal("DENY", page.headers["X-Frame-Options"])
  end)
end)
