--- Linking, as users call it: whose link it is to be, the claim, and then `conduct`.
--
-- Invariants: nothing is claimed before the whole call was read; a nonce opens what it matches, a handle
-- only what its own code was exchanged for.

local handles = require "ringlink.account"
local check = require "ringlink.check"
local claim = require "ringlink.claim"
local conduct = require "ringlink.conduct"
local errors = require "ringlink.errors"
local flow = require "ringlink.flow"
local grants = require "ringlink.grants"
local integration = require "ringlink.integration"
local steps = require "ringlink.steps"

local M = {}

local MATCH_POLL_S = 0.25
local LOOKS_MAX = 3                 -- after somebody else's claim came first

---@class ringlink.Link
---@field account ringlink.Account
---@field user string               the partner's own user id
---@field status string             awaiting or completed
---@field account_identifier string?
---@field updated_at string?        as Ring said it
---@field waiting_for string?       the partner's step at which it stands
---@field results table?            of a link with a flow: what its steps returned, by name

-- What others call ----------------------------------------------------------------------------

local function read_claimant(q)
  local user, err = check.user(q.user)
  if not user then return nil, err end
  local identifier, problem = claim.read_identifier(q)
  if problem then return nil, problem end
  return { nonce = q.nonce, time = q.time, user = user, account_identifier = identifier,
    from = type(q.from) == "string" and errors.scrub(q.from) or nil }
end

local function join_or_take(client, claimant, among_held)
  local own = claim.find_own(client, claimant)
  if own then return own end
  local taken, err, held, beaten = claim.take(client, claimant, among_held)
  if taken then return taken end
  own = claim.find_own(client, claimant)         -- somebody else was faster with this very nonce
  if own then return own end
  return nil, err, held, beaten
end

-- The grant that a nonce opens, claimed for the user who brought it. The account may come late, for
-- `wait_s`; an attempt of the same user that was left half way is brought to its end first; where
-- another claim came first, what became of it is looked at.
local function claimed(client, claimant, wait_s)
  local give_up_ms = client.clock.monotonic_ms() + wait_s * 1000
  local tried, problem, looks = false, nil, 0
  local among_held = true                        -- once: what is linked does not become so by waiting
  while true do
    local entry, err, held, beaten = join_or_take(client, claimant, among_held)
    if entry then return entry end
    among_held = held ~= nil or beaten
    if held and not tried then
      tried = true
      problem = select(2, conduct.conduct(client, held, { goal = "awaiting", patient = true }))
    elseif beaten and looks < LOOKS_MAX then
      looks = looks + 1
    elseif err.code ~= "no_unclaimed_match" or client.clock.monotonic_ms() >= give_up_ms then
      err.cause = err.cause or problem
      return nil, err
    else
      client.clock.sleep(MATCH_POLL_S)
    end
  end
end

local UNDER_WAY = { matched = true, confirming = true, awaiting = true }

-- From now on `work` may finish it again, as it may a link that was never stopped.
local function is_to_take_up(row)
  return (UNDER_WAY[row.state] or row.following) and not row.conducted
end

local function take_up(client, key, row)
  if not is_to_take_up(row) then return row end
  return grants.update(client, key, function(now)
    return is_to_take_up(now) and { conducted = true } or nil
  end, row)
end

-- The name of the flow that a call asks for; a flow that the client does not know yet it learns so.
local function flow_asked_for(client, call, given)
  if given == nil then return nil end
  if flow.is(given) then return client:flow(given).name end
  if type(given) == "string" and client.flows[given] then return given end
  errors.misuse(("%s: flow must be a flow, or the name of one that client:flow was given"):format(call))
end

--- Finds the unclaimed account that a redirect belongs to. Reads the store, not the network.
---@param client ringlink.Client
---@param q { nonce: any, time: any }
---@return { account: ringlink.Account, nonce: string, time: string }? claim
---@return ringlink.Error?
function M.match(client, q)
  local given, err = check.arguments("match", q, { "nonce", "time" })
  if not given then return nil, err end
  local found, problem = claim.find(client, given)
  if not found then return nil, problem end
  return { account = client:handle(found.key, { account = found.id }), nonce = q.nonce, time = q.time }
end

--- Claims a matched account for a user and confirms it with Ring: the POST.
---@param client ringlink.Client
---@param matched { account: ringlink.Account, nonce: string, time: string }
---@param q { user: string, account_identifier: string?, unmasked: boolean?, from: string?,
--- flow: ringlink.Flow|string|nil }
---@return { status: string, account_identifier: string? }?
---@return ringlink.Error?
function M.confirm(client, matched, q)
  local given, err = check.arguments("confirm", matched, { "account", "nonce", "time" })
  if not given then return nil, err end
  local named, problem = check.arguments("confirm", q,
    { "user", "account_identifier", "unmasked", "from", "flow" })
  if not named then return nil, problem end
  local formed, malformed = claim.check_form(matched)
  if not formed then return nil, malformed end
  local claimant, wrong = read_claimant({ nonce = matched.nonce, time = matched.time, user = q.user,
    account_identifier = q.account_identifier, unmasked = q.unmasked, from = q.from })
  if not claimant then return nil, wrong end
  claimant.flow = flow_asked_for(client, "confirm", q.flow)
  local entry, refusal = claimed(client, claimant, 0)
  if not entry then return nil, refusal end
  return conduct.conduct(client, entry.key, { goal = "awaiting", patient = true }, entry.row)
end

local LINK_ARGUMENTS = { "nonce", "time", "user", "account_identifier", "unmasked", "configure",
  "wait_s", "from", "flow", "account" }

-- A call's own configure stands in for the hook, where the flow has one.
local function check_own_configure(client, q, name)
  if q.configure ~= nil and type(q.configure) ~= "function" then
    errors.misuse("link: configure must be a function")
  end
  if q.configure and name and not flow.asks_hook(client.flows[name]) then
    errors.misuse(("link: the flow %s leaves no room for configure"):format(name))
  end
end

-- A handle opens what its code was exchanged for: the program's own, never from the wire.
local function check_account(q)
  if q.account == nil then return end
  if not handles.is(q.account) then
    errors.misuse("link: needs an account, as authorized returns it")
  end
  if q.nonce ~= nil or q.time ~= nil then
    errors.misuse("link: account takes the place of nonce and time")
  end
end

local function read_link(client, q)
  local given, err = check.arguments("link", q, LINK_ARGUMENTS)
  if not given then return nil, err end
  check_account(q)
  local name = flow_asked_for(client, "link", q.flow)
  check_own_configure(client, q, name)
  if q.wait_s ~= nil and (type(q.wait_s) ~= "number" or not (q.wait_s >= 0 and q.wait_s <= 60)) then
    errors.misuse("link: wait_s must be a number of seconds between 0 and 60")
  end
  if q.account == nil then
    local formed, problem = claim.check_form(q)
    if not formed then return nil, problem end
  end
  local claimant, wrong = read_claimant(q)
  if not claimant then return nil, wrong end
  claimant.conducted, claimant.own_configure, claimant.flow = true, q.configure ~= nil, name
  return claimant
end

local LINKABLE = { unclaimed = true, matched = true, confirming = true, awaiting = true, completed = true }

-- What the handle's own code was exchanged for, or, when it says only the account, the current grant: unless
-- that has come to an end, then the newest. So a user who allowed the app again is linked anew, and the older
-- grant, which Ring may refuse by now, is replaced.
local function invited_grant(client, account)
  local current, err = account:grant()
  if not current then return nil, err end
  local own = account.key and client.store:get(account.key)
  local candidates = { { key = account.key, row = own or {} }, current,
    (table.unpack or unpack)(grants.of_account(client, account.id)) }
  for _, entry in ipairs(candidates) do
    local row = entry.row
    if row.invited and LINKABLE[row.state] and account:may_use(row) then return entry end
  end
  if current.row.invited then return current end
  return errors.fail("invalid_request", { stage = "link",
    detail = "account is for links that authorize_url began; others need nonce and time" })
end

-- The grant that the user gave at Ring's own page, claimed for them (contract 11): no nonce opens it, but
-- the handle that its code was exchanged for.
local function claimed_invited(client, account, claimant)
  local entry, err = invited_grant(client, account)
  if not entry then return nil, err end
  local row = entry.row
  if row.user == grants.user_tag(client, claimant.user) then return entry end
  claimant.nonce, claimant.time = nil, ("%d"):format(client.clock.now_ms())
  local taken, refusal = claim.claim(client, entry.key, row.account, claimant)
  if not taken then return nil, refusal end
  return taken
end

--- The whole link: match, confirm, configure, complete. Idempotent for the same nonce, time and user.
---@param client ringlink.Client
---@param q table see api: nonce, time or account; user, account_identifier, configure, flow, wait_s,
--- unmasked, from
---@return ringlink.Link?
---@return ringlink.Error?
function M.link(client, q)
  local claimant, err = read_link(client, q)
  if not claimant then return nil, err end
  local entry, refusal
  if q.account then
    entry, refusal = claimed_invited(client, q.account, claimant)
  else
    entry, refusal = claimed(client, claimant, q.wait_s or 0)
  end
  if not entry then return nil, refusal end
  local key, row = entry.key, entry.row or grants.load(client, entry.key)
  if row and row.paused then return client:link_of(key, row) end     -- a reload of what was done
  row = row and take_up(client, key, row)
  return conduct.conduct(client, key, { goal = "completed", configure = q.configure, patient = true }, row)
end

-- An account's grants, newest first; `current_first` puts the one that speaks for it before them.
local function grants_of(client, account, current_first)
  local list = grants.of_account(client, account.id)
  if current_first then table.insert(list, 1, grants.representative(list)) end
  return list
end

local function find_linked(client, account, states, current_first)
  if account.problem then return nil, account.problem end
  local newest
  for _, entry in ipairs(grants_of(client, account, current_first)) do
    local usable = account:may_use(entry.row)
    if usable and states[entry.row.state] then return entry end
    newest = newest or usable and entry.row
  end
  if not newest then
    return errors.fail("not_found", { stage = "link", detail = "no such account here, or not this user's" })
  end
  return errors.fail(conduct.ENDED[newest.state] or "invalid_transition", { stage = "link",
    detail = "the link is " .. newest.state })
end

local function patch(client, key, fields)
  local row, err = conduct.in_turn(client, key, integration.update, fields)
  if not row then return nil, err end
  return client:link_of(key, row)
end

local COMPLETABLE = { awaiting = true, completed = true }

local function check_step(client, row, name)
  local by = steps.flow_of(client, row)
  if name ~= nil and name ~= row.stopped and by and not flow.has(by, name) then
    errors.misuse(("complete: the link's flow has no step %q"):format(tostring(name)))
  end
end

local function keep_no_result(problem)
  errors.misuse("complete: the result cannot be kept: " .. problem)
end

local function read_result(given)
  if given.result == nil then return nil end
  if type(given.step) ~= "string" then
    errors.misuse("complete: result needs step, the name of the step that it is the result of")
  end
  local result, problem = steps.read_result(given.result)
  if problem then keep_no_result(problem) end
  return result
end

local function check_result(client, entry, name, result)
  if result == nil then return end
  if not entry.row.flow then keep_no_result("the link goes by no flow, whose steps could read it; leave it out") end
  if not steps.flow_of(client, entry.row) then return end      -- nothing is done here, as the call will answer
  local problem = steps.lacks_room(client, entry.key, entry.row, name, result)
  if problem then keep_no_result(problem) end
end

--- The partner's configuration is done, or the step at which the link stands: what is left of its flow,
--- and PATCH `completed`. With `step` that one is done and no other, however often it is said; `result` is what
--- it would have returned, of the kinds and length that it may return: the first stays.
---@param client ringlink.Client
---@param account ringlink.Account
---@param q { account_identifier: string?, unmasked: boolean?, step: string?,
--- result: string|number|boolean|table|nil }?
---@return ringlink.Link?
---@return ringlink.Error?
function M.complete(client, account, q)
  local given, err = check.arguments("complete", q or {}, { "account_identifier", "unmasked", "step", "result" })
  if not given then return nil, err end
  local result = read_result(given)
  local identifier, problem = claim.read_identifier(given)
  if problem then return nil, problem end
  local entry, missing = find_linked(client, account, COMPLETABLE)
  if not entry then return nil, missing end
  check_step(client, entry.row, given.step)
  check_result(client, entry, given.step, result)
  if identifier and entry.row.state == "completed" then
    local patched, refusal = patch(client, entry.key, { account_identifier = identifier })
    if not patched or given.step == nil then return patched, refusal end
  end
  return conduct.conduct(client, entry.key, { goal = "completed", identifier = identifier, patient = true,
    by_hand = true, done_step = given.step, result = result })
end

--- PATCHes a link that exists: pause it, complete it again, or change its identifier.
---@param client ringlink.Client
---@param account ringlink.Account
---@param q { status: "completed"|"awaiting"|nil, account_identifier: string?, unmasked: boolean? }
---@return { status: string, account_identifier: string?, updated_at: string? }?
---@return ringlink.Error?
function M.update(client, account, q)
  local given, err = check.arguments("update", q, { "status", "account_identifier", "unmasked" })
  if not given then return nil, err end
  local status, wrong = check.status(q.status)
  if wrong then return nil, wrong end
  local identifier, problem = claim.read_identifier(q)
  if problem then return nil, problem end
  if status == nil and identifier == nil then
    return errors.fail("invalid_request", { stage = "update",
      detail = "status or account_identifier is needed" })
  end
  if status == "completed" then
    return M.complete(client, account, { account_identifier = identifier, unmasked = true })
  end
  local entry, missing = find_linked(client, account, COMPLETABLE, true)
  if not entry then return nil, missing end
  return patch(client, entry.key, { status = status, account_identifier = identifier })
end

return M
