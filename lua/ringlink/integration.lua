--- The critical sections of a link: POST, settling a lost POST, PATCH (contract 7, design "Ambiguity").
--
-- Each takes a grant's key, makes the call, and stores what it means through the link machine before
-- it returns. An answer that was lost, a 429 or a 5xx may hide that Ring has done it: such a section
-- leaves the grant where the next one can find out.

local errors = require "ringlink.errors"
local grants = require "ringlink.grants"
local ring = require "ringlink.ring"
local sealed = require "ringlink.sealed"
local tokens = require "ringlink.tokens"

local M = {}

local PRIOR = { user = "prior_user", user_sealed = "prior_user_sealed",
  identifier = "prior_identifier", identifier_shown = "prior_shown",
  flow = "prior_flow", steps = "prior_steps", stopped = "prior_stopped",
  ask_again_ms = "prior_ask_again_ms", reassigned = "prior_reassigned",
  paused = "prior_paused", conducted = "prior_conducted", own_configure = "prior_own_configure" }

--- The columns that keep aside, while a claim is not confirmed, whose the grant was before, and how far
--- their steps had come.
---@param row table
---@return table changes
function M.keep_prior(row)
  local changes = {}
  for name, prior in pairs(PRIOR) do
    changes[prior] = row[name] == nil and grants.NONE or row[name]
  end
  return changes
end

local function forget_prior(changes)
  for _, prior in pairs(PRIOR) do changes[prior] = grants.NONE end
  return changes
end

--- The columns to write when a claim ends without a link: the claim goes, and the grant is whose it
--- was before.
---@param row table
---@return table changes
function M.end_of_claim(row)
  local changes = { nonce = grants.NONE, nonce_tag = grants.NONE, time = grants.NONE,
    claim_ms = grants.NONE }
  for name, prior in pairs(PRIOR) do changes[name] = row[prior] or grants.NONE end
  return forget_prior(changes)
end

-- Whether Ring may have done what this error is about.
local function may_have_happened(err)
  return err.ambiguous or ring.is_doubtful(err.status)
end

-- A refresh that failed on the way knows itself whether trying again helps.
local function in_doubt(err)
  err.ambiguous = true
  err.retryable = err.retryable or err.stage ~= "refresh"
  return nil, err
end

local function note_link(client, notes, name, key, row, ...)
  notes[#notes + 1] = { name, client:link_of(key, row), ... }
end

local function gone(client, notes, key, err)
  local row, problem = grants.apply(client, notes, key, "gone",
    { changes = grants.failure_columns("not_found", err.stage, err) })
  if not row then return nil, problem end
  notes[#notes + 1] = { "failed", client:handle(key, row), err }
  return nil, err
end

local function give_back(client, notes, key, event, err)
  local row, problem = grants.load(client, key)
  if not row then return nil, problem end
  local released, refusal = grants.apply(client, notes, key, event,
    { changes = M.end_of_claim(row), known = row })
  if not released then return nil, refusal end
  return nil, err
end

local function identifier_of(client, key, row)
  return client.vault:open(key, "identifier", row.identifier)
end

-- The identifier which the Ring user sees, as an answer tells it.
local function shown(client, key, identifier)
  return client.vault:seal(key, "identifier_shown", identifier)
end

-- Settling ------------------------------------------------------------------------------------

-- A PATCH that does not complete: its 200 tells the status. Without an identifier there is nothing
-- harmless to PATCH, and device access alone decides.
local function probe_status(client, key, row)
  local identifier = identifier_of(client, key, row)
  if not identifier then return {} end
  return tokens.authorized(client, key, function(access)
    return ring.patch(client, access, { account_identifier = identifier }, "settle")
  end)
end

local LINKED_STATUS = { awaiting = true, completed = true }

local function unsettled(client, notes, key)
  return give_back(client, notes, key, "unsettled",
    errors.new("confirm_outcome_unknown", { stage = "settle", ambiguous = true }))
end

local function settle(client, notes, key, row)
  local answer, err = probe_status(client, key, row)
  if not answer then
    if err.status == 404 then return gone(client, notes, key, err) end
    if may_have_happened(err) or err.status == nil then return in_doubt(err) end
  elseif answer.status and not LINKED_STATUS[answer.status] then
    return unsettled(client, notes, key)
  end
  local readable, problem = tokens.authorized(client, key, function(access)
    return ring.can_read_devices(client, access)
  end)
  if readable == nil then return in_doubt(problem) end
  if not readable then return unsettled(client, notes, key) end
  local settled, failure = grants.apply(client, notes, key, "settled", { changes = {
    status = "awaiting", identifier_shown = shown(client, key, answer and answer.account_identifier) } })
  if settled then note_link(client, notes, "awaiting", key, settled) end
  return settled, failure
end

--- Finds out what became of a POST whose answer was lost.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@return table? row
---@return ringlink.Error?
function M.settle(client, notes, key)
  local row, err = grants.load(client, key)
  if not row then return nil, err end
  return settle(client, notes, key, row)
end

-- Confirming ----------------------------------------------------------------------------------

local SPENT = "the nonce is spent: let the user tap Sign In in the Ring app again"
local REPEATABLE = "the state is kept and the same call may be repeated; if it stays so, the user must link again"

-- A refused token leaves the link where it is.
local function kept(err)
  if err.code == "unauthorized" then errors.advise(err, REPEATABLE) end
  return err
end

-- All that a step will have to open: with a wrong store key it does not begin.
local NEEDED = { "access", "refresh", "nonce", "identifier", "identifier_shown", "user_sealed", "origin" }

-- No attempt begins outside the window, however long a refresh or a repeat took before.
local function post(client, key, row)
  return tokens.authorized(client, key, function(access)
    local left_ms = row.time_ms + client.options.link_window_s * 1000 - client.clock.now_ms()
    if left_ms <= 0 then return errors.fail("link_expired", { stage = "confirm" }) end
    return ring.confirm(client, access, {
      nonce = client.vault:open(key, "nonce", row.nonce),
      account_identifier = identifier_of(client, key, row),
    }, client.clock.monotonic_ms() + math.min(left_ms, client.options.deadline_ms))
  end, { known = row })
end

local function too_late(client, notes, key, row, was_maybe, err)
  if was_maybe then return settle(client, notes, key, row) end
  local unsent_row, problem = grants.apply(client, notes, key, "confirm_unsent")
  if not unsent_row then return nil, problem end
  return give_back(client, notes, key, "release", err)
end

local function unsent(client, notes, key, event, was_maybe, err)
  if was_maybe or err.ambiguous then return in_doubt(err) end
  local row, problem = grants.apply(client, notes, key, event)
  local moved = problem and problem.code == "invalid_transition"     -- the refresh made it relink
  if not row and not moved then return nil, problem end
  return nil, err
end

local function confirm_failed(client, notes, key, row, was_maybe, err)
  local posted = err.stage == "confirm"
  if err.code == "link_expired" then
    return too_late(client, notes, key, row, was_maybe or err.ambiguous, err)
  end
  if posted and err.status == 404 then return gone(client, notes, key, err) end
  if posted and may_have_happened(err) and err.code ~= "invalid_nonce" then return in_doubt(err) end
  if not posted or err.status == nil or err.status == 401 then
    return unsent(client, notes, key, "confirm_unsent", was_maybe, kept(err))
  end
  if was_maybe or err.ambiguous then return settle(client, notes, key, row) end
  return give_back(client, notes, key, "confirm_refused", errors.advise(err, SPENT))
end

--- Takes a claim on that needs no POST: the user agreed at Ring's own page (contract 11), or the link was
--- confirmed before it was imported.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@param meant table the claim that `before_confirm` was asked about
---@return table? row `awaiting`
---@return ringlink.Error?
function M.consent(client, notes, key, meant)
  local row, err = grants.apply(client, notes, key, "consented",
    { guard = grants.same_claim(meant), changes = { status = "awaiting" } })
  if row then note_link(client, notes, "awaiting", key, row) end
  return row, err
end

--- POSTs the nonce.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@param meant table the claim that `before_confirm` was asked about
---@return table? row `awaiting`
---@return ringlink.Error?
function M.confirm(client, notes, key, meant)
  local before, err = grants.load(client, key)
  if not before then return nil, err end
  sealed.check(client, key, before, NEEDED)
  local was_maybe = grants.has(before, "post_maybe")
  local row, problem = grants.apply(client, notes, key, "confirm_begin",
    { guard = grants.same_claim(meant), known = before })
  if not row then return nil, problem end
  local answer, failure = post(client, key, row)
  if not answer then return confirm_failed(client, notes, key, row, was_maybe, failure) end
  row, err = grants.apply(client, notes, key, "confirmed", { known = row, changes = {
    status = answer.status or "awaiting",
    identifier_shown = shown(client, key, answer.account_identifier) } })
  if row then note_link(client, notes, "awaiting", key, row) end
  return row, err
end

-- Completing ----------------------------------------------------------------------------------

local REPLACED = { identifying = true, unclaimed = true, matched = true, confirming = true,
  awaiting = true, completed = true, relink = true }

-- An imported grant is older than its row: it stands in for what does not work any more, and for no other.
local function is_replaced(other, row)
  if row.imported and other.state ~= "relink" then return false end
  local older = other.created_ms < row.created_ms or (other.created_ms == row.created_ms and other.id ~= row.id)
  return older and REPLACED[other.state]
end

-- A completed grant replaces the account's older ones; a newer one is another journey.
local function replace_older(client, notes, row)
  for _, other in ipairs(grants.of_account(client, row.account)) do
    if is_replaced(other.row, row) then
      grants.apply(client, notes, other.key, "supersede", { known = other.row })
    end
  end
end

-- Ring refuses to change a status: because it has it already? So it is when a PATCH that had worked
-- was repeated, or when it was imported, which only a link that can read devices gets so far; else one that
-- changes nothing else tells.
local function has_status_already(client, key, status, repeated)
  if repeated then return { status = status } end
  local row = grants.load(client, key)
  local answer = row and probe_status(client, key, row)
  return answer and answer.status == status and answer or nil
end

local function audit_of(client, key, row, resumed)
  return { what = resumed and "resumed" or "linked", account = row.account,
    user = client.vault:open(key, "user", row.user_sealed), at_ms = row.linked_ms,
    from = not resumed and client.vault:open(key, "origin", row.origin) or nil }
end

-- A link that was paused and goes on is none that somebody made from somewhere. With steps that follow
-- it is not over: `work` may finish them.
local function completed(client, notes, key, before, answer, follows)
  local row, err = grants.apply(client, notes, key, "completed", { known = before, changes = forget_prior({
    status = "completed", linked_ms = client.clock.now_ms(), updated_at = answer.updated_at,
    identifier_shown = shown(client, key, answer.account_identifier),
    conducted = follows or grants.NONE, following = follows or grants.NONE, paused = grants.NONE }) })
  if not row then return nil, err end
  replace_older(client, notes, row)
  note_link(client, notes, "completed", key, row)
  notes[#notes + 1] = { "audit", audit_of(client, key, row, before.paused) }
  return row
end

local function complete_failed(client, notes, key, before, err, follows)
  local patched, was_maybe = err.stage == "complete", grants.has(before, "patch_maybe")
  if patched and err.status == 404 then return gone(client, notes, key, err) end
  if patched and err.code == "invalid_transition" then
    local is_repeated = was_maybe or err.ambiguous or before.imported
    local answer = has_status_already(client, key, "completed", is_repeated)
    if answer then return completed(client, notes, key, before, answer, follows) end
  end
  if patched and may_have_happened(err) then return in_doubt(err) end
  if not patched or err.status == nil then
    return unsent(client, notes, key, "complete_unsent", was_maybe, err)
  end
  local row, problem = grants.apply(client, notes, key, "complete_refused",
    { changes = { conducted = grants.NONE } })
  if not row then return nil, problem end
  return nil, kept(err)
end

--- PATCHes the status to `completed`.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@param meant table the link that `before_complete` was asked about
---@param identifier string? a new identifier to show
---@param follows true? steps of the partner's come after it
---@return table? row `completed`
---@return ringlink.Error?
function M.complete(client, notes, key, meant, identifier, follows)
  local before, err = grants.load(client, key)
  if not before then return nil, err end
  sealed.check(client, key, before, NEEDED)
  local row, problem = grants.apply(client, notes, key, "complete_begin",
    { guard = grants.same_claim(meant), known = before,
      changes = { conducted = true } })              -- every hook has agreed: `work` may finish it
  if not row then return nil, problem end
  local answer, failure = tokens.authorized(client, key, function(access)
    return ring.patch(client, access, { status = "completed", account_identifier = identifier },
      "complete")
  end, { known = row })
  if not answer then return complete_failed(client, notes, key, before, failure, follows) end
  if answer.status ~= "completed" then
    return in_doubt(errors.new("bad_response", { stage = "complete",
      detail = "Ring answered with another status than completed" }))
  end
  return completed(client, notes, key, row, answer, follows)
end

-- Updating ------------------------------------------------------------------------------------

local function update_failed(client, notes, key, err)
  if err.stage ~= "update" then return nil, err end
  if err.status == 404 then return gone(client, notes, key, err) end
  if may_have_happened(err) then return in_doubt(err) end
  return nil, err
end

--- PATCHes a link that exists: pauses it (`awaiting`) or changes its identifier.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@param fields { status: "awaiting"?, account_identifier: string? }
---@return table? row
---@return ringlink.Error?
function M.update(client, notes, key, fields)
  local answer, err = tokens.authorized(client, key, function(access)
    return ring.patch(client, access, fields, "update")
  end)
  if not answer and err.code == "invalid_transition" and fields.status then
    answer = has_status_already(client, key, fields.status, err.ambiguous)
  end
  if not answer then return update_failed(client, notes, key, err) end
  local changes = { updated_at = answer.updated_at, status = answer.status,
    identifier_shown = shown(client, key, answer.account_identifier or fields.account_identifier),
    identifier = client.vault:seal(key, "identifier", fields.account_identifier) }
  local row, problem = grants.load(client, key)
  if not row then return nil, problem end
  if fields.status == "awaiting" and row.state == "completed" then
    changes.paused, changes.conducted = true, grants.NONE
    return grants.apply(client, notes, key, "paused", { changes = changes, known = row })
  end
  return grants.update(client, key, function() return changes end, row)
end

return M
