--- The control plane's client: one call, JSON in and out.
--
-- Goes over ringlink's own transport when ringlink.core has it, else over the curl command, which
-- gets the token and the body by a private file, never by argument. Always plain HTTP to 127.0.0.1
-- (with TLS on, the instance has a second port for it), so that a deliberately wrong certificate
-- does not lock the tester out.

local cjson = require "cjson"
local process = require "ringlink.sandbox.process"

local client = {}

local TIMEOUT_MS = 60000
local RESPONSE_BYTES_MAX = 64 * 1024 * 1024
local READS = { state = true, requests = true }
local to_integer = rawget(math, "tointeger")  -- Lua 5.4 only; LuaJIT has one kind of number

local function query(fields)
  local parts = {}
  for name, value in pairs(fields or {}) do
    local text = tostring(value):gsub("[^%w%-%._~]", function(c) return ("%%%02X"):format(c:byte()) end)
    parts[#parts + 1] = name .. "=" .. text
  end
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

local function describe(instance, name, fields)
  local url = instance.control_url .. "/_sandbox/" .. name
  local headers = { "X-Sandbox-Token: " .. instance.token }
  if READS[name] then return { method = "GET", url = url .. query(fields), headers = headers } end
  headers[2] = "Content-Type: application/json"
  local body = fields and next(fields) ~= nil and cjson.encode(fields) or "{}"
  return { method = "POST", url = url, headers = headers, body = body }
end

local function open_transport()
  local ok, core = pcall(require, "ringlink.core")
  if not ok or type(core) ~= "table" or not core.transport then return nil end
  return core.transport { allow_http_loopback = true, http_version = "1.1", response_bytes_max = RESPONSE_BYTES_MAX }
end

local function over_transport(transport, request)
  request.timeout_ms = TIMEOUT_MS
  local ticket, code, detail = transport:start(request)
  if not ticket then return nil, detail or code end
  while true do
    transport:poll(1000)
    local done, result = transport:take()
    if done == ticket then
      if result.error then return nil, result.detail or result.error end
      return result.status, result.body
    end
  end
end

local function curl_quote(value)
  return '"' .. value:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"'
end

local function over_curl(instance, request)
  local path = instance.prefix .. "/control.curl"
  local lines = { "silent", "show-error", "noproxy = \"*\"", "write-out = \"\\n%{http_code}\"",
    "max-time = " .. TIMEOUT_MS / 1000, "request = " .. request.method, "url = " .. curl_quote(request.url) }
  for _, header in ipairs(request.headers) do lines[#lines + 1] = "header = " .. curl_quote(header) end
  if request.body then
    local body = instance.prefix .. "/control.json"
    process.write(body, request.body)
    lines[#lines + 1] = "data-binary = " .. curl_quote("@" .. body)
  end
  process.write(path, table.concat(lines, "\n") .. "\n")
  local ok, output = process.run(process.line("curl", "-q", "-K", path))
  local body, status = output:match("^(.*)\n(%d+)$")
  if not ok or not body then return nil, output end
  return tonumber(status), body
end

--- cjson reads every number as a float on Lua 5.4; whole ones become integers again, in place.
---@param value any
---@return any
function client.whole_numbers(value)
  if type(value) == "number" then return to_integer and to_integer(value) or value end
  if type(value) ~= "table" then return value end
  for key, one in pairs(value) do value[key] = client.whole_numbers(one) end
  return value
end

--- Calls an operation.
---@param instance table `{control_url, token, prefix}`
---@param name string
---@param fields table|nil
---@return table|nil answer
---@return string|nil problem
function client.call(instance, name, fields)
  local request = describe(instance, name, fields)
  if instance.transport == nil then instance.transport = open_transport() or false end
  local status, body
  if instance.transport then
    status, body = over_transport(instance.transport, request)
  else
    status, body = over_curl(instance, request)
  end
  if not status then return nil, body end
  local ok, answer = pcall(cjson.decode, body)
  if not ok then return nil, ("the control plane answered %d without JSON"):format(status) end
  if status ~= 200 then return nil, answer.error or tostring(status) end
  return client.whole_numbers(answer)
end

---@param instance table
function client.close(instance)
  if instance.transport then instance.transport:close() end
  instance.transport = false
end

return client
