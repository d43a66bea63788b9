--- Where Ring's pages contradict each other, and where tests want another Ring: the variants.
--
-- Defaults are the strict reading of the contract. Pure.

local fields = require "ringlink.sandbox.rules.fields"

local variant = {}

local function one_of(...)
  local allowed = {}
  for _, value in ipairs { ... } do allowed[value] = true end
  return function(value) return allowed[value] == true end
end

local function boolean(value) return type(value) == "boolean" end

local function whole(min, max)
  return function(value)
    return type(value) == "number" and value >= min and value <= max and value == math.floor(value)
  end
end

-- name = { default, check, what is allowed }
local VARIANTS = {
  awaiting = { "post", one_of("post", "redirect"), "post, redirect" },       -- when `awaiting` begins
  devices = { "before", one_of("before", "after"), "before, after" },        -- chosen before the code, or after the 200
  wrapped = { false, boolean, "true, false" },                               -- status as data.attributes.status
  old_refresh = { "dies", one_of("dies", "grace"), "dies, grace" },          -- grace: 60 s more
  old_access = { "stays", one_of("stays", "dies"), "stays, dies" },          -- at a refresh
  device_added = { "completed", one_of("completed", "install"), "completed, install" },
  added = { "completed", one_of("completed", "post"), "completed, post" },   -- app_integration_added
  me_refusal = { 403, one_of(403, 401), "403, 401" },                        -- users/me with a bad token
  retry_after = { "seconds", one_of("seconds", "date"), "seconds, date" },   -- of the rate limit's 429
  pages = { "endless", one_of("endless", "ends"), "endless, ends" },         -- endless: the empty page has a next
  video = { "direct", one_of("direct", "redirect", "early"), "direct, redirect, early" },  -- early: 425
  video_bytes = { 32, whole(32, 67108864), "32 to 67108864" },
  whep_location = { "path", one_of("path", "name", "absolute", "elsewhere"), "path, name, absolute, elsewhere" },
  expires_in = { 14400, whole(1, 31536000), "1 to 31536000" },               -- seconds
  redirect_uri = { "optional", one_of("optional", "required"), "optional, required" },  -- in the token call
  webhook_timeout_ms = { 5000, whole(10, 60000), "10 to 60000" },
}

---@return table variants all at their defaults
function variant.defaults()
  local values = {}
  for name, row in pairs(VARIANTS) do values[name] = row[1] end
  return values
end

--- Checks a change; nothing is applied when a part of it is wrong.
---@param values table the present ones, changed in place
---@param change table
---@return true|nil, string|nil problem
function variant.apply(values, change)
  for name, value in pairs(change) do
    local row = VARIANTS[name]
    if not row then return nil, fields.unknown("variant", name, VARIANTS) end
    if not row[2](value) then return nil, name .. " must be one of: " .. row[3] end
  end
  for name, value in pairs(change) do values[name] = value end
  return true
end

return variant
