--- The control plane's client: one call, JSON in and out.
--
-- Goes over ringlink's own transport, always in plain HTTP to 127.0.0.1 (with TLS on, the instance
-- has a second port for it), so that a deliberately wrong certificate does not lock the tester out.

local core = require "ringlink.core"
local json = require "ringlink.json"
local url = require "ringlink.url"

local client = {}

local TIMEOUT_MS = 60000
local RESPONSE_BYTES_MAX = 64 * 1024 * 1024
local READS = { state = true, requests = true }

local function describe(instance, name, fields)
  local address = instance.control_url .. "/_sandbox/" .. name
  local headers = { "X-Sandbox-Token: " .. instance.token }
  if READS[name] then return { method = "GET", url = url.with_query(address, fields), headers = headers } end
  headers[2] = "Content-Type: application/json"
  local body = assert(json.encode(fields or {}))
  return { method = "POST", url = address, headers = headers, body = body }
end

local function open_transport()
  return assert(core.transport {
    allow_http_loopback = true, http_version = "1.1", response_bytes_max = RESPONSE_BYTES_MAX,
  })
end

--- Sends a request over a transport that nothing else uses, and waits for its answer.
---@param transport userdata
---@param request table as of transport:start; timeout_ms is this module's
---@return table|nil result `{status, headers, body}`
---@return string|nil problem
function client.send(transport, request)
  request.timeout_ms = TIMEOUT_MS
  local ticket, code, detail = transport:start(request)
  if not ticket then return nil, detail or code end
  while true do
    transport:poll(1000)
    local done, result = transport:take()
    if done == ticket then
      if result.error then return nil, result.detail or result.error end
      return result
    end
  end
end

--- Calls an operation.
---@param instance table `{control_url, token}`
---@param name string
---@param fields table|nil
---@return table|nil answer
---@return string|nil problem
function client.call(instance, name, fields)
  instance.transport = instance.transport or open_transport()
  local result, problem = client.send(instance.transport, describe(instance, name, fields))
  if not result then return nil, problem end
  local answer = json.decode_table(result.body)
  if not answer then return nil, ("the control plane answered %d without JSON"):format(result.status) end
  if result.status ~= 200 then return nil, answer.error or tostring(result.status) end
  return answer
end

--- Closes the connection; the next call opens another.
---@param instance table
function client.close(instance)
  if instance.transport then instance.transport:close() end
  instance.transport = nil
end

return client
