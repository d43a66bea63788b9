--- Tasks: functions that run in the background and not in the request that asked for them.
--
-- Labourers are light threads of the background timer; each does one task after another, because
-- whatever nginx allots to a light thread is only given back when its timer ends.
-- Invariants: a task that was pushed runs, whatever becomes of the request that pushed it. It is
-- given values: a closure over the stack of a request that was aborted sees nothing there.
-- What a task raised goes to whoever joins it; when nobody waits, into the error log.

local errors = require "ringlink.errors"
local semaphore = require "ngx.semaphore"
local trace = require "ringlink.trace"

local M = {}

local IDLE_MAX = 512                   -- labourers kept for the next tasks
local IDLE_S = 3600

local unpack = table.unpack or unpack

---@class ringlink.NgxTask
---@field done boolean
---@field results table?    packed results, when it ended well
---@field failure any       what it raised, otherwise
---@field joined boolean?   somebody has asked for its result
---@field awaited boolean?  somebody will
---@field waiters table[]   semaphores

---@class ringlink.Labour
---@field live integer tasks that have not ended
---@field wanted table semaphore: posted when there are tasks without a labourer
local Labour = {}
Labour.__index = Labour

--- Nobody at work yet.
---@return ringlink.Labour
function M.new()
  return setmetatable({ queue = {}, first = 1, last = 0, idle = {}, live = 0, dismissed = false,
    wanted = semaphore.new() }, Labour)
end

--- A task that has not begun.
---@param fn function
---@return ringlink.NgxTask
function M.task(fn, ...)
  return { fn = fn, args = { n = select("#", ...), ... }, done = false, waiters = {} }
end

local function traced(cause)
  if type(cause) == "string" then return (trace.outside(cause, 2)) end
  return cause
end

local function is_waited_for(task)
  for _, waiter in ipairs(task.waiters) do
    if waiter:count() < 0 then return true end
  end
  return false
end

local function conclude(task, ok, ...)
  if ok then task.results = { n = select("#", ...), ... } else task.failure = (...) end
  if not (ok or task.awaited or is_waited_for(task)) then
    ngx.log(ngx.ERR, "ringlink: a task failed: ", errors.describe_trace(task.failure))
  end
  task.done, task.fn, task.args, task.thread = true, nil, nil, nil
  for _, waiter in ipairs(task.waiters) do waiter:post() end
end

local function perform(self, task)
  task.thread = coroutine.running()
  conclude(task, xpcall(task.fn, traced, unpack(task.args, 1, task.args.n)))
  self.live = self.live - 1
end

local function pop(self)
  if self.first > self.last then return nil end
  local task = self.queue[self.first]
  self.queue[self.first] = nil
  self.first = self.first + 1
  return task
end

-- The next task for a labourer, or nil when it may go home.
local function next_task(self, me)
  local task = pop(self)
  if task or self.dismissed or #self.idle >= IDLE_MAX then return task end
  self.idle[#self.idle + 1] = me
  repeat me.call:wait(IDLE_S) until me.task or self.dismissed
  task, me.task = me.task, nil
  return task
end

local function labour(self)
  local me = { call = semaphore.new() }
  local task = next_task(self, me)
  while task do
    perform(self, task)
    task = next_task(self, me)
  end
end

--- Hands a task over; it begins when the caller next waits.
---@param task ringlink.NgxTask
function Labour:push(task)
  self.live = self.live + 1
  local labourer = table.remove(self.idle)
  if labourer then
    labourer.task = task
    labourer.call:post()
  else
    self.last = self.last + 1
    self.queue[self.last] = task
    self.wanted:post()
  end
end

--- Starts labourers for the tasks that have none. For the background's own light thread only.
function Labour:hire()
  while self.first <= self.last do ngx.thread.spawn(labour, self) end
end

--- Sends those home who have nothing to do.
function Labour:dismiss()
  self.dismissed = true
  for _, labourer in ipairs(self.idle) do labourer.call:post() end
end

local function outcome(task)
  if task.results == nil then error(task.failure, 0) end
  return unpack(task.results, 1, task.results.n)
end

--- Waits for a task and returns what it returned; raises what it raised.
---@param task ringlink.NgxTask
---@param wait fun(signal: table) waits for a semaphore, and raises when none can be hoped for
function M.join(task, wait)
  task.joined = true
  if not task.done then
    if task.thread == coroutine.running() then errors.misuse("a task cannot wait for itself") end
    local signal = semaphore.new()
    task.waiters[#task.waiters + 1] = signal
    repeat wait(signal) until task.done
  end
  return outcome(task)
end

return M
