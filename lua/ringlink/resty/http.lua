--- Between nginx and the handlers: a request as a plain object, an answer written out.
--
-- The handlers know no ngx; they take a request and return an answer (reply.lua). Nothing of a request
-- is read before it is asked for, and a body only up to a limit.

local errors = require "ringlink.errors"
local form = require "ringlink.resty.form"
local later = require "ringlink.resty.later"

local M = {}

local HEADERS_MAX = 100
local IPV6_BYTES, IPV6_NETWORK_BYTES = 16, 8     -- one customer has at least such a network
local unpack = table.unpack or unpack

---@class ringlink.Request
---@field method string
---@field path string   encoded anew, fit for a header
---@field query table<string, string>
local Request = {}
Request.__index = Request

--- A header that came once.
---@param name string
---@return string?
function Request:header(name)
  local value = ngx.req.get_headers(HEADERS_MAX)[name]
  return type(value) == "string" and value or nil
end

--- The cookies of the request.
---@return table<string, string>
function Request:cookies()
  self.jar = self.jar or form.cookies(ngx.var.http_cookie)
  return self.jar
end

--- Whoever sent it, as a key for limits.
---@return string
function Request:address()
  local address = ngx.var.binary_remote_addr or ""
  return #address == IPV6_BYTES and address:sub(1, IPV6_NETWORK_BYTES) or address
end

--- Whether a browser only fetches ahead: no person has asked for this.
---@return boolean
function Request:is_ahead()
  local purpose = self:header("Sec-Purpose") or self:header("Purpose") or self:header("X-Moz") or ""
  return purpose:find("prefetch", 1, true) ~= nil or purpose:find("prerender", 1, true) ~= nil
end

--- The last segment of the path.
---@return string
function Request:last_segment()
  return ngx.var.uri:match("([^/]*)$")
end

--- The name of this process among those that share the board.
---@return string
function Request:worker() -- luacheck: ignore 212
  return tostring(ngx.worker.pid())
end

local function read_file(path, bytes_max)
  local file, problem = io.open(path, "rb")
  if not file then return errors.fail("store_error", { detail = "nginx's body file", cause = problem }) end
  local body = file:read(bytes_max + 1) or ""
  file:close()
  return body
end

--- The raw body, from memory or from the file that nginx put it in.
---@param bytes_max integer
---@return string? body nil: too large
---@return ringlink.Error? err it could not be read
function Request:body(bytes_max) -- luacheck: ignore 212
  if (tonumber(ngx.var.http_content_length) or 0) > bytes_max then return nil end
  ngx.req.read_body()
  local body, problem = ngx.req.get_body_data(), nil
  local path = not body and ngx.req.get_body_file()
  if path then body, problem = read_file(path, bytes_max) end
  if problem then return nil, problem end
  body = body or ""
  return #body <= bytes_max and body or nil
end

--- The request that is being answered.
---@return ringlink.Request
function M.request()
  return setmetatable({ method = ngx.req.get_method(), path = form.encode_path(ngx.var.uri),
    query = form.read(ngx.var.args) }, Request)
end

-- The partner's sign-in may have set cookies of its own: they stay.
local function set_cookies(cookies)
  local present = ngx.header["Set-Cookie"]
  local all = type(present) == "table" and present or { present }
  for _, cookie in ipairs(cookies) do all[#all + 1] = cookie end
  ngx.header["Set-Cookie"] = all
end

--- Writes an answer.
---@param answer ringlink.Reply
function M.write(answer)
  ngx.status = answer.status
  for name, value in pairs(answer.headers) do
    assert(not value:find("[\r\n%z]"), "a header must be one line")
    ngx.header[name] = value
  end
  if answer.cookies then set_cookies(answer.cookies) end
  ngx.header["Content-Length"] = #answer.body
  ngx.print(answer.body)
end

local function trace(problem)
  return type(problem) == "string" and debug.traceback(problem, 2) or problem
end

local function report(app, what, problem)
  app.client.log("error", "a request could not be answered", { what = what, cause = errors.describe_trace(problem) })
end

--- Answers the request: `handler.handle(app, request, options)`, or `handler.failed(app, problem, options)`
--- when that raises.
---@param handler { name: string, handle: function, failed: function }
---@param app ringlink.App
---@param options table
function M.serve(handler, app, options)
  local request = M.request()
  local ok, answer = xpcall(function() return handler.handle(app, request, options) end, trace)
  if not ok then
    report(app, handler.name, answer)
    answer = handler.failed(app, answer, options)
  end
  if not answer.after then return M.write(answer) end
  local rest = later.begin(app.client, handler.name, unpack(answer.after))
  M.write(answer)
  ngx.eof()
  rest()
end

return M
