--- Replies as plain tables: `{status, headers, body}`; the host turns them into HTTP.
--
-- Pure. The Date header and the rate headers are added once, in ring.lua's `finish`.

local json = require "ringlink.sandbox.rules.json"

local reply = {}

---@param status integer
---@param value any written as JSON; nil gives an empty body
---@param headers table|nil
---@return table
function reply.json(status, value, headers)
  local answer = { status = status, headers = { ["Content-Type"] = "application/json" } }
  for name, text in pairs(headers or {}) do answer.headers[name] = text end
  answer.body = value == nil and "" or json.encode(value)
  return answer
end

---@param status integer
---@param content_type string
---@param body string
---@param headers table|nil
---@return table
function reply.bytes(status, content_type, body, headers)
  local answer = { status = status, headers = { ["Content-Type"] = content_type }, body = body }
  for name, text in pairs(headers or {}) do answer.headers[name] = text end
  return answer
end

--- A JSON:API error, as every call but the token call has it (contract 8).
---@param ring table for the id
---@param status integer
---@param title string
---@param detail string|nil
---@return table
function reply.error(ring, status, title, detail)
  local one = { status = tostring(status), title = title, detail = detail or title, id = ring:uuid() }
  local answer = reply.json(status, { errors = json.array { one } })
  answer.headers["Content-Type"] = "application/vnd.api+json"
  return answer
end

--- An RFC 6749 error, as the token call has it (contract 3).
---@param status integer
---@param code string
---@param description string
---@return table
function reply.oauth_error(status, code, description)
  return reply.json(status, { error = code, error_description = description },
    { ["Cache-Control"] = "no-store" })
end

return reply
