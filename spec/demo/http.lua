--- Plain HTTP to this machine for the demo script: the browser (cookies, forms) and the control calls.
--
-- Owns one transport; `close` gives it back. Follows no redirect by itself: each hop is a step to show.

local client = require "ringlink.sandbox.client"
local core = require "ringlink.core"
local url = require "ringlink.url"

local Http = {}
Http.__index = Http

local FORM = "Content-Type: application/x-www-form-urlencoded"
local ENTITIES = { ["&amp;"] = "&", ["&lt;"] = "<", ["&gt;"] = ">", ["&quot;"] = '"', ["&#39;"] = "'" }

local http = {}

--- A browser for one origin.
---@param origin string like http://127.0.0.1:8080
function http.open(origin)
  local transport = assert(core.transport { allow_http_loopback = true, http_version = "1.1" })
  return setmetatable({ origin = origin, transport = transport, cookies = {} }, Http)
end

local function cookie_header(cookies)
  local parts = {}
  for name, value in pairs(cookies) do parts[#parts + 1] = name .. "=" .. value end
  return #parts > 0 and "Cookie: " .. table.concat(parts, "; ") or nil
end

local function keep_cookies(self, answer)
  for name, value in (answer.headers["set-cookie"] or ""):gmatch("([%w_-]+)=([^;, ]*); Path=/") do
    self.cookies[name] = value
  end
end

--- Sends a request; a failure of the wire raises.
---@param method string
---@param path string may have a query
---@param options table|nil `{form, body, headers}`
---@return table answer `{status, headers, body}`
function Http:send(method, path, options)
  options = options or {}
  local headers = { cookie_header(self.cookies) }
  for _, header in ipairs(options.headers or {}) do headers[#headers + 1] = header end
  if options.form then headers[#headers + 1] = FORM end
  local answer, problem = client.send(self.transport, { method = method, url = self.origin .. path, headers = headers,
    body = options.form and url.form(options.form) or options.body })
  if not answer then error({ failure = ("%s %s: %s"):format(method, path:gsub("%?.*", ""), problem) }, 0) end
  keep_cookies(self, answer)
  return answer
end

function Http:close() self.transport:close() end

local function attribute(tag, name)
  local value = tag:match("%f[%w]" .. name .. '="([^"]*)"')
  return value and value:gsub("&#?%w+;", ENTITIES)
end

--- Reads a page's form as a browser would: where it goes, how, and the fields as they stand.
---@param html string
---@return table|nil form `{action, method, fields}`
function http.form_of(html)
  local head, inside = html:match("(<form[^>]*>)(.-)</form>")
  if not head then return nil end
  local fields = {}
  for tag in inside:gmatch("<input[^>]*>") do fields[attribute(tag, "name")] = attribute(tag, "value") or "" end
  return { action = attribute(head, "action"), method = (attribute(head, "method") or "get"):upper(), fields = fields }
end

return http
