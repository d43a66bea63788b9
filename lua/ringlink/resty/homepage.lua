--- The App Homepage URL: the signed-in user's own links, and what they may do with them.
--
-- Invariants: a GET changes nothing; which link a form means is told by its token alone, which was made
-- for this user and that link, so nobody reaches a link that is not theirs.

local apps = require "ringlink.resty.apps"
local check = require "ringlink.check"
local csrf = require "ringlink.resty.csrf"
local form = require "ringlink.resty.form"
local grants = require "ringlink.grants"
local homepage_pages = require "ringlink.resty.homepage_pages"
local reply = require "ringlink.resty.reply"
local visit = require "ringlink.resty.visit"
local visitor = require "ringlink.resty.visitor"

local M = { name = "homepage" }

local OPTIONS = { "app", "authenticate", "pages", "policy", "label", "continue_url", "sign_in_origins", "limits" }
local BODY_BYTES_MAX = 4096
local LINKS_MAX = 50
local ACT_LIMIT = { each = { count = 10, window_s = 10 } }       -- each is a call to Ring
local TROUBLE = "That did not work just now. Please try again in a moment."
local REFUSED = "That did not work. Below you see how the connection stands now."

local OWN = { home = homepage_pages.home, forget = homepage_pages.forget }

local page = visit.page

local SHOWN = { completed = "completed", relink = "relink", matched = "pending", confirming = "pending",
  awaiting = "pending" }

local function state_of(info)
  if info.state == "awaiting" and info.paused then return "paused" end
  return SHOWN[info.state]
end

-- A link as the page shows it; nil for one that is over.
local function link_of(here, user, account)
  local info = account:info()
  local state = info and state_of(info)
  if not state then return nil end
  return { state = state, identifier = info.account_identifier, linked_ms = info.linked_ms, account = account,
    csrf = csrf.token(here.app.client, user, "homepage:" .. tostring(account.id)) }
end

-- Those that are not linked yet come last.
local function is_older(a, b)
  if a.linked_ms ~= b.linked_ms then return (a.linked_ms or math.huge) < (b.linked_ms or math.huge) end
  return a.csrf < b.csrf
end

local function links_of(here, user)
  local links = {}
  for account in here.app.client:accounts({ user = user.id }) do
    if #links < LINKS_MAX then links[#links + 1] = link_of(here, user, account) end
  end
  table.sort(links, is_older)
  return links
end

local function without_handles(links)
  local shown = {}
  for i, link in ipairs(links) do
    shown[i] = { state = link.state, identifier = link.identifier, linked_ms = link.linked_ms, csrf = link.csrf }
  end
  return shown
end

local function home(here, user, problem, status)
  return page(here, "home", { identifier = user.shown, links = without_handles(links_of(here, user)),
    problem = problem, status = status })
end

local OPERATIONS = {
  pause = function(client, account) return client:update(account, { status = "awaiting" }) end,
  resume = function(client, account) return client:complete(account) end,
  forget_now = function(_, account) return account:forget({ notify = true }) end,
}

local function pass(here, user)
  local limits = check.options("homepage: limits", here.options.limits, { "act" })
  return visit.pass(here, "act", limits.act or ACT_LIMIT, grants.user_tag(here.app.client, user.id))
end

local function find(links, token)
  for _, link in ipairs(links) do
    if csrf.matches(link.csrf, token) then return link end
  end
end

local function act(here, user)
  local body, problem = here.request:body(BODY_BYTES_MAX)
  local fields = form.read(body)
  local link = not problem and find(links_of(here, user), fields.csrf)
  if not link or visit.is_foreign(here) then
    return page(here, "forged", { reopen = here.request.path })
  end
  if fields["do"] == "forget" then return page(here, "forget", { link = { csrf = link.csrf } }) end
  local operation = OPERATIONS[fields["do"]]
  -- What else is awaiting waits for this service: its user cannot say that it is set up.
  if fields["do"] == "resume" and link.state ~= "paused" then operation = nil end
  if not operation then return page(here, "broken", {}) end
  if not pass(here, user) then return page(here, "busy", { reopen = here.request.path }) end
  local done, err = operation(here.app.client, link.account)
  if done then return reply.see(here.request.path) end
  apps.note_failure(here.app, "homepage", err)
  if err.retryable then return home(here, user, TROUBLE, 503) end
  return home(here, user, REFUSED, 409)
end

local METHODS = { GET = home, HEAD = home, POST = act }

--- Answers a browser.
---@param app ringlink.App
---@param request ringlink.Request
---@param options table see the README's table
---@return ringlink.Reply
function M.handle(app, request, options)
  local here = { app = app, request = request, options = check.options("homepage", options, OPTIONS),
    own = OWN }
  local method = METHODS[request.method]
  if not method then return reply.method_not_allowed("GET, HEAD, POST") end
  local user, sign_in = visitor.ask(here.options, request.path)
  if not user then return sign_in and reply.see(sign_in) or page(here, "sign_in", { reopen = request.path }) end
  return method(here, user)
end

--- Answers when handling raised.
---@param app ringlink.App
---@param problem any
---@param options table
---@return ringlink.Reply
function M.failed(app, problem, options)
  return visit.failed("homepage", app, problem, options)
end

return M
