--- Codes, grants and tokens: who may do what until when.
--
-- A code is redeemed into a grant; a grant has one current refresh token and any number of access
-- tokens; all of a grant's tokens die with it. Invariants: a code gives at most one grant, and a
-- second use of it revokes that grant; a refresh token works once (but see variant old_refresh).
-- Pure; the clock and randomness come in. Never hands a token to anything but the token reply.

local core = require "ringlink.core"

local grants = {}

local CODE_LIFETIME_MS = 60 * 1000                     -- contract 3
local PARTNER_CODE_LIFETIME_MS = 10 * 60 * 1000        -- contract 11
local REFRESH_LIFETIME_MS = 30 * 24 * 3600 * 1000      -- contract 4
local GRACE_MS = 60 * 1000                             -- variant old_refresh = grace
local TOKEN_BYTES = 33
local SCOPE = "ava.v1:read"

-- Every code and token says what it is and that it is the sandbox's, so that one that got into a log or a
-- database is found there by a search for its beginning.
local function mint(ring, kind)
  return ("sandbox-%s-%s"):format(kind, core.base64url(ring.random(TOKEN_BYTES)))
end

---@param ring table
---@param user table
---@param now_ms number
---@param challenge string|nil PKCE S256 challenge: a partner-initiated code
---@param redirect_uri string|nil where the page sent it
---@return table code `{text, ...}`
function grants.mint_code(ring, user, now_ms, challenge, redirect_uri)
  local code = {
    text = mint(ring, "code"), user = user, minted_ms = now_ms, challenge = challenge, redirect_uri = redirect_uri,
    lifetime_ms = challenge and PARTNER_CODE_LIFETIME_MS or CODE_LIFETIME_MS,
  }
  ring.codes[code.text] = code
  return code
end

local function issue(ring, grant, kind, now_ms, lifetime_ms)
  local text = mint(ring, kind)
  local token = { text = text, kind = kind, grant = grant, issued_ms = now_ms, expires_ms = now_ms + lifetime_ms }
  ring.tokens[text] = token
  grant[kind] = token
  return text
end

local function pair(ring, grant, now_ms)
  local seconds = ring.variant.expires_in
  return {
    access_token = issue(ring, grant, "access", now_ms, seconds * 1000),
    refresh_token = issue(ring, grant, "refresh", now_ms, REFRESH_LIFETIME_MS),
    expires_in = seconds, token_type = "Bearer", scope = SCOPE,
  }
end

local function new_grant(ring, code, now_ms)
  local user = code.user
  local grant = { id = #ring.grants + 1, user = user, created_ms = now_ms, revoked = false,
    partner_initiated = code.challenge ~= nil }
  local begun = grant.partner_initiated or (ring.variant.awaiting == "redirect" and user.redirected)
  -- A partner-initiated link has no POST: the consent was given on Ring's own page.
  grant.integration = {
    status = begun and "awaiting" or "pending", confirmed = grant.partner_initiated,
    announced = false, updated_ms = now_ms,
  }
  ring.grants[grant.id] = grant
  user.grants[#user.grants + 1] = grant
  return grant
end

-- RFC 7636, S256; a verifier for a code without a challenge is refused too (a downgrade).
local function verifier_fits(code, verifier)
  if not code.challenge then return verifier == nil end
  return verifier ~= nil and core.base64url(core.sha256(verifier)) == code.challenge
end

-- RFC 6749, 4.1.3: the one that was asked for. Whether Ring wants it at all is not known (variant redirect_uri).
local function redirect_fits(ring, code, uri)
  if uri == nil then return code.redirect_uri == nil or ring.variant.redirect_uri == "optional" end
  return uri == code.redirect_uri
end

---@param grant table
function grants.revoke(grant)
  grant.revoked = true
end

--- Redeems a code.
---@param ring table
---@param form table `{code, code_verifier, redirect_uri}`
---@param now_ms number
---@return table|nil pair the token reply
---@return string|table why_or_grant
function grants.redeem(ring, form, now_ms)
  local code = ring.codes[form.code]
  if not code then return nil, "unknown code" end
  if code.grant then
    grants.revoke(code.grant)
    return nil, "the code was used before; what it gave is revoked"
  end
  if now_ms - code.minted_ms > code.lifetime_ms then return nil, "the code has expired" end
  if not verifier_fits(code, form.code_verifier) then return nil, "code_verifier does not fit" end
  if not redirect_fits(ring, code, form.redirect_uri) then return nil, "redirect_uri is not the one asked for" end
  code.grant = new_grant(ring, code, now_ms)
  return pair(ring, code.grant, now_ms), code.grant
end

local function refusal_of_refresh(ring, token, now_ms)
  if not token or token.kind ~= "refresh" then return "unknown refresh token" end
  if token.grant.revoked then return "the grant was revoked" end
  if now_ms >= token.expires_ms then return "the refresh token has lapsed" end
  if token.replaced_ms == nil then return nil end
  local within = ring.variant.old_refresh == "grace" and now_ms - token.replaced_ms <= GRACE_MS
  return not within and "the refresh token was rotated away" or nil
end

--- Rotates: a new pair for a refresh token.
---@param ring table
---@param text string
---@param now_ms number
---@return table|nil pair
---@return string|table why_or_grant
function grants.rotate(ring, text, now_ms)
  local token = ring.tokens[text]
  local refusal = refusal_of_refresh(ring, token, now_ms)
  if refusal then return nil, refusal end
  local grant = token.grant
  token.replaced_ms = token.replaced_ms or now_ms
  grant.refresh.replaced_ms = grant.refresh.replaced_ms or now_ms
  if ring.variant.old_access == "dies" then grant.access.expires_ms = now_ms end
  return pair(ring, grant, now_ms), grant
end

--- Reads the Authorization header.
---@param request table
---@return string|nil token
function grants.bearer(request)
  local scheme, token = (request.headers["authorization"] or ""):match("^(%S+) +(%S+)%s*$")
  return scheme and scheme:lower() == "bearer" and token or nil
end

--- Finds the grant a request acts for.
---@param ring table
---@param text string|nil the bearer token
---@param now_ms number
---@return table|nil grant
---@return string why "missing", "refresh" or "invalid", when there is none
function grants.authenticate(ring, text, now_ms)
  if not text then return nil, "missing" end
  local token = ring.tokens[text]
  if not token then return nil, "invalid" end
  if token.kind == "refresh" then return nil, "refresh" end
  if token.grant.revoked or now_ms >= token.expires_ms then return nil, "invalid" end
  return token.grant, ""
end

--- All living grants of a user, oldest first.
---@param user table
---@return table[]
function grants.of_user(_, user)
  local found = {}
  for _, grant in ipairs(user.grants) do
    if not grant.revoked then found[#found + 1] = grant end
  end
  return found
end

--- Lets the tokens of a user lapse now, for tests.
---@param ring table
---@param user table
---@param what "access"|"refresh"|"both"
---@param now_ms number
---@return integer count
function grants.expire(ring, user, what, now_ms)
  local count = 0
  for _, token in pairs(ring.tokens) do
    if token.grant.user == user and (what == "both" or what == token.kind) and token.expires_ms > now_ms then
      token.expires_ms, count = now_ms, count + 1
    end
  end
  return count
end

return grants
