--- Requests and apps for specs of ringlink.resty's handlers without nginx.
--
--   local app, clock = visits.app()
--   local ring = answers.serve(app.client)              -- support.answers
--   local tab = visits.browser(app, account_link, { authenticate = ... }, "/ring/link")
--   local page = tab:get("?nonce=...&time=...")
--
-- A handler sees the same request object as in nginx, with what the test puts into it; what an answer
-- leaves for later is done at once.

local apps = require "ringlink.resty.apps"
local board = require "ringlink.resty.board"
local form = require "ringlink.resty.form"
local offline = require "support.offline"

local unpack = table.unpack or unpack

local M = {}

local SECRET = "0123456789abcdef0123456789abcdef"
M.secret = SECRET

local Request = {}
Request.__index = Request

function Request:header(name) return self.headers[name] end
function Request:cookies() return self.jar end
function Request:address() return self.from or "10.0.0.1" end
function Request:last_segment() return self.path:match("([^/]*)$") end
function Request:worker() return "1" end
function Request:is_ahead() return self.headers["Sec-Purpose"] ~= nil end

function Request:body(bytes_max)
  local text = self.text or ""
  return #text <= bytes_max and text or nil
end

--- A request: method, path (may have a query), text, headers, jar, from.
function M.request(given)
  local path, query = (given.path or "/"):match("^([^?]*)%??(.*)$")
  return setmetatable({ method = given.method or "GET", path = path, query = form.read(query), text = given.text,
    headers = given.headers or {}, jar = given.jar or {}, from = given.from }, Request)
end

--- An app on a clock of its own; its log lines are in `app.log`.
function M.app(options, name)
  local log, clock = {}, options and options.clock or offline.clock()
  local settings = offline.options({ clock = clock, exchange_secret = SECRET,
    log = function(level, message, fields) log[#log + 1] = { level = level, message = message, fields = fields } end })
  for key, value in pairs(options or {}) do settings[key] = value end
  settings.exchange_secret = settings.exchange_secret or nil                  -- false: none
  apps.setup(name and { apps = { [name] = settings } } or settings, { workers = 1, new_board = board.new })
  local app = apps.get(name)
  app.log = log
  return app, clock
end

--- Has a handler answer, and does what the answer leaves for later unless `more.wait` is set.
function M.answer(app, handler, request, options)
  local answer = handler.handle(app, M.request(request), options or {})
  if answer.after and not request.wait then answer.after[1](unpack(answer.after, 2)) end
  return answer
end

local Browser = {}
Browser.__index = Browser

--- A browser that keeps cookies and talks to one handler at one path.
function M.browser(app, handler, options, path)
  return setmetatable({ app = app, handler = handler, options = options, path = path, jar = {} }, Browser)
end

local function keep_cookies(self, answer)
  for _, cookie in ipairs(answer.cookies or {}) do
    local name, value = cookie:match("^([^=]+)=([^;]*)")
    self.jar[name] = not cookie:find("Max%-Age=0") and value or nil
  end
end

function Browser:send(request)
  request.path, request.jar = request.path or self.path, self.jar
  local answer = M.answer(self.app, self.handler, request, self.options)
  keep_cookies(self, answer)
  return answer
end

--- GETs the path with a query, or another one.
function Browser:get(query, headers)
  local path = query and query:find("^/") and query or self.path .. (query or "")
  return self:send({ path = path, headers = headers })
end

--- Follows one redirect.
function Browser:follow(answer)
  assert(answer.status == 303, answer.body)
  return self:get(answer.headers.Location)
end

--- The hidden fields of a page's first form.
function M.fields(answer)
  local fields = {}
  for name, value in answer.body:gmatch('<input type="hidden" name="([^"]*)" value="([^"]*)"') do
    fields[name] = fields[name] or value
  end
  return fields
end

--- Posts fields.
function Browser:post(fields, headers)
  return self:send({ method = "POST", text = require("ringlink.url").form(fields), headers = headers })
end

--- The heading of a page.
function M.heading(answer)
  return (answer.body:match("<h1>(.-)</h1>"):gsub("<[^>]*>", ""))
end

return M
