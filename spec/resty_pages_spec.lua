--- The pages people see: what is on them, what can never get onto them, and how a partner replaces them.
local core = require "ringlink.core"
local homepage_pages = require "ringlink.resty.homepage_pages"
local outcomes = require "ringlink.resty.outcomes"
local pages = require "ringlink.resty.pages"
local plot = require "ringlink.resty.plot"
local errors = require "ringlink.errors"

local EVIL = [["><script>alert(1)</script>&'{label}{{csrf}}]]

local NAMES = { "confirm", "linked", "already", "expired", "elsewhere", "no_match", "held", "declined", "unfinished",
  "again", "trouble", "failed", "broken", "forged", "sign_in", "busy" }
local WITH_FORM = { confirm = true, no_match = true, unfinished = true, trouble = true }

local function view(more)
  local one = { label = "Demo", continue_url = "/home", sign_out_url = "/out", identifier = "u***r@x.example",
    action = "/ring/link", attempt = "attempt-1", csrf = "token-1", reopen = "/ring/link?attempt=1" }
  for name, value in pairs(more or {}) do one[name] = value end
  return one
end

local function evil_view()
  local one = {}
  for name in pairs(view()) do one[name] = EVIL end
  return one
end

-- Every tag that was opened is closed, in order.
local VOID = { meta = true, link = true, input = true, wbr = true, br = true, path = true, circle = true,
  rect = true, line = true }

local function assert_well_formed(html)
  local open = {}
  for slash, name in html:gsub("<style>.-</style>", ""):gmatch("<(/?)(%a[%w]*)") do
    if slash == "/" then
      assert.equal(table.remove(open), name)
    elseif not VOID[name] then
      open[#open + 1] = name
    end
  end
  assert.same({}, open)
end

describe("each page", function()
  for _, name in ipairs(NAMES) do
    it(name .. " is a whole document without script, with one heading", function()
      local page = pages.own(name, view())
      assert_well_formed(page)
      assert.truthy(page:find('^<!doctype html>\n<html lang="en">'))
      assert.truthy(page:find('name="viewport"', 1, true))
      assert.equal(1, select(2, page:gsub("<h1>", "")))
      assert.truthy(page:find("<title>[^<]+ – Demo</title>"))
      assert.falsy(page:find("<script", 1, true) or page:find("%son%a+=") or page:find("style=", 1, true))
    end)

    it(name .. " shows nothing unescaped, whatever it is given", function()
      local page = pages.own(name, evil_view())
      assert_well_formed(page)
      assert.falsy(page:find("<script", 1, true))
      assert.falsy(page:find('="">', 1, true), "an attribute was left")
    end)

    it(name .. " has a status", function()
      assert.equal("number", type(outcomes.STATUS[name]))
    end)

    it(name .. (WITH_FORM[name] and " has a form to go on" or " has no form"), function()
      local page = pages.own(name, view())
      assert.equal(WITH_FORM[name] or false, page:find("<form", 1, true) ~= nil)
      if not WITH_FORM[name] then return end
      assert.truthy(page:find('<form method="post" action="/ring/link">', 1, true))
      assert.truthy(page:find('name="attempt" value="attempt-1"', 1, true))
      assert.truthy(page:find('name="csrf" value="token-1"', 1, true))
      assert.falsy(pages.own(name, view { csrf = false }):find("<form", 1, true), "no form without a token")
    end)
  end

  it("asks about the masked identifier, and about the account when there is none", function()
    assert.truthy(pages.own("confirm", view()):find(
      "Connect Ring to <bdi class=\"identity\">u***r@<wbr>x.example</bdi>?", 1, true))
    assert.truthy(pages.own("confirm", view { identifier = false }):find("Connect Ring to your account?", 1, true))
  end)
end)

describe("the content policy", function()
  local _, policy = pages.render("confirm", view(), {})

  it("allows this very style and nothing else", function()
    local style = pages.own("confirm", view()):match("<style>(.-)</style>")
    local digest = core.base64url(core.sha256(style)):gsub("-", "+"):gsub("_", "/")
    assert.equal("default-src 'none'; style-src 'sha256-" .. digest .. "='; img-src data:; form-action 'self'; "
      .. "base-uri 'none'; frame-ancestors 'none'", policy)
  end)
end)

describe("a partner's pages", function()
  local function render(own_pages, more)
    local options = { pages = own_pages }
    for name, value in pairs(more or {}) do options[name] = value end
    return pages.render("linked", view(), options)
  end

  it("replace those of ringlink one by one", function()
    local html, policy = render({
      linked = function(one) return "mine: " .. one.html_escape("<" .. one.name .. ">") end })
    assert.equal("mine: &lt;linked&gt;", html)
    assert.truthy(policy:find("style-src 'self'", 1, true))
    assert.falsy(policy:find("unsafe", 1, true) or policy:find("script", 1, true))
    assert.equal(pages.own("linked", view()), (render({ confirm = function() return "mine" end })))
  end)

  it("may come from one function, which leaves some to ringlink", function()
    local function mine(name) return name == "linked" and "mine" or nil end
    assert.equal("mine", (render(mine)))
    assert.equal(pages.own("expired", view()), (pages.render("expired", view(), { pages = mine })))
  end)

  it("may bring a policy", function()
    local _, policy = render(function() return "mine" end, { policy = "default-src https:" })
    assert.equal("default-src https:", policy)
  end)

  it("that fail are reported and replaced", function()
    local problem
    local html, policy = render(function() error("a hole in the template") end,
      { policy = "default-src *", report = function(cause) problem = cause end })
    assert.equal(pages.own("linked", view()), html)
    assert.truthy(policy:find("default-src 'none'", 1, true))
    assert.truthy(problem:find("a hole in the template", 1, true))
  end)
end)

describe("the outcome of", function()
  local EXPECTED = {
    invalid_request = "broken", link_expired = "expired", link_in_future = "expired", invalid_nonce = "expired",
    no_unclaimed_match = "no_match", already_linked = "held", vetoed = "declined", configure_failed = "unfinished",
    relink_required = "again", confirm_outcome_unknown = "again", not_found = "again", unlinked = "again",
    timeout = "trouble", rate_limited = "trouble", store_busy = "trouble", in_progress = "trouble", connect = "trouble",
    store_error = "trouble", store_corrupt = "failed", store_belongs_elsewhere = "failed", closed = "failed",
  }
  for code, page in pairs(EXPECTED) do
    it(code .. " is the page " .. page, function()
      local err = errors.new(code, code == "store_error" and { retryable = true } or nil)
      assert.equal(page, outcomes.of(err))
    end)
  end

  it("every error is a page that exists", function()
    for _, entry in ipairs(errors.list) do
      assert.equal("number", type(outcomes.STATUS[outcomes.of(errors.new(entry.code))]), entry.code)
    end
  end)

  it("a hook that raised before the POST is a spent nonce; after it nothing is lost", function()
    assert.equal("expired", outcomes.of(errors.new("hook_failed", { retryable = false })))
    assert.equal("unfinished", outcomes.of(errors.new("hook_failed", { retryable = true })))
  end)

  it("what people do is no trouble to those who run it", function()
    for _, code in ipairs { "no_unclaimed_match", "link_expired", "already_linked", "vetoed", "invalid_request" } do
      assert.is_false(outcomes.is_trouble(errors.new(code)), code)
    end
    for _, code in ipairs { "timeout", "store_corrupt", "configure_failed", "confirm_outcome_unknown" } do
      assert.is_true(outcomes.is_trouble(errors.new(code)), code)
    end
  end)
end)

describe("the homepage", function()
  local function home(links, more)
    local one = view(more)
    one.links = links
    return homepage_pages.home(one)
  end

  it("says so when nothing is connected", function()
    local page = home({})
    assert_well_formed(page)
    assert.truthy(page:find("Ring is not connected", 1, true))
  end)

  it("shows each link with what can be done about it", function()
    local operations = { completed = { "pause", "forget" }, paused = { "resume", "forget" }, relink = { "forget" },
      pending = { "forget" } }
    for state, wanted in pairs(operations) do
      local page, found = home({ { state = state, csrf = "t", linked_ms = 1771130906289 } }), {}
      assert_well_formed(page)
      for operation in page:gmatch('name="do" value="([%w_]+)"') do found[#found + 1] = operation end
      assert.same(wanted, found, state)
      assert.equal(state ~= "relink", page:find("Connected since 15 February 2026.", 1, true) ~= nil)
    end
  end)

  it("tells several links apart, and says what the Ring app calls one", function()
    local page = home({ { state = "completed", csrf = "a", identifier = "u***r@x.example" },
      { state = "paused", csrf = "b", identifier = "o***d@x.example" } }, { identifier = "u***r@x.example" })
    assert_well_formed(page)
    assert.truthy(page:find('<h2 id="link-1">Ring account 1</h2>', 1, true))
    assert.truthy(page:find('aria-describedby="link-2">Resume<', 1, true))
    local _, count = page:gsub("The Ring app shows it as", "")
    assert.equal(1, count)
  end)

  it("asks before it forgets", function()
    local page = homepage_pages.forget(view { link = { csrf = "t" } })
    assert_well_formed(page)
    assert.truthy(page:find('name="do" value="forget_now"', 1, true))
  end)

  it("escapes everything", function()
    local one = evil_view()
    one.links, one.problem = { { state = "completed", csrf = EVIL, identifier = EVIL } }, EVIL
    assert_well_formed(homepage_pages.home(one))
    assert.falsy(homepage_pages.home(one):find("<script", 1, true))
    one.link = { csrf = EVIL }
    assert.falsy(homepage_pages.forget(one):find("<script", 1, true))
  end)
end)

describe("a plot", function()
  local function heights(svg)
    local list = {}
    for height in svg:gmatch('<rect[^>]*height="([%d.]+)"') do list[#list + 1] = tonumber(height) end
    return list
  end

  it("has a bar for each column that is not empty, the largest the highest", function()
    local svg = plot.columns({ 0, 5, 10, 0 }, { words = "in words", name = tostring })
    assert_well_formed(svg)
    assert.same({ 45, 90 }, heights(svg))
    assert.truthy(svg:find('role="img" aria-label="in words"', 1, true))
  end)

  it("of nothing has no bars and does not fail", function()
    assert.same({}, heights(plot.columns({ 0, 0 }, { words = "", name = tostring })))
  end)
end)
