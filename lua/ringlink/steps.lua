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

local KINDS = "; text, numbers, booleans or a flat table of them can"

-- The kind of field for a value, and what to put there; nil and why it cannot be kept.
local function kept_as(value)
  local is_table = type(value) == "table"
  local text, problem = codec.encode(is_table and value or { value = value })
  if not text then return nil, problem .. KINDS end
  if #text > VALUE_BYTES_MAX then
    return nil, ("it takes %d bytes, %d are allowed"):format(#text, VALUE_BYTES_MAX) .. KINDS
  end
  return is_table and "table:" or "value:", is_table and text or value
end

-- What a record says once stays.
local function note_done(record, name, value)
  if is_done(record, name) then return end
  record["done:" .. name] = true
  if value == nil then return end
  local kind, content = kept_as(value)
  record[kind .. name] = content
end

-- What a step says by them is no result.
local NO_RESULTS = {
  [false] = "false is how a step says no; leave the call out, the link stays where it is",
  [M.LATER] = "later is how a step says that it is not done; leave the call out until it is",
}

--- The result of a step as somebody else tells it: what the step itself might have returned, as it is now.
---@param value any but nil
---@return string|number|boolean|table|nil result
---@return string? problem why it cannot be kept
function M.read_result(value)
  if NO_RESULTS[value] then return nil, NO_RESULTS[value] end
  local kind, content = kept_as(value)
  if not kind then return nil, content end
  if kind == "table:" then return codec.decode(content) end
  return content
end

--- Why the result of a step cannot be kept beside those of others, if so.
---@param client ringlink.Client
---@param key string
---@param row table
---@param name string of the step
---@param value string|number|boolean|table|nil as of `read_result`
---@return string? problem
function M.lacks_room(client, key, row, name, value)
  if value == nil or row.flow == nil then return nil end
  local record = read(client, key, row)
  note_done(record, name, value)
  local bytes = #codec.encode(record)
  if bytes <= RECORD_BYTES_MAX then return nil end
  return ("with what other steps returned it is too much: %d bytes, %d are allowed"):format(bytes, RECORD_BYTES_MAX)
end

-- Why what a step returned cannot be kept, if so.
local function misfit(client, key, row, name, value)
  if value == nil then return nil end
  local kind, problem = kept_as(value)
  if not kind then return problem end
  return M.lacks_room(client, key, row, name, value)
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

-- The columns that say that nothing is left at a place. `reassigned`: the machine has the link configured, but
-- from a claim before this one.
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

local function sealed_record(client, key, record)
  return client.vault:seal(key, "steps", assert(codec.encode(record)))
end

-- What is written at once: that it is done, and with the last one at a place, that this is. Who was told so
-- meanwhile by somebody else, whom the link has followed, changes nothing. Without a flow it is the only step of
-- all, and the machine remembers it.
local function outcome(client, key, row, by, place, step, value)
  local changes, last = and_more({}, NOT_STOPPED), true
  if row.flow then
    local record = read(client, key, row)
    if is_done(record, step.name) then return {}, false end
    note_done(record, step.name, value)
    changes.steps, last = sealed_record(client, key, record), first_left(by, place, record) == nil
  end
  return and_more(changes, last and PLACE_DONE[place] or {}), last
end

local function finish(client, key, before, by, place, step, value)
  local notes, changes = {}, nil
  local function event(row)
    local last
    changes, last = outcome(client, key, row, by, place, step, value)
    return last and EVENTS[place] or nil
  end
  local row, err = grants.apply(client, notes, key, event,
    { guard = same_claim(before), changes = function() return changes end, known = before })
  flight.tell(client, notes)
  return row, err
end

-- Of a claim that sets out from a link which is configured: what to write so that the steps of its flow which
-- are not done are open. A link that went by no flow has had its `configure`.
local function reopening(client, key, row, by)
  if not row.flow or row.reassigned or not grants.has(row, "configured") then return nil end
  local record = read(client, key, row)
  local is_written = row.prior_flow or is_done(record, "configure")
  if is_written and not first_left(by, "between", record) then return nil end
  if not is_written then note_done(record, "configure") end
  return { reassigned = true, steps = sealed_record(client, key, record) }
end

--- A link that is led through Ring's two calls again goes through what its flow has between them that is not
--- done, although the machine takes it to be configured. To be written before the POST: whoever goes on from
--- there finds it; a claim that ends takes it back.
---@param client ringlink.Client
---@param key string
---@param row table a claim that is `matched`
---@param by ringlink.Flow
---@return table? row
---@return ringlink.Error?
function M.reopen(client, key, row, by)
  if not reopening(client, key, row, by) then return row end
  local opened, err = grants.update(client, key, function(now)
    local same, refusal = same_claim(row)(now)
    if not same then return nil, refusal end
    return reopening(client, key, now, by)
  end, row)
  if err then return nil, err end
  return opened or row
end

local function is_told_done(client, key, row, name)
  return name ~= nil and row.flow ~= nil and is_done(read(client, key, row), name)
end

--- A partner who says no, or not yet, has the next word: the link is not taken further behind its back. What a
--- step says of which somebody else has said meanwhile that it is done counts no more.
---@param client ringlink.Client
---@param key string
---@param row table as it was asked about
---@param columns { stopped: string?, ask_again_ms: integer?, conducted: boolean? } what else to write
---@return table? row
---@return ringlink.Error?
---@return boolean? left nothing was written: the link went on meanwhile
function M.stay(client, key, row, columns)
  local stayed, err = grants.update(client, key, function(now)
    if not same_claim(row)(now) or is_told_done(client, key, now, columns.stopped) then return nil end
    return and_more({ conducted = grants.NONE, stopped = grants.NONE, ask_again_ms = grants.NONE }, columns)
  end, row)
  if err then return nil, err end
  return stayed or row, nil, stayed == nil
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
  local stayed, err, left = M.stay(client, key, row, { stopped = step.name, ask_again_ms = ask_again_ms })
  if not stayed then return nil, err end
  return left or M.LATER
end

local function keep(client, key, row, by, place, step, value)
  local problem = misfit(client, key, row, step.name, value)
  if problem then return wrong_answer(place, step, "what it returned cannot be kept: " .. problem) end
  return finish(client, key, row, by, place, step, value)
end

-- A built-in step's listeners have no value to keep.
local function run(client, key, row, by, place, step, own)
  local agreed, answer, more = ask(client, key, row, place, step, own)
  if not agreed then return nil, answer, true end
  if answer == M.LATER then return wait(client, key, row, place, step, more) end
  local value = nil
  if step.fn then value = answer end
  return keep(client, key, row, by, place, step, value)
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
---@param plan { configure: function?, by_hand: boolean?, done_step: string?, result: any, patient: boolean? }
---@return any done LATER when the step's work goes on elsewhere
---@return ringlink.Error?
---@return boolean? objected the partner said no, or made a mistake
function M.take(client, key, row, turn, plan)
  local by, place, step = turn.by, turn.place, turn.step
  if place ~= "before" and is_said_to_be_done(row, step, plan) then
    return keep(client, key, row, by, place, step, plan.result)
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
