--- Linking: the core says which step comes next, this module takes it, the partner's hooks are asked
-- in between.
--
-- Invariants: hooks run in the caller, between critical sections; whatever stops a link leaves it in
-- a stored state from which `conduct` goes on, in this process or another.

local check = require "ringlink.check"
local claim = require "ringlink.claim"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local hooks = require "ringlink.hooks"
local integration = require "ringlink.integration"

local M = {}

local STEPS_MAX = 16                -- a link that needs more is going round in circles
local MATCH_POLL_S = 0.25
local LOOKS_MAX = 3                 -- after somebody else's claim came first
local TURN_S = 0.01
local DOUBTS_MAX = 2                -- looks in a row at a conductor that seems to be gone

---@class ringlink.Link
---@field account ringlink.Account
---@field user string               the partner's own user id
---@field status string             awaiting or completed
---@field account_identifier string?
---@field updated_at string?        as Ring said it

-- Steps ---------------------------------------------------------------------------------------

local steps = {}

local function section(client, key, fn, ...)
  return flight.run(client, "integrate/" .. key, fn, key, ...)
end

local function section_is_open(client, key)
  return flight.is_under_way(client, "integrate/" .. key)
end

local function apply(client, key, event, more)
  local notes = {}
  local row, err = grants.apply(client, notes, key, event, more)
  flight.tell(client, notes)
  return row, err
end

local function give_back(client, key, row, err)
  local released, refusal = apply(client, key, "release", { changes = integration.end_of_claim(row) })
  if not released then return nil, refusal end
  return nil, err
end

function steps.confirm(client, key, row)
  if row.state == "matched" then
    local agreed, objection = client.hooks:ask("before_confirm", "vetoed", client:link_of(key, row))
    if not agreed then return give_back(client, key, row, objection) end
  end
  return section(client, key, integration.confirm)
end

function steps.settle(client, key)
  return section(client, key, integration.settle)
end

function steps.release(client, key, row)
  return give_back(client, key, row, errors.new("link_expired", { stage = "confirm" }))
end

-- A partner who says no has the next word: the link is not taken further behind its back.
local function stay(client, key, objection)
  local row, err = grants.update(client, key, function() return { conducted = grants.NONE } end)
  if not row then return nil, err end
  return nil, objection
end

-- A link whose caller brought its own configure is not taken on without one.
local function ask_configure(client, key, row, configure)
  local link = client:link_of(key, row)
  if not configure and row.own_configure and not client.hooks:has("configure") then
    return errors.fail("configure_failed", { stage = "configure",
      detail = "the call that brought its own configure function is over" })
  end
  if configure then return hooks.ask_function(configure, "configure", "configure_failed", link) end
  return client.hooks:ask("configure", "configure_failed", link)
end

function steps.configure(client, key, row, plan)
  if not plan.configured then
    local ok, objection = ask_configure(client, key, row, plan.configure)
    if not ok then return stay(client, key, objection) end
  end
  return apply(client, key, "configured")
end

function steps.clear(client, key, row)
  local agreed, objection = client.hooks:ask("before_complete", "vetoed", client:link_of(key, row))
  if not agreed then return stay(client, key, objection) end
  return apply(client, key, "cleared")
end

function steps.complete(client, key, _, plan)
  return section(client, key, integration.complete, plan.identifier)
end

local ENDED = {
  unlinked = "unlinked", relink = "relink_required", failed = "not_found", superseded = "not_found",
}

local function stopped(row)
  local code = row.state == "unclaimed" and "no_unclaimed_match" or ENDED[row.state]
  return errors.fail(code or "invalid_transition", { stage = "link",
    detail = "the link is " .. row.state })
end

-- Conducting ----------------------------------------------------------------------------------

local function arrived(row, plan)
  return row.state == plan.goal or row.state == "completed"
end

-- Whether somebody else took the link elsewhere meanwhile: a webhook, another process.
local function moved(client, key, row, failure)
  if failure.code ~= "invalid_transition" or failure.status then return false end
  local now = grants.load(client, key)
  return now == nil or now.state ~= row.state
end

local function walk(client, key, plan)
  for _ = 1, STEPS_MAX do
    local row, err = grants.load(client, key)
    if not row then return nil, err end
    if arrived(row, plan) then return client:link_of(key, row) end
    local step = steps[core.link_next(row, client.clock.now_ms())]
    if not step then return stopped(row) end
    local ok, failure = step(client, key, row, plan)
    if not ok and not moved(client, key, row, failure) then return nil, failure end
  end
  error("ringlink: a link does not end: " .. key)
end

--- Whether somebody in this process is taking a grant's link on.
---@param client ringlink.Client
---@param key string
---@return boolean
function M.is_conducted(client, key)
  local conduct = client.conducts[key]
  return conduct ~= nil and not conduct.visit:is_gone()
end

-- Waits for whoever conducts this grant; its result, when it had the same goal. Nothing when it is
-- gone without a word: nginx ends a request whose client went away. Should it be there all the same, two
-- who take one link on do no harm: every write compares the row's version.
local function await_other(client, key, other, plan)
  if other.co == coroutine.running() and not other.visit:is_gone() then
    return errors.fail("in_progress", { stage = "link",
      detail = "a hook of this link asked for the link it belongs to" })
  end
  flight.wait_along(client, other.section)
  local doubts = 0
  while not other.done and doubts < DOUBTS_MAX do
    client.clock.sleep(TURN_S)
    doubts = other.visit:is_gone() and doubts + 1 or 0
  end
  if not other.done and client.conducts[key] == other then client.conducts[key] = nil end
  if other.goal == plan.goal then return other.link, other.err end
end

--- Takes a claimed grant on to a goal. Of several callers in this process one does it and the others
--- get its result.
---@param client ringlink.Client
---@param key string
---@param plan { goal: "awaiting"|"completed", configure: function?, configured: boolean?, identifier: string? }
---@return ringlink.Link?
---@return ringlink.Error?
function M.conduct(client, key, plan)
  while client.conducts[key] do
    local link, err = await_other(client, key, client.conducts[key], plan)
    if link or err then return link, err end
  end
  local conduct = { goal = plan.goal, co = coroutine.running(), section = flight.around(client),
    visit = client.runtime.visit() }
  client.conducts[key] = conduct
  local ok, link, err = pcall(walk, client, key, plan)
  if client.conducts[key] == conduct then client.conducts[key] = nil end
  conduct.visit:leave()
  conduct.done = true
  if not ok then
    conduct.err = errors.new("in_progress", { stage = "link", cause = link })
    error(link, 0)
  end
  conduct.link, conduct.err = link, err
  return link, err
end

-- What others call ----------------------------------------------------------------------------

local function read_identifier(q)
  local identifier, err = check.identifier(q.account_identifier)
  if err then return nil, err end
  if identifier == nil or q.unmasked then return identifier end
  return core.mask(identifier)
end

local function read_claimant(q)
  local user, err = check.user(q.user)
  if not user then return nil, err end
  local identifier, problem = read_identifier(q)
  if problem then return nil, problem end
  return { nonce = q.nonce, time = q.time, user = user, account_identifier = identifier,
    from = type(q.from) == "string" and errors.scrub(q.from) or nil }
end

local function join_or_take(client, claimant, among_held)
  local own = claim.find_own(client, claimant)
  if own then return own.key end
  local key, err, held, beaten = claim.take(client, claimant, among_held)
  if key then return key end
  own = claim.find_own(client, claimant)         -- somebody else was faster with this very nonce
  if own then return own.key end
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
    local key, err, held, beaten = join_or_take(client, claimant, among_held)
    if key then return key end
    among_held = held ~= nil or beaten
    if held and not tried then
      tried = true
      problem = select(2, M.conduct(client, held, { goal = "awaiting" }))
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
local function take_up(client, key)
  grants.update(client, key, function(row)
    return UNDER_WAY[row.state] and not row.conducted and { conducted = true } or nil
  end)
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
---@param q { user: string, account_identifier: string?, unmasked: boolean?, from: string? }
---@return { status: string, account_identifier: string? }?
---@return ringlink.Error?
function M.confirm(client, matched, q)
  local given, err = check.arguments("confirm", matched, { "account", "nonce", "time" })
  if not given then return nil, err end
  local named, problem = check.arguments("confirm", q, { "user", "account_identifier", "unmasked", "from" })
  if not named then return nil, problem end
  local formed, malformed = claim.check_form(matched)
  if not formed then return nil, malformed end
  local claimant, wrong = read_claimant({ nonce = matched.nonce, time = matched.time, user = q.user,
    account_identifier = q.account_identifier, unmasked = q.unmasked, from = q.from })
  if not claimant then return nil, wrong end
  local key, refusal = claimed(client, claimant, 0)
  if not key then return nil, refusal end
  return M.conduct(client, key, { goal = "awaiting" })
end

local LINK_ARGUMENTS = { "nonce", "time", "user", "account_identifier", "unmasked", "configure",
  "wait_s", "from" }

local function read_link(q)
  local given, err = check.arguments("link", q, LINK_ARGUMENTS)
  if not given then return nil, err end
  if q.configure ~= nil and type(q.configure) ~= "function" then
    errors.misuse("link: configure must be a function")
  end
  if q.wait_s ~= nil and (type(q.wait_s) ~= "number" or not (q.wait_s >= 0 and q.wait_s <= 60)) then
    errors.misuse("link: wait_s must be a number of seconds between 0 and 60")
  end
  local formed, problem = claim.check_form(q)
  if not formed then return nil, problem end
  return read_claimant(q)
end

--- The whole link: match, confirm, configure, complete. Idempotent for the same nonce, time and user.
---@param client ringlink.Client
---@param q table see api: nonce, time, user, account_identifier, configure, wait_s, unmasked, from
---@return ringlink.Link?
---@return ringlink.Error?
function M.link(client, q)
  local claimant, err = read_link(q)
  if not claimant then return nil, err end
  claimant.conducted, claimant.own_configure = true, q.configure ~= nil
  local key, refusal = claimed(client, claimant, q.wait_s or 0)
  if not key then return nil, refusal end
  local row = client.store:get(key)
  if row and row.paused then return client:link_of(key, row) end     -- a reload of what was done
  take_up(client, key)
  return M.conduct(client, key, { goal = "completed", configure = q.configure })
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
  return errors.fail(ENDED[newest.state] or "invalid_transition", { stage = "link",
    detail = "the link is " .. newest.state })
end

-- Two steps of a link that meet are one; two updates are two, each has its turn.
local function patch(client, key, fields)
  while section_is_open(client, key) do client.clock.sleep(TURN_S) end
  local row, err = section(client, key, integration.update, fields)
  if not row then return nil, err end
  return client:link_of(key, row)
end

local COMPLETABLE = { awaiting = true, completed = true }

--- The partner's configuration is done: PATCH `completed`.
---@param client ringlink.Client
---@param account ringlink.Account
---@param q { account_identifier: string?, unmasked: boolean? }?
---@return ringlink.Link?
---@return ringlink.Error?
function M.complete(client, account, q)
  local given, err = check.arguments("complete", q or {}, { "account_identifier", "unmasked" })
  if not given then return nil, err end
  local identifier, problem = read_identifier(given)
  if problem then return nil, problem end
  local entry, missing = find_linked(client, account, COMPLETABLE)
  if not entry then return nil, missing end
  if identifier and entry.row.state == "completed" then
    return patch(client, entry.key, { account_identifier = identifier })
  end
  return M.conduct(client, entry.key, { goal = "completed", configured = true, identifier = identifier })
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
  local identifier, problem = read_identifier(q)
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
