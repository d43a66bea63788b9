--- ringlink inside nginx: a partner's backend by naming locations.
--
--     init_by_lua_block        { require("ringlink.resty").setup { client_id = ..., store = ..., ... } }
--     init_worker_by_lua_block { require("ringlink.resty").start() }
--     location /ring/token/     { content_by_lua_block { require("ringlink.resty").token_exchange() } }
--     location = /ring/link     { content_by_lua_block { require("ringlink.resty").account_link { ... } } }
--     location = /ring/webhook  { content_by_lua_block { require("ringlink.resty").webhook() } }
--
-- The handlers hold no state of their own: what outlives a request is in the store, and what workers
-- share besides is in `lua_shared_dict ringlink`.

local account_link = require "ringlink.resty.account_link"
local apps = require "ringlink.resty.apps"
local background = require "ringlink.resty.background"
local check = require "ringlink.check"
local form = require "ringlink.resty.form"
local homepage = require "ringlink.resty.homepage"
local html = require "ringlink.resty.html"
local http = require "ringlink.resty.http"
local logger = require "ringlink.resty.logger"
local metrics = require "ringlink.resty.metrics"
local pages = require "ringlink.resty.pages"
local phase = require "ringlink.runtime.ngx.phase"
local reply = require "ringlink.resty.reply"
local shared = require "ringlink.resty.shared"
local status = require "ringlink.resty.status"
local token_exchange = require "ringlink.resty.token_exchange"
local webhook = require "ringlink.resty.webhook"

local M = {}

local TICK_S, RETRY_S = 1, 1
local FORM_BYTES_MAX = 8192

--- Makes the client, or with `{apps = {name = options}}` several; opens nothing. In init_by_lua*, where
--- key files and the environment can be read as root. A mistake in the options raises.
---@param options table the options of ringlink.new, and exchange_secret
function M.setup(options)
  apps.setup(options, { log = logger.write, workers = ngx.worker.count(), new_board = shared.new })
end

-- nginx's own runtime runs the loop as a task; it cannot be asked for one before the worker serves, nor
-- while it has no timer left.
local function begin(premature, loop)
  if premature then return end
  if pcall(loop.app.client.runtime.spawn, background.run, loop, ngx.worker.exiting) then return end
  assert(ngx.timer.at(RETRY_S, begin, loop))
end

-- Any other runtime has nobody to turn it.
local function tick(premature, loop)
  if premature or ngx.worker.exiting() then return loop:leave() end
  if loop.busy then return end               -- the turn before is not over
  loop.busy = true
  loop:step()
  loop.busy = false
end

local function start_one(app, does_work)
  local loop = background.new(app, tostring(ngx.worker.pid()), does_work)
  if app.client.runtime.name == "ngx" then return assert(ngx.timer.at(0, begin, loop)) end
  assert(ngx.timer.every(TICK_S, tick, loop))
end

--- Starts what runs in the background of every worker: the figures, and in one worker of all the work.
--- In init_worker_by_lua*.
---@param options { background: boolean? }? background = false leaves the work out
function M.start(options)
  options = check.options("start", options, { "background" })
  phase.settle()
  for _, app in pairs(apps.all()) do start_one(app, options.background ~= false) end
end

--- The client of an app; without a name the only one.
---@param app string?
---@return ringlink.Client
function M.client(app)
  return apps.get(app).client
end

local function serve(handler, options)
  options = options or {}
  http.serve(handler, apps.get(options.app), options)
end

--- Content handler of the Token Exchange URL; the last segment of its path is `exchange_secret`.
---@param options { app: string?, secret: string?, ack: "first"|"after"|nil, query: boolean?, limits: table? }?
function M.token_exchange(options)
  serve(token_exchange, options)
end

--- Content handler of the Account Link URL: the pages on which a user connects Ring.
---@param options table authenticate, and see the README's table
function M.account_link(options)
  serve(account_link, options)
end

--- Content handler of the App Homepage URL: the signed-in user's own links.
---@param options table authenticate, and see the README's table
function M.homepage(options)
  serve(homepage, options)
end

--- Content handler of the webhook URL.
---@param options { app: string? }?
function M.webhook(options)
  serve(webhook, options)
end

--- Content handler of a page for those who run this; keep others away from it.
---@param options { app: string? }?
function M.status(options)
  serve(status, options)
end

--- Content handler of figures for Prometheus, of every app; keep others away from it.
function M.metrics()
  http.serve(metrics, apps.any(), {})
end

--- Answers with a page of the partner's own in the look of the others, and with their headers.
---@param view { status: integer?, label: string, title: string, body: string } body is markup
function M.page(view)
  http.write(reply.page(view.status or 200, pages.plain(view)))
end

--- Text for an element's content or a quoted attribute.
---@param text any
---@return string
function M.escape(text)
  return html.escape(text)
end

--- The fields of a form that was posted, at most 8 KiB of it; one that came twice is no field.
---@return table<string, string>
function M.form()
  return form.read((http.request():body(FORM_BYTES_MAX)))
end

--- A cookie of the request; one that came twice is no cookie.
---@param name string
---@return string?
function M.cookie(name)
  return http.request():cookies()[name]
end

--- Whether a text from a request is a path of this host, so that a sign-in may send the browser there.
---@param text any
---@return boolean
function M.is_local_path(text)
  return form.is_local_path(text)
end

return M
