--- Taking a claimed grant on: the core says what comes next, this module does it; the partner's steps
-- and hooks are asked in between.
--
-- Invariants: hooks and steps run in the caller, between critical sections; whatever stops a link leaves
-- it in a stored state from which `conduct` goes on, in this process or another; of those who want that
-- in this process one does it.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local flow = require "ringlink.flow"
local grants = require "ringlink.grants"
local integration = require "ringlink.integration"
local steps = require "ringlink.steps"

local M = {}

local TURNS_MAX = 16 + flow.STEPS_MAX   -- a link that needs more is going round in circles
local TURN_S = 0.01
local DOUBTS_MAX = 2                -- looks in a row at a conductor that seems to be gone
local WEAK = { __mode = "v" }          -- an event loop may drop whoever conducts

--- Why a link in such a state goes no further.
M.ENDED = {
  unlinked = "unlinked", relink = "relink_required", failed = "not_found", superseded = "not_found",
}

-- What the link machine asks for ---------------------------------------------------------------

local actions = {}

local function section(client, key, fn, ...)
  return flight.run(client, "integrate/" .. key, fn, key, ...)
end

local function apply(client, key, event, more)
  local notes = {}
  local row, err = grants.apply(client, notes, key, event, more)
  flight.tell(client, notes)
  return row, err
end

local function give_back(client, key, row, err)
  local released, refusal = apply(client, key, "release",
    { guard = grants.same_claim(row), changes = integration.end_of_claim(row), known = row })
  if not released then return nil, refusal end
  return nil, err
end

function actions.confirm(client, key, row, _, by)
  if row.state == "matched" then
    local agreed, objection = client.hooks:ask("before_confirm", "vetoed", client:link_of(key, row))
    if not agreed then return give_back(client, key, row, objection) end
    local opened, err = steps.reopen(client, key, row, by)
    if not opened then return nil, err end
    row = opened
  end
  return section(client, key, (row.invited or not row.nonce) and integration.consent or integration.confirm, row)
end

function actions.settle(client, key)
  return section(client, key, integration.settle)
end

function actions.release(client, key, row)
  return give_back(client, key, row, errors.new("link_expired", { stage = "confirm" }))
end

local function stay(client, key, row, columns, objection)
  local stayed, err = steps.stay(client, key, row, columns)
  if not stayed then return nil, err end
  return nil, objection
end

-- A mistake is no answer: what a process left half way, and `work` took on for nobody who waits, it takes on
-- again, as often as that takes.
local function kept(row, plan, err)
  return err.code == "hook_failed" and not plan.patient and row.conducted or nil
end

function actions.configure(client, key, row)
  return steps.pass(client, key, row, "between")
end

function actions.clear(client, key, row, plan)
  local agreed, objection = client.hooks:ask("before_complete", "vetoed", client:link_of(key, row))
  if not agreed then return stay(client, key, row, { conducted = kept(row, plan, objection) }, objection) end
  return apply(client, key, "cleared", { guard = grants.same_claim(row), known = row })
end

function actions.complete(client, key, row, plan, by)
  local follows = steps.next(client, key, row, by, "after") ~= nil or nil
  return section(client, key, integration.complete, row, plan.identifier, follows)
end

-- Of a link that is completed but for what the partner does after that.
function actions.follow(client, key, row)
  return steps.pass(client, key, row, "after")
end

local function stopped(row)
  local code = row.state == "unclaimed" and "no_unclaimed_match" or M.ENDED[row.state]
  return errors.fail(code or "invalid_transition", { stage = "link",
    detail = "the link is " .. row.state })
end

-- Conducting ----------------------------------------------------------------------------------

local function arrived(row, plan)
  if row.state == "completed" then return plan.goal == "awaiting" or not row.following end
  return row.state == plan.goal
end

-- What comes next: the machine's word, but for the partner's part in it.
local function action_of(client, row)
  local action = core.link_next(row, client.clock.now_ms())
  if action == "clear" and row.reassigned then return "configure" end
  if row.state == "completed" and row.following then return "follow" end
  return action
end

local BEFORE = { confirm = "before", configure = "between", follow = "after" }

-- Where among the partner's steps an action stands. A POST that is out already has them behind it.
local function place_of(row, action)
  if action == "confirm" and row.state ~= "matched" then return nil end
  return BEFORE[action]
end

local NEEDS_FLOW = { configure = true, clear = true, complete = true, follow = true }

-- Nothing that has a step before or behind it is done by a process that does not know them.
local function next_turn(client, key, row)
  local action = action_of(client, row)
  if not actions[action] then return { action = action } end
  local place = place_of(row, action)
  local by, missing = steps.flow_of(client, row)
  if not by and (place or NEEDS_FLOW[action]) then return nil, missing end
  local step = place and steps.next(client, key, row, by, place) or nil
  return { action = action, by = by, place = place, step = step }
end

local function take_step(client, key, row, turn, plan)
  local done, err, objected = steps.take(client, key, row, turn, plan)
  if not objected then return done, err end
  if turn.place == "before" then return give_back(client, key, row, err) end
  local again_ms = err.code == "hook_failed" and row.ask_again_ms or nil   -- a mistake is no answer
  return stay(client, key, row, { stopped = turn.step.name, ask_again_ms = again_ms,
    conducted = kept(row, plan, err) }, err)
end

local function take_turn(client, key, row, turn, plan)
  if turn.step then return take_step(client, key, row, turn, plan) end
  return actions[turn.action](client, key, row, plan, turn.by)
end

-- Whether somebody else took the link elsewhere meanwhile: a webhook, another process.
local function moved(client, key, row, failure)
  if failure.code ~= "invalid_transition" or failure.status then return false end
  local now = grants.load(client, key)
  return now == nil or not grants.same_claim(row)(now)
end

-- What became somebody else's meanwhile is nothing to go on with, nor to show.
local function taken_away(row, user)
  return user ~= nil and row.user ~= nil and row.user ~= user
end

-- A link that waits, to whoever it still belongs to.
local function waiting(client, key, row)
  local now = grants.load(client, key) or row
  if taken_away(now, row.user) then return errors.fail("already_linked", { stage = "link" }) end
  return client:link_of(key, now)
end

-- What a turn has written is what the next one begins with, unless a hook was told: it may have changed it.
local function walk(client, key, plan, row)
  local user, err
  for _ = 1, TURNS_MAX do
    if not row then row, err = grants.load(client, key) end
    if not row then return nil, err end
    if taken_away(row, user) then return errors.fail("already_linked", { stage = "link" }) end
    user = row.user
    if arrived(row, plan) then return client:link_of(key, row) end
    local turn, missing = next_turn(client, key, row)
    if not turn then return nil, missing end
    if not actions[turn.action] then return stopped(row) end
    local told = client.hooks:told_here()
    local done, failure = take_turn(client, key, row, turn, plan)
    if done == steps.LATER then return waiting(client, key, row) end
    if not done and not moved(client, key, row, failure) then return nil, failure end
    row = type(done) == "table" and client.hooks:told_here() == told and done or nil
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

local function is_over(link)
  return link ~= nil and link.status == "completed" and not link.waiting_for
end

-- Waits for whoever conducts this grant; its result, when it had the same goal and did not stop at a step
-- of which the caller knows that it is done. Nothing when it is
-- gone without a word: nginx ends a request whose client went away. Should it be there all the same, two
-- who take one link on do no harm: every write compares the row's version.
-- No longer than one operation lasts, as for other processes: it may be a step that waits for the caller.
local function await_other(client, key, other, plan)
  if other.by.co == coroutine.running() and not other.visit:is_gone() then
    return errors.fail("in_progress", { stage = "link",
      detail = "a hook of this link asked for the link it belongs to" })
  end
  flight.wait_along(client, other.section)
  local doubts, give_up_ms = 0, client.clock.monotonic_ms() + client.options.deadline_ms
  while not other.done and doubts < DOUBTS_MAX do
    if client.clock.monotonic_ms() >= give_up_ms then return errors.fail("in_progress", { stage = "link" }) end
    client.clock.sleep(TURN_S)
    doubts = other.visit:is_gone() and doubts + 1 or 0
  end
  if not other.done and client.conducts[key] == other then client.conducts[key] = nil end
  if other.goal == plan.goal and (not plan.by_hand or is_over(other.link)) then
    return other.link, other.err
  end
end

--- Takes a claimed grant on to a goal. Of several callers in this process one does it and the others
--- get its result.
---@param client ringlink.Client
---@param key string
---@param plan { goal: "awaiting"|"completed", configure: function?, by_hand: boolean?, done_step: string?,
--- result: any, identifier: string?, patient: boolean? } `by_hand`: `done_step`, or the step at which it stands, is
--- done, as the caller says, with `result`; `patient` waits for other processes
---@param known table? the grant's row, read or written here just now
---@return ringlink.Link?
---@return ringlink.Error?
function M.conduct(client, key, plan, known)
  while client.conducts[key] do
    local link, err = await_other(client, key, client.conducts[key], plan)
    if link or err then return link, err end
    known = nil
  end
  local conduct = { goal = plan.goal, by = setmetatable({ co = coroutine.running() }, WEAK),
    section = flight.around(client), visit = client.runtime.visit() }
  client.conducts[key] = conduct
  local ok, link, err = pcall(walk, client, key, plan, known)
  if client.conducts[key] == conduct then client.conducts[key] = nil end
  conduct.visit:leave()
  conduct.done = true
  if not ok then
    conduct.err = errors.new("in_progress", { stage = "link", cause = link })
    error(link, 0)
  end
  if not link and client.closed then err = errors.new("closed", { stage = "link" }) end    -- by a hook, a step
  conduct.link, conduct.err = link, err
  return link, err
end

--- Runs a critical section of a link once none is open: two steps of a link that meet are one, two
--- updates are two, each has its turn.
---@param client ringlink.Client
---@param key string
---@param fn fun(client: ringlink.Client, notes: table[], key: string, ...): any a function of a module
function M.in_turn(client, key, fn, ...)
  while flight.is_under_way(client, "integrate/" .. key) do client.clock.sleep(TURN_S) end
  return section(client, key, fn, ...)
end

return M
