--- The partner's own pages: sign in, confirm the link, see what is linked.
--
-- A GET never changes anything; each POST needs the CSRF token of the page it comes from. Linking
-- needs a signed-in user first: whose link it is comes from the session, never from the form.

local app = require "demo.app"
local core = require "ringlink.core"
local pages = require "demo.pages"
local ringlink = require "ringlink"
local visitors = require "demo.visitors"
local web = require "demo.web"

local user_routes = {}

local function start_over(status)
  web.html(status, pages.message("Start in the Ring app", "Open Demo Partner in the Ring app and tap Sign In."))
end

local function forged()
  web.html(403, pages.message("That did not come from this page", "Go back and try again."))
end

local function ticket_of_visitor() return visitors.ticket(web.cookie("ticket")) end
local function session_of_visitor() return visitors.session(web.cookie("session")) end

--- The sign-in form.
function user_routes.show_sign_in()
  local ticket = ticket_of_visitor()
  if not ticket then return start_over(400) end
  web.html(200, pages.sign_in { csrf = ticket.csrf })
end

local function knows(user, form)
  local is_password = core.secret(user.password):equals(form.password or "")
  return form.email == user.email and is_password
end

--- Signs in, under a new session id each time.
function user_routes.sign_in()
  local ticket, form = ticket_of_visitor(), web.form()
  if not ticket then return start_over(400) end
  if not visitors.is_own_form(ticket, form.csrf) then return forged() end
  if not knows(app.user, form) then
    return web.html(401, pages.sign_in { csrf = ticket.csrf, email = form.email,
      problem = "This e-mail and password do not belong together." })
  end
  web.set_cookie("session", visitors.sign_in(app.user).id, visitors.SESSION_LIFE_S)
  web.see("/connect")
end

--- Asks whether to link.
function user_routes.show_connect()
  local session = session_of_visitor()
  if not session then return web.see("/sign-in") end
  if not ticket_of_visitor() then return start_over(400) end
  web.html(200, pages.connect { csrf = session.csrf, identifier = ringlink.mask(session.user.email) })
end

local STATUS = { already_linked = 409, link_expired = 410, no_unclaimed_match = 409 }

local function refuse(err)
  local status = STATUS[err.code] or (err.retryable and 503 or 502)
  web.html(status, pages.message("Your Ring account is not linked", err.retryable
    and "Ring could not be reached. Please try again in a moment."
    or "Tap Sign In in the Ring app again. (" .. err.code .. ")"))
end

--- Links. The one worker would block itself by waiting for a code still to come, so no `wait_s`.
function user_routes.connect()
  local session, ticket = session_of_visitor(), ticket_of_visitor()
  if not session or not ticket then return start_over(400) end
  if not visitors.is_own_form(session, web.form().csrf) then return forged() end
  local link, err = app.client:link { nonce = ticket.nonce, time = ticket.time, user = session.user.id,
    account_identifier = ringlink.mask(session.user.email) }
  if not link then return refuse(err) end
  visitors.use(ticket)
  web.see("/linked")
end

--- What is linked.
function user_routes.show_linked()
  local session = session_of_visitor()
  if not session then return web.see("/sign-in") end
  local links = {}
  for account in app.client:accounts { user = session.user.id } do
    local info = account:info()
    links[#links + 1] = { identifier = info.account_identifier or "Ring account", state = info.state }
  end
  web.html(200, pages.linked(links))
end

return user_routes
