--- Any call in a Ring user's name: building it, following it, paging through it (contract 10).
--
-- Nothing the caller hands over can add a header line, leave Ring's origin, or carry the access
-- token elsewhere.

local errors = require "ringlink.errors"
local http = require "ringlink.http"
local json = require "ringlink.json"
local ring = require "ringlink.ring"
local tokens = require "ringlink.tokens"
local url = require "ringlink.url"

local M = {}

---@class ringlink.Request
---@field path string          percent-encoded, begins with "/"
---@field method string?       default GET
---@field query table<string, string|number|boolean>?
---@field headers table<string, string>?
---@field body string?
---@field json table?          instead of body
---@field follow boolean?      follow redirects, without the access token
---@field timeout_ms integer?  of one attempt
---@field retry boolean?       the call may be repeated although it is not GET or HEAD

local REDIRECTS_MAX = 3
local PATH_BYTES_MAX = 8192
local OURS = { authorization = true, host = true, ["content-length"] = true,
  ["transfer-encoding"] = true, connection = true }
local KNOWN = { method = "string", path = "string", query = "table", headers = "table",
  body = "string", json = "table", follow = "boolean", timeout_ms = "number", retry = "boolean" }

local function invalid(problem)
  return errors.fail("invalid_request", { stage = "request", detail = problem })
end

local function check_shape(spec)
  if type(spec) ~= "table" then return invalid("request needs a table") end
  for name, value in pairs(spec) do
    if KNOWN[name] == nil then return invalid(("unknown field %q"):format(tostring(name))) end
    if type(value) ~= KNOWN[name] then return invalid(("%s must be a %s"):format(name, KNOWN[name])) end
  end
  if spec.body and spec.json then return invalid("give body or json, not both") end
  local timeout_ms = spec.timeout_ms or 1
  if timeout_ms ~= timeout_ms or timeout_ms <= 0 then return invalid("timeout_ms must be above 0") end
  return true
end

local SCALAR = { string = true, number = true, boolean = true }

local function check_query(query)
  if query ~= nil and type(query) ~= "table" then return invalid("query must be a table") end
  for name, value in pairs(query or {}) do
    if type(name) ~= "string" or not SCALAR[type(value)] then
      return invalid("query must map names to text, numbers or booleans")
    end
  end
  return true
end

local function check_path(path)
  if path == nil then return invalid("path is missing") end
  if #path > PATH_BYTES_MAX or path:sub(1, 1) ~= "/" or path:sub(1, 2) == "//" then
    return invalid('path must begin with one "/" and be at most 8192 bytes')
  end
  if path:find("[^\33-\126]") or path:find("[#\\]") then
    return invalid("path must be percent-encoded; encode each segment (ringlink.encode)")
  end
  return true
end

local function header_line(name, value)
  if type(name) ~= "string" or not name:match("^[%w!#$%%&'*+.^_`|~-]+$") then
    return invalid("a header's name is malformed")
  end
  if OURS[name:lower()] then return invalid(("the header %s is set by ringlink"):format(name)) end
  if type(value) ~= "string" or value:find("[%c\127]") then
    return invalid(("the header %s must be text of one line"):format(name))
  end
  return name .. ": " .. value
end

local function header_lines(spec)
  local lines, named = {}, {}
  for name, value in pairs(spec.headers or {}) do
    local line, err = header_line(name, value)
    if not line then return nil, err end
    lines[#lines + 1] = line
    named[name:lower()] = true
  end
  if not named.accept then lines[#lines + 1] = "Accept: application/json" end
  if spec.json and not named["content-type"] then
    lines[#lines + 1] = "Content-Type: application/json"
  end
  return lines
end

local function body_of(spec)
  if spec.json == nil then return spec.body end
  local text, problem = json.encode(spec.json)
  if not text then return invalid("json cannot be encoded: " .. tostring(problem)) end
  return text
end

local function kind_of(method, spec)
  if method == "GET" or method == "HEAD" or spec.retry then return "safe" end
  return "once"
end

local FOR_OTHER_HOSTS = { accept = true, range = true }      -- all that a redirect's target is told

local function carried_lines(spec)
  local lines = {}
  for name, value in pairs(spec.headers or {}) do
    if FOR_OTHER_HOSTS[name:lower()] then lines[#lines + 1] = header_line(name, value) end
  end
  return lines
end

local function build(client, spec)
  local ok, err = check_shape(spec)
  if not ok then return nil, err end
  ok, err = check_path(spec.path)
  if not ok then return nil, err end
  ok, err = check_query(spec.query)
  if not ok then return nil, err end
  local method = spec.method or "GET"
  if not method:match("^%u+$") or #method > 16 then return invalid("method must be like GET or POST") end
  local lines, problem = header_lines(spec)
  if not lines then return nil, problem end
  local body, failure = body_of(spec)
  if failure then return nil, failure end
  return { method = method, kind = kind_of(method, spec), extra_headers = lines, body = body,
    carried_headers = carried_lines(spec), timeout_ms = spec.timeout_ms,
    deadline_ms = http.deadline(client),
    url = client.options.api_url .. url.with_query(spec.path, spec.query) }
end

-- Redirects -----------------------------------------------------------------------------------

local ELSEWHERE = "follow"              -- the stage of a call to another host, which gets no token
local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

local function absolute(client, location, from)
  if location:match("^/[^/]") then return url.origin(from) .. location end
  local origin = url.origin(location)
  if not origin or origin:find("@", 1, true) then return nil end
  local secure = origin:match("^https://") ~= nil
  local local_http = client.options.allow_http_loopback and origin:match("^http://") ~= nil
  return (secure or local_http) and location or nil
end

local function location_of(response)
  return REDIRECTS[response.status] and response.headers.location or nil
end

local function misled(problem)
  return errors.fail("bad_response", { stage = "request", detail = problem })
end

local function follow(client, response, call)
  local from = call.url
  local err
  for _ = 1, REDIRECTS_MAX do
    local location = location_of(response)
    if not location then return response end
    from = absolute(client, location, from)
    if not from then return misled("redirected to no https URL") end
    response, err = http.call(client, { stage = ELSEWHERE, kind = "safe",
      method = call.method == "HEAD" and "HEAD" or "GET", url = from, headers = call.carried_headers,
      timeout_ms = call.timeout_ms, deadline_ms = call.deadline_ms, path_is_secret = true })
    if not response then return nil, err end
    response.stage = ELSEWHERE
  end
  if location_of(response) then return misled("too many redirects") end
  return response
end

-- Sending -------------------------------------------------------------------------------------

local function is_token_refused(_, err)
  return err ~= nil and err.status == 401 and err.stage ~= ELSEWHERE
end

local function answer(response)
  if response.status >= 400 then
    return nil, ring.error(response, response.stage or "request")
  end
  return { status = response.status, headers = response.headers, body = response.body,
    json = response.json }
end

--- Sends a call with a grant's access token.
---@param client ringlink.Client
---@param key string the grant
---@param spec table see Account:request
---@return { status: integer, headers: table, body: string, json: any }?
---@return ringlink.Error?
function M.send(client, key, spec)
  local call, err = build(client, spec)
  if not call then return nil, err end
  return tokens.authorized(client, key, function(access)
    local response, problem = ring.request(client, access, call)
    if not response then return nil, problem end
    if spec.follow then
      response, problem = follow(client, response, call)
      if not response then return nil, problem end
    end
    return answer(response)
  end, is_token_refused)
end

-- Pages ---------------------------------------------------------------------------------------

local function next_path(client, body)
  local link = type(body.links) == "table" and body.links.next
  if type(link) ~= "string" then return nil end
  local origin = url.origin(client.options.api_url)
  if link:sub(1, #origin + 1) == origin .. "/" then link = link:sub(#origin + 1) end
  if link:match("^/[^/\\]") then return link end
  errors.new("bad_response", { stage = "request", detail = "links.next leads elsewhere" }):raise()
end

local function is_empty(body)
  return type(body.data) == "table" and next(body.data) == nil
end

--- Iterates over pages until `links.next` is absent, a page is empty, or a cursor comes again.
---@param account ringlink.Account
---@param path string
---@param query table?
---@return fun(): table?
function M.pages(account, path, query)
  local sound, problem = check_query(query)
  local at, seen = "", {}
  if sound and type(path) == "string" then at = url.with_query(path, query) end
  return function()
    if not sound then problem:raise() end
    if at == nil or seen[at] then return nil end
    seen[at] = true
    local body, err = account:get(at)
    if body == nil then err:raise() end
    if type(body) ~= "table" or is_empty(body) then
      at = nil
      return nil
    end
    at = next_path(account.client, body)
    return body
  end
end

return M
