--- Which call a request is: the table of Ring's paths, and the check of the bearer token before them.
--
-- Pure. An unknown path is 403, not 404 (contract 5); so is a known path with another method.

local authorize = require "ringlink.sandbox.rules.authorize"
local devices = require "ringlink.sandbox.rules.devices"
local grants = require "ringlink.sandbox.rules.grants"
local links = require "ringlink.sandbox.rules.links"
local media = require "ringlink.sandbox.rules.media"
local oauth = require "ringlink.sandbox.rules.oauth"
local reply = require "ringlink.sandbox.rules.reply"

local routes = {}

local function forbidden(ring)
  return reply.error(ring, 403, "Forbidden", "no such call")
end

local function disconnect(ring, visit, now_ms)
  if not visit.grant.partner_initiated then
    return reply.error(ring, 403, "Forbidden", "only partner-initiated apps may delete their integration")
  end
  links.unlink(ring, visit.grant.user, now_ms, {})
  return reply.json(204)
end

-- method, path (a :name takes any one segment), call name in the journal and in faults, handler, options
local TABLE = {
  { "POST", "oauth/token", "token", oauth.token, { oauth = true, open = true } },
  { "GET", authorize.PATH, "authorize", authorize.page, { open = true } },
  { "GET", "v1/users/me", "me", devices.me },
  { "POST", "v1/accounts/me/app-integrations", "confirm", links.confirm },
  { "PATCH", "v1/accounts/me/app-integrations", "update", links.update },
  { "DELETE", "v1/accounts/me/app-integrations", "disconnect", disconnect },
  { "GET", "v1/accounts/me/subscriptions", "subscriptions", devices.subscriptions },
  { "GET", "v1/devices", "devices", devices.list },
  { "GET", "v1/devices/:id", "device", devices.one },
  { "GET", "v1/devices/:id/:part", "device", devices.part },
  { "GET", "v1/history/devices/:id/events", "history", devices.history },
  { "POST", "v1/devices/:id/media/image/download", "image", media.image },
  { "POST", "v1/devices/:id/media/video/download", "video", media.video },
  { "POST", "v1/devices/:id/media/streaming/whep/sessions", "whep", media.whep_open },
  { "DELETE", "v1/devices/:id/media/streaming/whep/sessions/:session", "whep", media.whep_close },
  { "GET", "media/:key", "presigned", media.fetch, { open = true } },
}
local UNKNOWN = { "*", "", "unknown", forbidden, { open = true } }

--- The names a fault may be ordered for.
routes.CALLS = { ["*"] = true, refresh = true, complete = true, unknown = true }

local function compile()
  for _, row in ipairs(TABLE) do
    row.segments = {}
    for segment in row[2]:gmatch("[^/]+") do row.segments[#row.segments + 1] = segment end
    routes.CALLS[row[3]] = true
  end
end
compile()

local function fit(row, method, segments)
  if row[1] ~= method or #row.segments ~= #segments then return nil end
  local params = {}
  for i, wanted in ipairs(row.segments) do
    local name = wanted:match("^:(.*)")
    if name then params[name] = segments[i] elseif wanted ~= segments[i] then return nil end
  end
  if params.part and not devices.has_part(params.part) then return nil end
  return params
end

---@param method string HEAD counts as GET
---@param segments string[]
---@return table row
---@return table params
function routes.find(method, segments)
  if method == "HEAD" then method = "GET" end
  for _, row in ipairs(TABLE) do
    local params = fit(row, method, segments)
    if params then return row, params end
  end
  return UNKNOWN, {}
end

--- The name of a call, told apart by what its body asks for.
---@param row table
---@param fields table|nil
---@return string
function routes.call_name(row, fields)
  if row[3] == "token" and fields and fields.grant_type == "refresh_token" then return "refresh" end
  if row[3] == "update" and fields and fields.status == "completed" then return "complete" end
  return row[3]
end

local function unauthorized(ring, visit, why)
  local me = visit.route[3] == "me"
  if me and why ~= "refresh" and ring.variant.me_refusal == 403 then
    return reply.error(ring, 403, "Forbidden", "not authenticated or invalid token")
  end
  return reply.error(ring, 401, "Invalid Client", "the access token is missing, expired, invalid or revoked")
end

--- Runs a call: the token check, then the handler.
---@param ring table
---@param visit table
---@param now_ms number
---@return table reply
function routes.run(ring, visit, now_ms)
  local options = visit.route[5] or {}
  if not options.open then
    local grant, why = grants.authenticate(ring, visit.bearer, now_ms)
    if not grant then return unauthorized(ring, visit, why) end
    visit.grant = grant
    visit.row.account = grant.user.id
  end
  return visit.route[4](ring, visit, now_ms)
end

return routes
