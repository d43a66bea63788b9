--- Webhooks as Ring writes them (contract 9): bodies, signatures, and when they are sent at all.
--
-- Invariant: no webhook before the link is completed (except what a variant or `force` says).
-- The body is written once and signed once; a retry sends the same bytes. Pure.

local core = require "ringlink.core"
local grants = require "ringlink.sandbox.rules.grants"
local json = require "ringlink.sandbox.rules.json"
local outbox = require "ringlink.sandbox.rules.outbox"
local text = require "ringlink.sandbox.rules.text"
local users = require "ringlink.sandbox.rules.users"

local events = {}

local VERSION = "1.1"
local SUBSCRIPTION_MS = 365 * 24 * 3600 * 1000

local function device_link(event)
  return { devices = { links = { self = "/v1/devices/" .. text.percent_encode(event.device) } } }
end

local function on_device(event, at_ms)
  return { source = event.device, source_type = "devices", timestamp = at_ms }, device_link(event)
end

local function on_user(event, at_ms)
  return { source = event.user.id, source_type = "users", timestamp = at_ms }, nil
end

local function on_subscription(event, at_ms)
  local trial = event.sub_type == "trial"
  local attributes = {
    source = "subscriptions", source_id = "sub_" .. event.user.n, sub_type = event.sub_type or "paid",
    plan_id = trial and json.null or "plan_basic",
  }
  if event.type == "subscription_activated" then
    attributes.expires_at = text.iso(at_ms + SUBSCRIPTION_MS)
  end
  local linked = json.array { { type = "device", id = event.device } }
  return attributes, { devices = { data = linked } }
end

-- event type = how its attributes and relationships look
events.TYPES = {
  motion_detected = on_device, button_press = on_device,
  device_added = on_device, device_removed = on_device, device_online = on_device, device_offline = on_device,
  app_integration_added = on_user, app_integration_removed = on_user,
  subscription_activated = on_subscription, subscription_deactivated = on_subscription,
}

local function random_below_million(ring)
  local a, b, c = ring.random(3):byte(1, 3)
  return (a * 65536 + b * 256 + c) % 1000000
end

--- Writes a webhook's body.
---@param ring table
---@param event table `{user, type, subType, device, request_id, id, age_ms, attributes}`
---@param now_ms number
---@return string body
---@return string request_id
function events.body(ring, event, now_ms)
  local at_ms = now_ms - (event.age_ms or 0)
  local shape = events.TYPES[event.type] or on_user
  local attributes, relationships = shape(event, at_ms)
  for name, value in pairs(event.attributes or {}) do attributes[name] = value end
  local request_id = event.request_id or ring:uuid()
  local id = event.id or ("%s_%s_%d"):format(event.device or event.user.id, event.subType or event.type, at_ms)
  return json.encode {
    meta = {
      version = VERSION, request_id = request_id, account_id = event.user.id,
      time = text.iso_nanoseconds(at_ms, random_below_million(ring)),
    },
    data = {
      id = id, type = event.type, subType = event.subType,
      attributes = attributes, relationships = relationships,
    },
  }, request_id
end

--- Signs a body, or plays a forger.
---@param ring table
---@param body string
---@param how "good"|"wrong"|"none"|nil
---@return string|nil signature
function events.sign(ring, body, how)
  if how == "none" then return nil end
  if how == "wrong" then return "sha256=" .. core.hex(core.sha256(body)) end
  return ring.key:sign(body)
end

--- Whether a user's webhooks are sent: some link of theirs is confirmed and completed.
---@param ring table
---@param user table
---@return boolean
function events.listens(ring, user)
  for _, grant in ipairs(grants.of_user(ring, user)) do
    local integration = grant.integration
    if integration and integration.status == "completed" and integration.confirmed then return true end
  end
  return false
end

--- Writes and signs a webhook.
---@param ring table
---@param user table
---@param event table
---@param now_ms number
---@return table webhook `{body, signature, request_id}`
function events.write(ring, user, event, now_ms)
  event.user = user
  event.device = event.device or user.all_devices[1].id
  local body, request_id = events.body(ring, event, now_ms)
  return { body = body, signature = events.sign(ring, body, event.signature), request_id = request_id }
end

--- Puts a webhook into the outbox (nowhere, when no webhook_url is set).
---@param ring table
---@param user table
---@param event table
---@param now_ms number
---@return table|nil delivery
function events.queue(ring, user, event, now_ms)
  local delivery = events.write(ring, user, event, now_ms)
  delivery.url, delivery.type, delivery.account = ring.settings.webhook_url, event.type, user.id
  return outbox.add(ring.outbox, delivery, now_ms)
end

--- The user's devices are known: `device_added`, one each, once.
---@param ring table
---@param user table
---@param now_ms number
function events.announce_devices(ring, user, now_ms)
  if user.devices_announced then return end
  user.devices_announced = true
  for _, device in ipairs(users.devices(user)) do
    events.queue(ring, user, { type = "device_added", device = device.id }, now_ms)
  end
end

local function announce_link(ring, grant, now_ms)
  if grant.integration.announced then return end
  grant.integration.announced = true
  events.queue(ring, grant.user, { type = "app_integration_added" }, now_ms)
end

--- After an accepted POST.
---@param ring table
---@param grant table
---@param now_ms number
function events.on_confirmed(ring, grant, now_ms)
  if ring.variant.added == "post" then announce_link(ring, grant, now_ms) end
end

--- After an accepted PATCH to completed. Without a POST before it (variant awaiting=redirect) the
--- link has no consent, and no webhook is sent.
---@param ring table
---@param grant table
---@param now_ms number
function events.on_completed(ring, grant, now_ms)
  if not grant.integration.confirmed then return end
  events.announce_devices(ring, grant.user, now_ms)
  announce_link(ring, grant, now_ms)
end

--- Something happens at the user's home.
---@param ring table
---@param user table
---@param event table
---@param now_ms number
---@return table|nil delivery nil when the link does not listen
function events.happen(ring, user, event, now_ms)
  local device = users.device(user, event.device or "") or user.all_devices[1]
  event.device = event.device or device.id
  if event.type == "device_offline" then device.online = false end
  if event.type == "device_online" then device.online = true end
  if event.type == "motion_detected" or event.type == "button_press" then
    users.remember(user, { type = event.type, subType = event.subType, device = event.device, at_ms = now_ms })
  end
  if not event.force and not events.listens(ring, user) then return nil end
  return events.queue(ring, user, event, now_ms)
end

return events
