--- The log port: flat fields, levels, and nothing secret.
--
-- Whoever logs hands over names and numbers of its own; whatever came from the wire passes
-- `errors.scrub` first. This module is the last gate: only strings, numbers and booleans get
-- through, and field names that could hold a secret are refused.

local errors = require "ringlink.errors"

local M = {}

local FORBIDDEN = {
  access_token = true, refresh_token = true, code = true, nonce = true, client_secret = true,
  hmac_key = true, store_key = true, authorization = true, code_verifier = true,
}

local function flat(fields)
  local out = {}
  for name, value in pairs(fields or {}) do
    local kind = type(value)
    if FORBIDDEN[name] then
      out[name] = "****"
    elseif kind == "number" or kind == "boolean" then
      out[name] = value
    elseif kind == "string" then
      out[name] = value
    else
      out[name] = errors.describe(value)
    end
  end
  return out
end

local function silent() end

--- Wraps the user's log function; without one nothing is logged. A log function that raises is
--- ignored: logging must not end a flow.
---@param sink fun(level: string, message: string, fields: table)?
---@return fun(level: "debug"|"info"|"warn"|"error", message: string, fields: table?)
function M.new(sink)
  if sink == nil then return silent end
  return function(level, message, fields)
    pcall(sink, level, message, flat(fields))
  end
end

return M
