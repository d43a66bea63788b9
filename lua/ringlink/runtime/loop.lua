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
-- What a task raised goes to whoever joins it. When nobody does, `run` raises it: the one under way,
-- or, when the task failed outside of any, the next. Only the first FAILED_MAX are kept for that.
-- Nothing that is over is held on to: neither tasks nor transports without an open ticket.

local batches = require "ringlink.runtime.batches"
local core = require "ringlink.core"
local direct = require "ringlink.store.direct"
local errors = require "ringlink.errors"

local unpack = table.unpack or unpack

local SLICE_MS = 5             -- turn of each transport when several have work in flight
local WAIT_MS_MAX = 60000
local FAILED_MAX = 16
local TURNS_MAX = 8            -- that a job of the store is put off while tasks can go on

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

local tasks = {}                       -- coroutine -> task that has not ended
local ready = { first = 1, last = 0 }  -- tasks that can go on
local timers = {}                      -- { at_ms, task }, soonest last
local transports = {}                  -- transport -> { ticket -> box }, while one is open
local held = 0                         -- who has signals held back
local live = 0                         -- tasks that have not ended
local failed = {}                      -- tasks whose failure nobody has taken yet
local jobs = batches.new()             -- of stores, that tasks wait for
local turns_put_off = 0

local function push_ready(task)
  ready.last = ready.last + 1
  ready[ready.last] = task
end

local function pop_ready()
  if ready.first > ready.last then return nil end
  local task = ready[ready.first]
  ready[ready.first] = nil
  ready.first = ready.first + 1
  return task
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

local function trace(cause)
  if type(cause) == "string" then return debug.traceback(cause, 2) end
  return cause
end

local function fail(task, failure)
  task.failure = failure
  if not task.joined and #failed < FAILED_MAX then failed[#failed + 1] = task end
end

local function finish(task, ok, ...)
  if ok then task.results = { n = select("#", ...), ... } else fail(task, (...)) end
  task.done = true
  tasks[task.co] = nil
  live = live - 1
  for _, waiter in ipairs(task.waiters) do push_ready(waiter) end
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
  task.begun = true
  settle(task, coroutine.resume(task.co))
  let_go(task)
end

--- Starts a task; it runs when the caller next waits.
---@param fn function
---@return ringlink.Task
function M.spawn(fn, ...)
  local args = { n = select("#", ...), ... }
  local task = { done = false, critical = false, waiters = {} }
  task.co = coroutine.create(function()
    return xpcall(function() return fn(unpack(args, 1, args.n)) end, trace)
  end)
  tasks[task.co] = task
  live = live + 1
  push_ready(task)
  return task
end

--- Starts a critical section: a task that goes on when whoever waits for it is gone. It is given
--- values, not closures over its caller.
---@param fn function
---@return ringlink.Task
function M.critical(fn, ...)
  local task = M.spawn(fn, ...)
  task.critical = true
  return task
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
  while #timers > 0 and timers[#timers].at_ms <= now do
    push_ready(table.remove(timers).task)
  end
end

local function collect(transport, boxes)
  for ticket, result in transport.take, transport do
    local box = boxes[ticket]
    boxes[ticket] = nil
    if box then
      box.result = result
      if box.task then push_ready(box.task) end
    end
  end
  if next(boxes) == nil then transports[transport] = nil end
end

local function busy_transports()
  local list = {}
  for transport in pairs(transports) do list[#list + 1] = transport end
  return list
end

local function wait_ms()
  if ready.first <= ready.last then return 0 end
  local timer = timers[#timers]
  if timer == nil then return WAIT_MS_MAX end
  return math.min(math.max(timer.at_ms - core.monotonic_ms(), 0), WAIT_MS_MAX)
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
  if ready.first <= ready.last and turns_put_off < TURNS_MAX then return end
  turns_put_off = 0
  commit_jobs()
end

local function wait_for_something()
  commit_when_idle()
  local busy = busy_transports()
  local ms = wait_ms()
  if #busy == 0 then
    if ready.first > ready.last and #timers == 0 then error("ringlink: the loop waits for nothing") end
    if ms > 0 then core.sleep_ms(ms) end
  end
  if #busy > 1 then ms = math.min(ms, SLICE_MS) end
  for _, transport in ipairs(busy) do
    transport:poll(ms)
    collect(transport, transports[transport])
  end
  expire_timers()
end

local function run_ready()
  local last = ready.last
  while ready.first <= last do resume(pop_ready()) end
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

-- Waits until `arrived()` holds. `register(task)` arranges for a task to be woken.
local function wait_until(arrived, register, blocking)
  if arrived() then return end
  M.check_may_wait(blocking)
  local task = current_task()
  if task then
    if register then register(task) end
    if task.cancelled then errors.new("cancelled"):raise() end
    repeat
      coroutine.yield()
      if task.cancelled then errors.new("cancelled"):raise() end
    until arrived()
  else
    turn_until(arrived)
  end
end

-- Its failure is the caller's from now on.
local function take(task)
  task.joined = true
  for i, one in ipairs(failed) do
    if one == task then return table.remove(failed, i) end
  end
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
  local boxes = transports[transport]
  if boxes == nil then
    boxes = {}
    transports[transport] = boxes
  end
  local box = {}
  boxes[ticket] = box
  wait_until(function() return box.result end, function(me) box.task = me end, blocking)
  return box.result
end

--- Forgets a transport that is about to be closed; whoever still waits is told `cancelled`.
---@param transport userdata
function M.forget(transport)
  local boxes = transports[transport] or {}
  transports[transport] = nil
  for _, box in pairs(boxes) do
    box.result = { error = "cancelled", sent = true }
    if box.task then push_ready(box.task) end
  end
end

local function add_timer(at_ms, task)
  local i = #timers
  while i > 0 and timers[i].at_ms <= at_ms do i = i - 1 end
  table.insert(timers, i + 1, { at_ms = at_ms, task = task })
end

--- Waits for a time, letting other tasks run.
---@param seconds number
---@param blocking boolean?
function M.sleep(seconds, blocking)
  local at_ms = core.monotonic_ms() + math.ceil(seconds * 1000)
  local function arrived() return core.monotonic_ms() >= at_ms end
  if current_task() == nil and not arrived() then
    -- an idle task keeps the loop from sleeping longer than this caller wants
    add_timer(at_ms, M.spawn(function() end))
  end
  wait_until(arrived, function(me) add_timer(at_ms, me) end, blocking)
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

-- The first failure that nobody took; the others go with it.
local function take_failure()
  local first = failed[1]
  failed = {}
  return first
end

-- Ends the tasks of a loop that was interrupted: their waits raise, so that each can tidy up.
-- Critical sections stay, and go on at the next turn. What they wait for from a store is done first:
-- nobody may turn this loop again.
local function abandon_tasks()
  commit_jobs()
  local left = {}
  for _, task in pairs(tasks) do
    if not (task.done or task.critical) then left[#left + 1] = task end
  end
  for _, task in ipairs(left) do
    task.cancelled, task.joined = true, true
    if task.begun then resume(task) else finish(task, false, errors.new("cancelled")) end
  end
end

--- Runs a function as a task and returns what it returns, once all tasks have ended. Raises what it
--- raised, or what the first task raised that nobody joined, this one's or an earlier one's.
---@param fn function
function M.run(fn, ...)
  local task = M.spawn(fn, ...)
  if current_task() then return M.join(task) end
  task.joined = true
  local ended, interruption = pcall(turn_until, function() return live == 0 end)
  if not ended then
    abandon_tasks()
    error(interruption, 0)
  end
  local orphan = take_failure()
  if orphan and task.results then error(orphan.failure, 0) end
  return M.join(task)
end

return M
