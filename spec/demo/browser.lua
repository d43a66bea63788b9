--- The demo's browser: https to the partner's host, cookies, forms, no scripts.
--
-- Follows no redirect by itself: each hop is a step to show. Owns one transport, made when it is needed;
-- `close` gives it back, with its connections.

local client = require "ringlink.sandbox.client"
local core = require "ringlink.core"
local page = require "support.page"
local url = require "ringlink.url"

local Browser = {}
Browser.__index = Browser

local FORM = "Content-Type: application/x-www-form-urlencoded"
local COOKIE = "(__Host%-[%w-]+)=([^;,]*); ([^,]*)"

local browser = {}

--- A browser that has been nowhere yet.
---@param origin string like https://127.0.0.1:8443
---@param ca_file string whoever signed that host's certificate
function browser.open(origin, ca_file)
  return setmetatable({ origin = origin, ca_file = ca_file, cookies = {} }, Browser)
end

local function cookie_header(cookies)
  local parts = {}
  for name, value in pairs(cookies) do parts[#parts + 1] = name .. "=" .. value end
  return #parts > 0 and "Cookie: " .. table.concat(parts, "; ") or nil
end

-- Cookies that a script could read or that would go over http are not taken.
local function keep_cookies(self, answer)
  for name, value, more in (answer.headers["set-cookie"] or ""):gmatch(COOKIE) do
    if not (more:find("Secure", 1, true) and more:find("HttpOnly", 1, true)) then
      error({ failure = "expected the cookie " .. name .. " to be Secure and HttpOnly" }, 0)
    end
    self.cookies[name] = not more:find("Max-Age=0", 1, true) and value or nil
  end
end

-- nginx makes some redirects absolute.
local function shorten(self, address)
  return address:sub(1, #self.origin) == self.origin and address:sub(#self.origin + 1) or address
end

--- Sends a request; a failure of the wire raises. Cookies go to the partner's host only.
---@param method string
---@param address string a path of the partner's host, or a URL
---@param options table|nil `{form}`
---@return table answer `{status, headers, body, address}`
function Browser:send(method, address, options)
  options = options or {}
  address = shorten(self, address)
  local is_own = address:sub(1, 1) == "/"
  local headers = { is_own and cookie_header(self.cookies) or nil }
  if options.form then headers[#headers + 1] = FORM end
  self.transport = self.transport or assert(core.transport { ca_file = self.ca_file, allow_http_loopback = true })
  local answer, problem = client.send(self.transport, { method = method, headers = headers,
    url = is_own and self.origin .. address or address, body = options.form and url.form(options.form) })
  if not answer then error({ failure = ("%s %s: %s"):format(method, address:gsub("%?.*", ""), problem) }, 0) end
  if is_own then keep_cookies(self, answer) end
  answer.address = address
  return answer
end

--- The form of a page that has a field with this value, or the first one.
---@param answer table a page
---@param choose string[]|nil name and value
---@return table|nil form `{action, fields}`
function browser.form_of(answer, choose)
  for _, form in ipairs(page.forms(answer.body)) do
    form.action = form.action or answer.address
    if not choose or form.fields[choose[1]] == choose[2] then return form end
  end
end

--- Closes the connections; the next request makes a new one.
function Browser:close()
  if self.transport then self.transport:close() end
  self.transport = nil
end

return browser
