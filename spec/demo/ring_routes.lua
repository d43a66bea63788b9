--- The three addresses that Ring knows: Token Exchange URL, Account Link URL, webhook.
--
-- Anybody can call them: only what ringlink checks (code, nonce, signature) is believed.
-- luacheck: globals ngx

local app = require "demo.app"
local json = require "ringlink.json"
local pages = require "demo.pages"
local redact = require "demo.redact"
local story = require "demo.story"
local visitors = require "demo.visitors"
local web = require "demo.web"

local ring_routes = {}

local WINDOW_MS, SKEW_MS = 600000, 60000

local function arrived(fields)
  fields.method, fields.path = ngx.req.get_method(), redact.path(ngx.var.uri)
  return story.note("received", fields)
end

-- Ring's way of sending the code is not documented to the letter: form, JSON and query are taken.
local function read_code()
  local form = web.form()
  if form.code then return form.code end
  local body = json.decode_table(web.body())
  return body and body.code or web.query().code
end

--- The code is worth 60 seconds: Ring gets its 200 at once, then the code is exchanged.
function ring_routes.token_exchange()
  local code = read_code()
  local entry = arrived { code = redact.hint(code) }
  if type(code) ~= "string" or code == "" then
    entry.status = 400
    return web.json(400, '{"error":"code is missing"}')
  end
  entry.status = 200
  web.json(200, '{"status":"ok"}')
  ngx.eof()
  local account, err = app.client:exchange(code)
  if not account then story.note("exchange_failed", { error = err.code }) end
end

-- An old redirect is told so before the user signs in; client:link checks again, exactly.
local function is_fresh(time)
  local age_ms = app.client.clock.now_ms() - tonumber(time)
  return age_ms <= WINDOW_MS and age_ms >= -SKEW_MS
end

local function well_formed(query)
  return (query.nonce or ""):find("^[%w%-_]+$") and #query.nonce <= 64
    and (query.time or ""):find("^%d+$") and #query.time <= 20
end

--- Keeps nonce and time on this side and sends the browser on without them.
function ring_routes.account_link()
  local query = web.query()
  if not well_formed(query) then
    return web.html(400, pages.message("This link is incomplete", "Open it again from the Ring app."))
  end
  if not is_fresh(query.time) then
    return web.html(410, pages.message("This link is too old", "Tap Sign In in the Ring app again."))
  end
  local ticket = visitors.keep(query.nonce, query.time)
  web.set_cookie("ticket", ticket.id, visitors.TICKET_LIFE_S)
  web.see(visitors.session(web.cookie("session")) and "/connect" or "/sign-in")
end

-- Contract: a bad signature is 401; an event that is too old, or that nobody can read, is done with;
-- our own trouble is 5xx, and Ring delivers again.
local WEBHOOK_STATUS = { signature = 401, event_too_old = 200, invalid_request = 200 }

local function webhook_status(err)
  return WEBHOOK_STATUS[err.code] or err.retryable and 503 or 500
end

--- Verifies and acts on an event, once however often it comes.
function ring_routes.webhook()
  local signature = ngx.req.get_headers()["X-Signature"]
  local digest = tostring(signature):match("^sha256=(.*)$")
  local entry = arrived { signature = digest and "sha256=" .. redact.hint(digest) or "malformed" }
  local done, err = app.client:webhook(web.body(), signature)
  entry.status, entry.result = done and 200 or webhook_status(err), done or err.code
  web.json(entry.status, ('{"status":"%s"}'):format(entry.result))
end

return ring_routes
