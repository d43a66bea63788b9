--- The partner's steps of one link: which comes next, running it, and the record of what is done.
--
-- The record stands in the grant's row: by name, sealed, with the values that steps returned. So
-- whoever takes a link on, here or in another process, now or in days, goes on behind the last step
-- that finished.
-- Invariants: a step that is in the record does not run again for this link; a step is written into it
-- with the row's version, for the claim that it ran for, and is done only then; of several processes one
-- runs a flow's steps, by lease, as long as a step does not take longer than that lasts.

local codec = require "ringlink.store.codec"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local flow = require "ringlink.flow"
local grants = require "ringlink.grants"
local hooks = require "ringlink.hooks"

local M = {}

local VALUE_BYTES_MAX = 4096
local RECORD_BYTES_MAX = 65536
local WAIT_S_MAX = 365 * 86400

--- What a step returns whose work goes on elsewhere.
M.LATER = "later"

-- By place: how the hooks' errors name it, and what an objection there is.
local STAGES = { before = "before_confirm", between = "configure", after = "completed" }
local OBJECTIONS = { before = "vetoed", between = "configure_failed", after = "configure_failed" }

-- The record ------------------------------------------------------------------------------------

-- Sealed, it is one flat table: done:NAME, and value:NAME, or table:NAME for the bytes of another one.
local function read(client, key, row)
  local text = client.vault:open(key, "steps", row.steps)
  if text == nil then return {} end
  local record = codec.decode(text)
  if record then return record end
  error(errors.new("store_corrupt", { stage = "store", detail = "the record of a link's steps cannot be read" }), 0)
end

local function is_done(record, name)
  return record["done:" .. name] == true
end

--- What a link's steps have returned, by name.
---@param client ringlink.Client
---@param key string
---@param row table
---@return table<string, string|number|boolean|table>
function M.results(client, key, row)
  local results = {}
  for field, value in pairs(read(client, key, row)) do
    local kind, name = field:match("^(%a+):(.*)$")
    if kind == "value" then results[name] = value end
    if kind == "table" then results[name] = codec.decode(value) end
  end
  return results
end

-- The field for a value, and what to put there; nil and what is wrong with it.
local function field_of(name, value)
  if type(value) ~= "table" then
    local text, problem = codec.encode({ value = value })
    if not text then return nil, problem end
    return "value:" .. name, value, #text
  end
  local text, problem = codec.encode(value)
  if not text then return nil, problem end
  return "table:" .. name, text, #text
end

local function too_long(bytes)
  if bytes <= VALUE_BYTES_MAX then return nil end
  return ("it takes %d bytes, %d are allowed"):format(bytes, VALUE_BYTES_MAX)
end

local function record_with(client, key, row, name, value)
  local record = read(client, key, row)
  record["done:" .. name] = true
  if value ~= nil then
    local field, content = field_of(name, value)
    record[field] = content
  end
  return record
end

local function too_much(client, key, row, step, value)
  local all = #codec.encode(record_with(client, key, row, step.name, value))
  return all > RECORD_BYTES_MAX and "with what other steps returned it is too much" or nil
end

-- Why a value cannot be kept, if so.
local function misfit(client, key, row, step, value)
  if value == nil then return nil end
  local field, problem, bytes = field_of(step.name, value)
  if field then problem = too_long(bytes) or too_much(client, key, row, step, value) end
  return problem and ("what it returned cannot be kept: %s; text, numbers, booleans or a flat table of "
    .. "them can"):format(problem)
end

-- Which comes next ------------------------------------------------------------------------------

--- The flow that a link goes by.
---@param client ringlink.Client
---@param row table
---@return ringlink.Flow?
---@return ringlink.Error? err `flow` names the one that this process does not have
function M.flow_of(client, row)
  if row.flow == nil then return flow.default end
  local found = client.flows[row.flow]
  if found then return found end
  return errors.fail("configure_failed", { stage = "link", flow = row.flow,
    detail = ("the link goes by the flow %s, which this process does not have"):format(row.flow),
    cure = "client:flow registers it, also in the process that calls work; the link stays as it is" })
end

local function first_left(by, place, record)
  for _, step in ipairs(flow.places(by)[place]) do
    if not is_done(record, step.name) then return step end
  end
end

--- The first step at a place that is not done.
---@param client ringlink.Client
---@param key string
---@param row table
---@param by ringlink.Flow
---@param place "before"|"between"|"after"
---@return ringlink.Step?
function M.next(client, key, row, by, place)
  return first_left(by, place, read(client, key, row))
end

-- Writing ---------------------------------------------------------------------------------------

-- Whose claim a step ran for: another one's record is not this one's.
local same_claim = grants.same_claim

local NOT_STOPPED = { stopped = grants.NONE, ask_again_ms = grants.NONE }

local function and_more(changes, more)
  for name, value in pairs(more) do changes[name] = value end
  return changes
end

-- The columns that say that nothing is left at a place.
local PLACE_DONE = {
  before = {},
  between = { reassigned = grants.NONE },
  after = { following = grants.NONE, conducted = grants.NONE },
}
local EVENTS = { between = "configured" }

--- Nothing is left at a place: writes so.
---@param client ringlink.Client
---@param key string
---@param place "between"|"after"
---@return table? row
---@return ringlink.Error?
function M.pass(client, key, row, place)
  local notes = {}
  local changes = and_more(and_more({}, NOT_STOPPED), PLACE_DONE[place])
  local passed, err = grants.apply(client, notes, key, EVENTS[place],
    { guard = same_claim(row), changes = changes, known = row })
  flight.tell(client, notes)
  return passed, err
end

-- What is written at once: that it is done, and with the last one at a place, that this is.
local function finish(client, key, before, by, place, step, value)
  local notes, last = {}, false
  local function changes_of(row)
    local changes = and_more({}, NOT_STOPPED)
    if row.flow then
      local record = record_with(client, key, row, step.name, value)
      last = first_left(by, place, record) == nil
      changes.steps = client.vault:seal(key, "steps", assert(codec.encode(record)))
    else
      last = true                                   -- the only step of all: the machine remembers it
    end
    return and_more(changes, last and PLACE_DONE[place] or {})
  end
  local function event(row)
    local left = row.flow and first_left(by, place, record_with(client, key, row, step.name))
    return left == nil and EVENTS[place] or nil
  end
  local row, err = grants.apply(client, notes, key, event,
    { guard = same_claim(before), changes = changes_of, known = before })
  flight.tell(client, notes)
  return row, err
end

--- A partner who says no, or not yet, has the next word: the link is not taken further behind its back.
---@param client ringlink.Client
---@param key string
---@param row table as it was asked about
---@param columns table? what else to write
---@return table? row
---@return ringlink.Error?
function M.stay(client, key, row, columns)
  local stayed, err = grants.update(client, key, function(now)
    if not same_claim(row)(now) then return nil end
    return and_more({ conducted = grants.NONE, stopped = grants.NONE, ask_again_ms = grants.NONE },
      columns or {})
  end, row)
  if err then return nil, err end
  return stayed or row
end

-- Asking ----------------------------------------------------------------------------------------

-- The built-in step: the function of the call, or the hook. A link whose caller brought its own is not
-- taken on without one.
local function ask_configure(client, link, row, own)
  if own then return hooks.ask_function(own, "configure", "configure_failed", link) end
  if row.own_configure and not client.hooks:has("configure") then
    return errors.fail("configure_failed", { stage = "configure",
      detail = "the call that brought its own configure function is over" })
  end
  return client.hooks:ask("configure", "configure_failed", link)
end

local function ask(client, key, row, place, step, own)
  local link = client:link_of(key, row)
  if not step.fn then return ask_configure(client, link, row, own) end
  return hooks.ask_step(step, STAGES[place], OBJECTIONS[place], link)
end

local function wrong_answer(place, step, problem)
  return nil, hooks.failed(STAGES[place], problem, step.name), true
end

local function wait(client, key, row, place, step, seconds)
  if place == "before" then
    return wrong_answer(place, step, "it said later, but a claim lasts minutes: steps that wait come after confirm")
  end
  if seconds ~= nil and not (type(seconds) == "number" and seconds > 0 and seconds <= WAIT_S_MAX) then
    return wrong_answer(place, step, "it said later and then no number of seconds up to a year")
  end
  local ask_again_ms = seconds and math.floor(client.clock.now_ms() + seconds * 1000)
  local stayed, err = M.stay(client, key, row, { stopped = step.name, ask_again_ms = ask_again_ms })
  if not stayed then return nil, err end
  return M.LATER
end

-- A built-in step's listeners have no value to keep.
local function run(client, key, row, by, place, step, own)
  local agreed, answer, more = ask(client, key, row, place, step, own)
  if not agreed then return nil, answer, true end
  if answer == M.LATER then return wait(client, key, row, place, step, more) end
  local value = nil
  if step.fn then value = answer end
  local problem = misfit(client, key, row, step, value)
  if problem then return wrong_answer(place, step, problem) end
  return finish(client, key, row, by, place, step, value)
end

-- One process at a time -------------------------------------------------------------------------

-- Whoever waits for another process does so for as long as one operation lasts.
local function take_lease(client, name, is_patient)
  local clock = client.clock
  local give_up_ms = clock.monotonic_ms() + (is_patient and client.options.deadline_ms or 0)
  while true do
    local taken, remaining_ms = client.store:lease(name, client:owner(), flight.lease_ms(client))
    if taken then return true end
    if clock.monotonic_ms() >= give_up_ms then return false, math.max(math.ceil((remaining_ms or 0) / 1000), 1) end
    flight.await_lease(client, remaining_ms)
  end
end

local function give_lease_back(client, name, ok, ...)
  flight.give_lease_back(client, name)
  if not ok then error((...), 0) end
  return ...
end

-- With the lease, looks again: it may have been done while another process had it.
local function run_if_left(client, key, before, by, place, step, own)
  local row, err = grants.load(client, key)
  if not row then return nil, err end
  local still = same_claim(before)(row) and M.next(client, key, row, by, place)
  if not still or still.name ~= step.name then return true end
  return run(client, key, row, by, place, step, own)
end

-- Whoever takes a link on by hand says that the step is done at which it stood then, or, when at none, that
-- configure is; nothing of the others.
local function is_said_to_be_done(row, step, plan)
  if not plan.by_hand then return false end
  plan.done_step = plan.done_step or row.stopped or "configure"
  return plan.done_step == step.name
end

--- Runs a step and writes what came of it. The link that names no flow has but `configure`, which may
--- run more than once, and takes no lease for it.
---@param client ringlink.Client
---@param key string
---@param row table
---@param turn { by: ringlink.Flow, place: string, step: ringlink.Step }
---@param plan { configure: function?, by_hand: boolean?, patient: boolean? }
---@return any done LATER when the step's work goes on elsewhere
---@return ringlink.Error?
---@return boolean? objected the partner said no, or made a mistake
function M.take(client, key, row, turn, plan)
  local by, place, step = turn.by, turn.place, turn.step
  if place ~= "before" and is_said_to_be_done(row, step, plan) then
    return finish(client, key, row, by, place, step, nil)
  end
  if not row.flow then return run(client, key, row, by, place, step, plan.configure) end
  local name = "step/" .. key
  local taken, left_s = take_lease(client, name, plan.patient)
  if not taken then
    return errors.fail("in_progress", { stage = "link", retry_after = left_s,
      detail = "another process is at a step of it, or died there",
      cure = ("try again; in %d s at the latest it can be taken over"):format(left_s) })
  end
  return give_lease_back(client, name,
    pcall(run_if_left, client, key, row, by, place, step, plan.configure))
end

return M
