--- Ring users: the account behind a token, its devices, its history, its subscriptions.
--
-- Pure. A user exists once an app was installed for them or a test named them. Ids are opaque on
-- purpose: each second device's id holds characters that a client must percent-encode.

local core = require "ringlink.core"

local users = {}

local ID_BYTES = 12
local HISTORY_SEED_COUNT = 5
local HISTORY_STEP_MS = 60000
local KINDS = { "motion", "human", "vehicle", "other_motion" }

local function letters(ring)
  return core.hex(ring.random(ID_BYTES)):upper()
end

local function device(ring, name, suffix)
  return { id = "ava1.ring.device." .. letters(ring) .. suffix, name = name, online = true }
end

local function default_devices(ring)
  return { device(ring, "Front Door", ""), device(ring, "Garden & Garage", "/+=") }
end

local function seed_history(user, now_ms)
  for i = HISTORY_SEED_COUNT, 1, -1 do
    users.remember(user, {
      type = "motion_detected", subType = KINDS[i % #KINDS + 1], device = user.all_devices[1].id,
      at_ms = now_ms - i * HISTORY_STEP_MS,
    })
  end
end

--- Finds a user, or creates them.
---@param ring table
---@param id string|nil nil makes a new one
---@param now_ms number
---@return table user
function users.ensure(ring, id, now_ms)
  id = id or "ava1.ring.account." .. letters(ring)
  local user = ring.users[id]
  if user then return user end
  local n = #ring.user_list + 1
  user = {
    id = id, n = n, all_devices = default_devices(ring), history = {}, created_ms = now_ms,
    first_name = "Ring", last_name = "User " .. n, email = ("ring.user%d@example.com"):format(n),
    devices_chosen = false, redirected = false, grants = {},
  }
  ring.users[id] = user
  ring.user_list[n] = user
  seed_history(user, now_ms)
  return user
end

--- The devices the app may see at present.
---@param user table
---@return table[]
function users.devices(user)
  return user.devices_chosen and user.all_devices or {}
end

---@param user table
---@param id string
---@return table|nil device
function users.device(user, id)
  for _, one in ipairs(users.devices(user)) do
    if one.id == id then return one end
  end
  return nil
end

--- Adds an event to the user's history; the newest comes first.
---@param user table
---@param event table `{type, subType, device, at_ms}`
function users.remember(user, event)
  event.id = ("%s_%s_%d"):format(event.device, event.subType or event.type, event.at_ms)
  table.insert(user.history, 1, event)
end

---@param user table
---@return table the body of GET /v1/users/me
function users.profile(user)
  return { data = { type = "users", id = user.id, attributes = {
    first_name = user.first_name, last_name = user.last_name, email = user.email,
  } } }
end

return users
