--- Tokens: a usable access token for a grant, and rotation that loses none.
--
-- The rules (design "Tokens"): one refresh at a time per grant; an intent is stored before sending;
-- the new pair is written by compare-and-set on the fingerprint of the refresh token that was sent,
-- and is durable before anybody sees the access token; only OAuth's invalid_grant leads to `relink`.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local ring = require "ringlink.ring"

local M = {}

local unpack = table.unpack or unpack

local EARLY_PAUSE_MS = 30000           -- after an early refresh failed
local SAVE_PAUSE_S = 0.05              -- between attempts to store a pair, doubled each time
local SAVE_PAUSE_S_MAX = 2

-- The pair in a row ---------------------------------------------------------------------------

--- The columns for a pair that was just received.
---@param client ringlink.Client
---@param key string of the grant
---@param tokens table what ring.token returned
---@return table changes
function M.columns(client, key, tokens)
  local changes = {
    access = client.vault:seal(key, "access", tokens.access_token),
    access_obtained_ms = tokens.obtained_ms, access_expires_ms = tokens.expires_ms,
    refreshed_ms = tokens.obtained_ms, scope = tokens.scope,
    intent = grants.NONE, intent_ms = grants.NONE, not_before_ms = grants.NONE,
    refresh_failures = grants.NONE, put_offs = grants.NONE,
  }
  if tokens.refresh_token then
    changes.refresh = client.vault:seal(key, "refresh", tokens.refresh_token)
    changes.fingerprint = client.vault:tag("refresh", tokens.refresh_token)
  end
  return changes
end

local function verdict(client, row)
  local options = client.options
  return core.token_verdict(row.access_obtained_ms, row.access_expires_ms, client.clock.now_ms(),
    options.refresh_early_s * 1000, options.clock_skew_s * 1000)
end

local UNUSABLE = {
  relink = "relink_required", unlinked = "unlinked", failed = "not_found",
  superseded = "not_found", exchanging = "in_progress",
}

local function usable(row, force)
  local code = UNUSABLE[row.state]
  if code == nil or (force and row.state == "relink") then return true end
  return errors.fail(code, { stage = "refresh", detail = "the link is " .. row.state })
end

-- The row may have been wiped while a refresh was under way.
local function access_of(client, key, row)
  local ok, refusal = usable(row)
  if not ok then return nil, refusal end
  return core.secret(client.vault:open(key, "access", row.access))
end

-- Saving --------------------------------------------------------------------------------------

local STORE_TROUBLE = { store_error = true, store_busy = true }

-- Ring has rotated: nothing but these columns holds the pair now. The store is given time to
-- recover; after that the pair waits in this process for the next call.
--- Writes a pair that Ring has handed out.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@param pending table `write` and its arguments after the key
---@return table? row
---@return ringlink.Error?
function M.save(client, notes, key, pending)
  local give_up_ms = client.clock.monotonic_ms() + client.options.deadline_ms
  local pause_s = SAVE_PAUSE_S
  client.unsaved[key] = pending              -- first: whatever the store raises, it is kept
  while true do
    local row, err = errors.catch(pending.write, client, notes, key, unpack(pending))
    if row or not STORE_TROUBLE[err.code] then
      client.unsaved[key] = nil
      return row, err
    end
    if client.clock.monotonic_ms() >= give_up_ms then return nil, err end
    client.clock.sleep(pause_s)
    pause_s = math.min(pause_s * 2, SAVE_PAUSE_S_MAX)
  end
end

--- Writes what could not be written before, as far as the store takes it now.
---@param client ringlink.Client
function M.flush(client)
  for key in pairs(client.unsaved) do errors.catch(M.load, client, {}, key) end
end

--- Reads a grant, after writing what could not be written before.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@return table? row
---@return ringlink.Error?
function M.load(client, notes, key)
  local pending = client.unsaved[key]
  if pending then
    local row, err = errors.catch(pending.write, client, notes, key, unpack(pending))
    if not row and STORE_TROUBLE[err.code] then return nil, err end
    client.unsaved[key] = nil
  end
  return grants.load(client, key)
end

-- Refreshing ----------------------------------------------------------------------------------

local function store_intent(client, key, seen)
  return grants.update(client, key, function(row)
    if row.fingerprint ~= seen then return nil, errors.new("in_progress") end
    return { intent = seen, intent_ms = client.clock.now_ms() }
  end)
end

-- A late success replaces `relink`, which may have come in the meantime.
local function revived(row)
  return row.state == "relink" and "revived" or nil
end

-- By compare-and-set on the token that was sent: a late success is never fenced away.
local function commit(client, notes, key, sent, columns)
  local function guard(row)
    if row.fingerprint == sent then return true end
    local ok, refusal = usable(row, true)
    if not ok then return nil, refusal end
    return errors.fail("in_progress", { stage = "refresh" })
  end
  local row, err = grants.apply(client, notes, key, revived, { guard = guard, changes = columns })
  if row then notes[#notes + 1] = { "token_rotated", client:handle(key, row) } end
  return row, err
end

local function commit_pair(client, notes, key, sent, tokens)
  return M.save(client, notes, key, { write = commit, sent, M.columns(client, key, tokens) })
end

local function is_refusal(err)
  return err.title == "invalid_grant" and (err.status == 400 or err.status == 401)
end

-- While it is open whether Ring rotated the pair, the intent stays: it decides what a later
-- refusal means.
local function note_failure(client, notes, key, err, in_doubt)
  local settled = not (in_doubt or err.ambiguous) and grants.NONE or nil
  local row = grants.update(client, key, function(row)
    return { refresh_failures = (row.refresh_failures or 0) + 1, intent = settled,
      intent_ms = settled }
  end)
  client.log("warn", "refresh failed", { error = err.code, status = err.status, title = err.title })
  if row then notes[#notes + 1] = { "refresh_failed", client:handle(key, row), err } end
  return nil, err
end

local function failed(cause)
  return errors.new("refresh_failed", {
    stage = "refresh", cause = cause, status = cause.status, title = cause.title,
    attempts = cause.attempts, ambiguous = cause.ambiguous, retry_after = cause.retry_after,
    detail = cause.said or cause.code,
  })
end

local function lost_link(cause, in_doubt)
  return errors.new(in_doubt and "refresh_outcome_unknown" or "relink_required", {
    stage = "refresh", cause = cause, status = cause.status, title = cause.title,
    attempts = cause.attempts, ambiguous = in_doubt or nil,
  })
end

local function mark_relink(client, notes, key, sent, err)
  local function guard(row)
    if row.fingerprint == sent then return true end
    return errors.fail("in_progress")
  end
  local row, load_err = grants.load(client, key)
  if not row then return nil, load_err end
  local changes = { relink_code = err.code }
  if not err.ambiguous then changes.intent, changes.intent_ms = grants.NONE, grants.NONE end
  if row.state == "relink" then
    grants.update(client, key, function(now) return now.fingerprint == sent and changes or nil end)
    return nil, err
  end
  local marked, refusal = grants.apply(client, notes, key, "relink", { guard = guard, changes = changes })
  if not marked then return nil, refusal end
  notes[#notes + 1] = { "relink_required", client:handle(key, marked), err }
  return nil, err
end

local function refused(client, notes, key, sent, cause, in_doubt)
  local row, err = grants.load(client, key)
  if not row then return nil, err end
  if row.fingerprint ~= sent then return row end
  -- An account that is marked already says nothing new, however often it is tried.
  if row.state ~= "relink" and client.circuit:refused(client.clock.monotonic_ms()) then
    return note_failure(client, notes, key, errors.new("refresh_circuit_open", { stage = "refresh",
      cause = cause }), in_doubt)
  end
  return mark_relink(client, notes, key, sent, lost_link(cause, in_doubt))
end

local function send(client, notes, key, row)
  local sent, in_doubt = row.fingerprint, row.intent == row.fingerprint
  local form = { grant_type = "refresh_token",     -- opened before anything is written
    refresh_token = client.vault:open(key, "refresh", row.refresh) }
  local marked, problem = store_intent(client, key, sent)
  if not marked then return nil, problem end
  local tokens, err = ring.token(client, form, { stage = "refresh", need_refresh = false })
  if tokens then
    client.circuit:succeeded()
    return commit_pair(client, notes, key, sent, tokens)
  end
  if is_refusal(err) then
    return refused(client, notes, key, sent, err, in_doubt or err.ambiguous or false)
  end
  return note_failure(client, notes, key, failed(err), in_doubt)
end

-- Another process was told meanwhile that this token is dead: what it found out holds for us too.
local function found_dead(row)
  local code = row.relink_code or "relink_required"
  return errors.fail(code, { stage = "refresh", ambiguous = code == "refresh_outcome_unknown" or nil })
end

-- The critical section: after it the row holds the newest pair, or nothing was lost.
local function refresh_section(client, notes, key, seen, state_seen)
  if not client.circuit:allow(client.clock.monotonic_ms()) then
    return errors.fail("refresh_circuit_open", { stage = "refresh" })
  end
  local row, problem = M.load(client, notes, key)
  if not row or row.fingerprint ~= seen then return row, problem end
  if row.state == "relink" and state_seen ~= "relink" then return found_dead(row) end
  return send(client, notes, key, row)
end

local function refresh(client, key, row)
  return flight.run(client, "refresh/" .. key, refresh_section, key, row.fingerprint, row.state)
end

-- What others call ----------------------------------------------------------------------------

local function refresh_early(client, key, row)
  local flight_key = "refresh/" .. key
  local pause_until = client.early_pause[key] or 0
  if flight.is_under_way(client, flight_key) or client.clock.monotonic_ms() < pause_until then
    return row
  end
  local rotated = refresh(client, key, row)
  if rotated then
    client.early_pause[key] = nil
    return rotated
  end
  client.early_pause[key] = client.clock.monotonic_ms() + EARLY_PAUSE_MS
  return row
end

local function load_told(client, key)
  local notes = {}
  local row, err = M.load(client, notes, key)
  flight.tell(client, notes)
  return row, err
end

--- A usable access token of a grant, refreshed when it is time.
---@param client ringlink.Client
---@param key string
---@return userdata? access a secret
---@return ringlink.Error?
function M.access(client, key)
  local row, err = load_told(client, key)
  if not row then return nil, err end
  local ok, refusal = usable(row)
  if not ok then return nil, refusal end
  local state = verdict(client, row)
  if state == "advisory" then row = refresh_early(client, key, row) end
  if state == "mandatory" then
    row, err = refresh(client, key, row)
    if not row then return nil, err end
  end
  return access_of(client, key, row)
end

--- Refreshes a grant's tokens whatever their age. A grant that waits to be linked again is tried
--- once more, which brings it back when Ring accepts.
---@param client ringlink.Client
---@param key string
---@return table? row
---@return ringlink.Error?
function M.refresh(client, key)
  local row, err = grants.load(client, key)
  if not row then return nil, err end
  local ok, refusal = usable(row, true)
  if not ok then return nil, refusal end
  row, err = refresh(client, key, row)
  if not row then return nil, err end
  ok, refusal = usable(row)
  if not ok then return nil, refusal end
  return row
end

local function renew(client, key, refused_access)
  local row, err = grants.load(client, key)
  if not row then return nil, err end
  local ok, refusal = usable(row)
  if not ok then return nil, refusal end
  if refused_access:equals(client.vault:open(key, "access", row.access)) then
    row, err = refresh(client, key, row)
    if not row then return nil, err end
  end
  return access_of(client, key, row)
end

--- Makes a call with a grant's access token; when the token is refused, takes the store's newer one
--- or refreshes, and repeats the call once.
---@param client ringlink.Client
---@param key string
---@param call fun(access: userdata): any, ringlink.Error?
---@param refused_when (fun(result: any, err: ringlink.Error?): boolean)? default: err.status is 401
function M.authorized(client, key, call, refused_when)
  local access, err = M.access(client, key)
  if not access then return nil, err end
  local result, failure = call(access)
  local is_refused = refused_when or function(_, e) return e ~= nil and e.status == 401 end
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
---@return table? data id and attributes
---@return ringlink.Error?
function M.me(client, key)
  return M.authorized(client, key, function(access) return ring.me(client, access) end, me_refused)
end

return M
