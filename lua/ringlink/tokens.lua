--- Tokens: a usable access token for a grant, whoever has to be asked for it.
--
-- When a token is renewed is decided here and in the core; how that is done without losing one is
-- rotation's business.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local grants = require "ringlink.grants"
local pair = require "ringlink.pair"
local ring = require "ringlink.ring"
local rotation = require "ringlink.rotation"

local M = {}

local EARLY_PAUSE_MS = 30000           -- after an early refresh failed

local function verdict(client, row)
  local options = client.options
  return core.token_verdict(row.access_obtained_ms, row.access_expires_ms, client.clock.now_ms(),
    options.refresh_early_s * 1000, options.clock_skew_s * 1000)
end

-- Whoever has the token will want the next one when its time has come: `work` is told to see to it.
local function note_use(client, key, row)
  client.in_use:note(key, row, client.options.refresh_early_s * 1000)
end

-- The row may have been wiped while a refresh was under way.
local function hand_out(client, key, row)
  local ok, refusal = rotation.usable(row)
  if not ok then return nil, refusal end
  local access, code = core.secret(client.vault:open(key, "access", row.access))
  if not access then return errors.fail(code, { stage = "refresh" }) end
  note_use(client, key, row)
  return access
end

-- Refreshing early ----------------------------------------------------------------------------

local function try_early(client, key, row)
  local rotated, err = rotation.try_refresh(client, key, row)
  if rotated then return rotated end
  note_use(client, key, row)             -- what is not known cannot be let be
  client.in_use:pause(key, client.clock.monotonic_ms() + EARLY_PAUSE_MS)
  return nil, err
end

-- One caller of all processes refreshes; the others, and all for a while after it failed, go on with
-- what there is.
local function may_try_early(client, key)
  return not rotation.is_under_way(client, key)
    and not client.in_use:is_paused(key, client.clock.monotonic_ms())
end

--- Refreshes the token of an account in use before anybody has to wait for it.
---@param client ringlink.Client
---@param key string
---@return boolean? refreshed false when it was not needed (any more), or another process is at it
---@return ringlink.Error?
function M.refresh_ahead(client, key)
  local row = grants.load(client, key)
  local used = row and rotation.usable(row) and client.in_use:is_of(key, row)
  if not used or verdict(client, row) == "fresh" then
    client.in_use:drop(key)
    return false
  end
  local rotated, err = try_early(client, key, row)
  if not rotated then
    if err.code == "in_progress" then return false end
    return nil, err
  end
  local ok, refusal = rotation.usable(rotated)           -- it may have been unlinked meanwhile
  if not ok then return nil, refusal end
  if client.in_use:is_of(key, row) then client.in_use:drop(key) end    -- until somebody has the new one
  return true
end

-- What others call ----------------------------------------------------------------------------

--- A usable access token of a grant, refreshed when it is time.
---@param client ringlink.Client
---@param key string
---@param row table? the grant's, when it was read just now
---@return userdata? access a secret
---@return ringlink.Error?
function M.access(client, key, row)
  local err
  if not row or client.unsaved[key] then row, err = pair.load_told(client, key) end
  if not row then return nil, err end
  local ok, refusal = rotation.usable(row)
  if not ok then return nil, refusal end
  local state = verdict(client, row)
  if state == "advisory" and may_try_early(client, key) then row = try_early(client, key, row) or row end
  if state == "mandatory" then
    row, err = rotation.refresh(client, key, row)
    if not row then return nil, err end
  end
  return hand_out(client, key, row)
end

--- Refreshes a grant's tokens whatever their age. A grant that waits to be linked again is tried
--- once more, which brings it back when Ring accepts.
---@param client ringlink.Client
---@param key string
---@param row table? the grant's, when it was read just now
---@return table? row
---@return ringlink.Error?
function M.refresh(client, key, row)
  local err
  if not row then row, err = grants.load(client, key) end
  if not row then return nil, err end
  local ok, refusal = rotation.usable(row, true)
  if not ok then return nil, refusal end
  row, err = rotation.refresh(client, key, row)
  if not row then return nil, err end
  ok, refusal = rotation.usable(row)
  if not ok then return nil, refusal end
  return row
end

local function renew(client, key, refused_access)
  local row, err = grants.load(client, key)
  if not row then return nil, err end
  local ok, refusal = rotation.usable(row)
  if not ok then return nil, refusal end
  if refused_access:equals(client.vault:open(key, "access", row.access)) then
    row, err = rotation.refresh(client, key, row)
    if not row then return nil, err end
  end
  return hand_out(client, key, row)
end

local function unauthorized(_, err)
  return err ~= nil and err.status == 401
end

--- Makes a call with a grant's access token; when the token is refused, takes the store's newer one
--- or refreshes, and repeats the call once.
---@param client ringlink.Client
---@param key string
---@param call fun(access: userdata): any, ringlink.Error?
---@param more { refused_when: (fun(result: any, err: ringlink.Error?): boolean)?, known: table? }? when a
--- token is refused, by default when err.status is 401; the grant's row, when it was read just now
function M.authorized(client, key, call, more)
  more = more or {}
  local access, err = M.access(client, key, more.known)
  if not access then return nil, err end
  local result, failure = call(access)
  local is_refused = more.refused_when or unauthorized
  if not is_refused(result, failure) then return result, failure end
  local lost = failure and failure.ambiguous
  access, err = renew(client, key, access)
  if access then
    result, err = call(access)
    if result ~= nil then return result end
  end
  err.ambiguous = err.ambiguous or lost
  return nil, err
end

local function me_refused(_, err)
  return err ~= nil and (err.status == 401 or err.status == 403)     -- contract 5: this call's own way
end

--- users/me with a grant's access token.
---@param client ringlink.Client
---@param key string
---@param row table? the grant's, when it was read just now
---@return table? data id and attributes
---@return ringlink.Error?
function M.me(client, key, row)
  return M.authorized(client, key, function(access) return ring.me(client, access) end,
    { refused_when = me_refused, known = row })
end

return M
