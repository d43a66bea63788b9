--- The link: redirects with a nonce, and the app integration's POST and PATCH (contract 6 and 7).
--
--   pending --redirect (variant awaiting=redirect)--> awaiting
--   pending|awaiting|completed --POST, good nonce--> awaiting (confirmed: devices readable)
--   awaiting <--PATCH--> completed;  anything --unlink--> gone
--
-- Invariants: a nonce is taken once, by the account it was issued for, within the window; devices are
-- readable only once a POST was accepted, whatever the status says. Each grant has its own
-- integration, so that a second install does not disturb a living link. Pure.

local events = require "ringlink.sandbox.rules.events"
local grants = require "ringlink.sandbox.rules.grants"
local json = require "ringlink.sandbox.rules.json"
local reply = require "ringlink.sandbox.rules.reply"
local text = require "ringlink.sandbox.rules.text"

local links = {}

local WINDOW_MS = 600 * 1000

-- Two redirects in one millisecond must not share a nonce: the later one is dated back.
local function fresh_nonce(ring, user, time_ms)
  local time, nonce
  repeat
    time = ("%d"):format(time_ms)
    nonce, time_ms = ring.key:nonce(time, user.id), time_ms - 1
  until not ring.nonces[nonce]
  ring.nonces[nonce] = { user = user, time_ms = time_ms + 1, used = false }
  return nonce, time
end

--- Sends the user to the Account Link URL: a fresh nonce.
---@param ring table
---@param user table
---@param now_ms number
---@param offset_ms number|nil moves the redirect's time, to play a stale or a future link
---@return table redirect `{nonce, time, url}`; url is nil when no account_link_url is set
function links.redirect(ring, user, now_ms, offset_ms)
  local nonce, time = fresh_nonce(ring, user, now_ms + (offset_ms or 0))
  user.redirected = true
  if ring.variant.awaiting == "redirect" then
    for _, grant in ipairs(grants.of_user(ring, user)) do
      if grant.integration and grant.integration.status == "pending" then grant.integration.status = "awaiting" end
    end
  end
  local page = ring.settings.account_link_url
  local url = page and text.with_query(page, { nonce = nonce, time = time })
  return { nonce = nonce, time = time, url = url }
end

local function nonce_refusal(ring, grant, nonce, now_ms)
  local issued = type(nonce) == "string" and ring.nonces[nonce]
  if not issued or issued.user ~= grant.user then return "the nonce does not belong to this account" end
  if issued.used then return "the nonce was used before" end
  if now_ms - issued.time_ms > WINDOW_MS then return "the nonce is older than 600 seconds" end
  if issued.time_ms > now_ms then return "the nonce lies in the future" end
  return nil
end

local function identifier_refusal(fields)
  local value = fields.account_identifier
  if value == nil or value == json.null then return nil end
  if type(value) ~= "string" or value == "" then return "account_identifier must be text" end
  return nil
end

local function missing(ring, detail)
  return reply.error(ring, 400, "Missing Required Fields", detail)
end

-- What both calls refuse before they look at their own fields.
local function refusal(ring, visit)
  if text.media_type(visit.request.headers["content-type"]) ~= "application/json" then
    return reply.error(ring, 415, "Unsupported Media Type", "the body must be application/json")
  end
  if not visit.grant.integration then
    return reply.error(ring, 404, "Not Found", "No integration exists for this token")
  end
  if not visit.fields then return missing(ring, "the body must be a JSON object") end
  local bad_identifier = identifier_refusal(visit.fields)
  return bad_identifier and missing(ring, bad_identifier) or nil
end

local function status_reply(ring, attributes)
  if not ring.variant.wrapped then return reply.json(200, attributes) end
  return reply.json(200, { data = { type = "app-integrations", attributes = attributes } })
end

local function keep_identifier(integration, fields)
  if type(fields.account_identifier) == "string" then
    integration.account_identifier = fields.account_identifier
  end
end

--- POST: confirms the link.
---@param ring table
---@param visit table
---@param now_ms number
---@return table reply
function links.confirm(ring, visit, now_ms)
  local refused = refusal(ring, visit)
  if refused then return refused end
  local fields, integration = visit.fields, visit.grant.integration
  if fields.nonce == nil or fields.nonce == json.null or fields.nonce == "" then
    return missing(ring, "nonce is required")
  end
  local bad_nonce = nonce_refusal(ring, visit.grant, fields.nonce, now_ms)
  if bad_nonce then return reply.error(ring, 400, "Invalid Nonce", bad_nonce) end
  ring.nonces[fields.nonce].used = true
  keep_identifier(integration, fields)
  integration.status, integration.confirmed, integration.updated_ms = "awaiting", true, now_ms
  events.on_confirmed(ring, visit.grant, now_ms)
  return status_reply(ring, { status = "awaiting" })
end

local TRANSITIONS = {
  pending = {},
  awaiting = { completed = true },
  completed = { awaiting = true },
}

local function patched(integration)
  return {
    account_identifier = integration.account_identifier or json.null,
    status = integration.status, updated_at = text.iso(integration.updated_ms),
  }
end

--- PATCH: changes the status, the identifier, or both; nothing is applied when a part is refused.
---@param ring table
---@param visit table
---@param now_ms number
---@return table reply
function links.update(ring, visit, now_ms)
  local refused = refusal(ring, visit)
  if refused then return refused end
  local fields, integration = visit.fields, visit.grant.integration
  local status = fields.status ~= json.null and fields.status or nil
  local identifier = fields.account_identifier ~= json.null and fields.account_identifier or nil
  if status == nil and identifier == nil then
    return missing(ring, "status or account_identifier is required")
  end
  if status ~= nil and not TRANSITIONS[integration.status][status] then
    return reply.error(ring, 400, "Invalid Status Transition",
      ("from %s to %s"):format(integration.status, tostring(status)))
  end
  keep_identifier(integration, fields)
  integration.status, integration.updated_ms = status or integration.status, now_ms
  if status == "completed" then events.on_completed(ring, visit.grant, now_ms) end
  return status_reply(ring, patched(integration))
end

--- The user removes the app: everything is revoked, and the partner is told.
---@param ring table
---@param user table
---@param now_ms number
---@param options table `{keep_tokens, webhook}`; keep_tokens leaves tokens without an integration (404)
---@return integer count of grants that ended
function links.unlink(ring, user, now_ms, options)
  local living, told = grants.of_user(ring, user), events.listens(ring, user)
  for _, grant in ipairs(living) do
    grant.integration = nil
    if not options.keep_tokens then grants.revoke(grant) end
  end
  user.redirected = false
  if told and options.webhook ~= false then
    events.queue(ring, user, { type = "app_integration_removed" }, now_ms)
  end
  return #living
end

return links
