--- A refresh token that other code of the partner's has obtained becomes an account of this store.
--
-- Invariants: it is stored before it is used, by one grant however often it is brought; from its first
-- refresh on only this store has a token that works. What Ring shows decides how far the link is: whoever
-- can read devices was confirmed, and only they become a user's without a nonce. An account that has a
-- living link here keeps it.

local check = require "ringlink.check"
local claim = require "ringlink.claim"
local conduct = require "ringlink.conduct"
local errors = require "ringlink.errors"
local exchange = require "ringlink.exchange"
local grants = require "ringlink.grants"
local ring = require "ringlink.ring"
local tokens = require "ringlink.tokens"

local M = {}

local NAMES = { "refresh_token", "user", "account_identifier", "unmasked", "configured", "from" }

-- Reading what was given ------------------------------------------------------------------------

local function read(q)
  local given, err = check.arguments("import", q, NAMES)
  if not given then return nil, err end
  local token, malformed = check.refresh_token(q.refresh_token)
  if not token then return nil, malformed end
  if q.user ~= nil then
    local user, wrong = check.user(q.user)
    if not user then return nil, wrong end
  end
  local identifier, problem = claim.read_identifier(q)
  if problem then return nil, problem end
  return { refresh_token = token, user = q.user, account_identifier = identifier, conducted = true,
    from = type(q.from) == "string" and errors.scrub(q.from) or nil }
end

-- Admission -------------------------------------------------------------------------------------

-- The access token counts as expired: the first thing to be done is a refresh.
local function admit(client, token)
  local id = "import-" .. client.vault:tag("import", token)
  local key, now = grants.key(client, id), client.clock.now_ms()
  if client.store:get(key) then return key end
  local _, err = grants.insert(client, key, {
    id = id, state = "identifying", flags = 0, time_ms = 0, code_ms = now, imported = true,
    refresh = client.vault:seal(key, "refresh", token), fingerprint = client.vault:tag("refresh", token),
    access_obtained_ms = now, access_expires_ms = now, ring_date_ms = now,
  })
  if err then return nil, err end
  return key
end

-- Whose it becomes ------------------------------------------------------------------------------

local function somebody_elses()
  return errors.fail("already_linked", { stage = "import" })
end

-- Another grant of the account that is linked, or on its way, with tokens that work.
local function living(client, key, row)
  for _, entry in ipairs(grants.of_account(client, row.account)) do
    local works = grants.is_held(entry.row) and entry.row.state ~= "relink"
    if entry.key ~= key and works then return entry.row end
  end
end

local function was_confirmed(client, key, row)
  return tokens.authorized(client, key, function(access) return ring.can_read_devices(client, access) end,
    { known = row })
end

-- True once it is claimed; false when it stays unclaimed; third, that another claim came first.
local function claimed(client, key, row, q)
  local other = living(client, key, row)
  if other then
    if other.user ~= grants.user_tag(client, q.user) then return somebody_elses() end
    return false
  end
  local confirmed, err = was_confirmed(client, key, row)
  if not confirmed then return confirmed, err end
  q.time = ("%d"):format(client.clock.now_ms())
  local taken, refusal, beaten = claim.claim(client, key, row.account, q)
  if not taken then return nil, refusal, beaten end
  return true
end

-- What was linked once is not linked again by an old file: it may have been paused since.
local function link_once(client, key, q, configured)
  local row, err = grants.load(client, key)
  if not row then return nil, err end
  if row.user and row.user ~= grants.user_tag(client, q.user) then return somebody_elses() end
  if row.linked_ms then return true end
  if row.state == "unclaimed" then
    local taken, refusal, beaten = claimed(client, key, row, q)
    if not taken then return taken, refusal, beaten end
  end
  return conduct.conduct(client, key, { goal = "completed", by_hand = configured, patient = true })
end

-- Who was beaten looks again: it may have been with the same line.
local function link(client, key, q, configured)
  local done, err, beaten = link_once(client, key, q, configured)
  if beaten then done, err = link_once(client, key, q, configured) end
  return done, err
end

local LOST = { relink = true, unlinked = true }

--- Imports a refresh token, and with a user links the account to them.
---@param client ringlink.Client
---@param given table refresh_token, user, account_identifier, unmasked, configured, from
---@return ringlink.Account?
---@return ringlink.Error?
function M.import(client, given)
  local q, wrong = read(given)
  if not q then return nil, wrong end
  local key, err = admit(client, q.refresh_token)
  if not key then return nil, err end
  local account, problem = exchange.resume(client, key)
  if not account then return nil, problem end
  local row, gone = grants.load(client, key)
  if not row then return nil, gone end
  if LOST[row.state] then return nil, grants.problem_of(row) or errors.new("unlinked", { stage = "import" }) end
  if q.user and row.state ~= "superseded" then
    local done, refusal = link(client, key, q, given.configured)
    if done == nil then return nil, refusal end
  end
  return account
end

return M
