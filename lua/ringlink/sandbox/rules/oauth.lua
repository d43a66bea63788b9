--- POST /oauth/token (contract 3 and 4), errors as RFC 6749 has them.
--
-- Pure. Credentials come in the form only, never in the query or an Authorization header.

local core = require "ringlink.core"
local grants = require "ringlink.sandbox.rules.grants"
local reply = require "ringlink.sandbox.rules.reply"
local text = require "ringlink.sandbox.rules.text"

local oauth = {}

local FORM = "application/x-www-form-urlencoded"

local function same(a, b)
  return core.sha256(a) == core.sha256(b)  -- digests: the comparison's time tells nothing of the secret
end

local function known_client(ring, form)
  local settings = ring.settings
  return form.client_id ~= nil and form.client_secret ~= nil
    and same(form.client_id, settings.client_id) and same(form.client_secret, settings.client_secret)
end

local GRANT_TYPES = {
  authorization_code = function(ring, form, now_ms)
    return grants.redeem(ring, form, now_ms)
  end,
  refresh_token = function(ring, form, now_ms)
    return grants.rotate(ring, form.refresh_token, now_ms)
  end,
}
local NEEDS = { authorization_code = "code", refresh_token = "refresh_token" }

-- What is wrong with the request as such: status, error, description; nothing when it is well formed.
local function malformed(ring, visit)
  local form = visit.fields
  if text.media_type(visit.request.headers["content-type"]) ~= FORM then
    return 400, "invalid_request", "the body must be " .. FORM
  end
  if visit.repeated then return 400, "invalid_request", visit.repeated .. " came twice" end
  if not form.grant_type then return 400, "invalid_request", "grant_type is missing" end
  if not GRANT_TYPES[form.grant_type] then
    return 401, "unsupported_grant_type", "authorization_code or refresh_token"
  end
  if not known_client(ring, form) then return 401, "invalid_client", "client_id or client_secret is wrong" end
  local needed = NEEDS[form.grant_type]
  if not form[needed] or form[needed] == "" then return 400, "invalid_request", needed .. " is missing" end
end

--- The token call.
---@param ring table
---@param visit table
---@param now_ms number
---@return table reply
function oauth.token(ring, visit, now_ms)
  local status, code, description = malformed(ring, visit)
  if status then return reply.oauth_error(status, code, description) end
  local form = visit.fields
  local pair, other = GRANT_TYPES[form.grant_type](ring, form, now_ms)
  if not pair then return reply.oauth_error(400, "invalid_grant", other) end
  visit.row.account = other.user.id
  return reply.json(200, pair, { ["Cache-Control"] = "no-store", Pragma = "no-cache" })
end

return oauth
