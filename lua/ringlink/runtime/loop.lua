--- The loop runtime: ringlink's own coroutines over its transports. A plain blocking call is a loop
-- with one task.
--
-- Tasks are coroutines that this loop alone resumes. Waiting inside a task yields to the loop;
-- waiting outside of any coroutine turns the loop until the result is there.
-- Critical sections are tasks too: whoever waits for one may go away, the section goes on. A task may
-- have SIGINT and SIGTERM held back, so that no rotated token is lost between Ring's answer and the
-- store; they are let go when none wants that any more, or has ended.
-- A task's job for the SQLite store waits until no task can go on any more; then all that came are
-- done in one transaction. Whoever is no task has its own done at once.
-- What a task raised goes to whoever joins it; when nobody does, to the `run` that the task belongs to
-- (runtime/group.lua), or, when it was spawned outside of any, to the next.
-- Nothing that is over is held on to: neither tasks nor transports without an open ticket.
-- A transport is given so many requests at a time; the others wait here in their order, where one costs
-- a coroutine and no connection, buffer or look at each turn.

local batches = require "ringlink.runtime.batches"
local core = require "ringlink.core"
local direct = require "ringlink.store.direct"
local errors = require "ringlink.errors"
local groups = require "ringlink.runtime.group"
local origin = require "ringlink.runtime.origin"
local queues = require "ringlink.runtime.queue"
local timers_of = require "ringlink.runtime.timers"
local trace = require "ringlink.trace"

local unpack = table.unpack or unpack

local SLICE_MS = 5             -- turn of each transport when several have work in flight
local WAIT_MS_MAX = 60000
local IN_FLIGHT_MAX = 512      -- of a transport: four connections of HTTP/2, with the usual 128 streams
local TURNS_MAX = 8            -- that a job of the store is put off while tasks can go on

local NOBODY = { done = true }

local M = {}

---@class ringlink.Task
---@field co thread
---@field done boolean
---@field results table?    packed results, when it ended well
---@field failure any       what it raised, otherwise
---@field joined boolean?   somebody has taken its result or its failure
---@field critical boolean
---@field holds boolean?    it wants signals held back
---@field counted boolean?  and so they are, for it
---@field begun boolean?
---@field cancelled boolean? every wait of it raises `cancelled`
---@field waiters ringlink.Task[]
---@field group ringlink.Group?  that it belongs to
---@field origin ringlink.Origin? who spawned it

local tasks = {}                       -- coroutine -> task that has not ended
local ready = queues.new()              -- tasks that can go on
local timers = timers_of.new()          -- of tasks
local waiting = {}                     -- transport -> queue of those who have no room in it yet
local transports = {}                  -- transport -> { boxes, count }: open tickets, while there are any
local held = 0                         -- who has signals held back
local live = 0                         -- tasks that have not ended
local strays = groups.new()             -- spawned outside of any run, or in none
local jobs = batches.new()             -- of stores, that tasks wait for
local turns_put_off = 0

local function push_ready(task)
  ready:push(task)
end

local function current_task()
  local co, is_main = coroutine.running()
  if co == nil or is_main then return nil, false end
  return tasks[co], tasks[co] == nil
end

local function hold()
  held = held + 1
  if held == 1 then core.hold_signals() end
end

local function release()
  held = held - 1
  if held == 0 then core.release_signals() end
end

local function traced(cause)
  if type(cause) ~= "string" then return cause end
  local task = tasks[coroutine.running()]
  local text = trace.outside(cause, 2)
  if not (task and task.origin) then return text end
  return text .. "\n" .. origin.describe(task.origin)
end

-- Every wait of it raises from now on, so that it can tidy up and end.
local function cancel(task)
  if task.done or task.critical or task.cancelled then return end
  task.cancelled, task.joined = true, true
  push_ready(task)
end

local function cancel_all(group)
  for _, task in ipairs(group:list()) do cancel(task) end
end

local function fail(task, failure)
  task.failure = failure
  local group = task.group or strays
  if not task.joined and group:fail(task) then cancel_all(group) end
end

local function finish(task, ok, ...)
  task.done = true
  if ok then task.results = { n = select("#", ...), ... } else fail(task, (...)) end
  tasks[task.co] = nil
  live = live - 1
  for _, waiter in ipairs(task.waiters) do push_ready(waiter) end
  if task.group then task.group:remove(task) end
  task.holds = false
end

local function settle(task, alive, ...)
  if coroutine.status(task.co) ~= "dead" then return end
  if alive then finish(task, ...) else finish(task, false, ...) end
end

-- The signals that a task held back come here, in the loop, and not within a task: LuaJIT would
-- interrupt that one.
local function let_go(task)
  if not task.counted or task.holds then return end
  task.counted = false
  release()
end

local function resume(task)
  if task.done then return end
  if task.cancelled and not task.begun then return finish(task, false, errors.new("cancelled")) end
  task.begun = true
  settle(task, coroutine.resume(task.co))
  let_go(task)
end

local function start(task, fn, ...)
  local args = { n = select("#", ...), ... }
  task.done, task.critical, task.waiters = false, task.critical or false, {}
  task.co = coroutine.create(function()
    return xpcall(function() return fn(unpack(args, 1, args.n)) end, traced)
  end)
  tasks[task.co] = task
  live = live + 1
  push_ready(task)
  return task
end

local function start_in(group, fn, ...)
  local parent = current_task()
  local task = { origin = origin.here(parent and parent.origin) }
  if group then group:add(task) end
  return start(task, fn, ...)
end

--- Starts a task; it runs when the caller next waits. It belongs to the run that the caller is in.
---@param fn function
---@return ringlink.Task
function M.spawn(fn, ...)
  local parent = current_task()
  return start_in(parent and parent.group, fn, ...)
end

--- Starts a critical section: a task that goes on when whoever waits for it is gone. It is given
--- values, not closures over its caller.
---@param fn function
---@return ringlink.Task
function M.critical(fn, ...)
  local parent = current_task()
  return start({ critical = true, origin = parent and parent.origin }, fn, ...)
end

--- Holds SIGINT and SIGTERM back until the task that calls lets them go, or ends.
function M.hold()
  local task = current_task()
  task.holds = true
  if task.counted then return end
  task.counted = true
  hold()
end

--- Lets them go again; they come when the task next waits.
function M.release()
  current_task().holds = false
end

local function expire_timers()
  local now = core.monotonic_ms()
  local task = timers:expire(now)
  while task do
    push_ready(task)
    task = timers:expire(now)
  end
end

local function collect(transport, open)
  for ticket, result in transport.take, transport do
    local box = open.boxes[ticket]
    open.boxes[ticket] = nil
    if box then
      open.count = open.count - 1
      box.result = result
      if box.task then push_ready(box.task) end
    end
  end
  if open.count == 0 then transports[transport] = nil end
end

local function let_in(transport, room)
  local queue = waiting[transport]
  while queue and room > 0 do
    local place = queue:pop()
    if place == nil then
      waiting[transport], queue = nil, nil
    elseif not place.left then
      place.admitted, room = true, room - 1
      if place.task then push_ready(place.task) end
    end
  end
end

local function room_in(transport)
  local open = transports[transport]
  return IN_FLIGHT_MAX - (open and open.count or 0)
end

local function let_in_all()
  for transport in pairs(waiting) do let_in(transport, room_in(transport)) end
end

local function busy_transports()
  local list = {}
  for transport in pairs(transports) do list[#list + 1] = transport end
  return list
end

local function wait_ms()
  if ready.count > 0 then return 0 end
  local at_ms = timers:next_ms()
  if at_ms == nil then return WAIT_MS_MAX end
  return math.min(math.max(at_ms - core.monotonic_ms(), 0), WAIT_MS_MAX)
end

-- No signal comes between the commit and whoever waits for it.
local function commit_jobs(db)
  hold()
  local ok, problem = pcall(db and jobs.flush or jobs.flush_all, jobs, db)
  release()
  if not ok then error(problem, 0) end
end

local function commit_when_idle()
  if jobs.count == 0 then return end
  turns_put_off = turns_put_off + 1
  if ready.count > 0 and turns_put_off < TURNS_MAX then return end
  turns_put_off = 0
  commit_jobs()
end

local function wait_for_something()
  commit_when_idle()
  local busy = busy_transports()
  local ms = wait_ms()
  if #busy == 0 then
    if ready.count == 0 and timers:next_ms() == nil then error("ringlink: the loop waits for nothing") end
    if ms > 0 then core.sleep_ms(ms) end
  end
  if #busy > 1 then ms = math.min(ms, SLICE_MS) end
  for _, transport in ipairs(busy) do
    transport:poll(ms)
    collect(transport, transports[transport])
  end
  let_in_all()
  expire_timers()
end

local function run_ready()
  for _ = 1, ready.count do resume(ready:pop()) end
end

local function turn_until(arrived)
  while true do
    run_ready()
    if arrived() then return end
    wait_for_something()
  end
end

--- Raises foreign_coroutine where nothing can be waited for; to be asked before anything begins.
---@param blocking boolean? a foreign coroutine may wait too
function M.check_may_wait(blocking)
  local _, foreign = current_task()
  if foreign and not blocking then errors.new("foreign_coroutine"):raise() end
end

--- Whether the caller is a task of this loop.
---@return boolean
function M.is_task()
  return (current_task()) ~= nil
end

local function yield_until(task, arrived, give_up)
  while not task.cancelled do
    coroutine.yield()
    if not task.cancelled and arrived() then return end
  end
  if give_up then give_up() end
  errors.new("cancelled"):raise()
end

-- Waits until `arrived()` holds. `register(task)` arranges for a task to be woken, `give_up()` undoes it
-- when the task is cancelled.
local function wait_until(arrived, register, blocking, give_up)
  if arrived() then return end
  M.check_may_wait(blocking)
  local task = current_task()
  if not task then return turn_until(arrived) end
  if register then register(task) end
  yield_until(task, arrived, give_up)
end

-- Its failure is the caller's from now on.
local function take(task)
  task.joined = true
  local group = task.group or strays
  group:take(task)
end

--- Waits for a task and returns what it returned; raises what it raised.
---@param task ringlink.Task
---@param blocking boolean? a foreign coroutine may wait too, stopping everything meanwhile
function M.join(task, blocking)
  if task == (current_task()) then errors.misuse("a task cannot wait for itself") end
  take(task)
  wait_until(function() return task.done end,
    function(me) task.waiters[#task.waiters + 1] = me end, blocking)
  if task.results == nil then error(task.failure, 0) end
  return unpack(task.results, 1, task.results.n)
end

--- Waits for a ticket of a transport.
---@param transport userdata
---@param ticket integer
---@param blocking boolean?
---@return table result
function M.await(transport, ticket, blocking)
  M.check_may_wait(blocking)
  local open = transports[transport] or { boxes = {}, count = 0 }
  transports[transport] = open
  local box = {}
  open.boxes[ticket], open.count = box, open.count + 1
  wait_until(function() return box.result end, function(me) box.task = me end, blocking, function()
    box.task = nil
    transport:cancel(ticket)
  end)
  return box.result
end

--- Waits until a transport has room for one more request.
---@param transport userdata
---@param blocking boolean?
function M.admit(transport, blocking)
  local queue = waiting[transport]
  if not queue and room_in(transport) > 0 then return end
  queue = queue or queues.new()
  waiting[transport] = queue
  local place = {}
  queue:push(place)
  wait_until(function() return place.admitted end, function(me) place.task = me end, blocking,
    function() place.left = true end)
end

--- Forgets a transport that is about to be closed; whoever still waits is told `cancelled`.
---@param transport userdata
function M.forget(transport)
  local open = transports[transport]
  transports[transport] = nil
  for _, box in pairs(open and open.boxes or {}) do
    box.result = { error = "cancelled", sent = true }
    if box.task then push_ready(box.task) end
  end
end

--- Waits for a time, letting other tasks run.
---@param seconds number
---@param blocking boolean?
function M.sleep(seconds, blocking)
  local at_ms = core.monotonic_ms() + math.ceil(seconds * 1000)
  local function arrived() return core.monotonic_ms() >= at_ms end
  if current_task() == nil and not arrived() then
    timers:add(at_ms, NOBODY)          -- so that the loop sleeps no longer than this caller wants
  end
  local timer
  wait_until(arrived, function(me) timer = timers:add(at_ms, me) end, blocking,
    function() timers:drop(timer) end)
end

--- Does a job of an SQLite store: within a task together with everybody else's. A task that is
--- cancelled while it waits leaves the job behind, and it is still done; what it does to tidy up
--- does not wait.
---@param db userdata
---@param job table
---@return table result
function M.run_job(db, job)
  local task = current_task()
  if task == nil or task.cancelled then return direct.run(db, job) end
  db:check(job)
  local box = {}
  jobs:add(db, job, function(result)
    box.result = result
    push_ready(task)
  end)
  wait_until(function() return box.result end)
  return box.result
end

--- Closes the file of an SQLite store. What tasks wait for is done before.
---@param db userdata
function M.close_db(db)
  commit_jobs(db)
  direct.close(db)
end

-- Ends the tasks of a loop that was interrupted: their waits raise, so that each can tidy up.
-- Critical sections stay, and go on at the next turn. What they wait for from a store is done first:
-- nobody may turn this loop again.
local function abandon_tasks()
  commit_jobs()
  local left = {}
  for _, task in pairs(tasks) do left[#left + 1] = task end
  for _, task in ipairs(left) do
    cancel(task)
    if task.cancelled then resume(task) end
  end
end

local function turn_to_the_end()
  local ended, interruption = pcall(turn_until, function() return live == 0 end)
  if ended then return end
  abandon_tasks()
  error(interruption, 0)
end

-- Within a task only that one waits, and only for its own group.
local function wait_for_group(group)
  wait_until(function() return group.live == 0 end, function(me)
    group.over = function() push_ready(me) end
  end, false, function() cancel_all(group) end)
end

local function conclude(group, task)
  if group.on_error == "collect" then
    local results = task.results or { n = 0 }
    return group:collect(), unpack(results, 1, results.n)
  end
  local own = task.failure ~= nil and not task.cancelled and task
  local failed = group:take_first()
  local culprit = own or failed or (task.results == nil and task)
  if culprit then error(culprit.failure, 0) end
  return unpack(task.results, 1, task.results.n)
end

--- Runs a function as a task and returns what it returned, once all that were spawned in it have ended;
--- outside of any task, once all tasks have.
---@param on_error "finish"|"cancel"|"collect" when one fails: raise that in the end; cancel the others and
--- raise it; or raise nothing and return a list of failures before what the function returned
---@param fn function
function M.run(on_error, fn, ...)
  local inside = current_task()
  M.check_may_wait()
  local group = groups.new(on_error)
  local task = start_in(group, fn, ...)
  if inside then
    wait_for_group(group)
  else
    turn_to_the_end()
    local stray = strays:take_first()
    if stray and not group.failed[1] then error(stray.failure, 0) end
  end
  return conclude(group, task)
end

return M
