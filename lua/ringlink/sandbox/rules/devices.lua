--- The reading calls: users/me, devices, history, subscriptions (contract 5 and 10).
--
-- Pure. Devices are readable once the POST was accepted; before that 403 Out of Scope Access.

local core = require "ringlink.core"
local json = require "ringlink.sandbox.rules.json"
local reply = require "ringlink.sandbox.rules.reply"
local text = require "ringlink.sandbox.rules.text"
local users = require "ringlink.sandbox.rules.users"

local devices = {}

local PAGE_COUNT = 2

local PARTS = {
  status = function(one) return { online = one.online, battery_percent = 87 } end,
  capabilities = function() return { motion = true, video = true, image = true } end,
  location = function() return { country = "NL", city = "Delft", postal_code = "2611" } end,
  configurations = function(one) return { motion_enabled = true, name = one.name } end,
}

local function part(one, name)
  return { type = "device-" .. name, id = one.id, attributes = PARTS[name](one) }
end

local function device_path(one, tail)
  return "/v1/devices/" .. text.percent_encode(one.id) .. (tail or "")
end

local function resource(one)
  return {
    type = "devices", id = one.id, links = { self = device_path(one) },
    attributes = { name = one.name, device_type = "doorbell" },
  }
end

--- 403 unless the user's consent is active for this token.
---@param ring table
---@param visit table
---@return table|nil refusal
function devices.refusal(ring, visit)
  local integration = visit.grant.integration
  if integration and integration.confirmed then return nil end
  return reply.error(ring, 403, "Out of Scope Access", "the account link is not confirmed yet")
end

local function included(list, names)
  local found = json.array {}
  for name in names:gmatch("[^,]+") do
    if not PARTS[name] then return nil, name end
    for _, one in ipairs(list) do found[#found + 1] = part(one, name) end
  end
  return found
end

-- GET /v1/users/me
---@param visit table
---@return table reply
function devices.me(_, visit)
  return reply.json(200, users.profile(visit.grant.user))
end

local function with_parts(ring, list, body, include)
  if not include then return reply.json(200, body) end
  local extra, unknown = included(list, include)
  if not extra then return reply.error(ring, 400, "Bad Request", "unknown include: " .. unknown) end
  body.included = extra
  return reply.json(200, body)
end

-- GET /v1/devices
function devices.list(ring, visit)
  local refused = devices.refusal(ring, visit)
  if refused then return refused end
  local list, data = users.devices(visit.grant.user), json.array {}
  for i, one in ipairs(list) do data[i] = resource(one) end
  return with_parts(ring, list, { data = data }, visit.query.include)
end

--- Finds the device a path names.
---@param ring table
---@param visit table
---@return table|nil device
---@return table|nil refusal
function devices.find(ring, visit)
  local refused = devices.refusal(ring, visit)
  if refused then return nil, refused end
  local one = users.device(visit.grant.user, visit.params.id)
  if one then return one end
  return nil, reply.error(ring, 404, "Not Found", "no such device")
end

-- GET /v1/devices/{id}
function devices.one(ring, visit)
  local one, refused = devices.find(ring, visit)
  if not one then return refused end
  return with_parts(ring, { one }, { data = resource(one) }, visit.query.include)
end

-- GET /v1/devices/{id}/{status|capabilities|location|configurations}
function devices.part(ring, visit)
  local one, refused = devices.find(ring, visit)
  if not one then return refused end
  return reply.json(200, { data = part(one, visit.params.part) })
end

---@param name string
---@return boolean
function devices.has_part(name)
  return PARTS[name] ~= nil
end

-- The cursor is opaque for clients; for us it is a place in the list.
local function cursor(offset)
  return core.hex(("page:%d"):format(offset))
end

local function offset_of(page_key)
  if page_key == nil then return 0 end
  if not page_key:find("^%x+$") or #page_key % 2 == 1 then return nil end
  local plain = page_key:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end)
  return tonumber(plain:match("^page:(%d+)$") or "")
end

local function wanted_events(user, device, types)
  local wanted, found = nil, {}
  for name in (types or ""):gmatch("[^,]+") do
    wanted = wanted or {}
    wanted[name] = true
  end
  for _, event in ipairs(user.history) do
    local fits = event.device == device.id and (not wanted or wanted[event.type])
    if fits then found[#found + 1] = event end
  end
  return found
end

local function event_resource(event)
  return { type = "events", id = event.id, attributes = {
    event_type = event.type, sub_type = event.subType, source = event.device, timestamp = event.at_ms,
  } }
end

local function next_link(ring, one, query, offset, total)
  if ring.variant.pages == "ends" and offset >= total then return nil end
  local fields = { ["page[key]"] = cursor(math.min(offset, total)), event_types = query.event_types }
  return device_path(one):gsub("^/v1/", "/v1/history/") .. "/events?" .. text.to_form(fields)
end

-- GET /v1/history/devices/{id}/events: an empty last page still has links.next (variant pages).
function devices.history(ring, visit)
  local one, refused = devices.find(ring, visit)
  if not one then return refused end
  local offset = offset_of(visit.query["page[key]"])
  if not offset then return reply.error(ring, 400, "Bad Request", "unknown page[key]") end
  local events, data = wanted_events(visit.grant.user, one, visit.query.event_types), json.array {}
  for i = offset + 1, math.min(offset + PAGE_COUNT, #events) do data[#data + 1] = event_resource(events[i]) end
  local links = { next = next_link(ring, one, visit.query, offset + PAGE_COUNT, #events) }
  return reply.json(200, { data = data, links = links })
end

-- GET /v1/accounts/me/subscriptions
function devices.subscriptions(ring, visit)
  local refused = devices.refusal(ring, visit)
  if refused then return refused end
  local user = visit.grant.user
  return reply.json(200, { data = json.array { {
    type = "subscriptions", id = "sub_" .. user.n,
    attributes = { sub_type = "paid", plan_id = "plan_basic", expires_at = text.iso(user.created_ms + 31536000000) },
  } } })
end

return devices
