--- Between somebody else's event loop and ringlink's threads: who waits for what, and who looks.
--
-- The threads (core.transport_worker, core.store_worker) move transfers and run the store's jobs; one
-- descriptor becomes readable when something is done. While anybody waits, one coroutine of the loop, the
-- reader, waits for that descriptor and hands out what came; when nobody waits there is none, so that the
-- loop can end. Whoever waits for long looks whether the reader still turns, and else starts another:
-- the loop may have dropped it.
-- Critical sections are coroutines that nobody but this board resumes. Each step of one is made in a
-- coroutine of the loop, so that a store of the user's own may wait there in its own way; the section
-- itself belongs to no coroutine of the loop and goes on whichever of those are dropped.
-- In the main program, outside of the loop, a wait turns the board itself: so what the loop left behind
-- is brought to its end by whoever waits for it there, such as `client:close`.
-- Invariants: whoever waits is answered; an answer that nobody waits for any more is thrown away. A task
-- that has not ended, and a carrier that owes an answer, are held; a carrier that its client has lost is
-- collected, and its thread joined.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local queues = require "ringlink.runtime.queue"
local timers_of = require "ringlink.runtime.timers"
local trace = require "ringlink.trace"
local visit = require "ringlink.runtime.external.visit"

local M = {}

local TURN_S = 1                       -- the reader looks at least this often
local SILENT_MS = 2500                 -- after which it is taken for dropped
local WAIT_S = 2
local TURN_MS_MAX = 60000
local IN_FLIGHT_MAX = 512              -- of a transport, more or less; the others wait in their order

---@class ringlink.Board
---@field host table          see ringlink.runtime.external
---@field waits integer       boxes that are not answered
---@field reader table?       whose turn it is to look
---@field spawned integer     coroutines that will each make a step, unless the loop drops them
---@field carriers table<userdata, ringlink.Carried> weak
---@field owing table<userdata, true> those with open tickets

---@class ringlink.Carried
---@field boxes table<integer, table> by ticket
---@field count integer       of them
---@field queue ringlink.Queue of boxes of those who wait for room

local Board = {}
Board.__index = Board

local tasks = {}                       -- coroutine -> task of some board that has not ended

--- The task that the caller runs in, of whichever board.
---@return table?
function M.current_task()
  local co = coroutine.running()
  return co and tasks[co] or nil
end

--- A board for a loop.
---@param host table
---@return ringlink.Board
function M.new(host)
  return setmetatable({ host = host, waits = 0, turn_ms = 0 }, Board)
end

local function new_pair()
  local wake, _, detail = core.wake_pair()
  if not wake then errors.new("runtime_not_started", { detail = detail }):raise() end
  return wake
end

local function begin(self, pid)
  self.wake, self.pid, self.spare = new_pair(), pid, {}
  self.waits, self.reader, self.spawned, self.stepped_ms = 0, nil, 0, 0
  self.timers, self.ready = timers_of.new(), queues.new()
  self.carriers, self.owing = setmetatable({}, { __mode = "k" }), {}
end

-- Opened at first use. What was under way when a process was forked is the parent's.
local function need(self)
  local pid = core.process_id()
  if self.pid ~= pid then begin(self, pid) end
end

-- Where the caller runs -------------------------------------------------------------------------

local function is_main()
  local co, main = coroutine.running()
  return co == nil or main == true
end

-- Whether the loop can suspend the caller; nil where no loop turns.
local function can_suspend(self)
  if self.host.running then return self.host.running() end
  return not is_main() or nil
end

--- Raises foreign_coroutine where nothing can be waited for.
function Board:check_may_wait()
  if M.current_task() then return end
  local can = can_suspend(self)
  if can or (can == nil and is_main()) then return end
  errors.new("foreign_coroutine"):raise()
end

-- Boxes -----------------------------------------------------------------------------------------

local function new_box(self)
  need(self)
  self.waits = self.waits + 1
  return {}
end

-- It has come; whoever waits goes on.
local function answer(self, box, result)
  if box.done_ms then return end
  self.waits = self.waits - 1
  box.result, box.done_ms = result, core.monotonic_ms()
  if self.waits == 0 then self.wake:signal() end         -- so that the reader ends
  if box.task then self.ready:push(box.task) end
  if box.signal then box.signal:signal() end
end

-- Steps of tasks --------------------------------------------------------------------------------

local function traced(cause)
  if type(cause) == "string" then return (trace.outside(cause, 2)) end
  return cause
end

local function conclude(self, task, ok, ...)
  if ok then task.results = { n = select("#", ...), ... } else task.failure = (...) end
  task.done = true
  tasks[task.co], task.co = nil, nil
  for _, box in ipairs(task.waiters) do answer(self, box, true) end
end

local run_ready

local function step(self, task)
  local resume = self.host.resume or coroutine.resume
  local ok, problem = resume(task.co)
  assert(ok, problem)                  -- what the task itself raised is its result
  run_ready(self)
end

-- The coroutine that was spawned for a step takes it only when it runs: the loop may drop that one too.
local function step_next(self)
  self.spawned, self.stepped_ms = math.max(0, self.spawned - 1), core.monotonic_ms()
  local task = self.ready:pop()
  if task then step(self, task) end
end

local function spawn_steps(self)
  local now_ms = core.monotonic_ms()
  if self.spawned == 0 or now_ms - self.stepped_ms > SILENT_MS then
    self.spawned, self.stepped_ms = 0, now_ms
  end
  while self.spawned < self.ready.count do
    self.spawned = self.spawned + 1
    self.host.spawn(function() step_next(self) end)
  end
end

-- What can go on does so, each in a coroutine of the loop if there is one here.
function run_ready(self)
  if can_suspend(self) then return spawn_steps(self) end
  local task = self.ready:pop()
  while task do
    step(self, task)
    task = self.ready:pop()
  end
end

--- A task: begins when the caller next waits, or earlier.
---@param fn function
---@return table task
function Board:spawn(fn, ...)
  need(self)
  local args = { n = select("#", ...), ... }
  local task = { board = self, done = false, waiters = {} }
  task.co = coroutine.create(function()
    conclude(self, task, xpcall(function() return fn((table.unpack or unpack)(args, 1, args.n)) end, traced))
  end)
  tasks[task.co] = task
  self.ready:push(task)
  if can_suspend(self) then run_ready(self) end
  return task
end

-- What came -------------------------------------------------------------------------------------

--- Makes a carrier, a core.transport_worker or core.store_worker, that speaks through this board.
---@param make fun(config: table, wake: userdata): userdata?, string?, string?
---@param config table
---@return userdata? carrier
---@return string? code
---@return string? detail
function Board:carry(make, config)
  need(self)
  local carrier, code, detail = make(config, self.wake)
  if carrier then self.carriers[carrier] = { boxes = {}, count = 0, queue = queues.new() } end
  return carrier, code, detail
end

local function deliver(self, carrier, ticket, result)
  local record = self.carriers[carrier]
  local box = record.boxes[ticket]
  if not box then return end
  record.boxes[ticket], record.count = nil, record.count - 1
  if record.count == 0 then self.owing[carrier] = nil end
  answer(self, box, result)
end

local function collect(self, carrier)
  for ticket, result in carrier.take, carrier do deliver(self, carrier, ticket, result) end
end

local function let_in(self, record, room)
  while room > 0 and record.queue.count > 0 do
    answer(self, record.queue:pop(), true)
    room = room - 1
  end
end

local function look(self)
  local now_ms = core.monotonic_ms()
  self.turn_ms = now_ms
  self.wake:drain()
  local list = {}
  for carrier in pairs(self.carriers) do list[#list + 1] = carrier end
  for _, carrier in ipairs(list) do
    collect(self, carrier)
    local record = self.carriers[carrier]
    if record then let_in(self, record, IN_FLIGHT_MAX - record.count) end
  end
  local box = self.timers:expire(now_ms)
  while box do
    answer(self, box, true)
    box = self.timers:expire(now_ms)
  end
end

local function until_timer_s(self, most_s)
  local at_ms = self.timers:next_ms()
  if not at_ms then return most_s end
  return math.min(most_s, math.max(0, at_ms - core.monotonic_ms()) / 1000)
end

local function read(self, me)
  while self.reader == me and self.waits > 0 do
    local wait_s = until_timer_s(self, TURN_S)
    self.reads_until_ms = core.monotonic_ms() + wait_s * 1000
    self.host.wait_fd(self.wake:fd(), wait_s)
    if self.reader ~= me then return end
    look(self)
    run_ready(self)
  end
  if self.reader == me then self.reader = nil end
end

local function need_reader(self)
  local now_ms = core.monotonic_ms()
  if self.reader and now_ms - self.turn_ms <= SILENT_MS then return end
  local me = {}
  self.reader, self.turn_ms, self.reads_until_ms = me, now_ms, 0
  self.host.spawn(function() read(self, me) end)
end

-- Waiting ---------------------------------------------------------------------------------------

-- A loop that has nothing better is told by a descriptor of the waiter's own.
local function descriptor_signal(self)
  local wake = table.remove(self.spare) or new_pair()
  return {
    wait = function(_, seconds)
      self.host.wait_fd(wake:fd(), seconds)
      wake:drain()
    end,
    signal = function() wake:signal() end,
    give_back = function() self.spare[#self.spare + 1] = wake end,
  }
end

local function suspend(self, box)
  need_reader(self)
  local condition = self.host.condition
  box.signal = condition and condition() or descriptor_signal(self)
  visit.note(box)
  while not box.done_ms do
    box.signal:wait(WAIT_S)
    if not box.done_ms then need_reader(self) end
  end
  visit.note(nil)
  if box.signal.give_back then box.signal.give_back() end
end

local function turn(self, box)
  run_ready(self)
  while not box.done_ms do
    self.wake:wait(math.ceil(until_timer_s(self, TURN_MS_MAX / 1000) * 1000))
    look(self)
    run_ready(self)
  end
end

local function wait_in_task(self, task, box)
  box.task = task
  if can_suspend(self) ~= nil then need_reader(self) end
  visit.note(box)
  while not box.done_ms do coroutine.yield() end
  visit.note(nil)
end

local function wait(self, box)
  local task = M.current_task()
  if task then
    wait_in_task(self, task, box)
  elseif not box.done_ms then
    self:check_may_wait()
    if can_suspend(self) then suspend(self, box) else turn(self, box) end
  end
  return box.result
end

--- Waits for a ticket of a carrier.
---@param carrier userdata
---@param ticket integer
---@return any result
function Board:await(carrier, ticket)
  local box, record = new_box(self), self.carriers[carrier]
  record.boxes[ticket], record.count = box, record.count + 1
  self.owing[carrier] = true
  return wait(self, box)
end

--- Waits until a carrier has room for one more.
---@param carrier userdata
function Board:admit(carrier)
  local record = self.carriers[carrier]
  if record == nil or (record.queue.count == 0 and record.count < IN_FLIGHT_MAX) then return end
  local box = new_box(self)
  record.queue:push(box)
  wait(self, box)
end

--- Waits for a task and returns what it returned; raises what it raised.
---@param task table
function Board:join(task)
  if task == M.current_task() then errors.misuse("a task cannot wait for itself") end
  if not task.done then
    local box = new_box(self)
    task.waiters[#task.waiters + 1] = box
    wait(self, box)
  end
  if task.results == nil then error(task.failure, 0) end
  return (table.unpack or unpack)(task.results, 1, task.results.n)
end

--- Waits for a time.
---@param seconds number
function Board:sleep(seconds)
  self:check_may_wait()
  if not M.current_task() and can_suspend(self) then return self.host.sleep(seconds) end
  local box, at_ms = new_box(self), core.monotonic_ms() + math.ceil(seconds * 1000)
  self.timers:add(at_ms, box)
  if self.reader and at_ms < self.reads_until_ms then self.wake:signal() end
  wait(self, box)
end

--- Gives up a carrier: it is closed, and whoever still waits is told `cancelled`.
---@param carrier userdata
function Board:drop(carrier)
  carrier:close()
  local record = self.carriers[carrier]
  if record == nil then return end             -- the parent's
  collect(self, carrier)                       -- closed, it has an answer to everything
  let_in(self, record, record.queue.count)
  self.carriers[carrier] = nil
  run_ready(self)
end

return M
