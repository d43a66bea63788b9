--- The Account Link URL: the page a Ring user's browser lands on, and the button that links.
--
--   GET ?nonce=&time=   keeps both under a ticket, sets the ticket's cookie, sends the browser on without them
--   GET ?attempt=       after the sign-in: "Connect Ring to u***r@...?"
--   POST attempt, csrf  links
--
-- Invariants: only a POST links, and only with the ticket's cookie, a signed-in user, and a token that was
-- made for this very user and ticket; what is linked is what the ticket holds, for whom the session says;
-- nothing of a request gets into a page or a header but a ticket's name.

local apps = require "ringlink.resty.apps"
local check = require "ringlink.check"
local csrf = require "ringlink.resty.csrf"
local errors = require "ringlink.errors"
local form = require "ringlink.resty.form"
local grants = require "ringlink.grants"
local outcomes = require "ringlink.resty.outcomes"
local reply = require "ringlink.resty.reply"
local tickets = require "ringlink.resty.tickets"
local visit = require "ringlink.resty.visit"
local visitor = require "ringlink.resty.visitor"

local M = { name = "link" }

local OPTIONS = { "app", "authenticate", "pages", "policy", "label", "continue_url", "sign_out_url",
  "sign_in_origins", "wait_s", "limits", "flow" }
local WAIT_S = 5
local BODY_BYTES_MAX = 4096
local COOKIE = "__Host-ringlink-"
local COOKIES_MAX = 8                -- of one browser; more would fill its request headers
local LIMITS = {
  open = { each = { count = 30, window_s = 10 }, all = { count = 500, window_s = 10 } },
  link = { each = { count = 10, window_s = 10 } },
}

-- The parts below share a visit (visit.lua) of this one request ----------------------------------

local page = visit.page

local function pass(here, name, who)
  local limits = check.options("account_link: limits", here.options.limits, { "open", "link" })
  return visit.pass(here, name, limits[name] or LIMITS[name], who)
end

local function failed(here, err, view)
  if outcomes.is_trouble(err) then apps.note_failure(here.app, "link", err) end
  here.app.tally:add("links|" .. err.code)
  return page(here, outcomes.of(err), view)
end

local function secret_of(here, id)
  return here.request:cookies()[COOKIE .. id]
end

local function address_of(here, id)
  return here.request.path .. "?attempt=" .. id
end

-- From Ring -------------------------------------------------------------------------------------

local function cookie(id, secret, life_s)
  return ("%s%s=%s; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Lax"):format(COOKIE, id, secret, life_s)
end

-- Attempts that were left are dropped when there are many.
local function cookies_for(here, id, secret)
  local cookies, others = { cookie(id, secret, tickets.LIFE_S) }, 0
  for name in pairs(here.request:cookies()) do
    local other = name:match("^__Host%-ringlink%-(%x+)$")
    if other and other ~= id and tickets.is_id(other) then
      others = others + 1
      if others >= COOKIES_MAX then cookies[#cookies + 1] = cookie(other, "", 0) end
    end
  end
  return cookies
end

local function open(here)
  local query = here.request.query
  if not pass(here, "open", here.request:address()) then return page(here, "busy") end
  local id, secret = errors.catch(tickets.open, here.app.client, { nonce = query.nonce, time = query.time },
    function(id) return secret_of(here, id) end)
  if not id and secret.code == "in_progress" then return page(here, "elsewhere") end
  if not id then return failed(here, secret) end
  local answer = reply.see(address_of(here, id))
  answer.cookies = secret and cookies_for(here, id, secret)
  return answer
end

-- The ticket and the user -----------------------------------------------------------------------

-- The ticket of this browser, or the answer to one that has none.
local function find_ticket(here, id)
  if not tickets.is_id(id) then return nil, page(here, "broken") end
  local secret = secret_of(here, id)
  if not secret then return nil, page(here, "elsewhere") end
  local ticket = tickets.find(here.app.client, id, secret)
  if not ticket or not tickets.hold(here.app.client, ticket) then return nil, page(here, "expired") end
  return ticket
end

-- Who is signed in, or the answer to somebody who is not.
local function find_user(here, ticket)
  local user, sign_in = visitor.ask(here.options, address_of(here, ticket.id))
  if user then return user end
  return nil, sign_in and reply.see(sign_in) or page(here, "sign_in", { reopen = address_of(here, ticket.id) })
end

local function view_of(here, ticket, user)
  return { identifier = user.shown, attempt = ticket.id, csrf = csrf.token(here.app.client, user, ticket.id),
    reopen = address_of(here, ticket.id) }
end

-- A ticket that was used says so to whoever used it; for others it is nobody's any more.
local function used(here, ticket, user, page_of_theirs)
  local was_used, by_them = tickets.was_used(here.app.client, ticket, user.id)
  if not was_used then return nil end
  return page(here, by_them and page_of_theirs or "expired", { identifier = by_them and user.shown or nil })
end

local function show(here)
  local ticket, refusal = find_ticket(here, here.request.query.attempt)
  if not ticket then return refusal end
  local user, elsewhere = find_user(here, ticket)
  if not user then return elsewhere end
  return used(here, ticket, user, "linked") or page(here, "confirm", view_of(here, ticket, user))
end

-- Linking ---------------------------------------------------------------------------------------

--- Links, as a task: whoever closes the browser in the middle of it has a link all the same.
---@param app_name string
---@param q table of texts and numbers, as client:link takes it
---@return ringlink.Link?
---@return ringlink.Error?
function M.link(app_name, q)
  return apps.get(app_name).client:link(q)
end

local function link(here, ticket, user)
  local client = here.app.client
  local task = client.runtime.critical(M.link, here.app.name, { nonce = ticket.nonce, time = ticket.time,
    user = user.id, account_identifier = user.identifier, wait_s = here.options.wait_s or WAIT_S,
    flow = here.options.flow })
  local linked, err = client.runtime.join(task)
  if not linked then return failed(here, err, view_of(here, ticket, user)) end
  tickets.use(client, ticket, user.id)
  return reply.see(address_of(here, ticket.id))
end

local function connect(here)
  local body, problem = here.request:body(BODY_BYTES_MAX)
  if problem then return failed(here, problem) end
  local fields = form.read(body)
  local ticket, refusal = find_ticket(here, fields.attempt)
  if not ticket then return refusal end
  local user, elsewhere = find_user(here, ticket)
  if not user then return elsewhere end
  local view = view_of(here, ticket, user)
  if visit.is_foreign(here) or not csrf.matches(view.csrf, fields.csrf) then
    return page(here, "forged", { reopen = view.reopen })
  end
  if not pass(here, "link", grants.user_tag(here.app.client, user.id)) then
    return page(here, "busy", { reopen = view.reopen })
  end
  return used(here, ticket, user, "already") or link(here, ticket, user)
end

-- What nginx calls ------------------------------------------------------------------------------

-- Whatever asks without a person behind it gets no ticket: HEAD, and pages fetched ahead. A browser
-- throws such a failure away and asks again once somebody wants to see the page.
local function get(here)
  local query = here.request.query
  if query.attempt then return show(here) end
  if here.request:is_ahead() then return reply.text(503, "not ahead of time\n") end
  return open(here)
end

local METHODS = { GET = get, POST = connect, HEAD = function() return reply.text(200, "") end }

--- Answers a browser.
---@param app ringlink.App
---@param request ringlink.Request
---@param options table see the README's table
---@return ringlink.Reply
function M.handle(app, request, options)
  local here = { app = app, request = request, options = check.options("account_link", options, OPTIONS), own = {} }
  local method = METHODS[request.method]
  if not method then return reply.method_not_allowed("GET, HEAD, POST") end
  return method(here)
end

--- Answers when handling raised.
---@param app ringlink.App
---@param problem any
---@param options table
---@return ringlink.Reply
function M.failed(app, problem, options)
  return visit.failed("link", app, problem, options)
end

return M
