--- How secrets are shown: enough to recognise one, never enough to use it.

local core = require "ringlink.core"

local redact = {}

local HINT_BYTES, TAIL_BYTES = 4, 4
local FINGERPRINT_DIGITS, MARK_DIGITS = 12, 8 -- the sandbox's fingerprints have 12 digits too

--- `W1ML…(44)`: how it begins and how long it is.
---@param secret string|nil
---@return string
function redact.hint(secret)
  if type(secret) ~= "string" then return "(none)" end
  if #secret <= 4 * HINT_BYTES then return ("…(%d)"):format(#secret) end
  return ("%s…(%d)"):format(secret:sub(1, HINT_BYTES), #secret)
end

--- One-way; equal secrets have equal fingerprints.
---@param secret string
---@return string
function redact.fingerprint(secret)
  return core.hex(core.sha256(secret)):sub(1, FINGERPRINT_DIGITS)
end

--- A fingerprint as it is shown.
---@param fingerprint string|nil
---@return string
function redact.mark(fingerprint)
  return fingerprint and "#" .. fingerprint:sub(1, MARK_DIGITS) or "#?"
end

--- `ava1…7F3A`: an account or device id.
---@param id string|nil
---@return string
function redact.id(id)
  if not id or #id <= HINT_BYTES + TAIL_BYTES then return tostring(id) end
  return id:sub(1, HINT_BYTES) .. "…" .. id:sub(-TAIL_BYTES)
end

--- A path without its query and without unguessable segments.
---@param path string
---@return string
function redact.path(path)
  return (path:gsub("%?.*$", "?…"):gsub("/(%x+)", function(segment)
    return #segment >= 32 and "/" .. redact.hint(segment) or nil
  end))
end

return redact
