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
---@field path string|(string|number)[] percent-encoded, begins with "/"; or segments to be encoded
---@field method string?       default GET
---@field query table<string, string|number|boolean>?
---@field headers table<string, string>?
---@field body string?
---@field json table?          instead of body
---@field follow boolean?      follow redirects, without the access token
---@field sink string|(fun(part: string): false?)|nil a file, or a function, that gets a 2xx answer's body
---@field timeout_ms integer?  of one attempt; with a sink, until the head and of each standstill after it
---@field retry boolean?       the call may be repeated although it is not GET or HEAD

---@class ringlink.Answer
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string          "" with a sink
---@field json any             decoded, when the body is JSON
---@field written integer?     bytes that went into the sink
---@field range { first: integer, last: integer, total: integer? }? of a 206
---@field location string?     the path of what was made, such as a live session

local REDIRECTS_MAX = 3
local PATH_BYTES_MAX = 8192
local RANGE_BYTES_MAX = 52             -- "bytes " and three numbers of 14 digits
local OURS = { authorization = true, host = true, ["content-length"] = true,
  ["transfer-encoding"] = true, connection = true }
local KNOWN = { method = "string", path = "string", query = "table", headers = "table",
  body = "string", json = "table", follow = "boolean", timeout_ms = "number", retry = "boolean",
  sink = "string" }
local OTHERWISE = { path = "table", sink = "function" }      -- fields of two types

local function invalid(problem)
  return errors.fail("invalid_request", { stage = "request", detail = problem })
end

local function check_shape(spec)
  if type(spec) ~= "table" then return invalid("request needs a table") end
  for name, value in pairs(spec) do
    if KNOWN[name] == nil then return invalid(("unknown field %q"):format(tostring(name))) end
    if type(value) ~= KNOWN[name] and type(value) ~= OTHERWISE[name] then
      local other = OTHERWISE[name] and " or a " .. OTHERWISE[name] or ""
      return invalid(("%s must be a %s%s"):format(name, KNOWN[name], other))
    end
  end
  if spec.body and spec.json then return invalid("give body or json, not both") end
  if spec.sink and spec.method == "HEAD" then return invalid("HEAD has no body for a sink") end
  if spec.sink == "" or (type(spec.sink) == "string" and spec.sink:find("%z")) then
    return invalid("sink must name a file")
  end
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

-- Proxies, and libcurl too, resolve dots: what is meant for one device would reach another place.
local function check_segments(path)
  local plain = path:match("^[^?]*"):gsub("%%2[eE]", ".")
  for segment in plain:gmatch("/([^/]*)") do
    if segment == "." or segment == ".." then return invalid("path has a dot segment") end
  end
  if plain:find("//", 1, true) then return invalid("path has an empty segment; is an id missing?") end
  return path
end

local function check_path(path)
  if path == nil then return invalid("path is missing") end
  if #path > PATH_BYTES_MAX or path:sub(1, 1) ~= "/" or path:sub(1, 2) == "//" then
    return invalid('path must begin with one "/" and be at most 8192 bytes')
  end
  if path:find("[^\33-\126]") or path:find("[#\\]") then
    return invalid("path must be percent-encoded; encode each segment (ringlink.encode)")
  end
  return check_segments(path)
end

-- The path of a request or of pages, as text.
local function path_of(path)
  if type(path) ~= "table" then return check_path(path) end
  local text, problem = url.path(path)
  if not text then return invalid(problem) end
  return check_path(text)
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
  local path
  path, err = path_of(spec.path)
  if not path then return nil, err end
  ok, err = check_query(spec.query)
  if not ok then return nil, err end
  local method = spec.method or "GET"
  if not method:match("^%u+$") or #method > 16 then return invalid("method must be like GET or POST") end
  local lines, problem = header_lines(spec)
  if not lines then return nil, problem end
  local body, failure = body_of(spec)
  if failure then return nil, failure end
  return { method = method, kind = kind_of(method, spec), extra_headers = lines, body = body,
    carried_headers = carried_lines(spec), timeout_ms = spec.timeout_ms, sink = spec.sink,
    deadline_ms = http.deadline(client),
    url = client.options.api_url .. url.with_query(path, spec.query) }
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

-- Where Ring itself is on this machine, in tests, what it redirects to may be so too.
local function is_here(address)
  local origin = url.origin(address)
  local host = origin:match("://(%[[^%]]*%])") or origin:match("://([^:]+)")
  return host == "localhost" or host == "[::1]" or host:match("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function must_be_public(client, target)
  local api_url = client.options.api_url
  if client.options.allow_http_loopback or is_here(api_url) then return false end
  return url.origin(target) ~= url.origin(api_url)
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
      timeout_ms = call.timeout_ms, deadline_ms = call.deadline_ms, path_is_secret = true,
      sink = call.sink, public_only = must_be_public(client, from) })
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

-- Numbers of more digits are no file's.
local function range_of(response)
  local text = response.status == 206 and response.headers["content-range"] or ""
  local first, last, total = text:match("^bytes (%d+)%-(%d+)/([%d*]+)$")
  if not first or #text > RANGE_BYTES_MAX then return nil end
  return { first = tonumber(first), last = tonumber(last), total = tonumber(total) }
end

-- What was made, such as a live session, as a path for the next request; only if it is Ring's.
local function location_in(client, response, call)
  local reference = response.headers.location
  if not reference or response.status >= 300 or response.stage == ELSEWHERE then return nil end
  local target = url.resolve(call.url, reference)
  local path = target:match("^%a[%w+.-]*://[^/?#]+(/.*)$")
  if url.origin(target) == url.origin(call.url) and path and check_path(path) then return path end
  client.log("warn", "Location leads elsewhere than to Ring", { stage = "request" })
  return nil
end

local function refusal(response)
  local err = ring.error(response, response.stage or "request")
  local total = response.status == 416 and response.headers["content-range"] or ""
  err.total_bytes = #total <= RANGE_BYTES_MAX and tonumber(total:match("^bytes %*/(%d+)$")) or nil
  return nil, err
end

local function answer(client, response, call)
  if response.status >= 400 then return refusal(response) end
  return { status = response.status, headers = response.headers, body = response.body,
    json = response.json, written = response.written, range = range_of(response),
    location = location_in(client, response, call) }
end

--- Sends a call with a grant's access token.
---@param client ringlink.Client
---@param key string the grant
---@param spec table see Account:request
---@param row table? the grant's, when it was read just now
---@return ringlink.Answer?
---@return ringlink.Error?
function M.send(client, key, spec, row)
  local call, err = build(client, spec)
  if not call then return nil, err end
  return tokens.authorized(client, key, function(access)
    local response, problem = ring.request(client, access, call)
    if not response then return nil, problem end
    if spec.follow then
      response, problem = follow(client, response, call)
      if not response then return nil, problem end
    end
    return answer(client, response, call)
  end, { refused_when = is_token_refused, known = row })
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
---@param path string|(string|number)[]
---@param query table?
---@return fun(): table?
function M.pages(account, path, query)
  local sound, problem = check_query(query)
  if sound then sound, problem = path_of(path) end
  local at, seen = sound and url.with_query(sound, query), {}
  return function()
    if not sound then problem:raise() end
    if not at or seen[at] then return nil end
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
