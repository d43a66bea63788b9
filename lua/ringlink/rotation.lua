--- Rotation that loses no pair: the critical section of a refresh, and what becomes of its failures.
--
-- The rules (design "Tokens"): one refresh at a time per grant; an intent is stored before sending;
-- the new pair is written by compare-and-set on the fingerprint of the refresh token that was sent,
-- and is durable before anybody sees the access token; only OAuth's invalid_grant leads to `relink`.
-- How old a refresh token is only warns, and every failure looks at it, whatever failed.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local pair = require "ringlink.pair"
local ring = require "ringlink.ring"

local M = {}

local READ_AGAIN_S = 0.5               -- while another process may be storing its pair

local UNUSABLE = {
  relink = "relink_required", unlinked = "unlinked", failed = "not_found",
  superseded = "not_found", exchanging = "in_progress",
}

--- Whether a grant's state lets its tokens be used.
---@param row table
---@param force boolean? one that waits to be linked again may be tried too
---@return true?
---@return ringlink.Error?
function M.usable(row, force)
  local code = UNUSABLE[row.state]
  if code == nil or (force and row.state == "relink") then return true end
  return errors.fail(code, { stage = "refresh", detail = "the link is " .. row.state })
end

-- The intent ----------------------------------------------------------------------------------

local function taken_over()
  return errors.fail("in_progress", { stage = "refresh", detail = "another process has taken it over" })
end

-- Whether another process was at it since the row was read: one that has the lease by now.
local function is_untouched(row, before)
  return row.fingerprint == before.fingerprint and row.intent == before.intent
    and row.intent_ms == before.intent_ms and (row.state == "relink") == (before.state == "relink")
end

local function store_intent(client, key, before)
  return grants.update(client, key, function(row)
    if not is_untouched(row, before) then return taken_over() end
    return { intent = row.fingerprint, intent_ms = client.clock.now_ms(), intent_owner = client:owner() }
  end, before)
end

local function without_intent(changes)
  changes.intent, changes.intent_ms, changes.intent_owner = grants.NONE, grants.NONE, grants.NONE
  return changes
end

-- Who sent the token before and got no answer stored, as the row told before this attempt.
local function is_in_doubt(row)
  return row.intent == row.fingerprint
end

-- How long a pair that somebody else's call has brought may still be on its way into the row.
local function foreign_ms(client, before)
  if not is_in_doubt(before) or before.intent_owner == client:owner() then return 0 end
  local age_ms = math.max(0, client.clock.now_ms() - before.intent_ms)
  return client.options.deadline_ms - age_ms
end

-- Ring has refused the token: was it because another one has used it, and stores the new pair now?
-- The row as it is then, with its old pair when that was not so.
local function read_again(client, key, before)
  local give_up_ms = client.clock.monotonic_ms() + foreign_ms(client, before)
  while true do
    local row, err = grants.load(client, key)
    local left_ms = give_up_ms - client.clock.monotonic_ms()
    if not row or row.fingerprint ~= before.fingerprint or left_ms <= 0 then return row, err end
    client.clock.sleep(math.min(READ_AGAIN_S, left_ms / 1000))
  end
end

-- Storing -------------------------------------------------------------------------------------

-- A late success replaces `relink`, which may have come in the meantime.
local function revived(row)
  return row.state == "relink" and "revived" or nil
end

-- By compare-and-set on the token that was sent: a late success is never fenced away. A store may have
-- written a pair although it said that it could not.
local function commit(client, notes, key, columns, marked)
  local sent = marked.fingerprint
  local function guard(row)
    local is_written = columns.fingerprint ~= nil and row.fingerprint == columns.fingerprint
    if row.fingerprint == sent or is_written then return true end
    local ok, refusal = M.usable(row, true)
    if not ok then return nil, refusal end
    return errors.fail("in_progress", { stage = "refresh" })
  end
  local row, err = grants.apply(client, notes, key, revived,
    { guard = guard, changes = columns, known = marked })
  if row then notes[#notes + 1] = { "token_rotated", client:handle(key, row) } end
  return row, err
end

local function commit_pair(client, notes, key, marked, tokens)
  return pair.save(client, notes, key, { received = tokens, write = commit, marked })
end

-- Warning -------------------------------------------------------------------------------------

-- The stage of being overdue that nobody has been warned of yet. A link that has to be made anew
-- anyway needs no warning.
local function new_stage(client, row)
  if row.state == "relink" then return nil end
  local stage = core.token_overdue(row.refreshed_ms or row.created_ms, client.clock.now_ms())
  return stage > (row.overdue_stage or 0) and stage or nil
end

local function note_overdue(client, notes, key, row, err)
  local refreshed_ms = row.refreshed_ms or row.created_ms
  local _, lapses_ms, days_left = core.token_overdue(refreshed_ms, client.clock.now_ms())
  client.log("warn", "refreshing keeps failing; the link lapses unless it succeeds in time",
    { days_left = days_left, error = err.code, status = err.status })
  notes[#notes + 1] = { "refresh_overdue", client:handle(key, row),
    { refreshed_ms = refreshed_ms, lapses_ms = lapses_ms, days_left = days_left, err = err } }
end

-- Writes what a failure changes in a row, if anything, and with it that a stage of being overdue was
-- reached: of all processes the one that wrote this warns.
local function write_failure(client, notes, key, err, change)
  local stage
  local row = grants.update(client, key, function(row)
    local changes = change and change(row)
    stage = new_stage(client, row)
    if stage then
      changes = changes or {}
      changes.overdue_stage = stage
    end
    return changes
  end)
  if row and stage then note_overdue(client, notes, key, row, err) end
  return row
end

-- Failing -------------------------------------------------------------------------------------

local function is_refusal(err)
  return err.title == "invalid_grant" and (err.status == 400 or err.status == 401)
end

-- While it is open whether Ring rotated the pair, the intent stays: it decides what a later
-- refusal means. So does that of another process, and a pair that one brought is no failure.
local function note_failure(client, notes, key, sent, err, in_doubt)
  local row = write_failure(client, notes, key, err, function(row)
    if row.fingerprint ~= sent then return nil end
    local changes = { refresh_failures = (row.refresh_failures or 0) + 1 }
    local stays = in_doubt or err.ambiguous or row.intent_owner ~= client:owner()
    return stays and changes or without_intent(changes)
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
  if not err.ambiguous then without_intent(changes) end
  if row.state == "relink" then
    grants.update(client, key, function(now) return now.fingerprint == sent and changes or nil end)
    return nil, err
  end
  local marked, refusal = grants.apply(client, notes, key, "relink",
    { guard = guard, changes = changes, known = row })
  if not marked then return nil, refusal end
  notes[#notes + 1] = { "relink_required", client:handle(key, marked), err }
  return nil, err
end

local function refused(client, notes, key, before, cause)
  local row, err = read_again(client, key, before)
  if not row or row.fingerprint ~= before.fingerprint then return row, err end
  local in_doubt = is_in_doubt(before) or cause.ambiguous or false
  -- An account that is marked already says nothing new, however often it is tried.
  if row.state ~= "relink" and client.circuit:refused(client.clock.monotonic_ms()) then
    return note_failure(client, notes, key, before.fingerprint,
      errors.new("refresh_circuit_open", { stage = "refresh", cause = cause }), in_doubt)
  end
  return mark_relink(client, notes, key, before.fingerprint, lost_link(cause, in_doubt))
end

-- The section ---------------------------------------------------------------------------------

local function send(client, notes, key, row)
  local form = { grant_type = "refresh_token",     -- opened before anything is written
    refresh_token = client.vault:open(key, "refresh", row.refresh) }
  local marked, problem = store_intent(client, key, row)
  if not marked then return nil, problem end
  local tokens, err = ring.token(client, form, { stage = "refresh", need_refresh = false })
  if tokens then
    client.circuit:succeeded()
    return commit_pair(client, notes, key, marked, tokens)
  end
  if is_refusal(err) then return refused(client, notes, key, row, err) end
  return note_failure(client, notes, key, row.fingerprint, failed(err), is_in_doubt(row))
end

-- Nothing was tried, so nothing is counted; but weeks may have passed like this.
local function not_tried(client, notes, key)
  local err = errors.new("refresh_circuit_open", { stage = "refresh" })
  write_failure(client, notes, key, err)
  return nil, err
end

-- The critical section: after it the row holds the newest pair, or nothing was lost. Another process
-- may have been told meanwhile that this token is dead: what it found out holds for us too.
local function section(client, notes, key, seen, state_seen)
  if not client.circuit:allow(client.clock.monotonic_ms()) then return not_tried(client, notes, key) end
  local row, problem = pair.load(client, notes, key)
  if not row or row.fingerprint ~= seen then return row, problem end
  if row.state == "relink" and state_seen ~= "relink" then return nil, grants.problem_of(row) end
  return send(client, notes, key, row)
end

local function name_of(key)
  return "refresh/" .. key
end

--- Whether somebody in this process is refreshing a grant's tokens.
---@param client ringlink.Client
---@param key string
---@return boolean
function M.is_under_way(client, key)
  return flight.is_under_way(client, name_of(key))
end

--- Refreshes a grant's tokens; of all who want it at once one does it. When the row's pair is not the
--- one that was seen any more, that is enough.
---@param client ringlink.Client
---@param key string
---@param row table as the caller has seen it
---@return table? row
---@return ringlink.Error?
function M.refresh(client, key, row)
  return flight.run(client, name_of(key), section, key, row.fingerprint, row.state)
end

--- The same for whoever can do without it: while another process is at it, `in_progress` at once.
---@param client ringlink.Client
---@param key string
---@param row table as the caller has seen it
---@return table? row
---@return ringlink.Error?
function M.try_refresh(client, key, row)
  return flight.try(client, name_of(key), section, key, row.fingerprint, row.state)
end

return M
