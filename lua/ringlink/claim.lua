--- From a redirect's nonce to a claimed grant: match, who holds it, claim (contract 6).
--
-- Invariants: matching alone changes nothing; one nonce is claimed once, by one partner user; a
-- Ring account that another user holds is not taken over unless the `reassign` hook says so.

local check = require "ringlink.check"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local integration = require "ringlink.integration"

local M = {}

-- The redirect --------------------------------------------------------------------------------

local function seconds(ms)
  return ("%.1f s"):format(math.abs(ms) / 1000)
end

local function check_age(client, time)
  local options = client.options
  local delta_ms, code, measured = core.check_time(time, client.clock.now_ms(),
    options.link_window_s * 1000, options.clock_skew_s * 1000)
  if delta_ms then return true end
  local detail = code == "link_expired"
    and ("it is %s old, %g s are allowed"):format(seconds(measured), options.link_window_s)
    or ("it lies %s ahead of this clock"):format(seconds(measured))
  return errors.fail(code, { stage = "match", detail = detail, difference_ms = measured })
end

--- The identifier that a call gives, masked unless it asks otherwise; nil when there is none.
---@param q { account_identifier: any, unmasked: boolean? }
---@return string?
---@return ringlink.Error?
function M.read_identifier(q)
  local identifier, err = check.identifier(q.account_identifier)
  if err then return nil, err end
  if identifier == nil or q.unmasked then return identifier end
  return core.mask(identifier)
end

--- Checks the form of a redirect's nonce and time.
---@param q { nonce: any, time: any }
---@return true?
---@return ringlink.Error?
function M.check_form(q)
  local nonce, err = check.nonce(q.nonce)
  if not nonce then return nil, err end
  local time, problem = check.time(q.time)
  if not time then return nil, problem end
  return true
end

--- Checks a redirect's form and age.
---@param client ringlink.Client
---@param q { nonce: any, time: any }
---@return true?
---@return ringlink.Error?
function M.check(client, q)
  local formed, err = M.check_form(q)
  if not formed then return nil, err end
  return check_age(client, q.time)
end

--- Finds the unclaimed account of a fresh nonce. Reads the store, changes nothing.
---@param client ringlink.Client
---@param q { nonce: any, time: any }
---@return { key: string, id: string }? found
---@return ringlink.Error?
function M.find(client, q)
  local fresh, err = M.check(client, q)
  if not fresh then return nil, err end
  local found = client.pool:match(q.nonce, q.time)
  if found then return found end
  return errors.fail("no_unclaimed_match", { stage = "match" })
end

-- Who holds it --------------------------------------------------------------------------------

local function nonce_tag(client, q)
  if not q.nonce then return nil end              -- a link that Ring's own page has begun
  return client.vault:tag("nonce", q.nonce .. q.time)
end

--- The grant that this user claimed with this very nonce before: a reload, a double click.
---@param client ringlink.Client
---@param q { nonce: string, time: string, user: string }
---@return { key: string, row: table }?
function M.find_own(client, q)
  local tag = nonce_tag(client, q)
  for _, entry in ipairs(grants.find(client, { user = grants.user_tag(client, q.user) })) do
    if entry.row.nonce_tag == tag then return entry end
  end
end

local function holder_among(list)
  for _, entry in ipairs(list) do
    if grants.is_held(entry.row) then return entry end
  end
end

-- A grant, and who holds its account: one look at the store shows both.
local function look(client, key, account_id)
  local list = grants.of_account(client, account_id)
  for _, entry in ipairs(list) do
    if entry.key == key then return entry.row, holder_among(list) end
  end
  return errors.fail("not_found", { stage = "match", detail = "this grant is not stored (any more)" })
end

local function is_free_for(client, user, holder)
  return holder == nil or holder.row.user == grants.user_tag(client, user)
end

local function may_take(client, key, row, user, holder)
  if is_free_for(client, user, holder) then return true end
  local from_user = client.vault:open(holder.key, "user", holder.row.user_sealed)
  local allowed, err = client.hooks:decide("reassign", client:handle(key, row), from_user, user)
  if allowed then return true end
  if err then return nil, err end
  return errors.fail("already_linked", { stage = "match" })
end

-- Claiming ------------------------------------------------------------------------------------

-- One nonce is claimed once. It is remembered after the claim is stored, so that a store that fails
-- burns none; of two claims with one nonce the later one is given back.
local function keep_if_first(client, notes, key, row, q)
  if not q.nonce then return row end
  local until_ms = client.clock.now_ms()
    + (client.options.link_window_s + client.options.clock_skew_s) * 1000
  if client.store:remember("nonce", nonce_tag(client, q), until_ms) then return row end
  local released, err = grants.apply(client, notes, key, "release",
    { changes = integration.end_of_claim(row), known = row })
  if not released then return nil, err end
  return errors.fail("invalid_nonce", { stage = "match",
    detail = "this nonce was used before, for an attempt that ended" })
end

-- What another user's steps have done is not done for this one: nor is `configure`, which the link
-- machine takes to be done with a link that was completed before.
local function take_from(row, user, changes)
  if not row.user or row.user == user then return end
  changes.steps, changes.stopped, changes.ask_again_ms = grants.NONE, grants.NONE, grants.NONE
  changes.reassigned = true
end

-- Who held the grant before is kept aside until the new claim is confirmed.
local function columns(client, key, row, q)
  local vault, changes = client.vault, integration.keep_prior(row)
  changes.nonce, changes.nonce_tag = vault:seal(key, "nonce", q.nonce), nonce_tag(client, q) or grants.NONE
  changes.time, changes.claim_ms = q.time, client.clock.now_ms()
  changes.user, changes.user_sealed = grants.user_tag(client, q.user), vault:seal(key, "user", q.user)
  changes.identifier = vault:seal(key, "identifier", q.account_identifier)
  changes.identifier_shown, changes.paused = grants.NONE, grants.NONE
  changes.conducted = q.conducted or grants.NONE
  changes.own_configure = q.own_configure or grants.NONE
  changes.origin = vault:seal(key, "origin", q.from) or grants.NONE
  changes.flow = q.flow or grants.NONE
  take_from(row, changes.user, changes)
  return changes
end

local function user_of(holder)
  return holder and holder.row.user or nil
end

-- Whoever may take an account may take it from whom it was asked for, and not once somebody else
-- has it. Where nobody had to be asked, what was just seen need not be looked at again before the first
-- attempt to write.
local function still_held_by(client, holder, just_seen)
  return function(row)
    local is_known = just_seen
    just_seen = false
    if is_known or user_of(holder_among(grants.of_account(client, row.account))) == user_of(holder) then
      return true
    end
    return errors.fail("in_progress", { stage = "match",
      detail = "somebody else claimed it meanwhile" })
  end
end

-- Another claim was stored while this one was made: who looks again sees whose it is now. What a hook
-- has decided is asked for anew by the next call only.
local function was_beaten(client, user, holder, err)
  local moved = err.code == "in_progress" or (err.code == "invalid_transition" and err.status == nil)
  return moved and is_free_for(client, user, holder)
end

--- Claims a grant for a partner user.
---@param client ringlink.Client
---@param key string
---@param account_id string whose grant it is
---@param q table nonce?, time, user, account_identifier?, conducted?, own_configure?, from?, flow?
---@return { key: string, row: table? }? claimed the row only when no hook was told since: it may have changed it
---@return ringlink.Error?
---@return boolean? beaten another claim came first, looking again helps
function M.claim(client, key, account_id, q)
  local row, holder = look(client, key, account_id)
  if not row then return nil, holder end
  local allowed, refusal = may_take(client, key, row, q.user, holder)
  if not allowed then return nil, refusal end
  local notes = {}
  local guard = still_held_by(client, holder, is_free_for(client, q.user, holder))
  local claimed, problem = grants.apply(client, notes, key, "claim", { guard = guard, known = row,
    arg = math.floor(tonumber(q.time)), changes = columns(client, key, row, q) })
  if not claimed then return nil, problem, was_beaten(client, q.user, holder, problem) end
  local kept, used = keep_if_first(client, notes, key, claimed, q)
  if not kept then return nil, used end
  notes[#notes + 1] = { "matched", client:link_of(key, kept) }
  local told = client.hooks:told_here()
  flight.tell(client, notes)
  return { key = key, row = client.hooks:told_here() == told and kept or nil }
end

local RECLAIMABLE = { awaiting = true, completed = true }

local function refuse_held(client, held, user)
  local holder = held.row.user
  if holder and holder ~= grants.user_tag(client, user) then
    return errors.fail("already_linked", { stage = "match" })
  end
  if held.row.state == "relink" then return errors.fail("relink_required", { stage = "match" }) end
  return nil, errors.new("in_progress", { stage = "match",
    detail = "another attempt for this account is under way" }), held.key
end

--- Claims whatever grant a fresh nonce belongs to: an unclaimed one, or the one that this user
--- already holds.
---@param client ringlink.Client
---@param q table as of `claim`
---@param among_held boolean look among accounts that are linked, too: that is a longer search
---@return { key: string, row: table? }? taken as of `claim`
---@return ringlink.Error?
---@return string? held the grant of this user whose earlier attempt is in the way
---@return boolean? beaten as of `claim`
function M.take(client, q, among_held)
  local found, err = M.find(client, q)
  if not found then
    if err.code ~= "no_unclaimed_match" or not among_held then return nil, err end
    found = client.pool:match_held(q.nonce, q.time)
    if not found then return nil, err end
    if not RECLAIMABLE[found.row.state] then return refuse_held(client, found, q.user) end
  end
  local claimed, refusal, beaten = M.claim(client, found.key, found.id, q)
  if not claimed then return nil, refusal, nil, beaten end
  return claimed
end

return M
