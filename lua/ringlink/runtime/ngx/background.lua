--- What runs in a worker beside its requests, in one timer: the reader of the channel and the
-- labourers.
--
-- It is started by the first call that needs it and says so when it runs; when it does not, because
-- lua_max_running_timers is reached, that call fails with `runtime_not_started` and the next one
-- starts it anew. Nothing else here uses timers: nginx drops what is above the limit with nothing
-- but a line in the error log.
-- It leaves when the worker is exiting and nobody waits, so that the worker can end; and, in a VM
-- that may be one request's only, when nobody has waited for a while, so that the VM can be freed.
-- At any moment one background is current; one whose channel failed is replaced, and stays until
-- its tasks have ended.

local channel = require "ringlink.runtime.ngx.channel"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local phase = require "ringlink.runtime.ngx.phase"
local semaphore = require "ngx.semaphore"
local tasks = require "ringlink.runtime.ngx.tasks"
local visit = require "ringlink.runtime.ngx.visit"

local M = {}

local TURN_S = 0.2                     -- how often it looks whether it may leave
local LAST_TURN_S = 0.05               -- the same once the worker is exiting
local IDLE_MS = 2000                   -- before a VM that may be one request's only is left
-- nginx runs expired timers in order, so that a handler due now has run before this is over,
-- however busy the worker is.
local CONFIRM_S = 0.1
local OPEN_S = 10
local WAIT_S = 30
local SILENT_MS = 15000
local THREAD_NAME = "ringlink-"
local THREADS_MAX = 64

---@class ringlink.Background
---@field state "starting"|"running"|"over"
---@field begun boolean whether nginx has called the timer
---@field gate table semaphore of those who wait for it to run
---@field problem string? why it did not start
---@field labour ringlink.Labour
---@field channel ringlink.Channel

local current

local function let_in(self)
  local waiting = -self.gate:count()
  if waiting > 0 then self.gate:post(waiting) end
end

local function is_idle(self)
  return self.labour.live == 0 and not self.channel:is_waited_for()
end

local function may_leave(self)
  local now_ms = core.monotonic_ms()
  self.turn_ms = now_ms
  if not is_idle(self) then self.busy_ms = now_ms end
  if self.channel.closed then return self.labour.live == 0 end
  if ngx.worker.exiting() then return self.busy_ms < now_ms end
  return not phase.is_settled() and now_ms - self.busy_ms >= IDLE_MS
end

local function close(self, why)
  self.state = "over"
  if current == self then current = nil end
  if self.channel and not self.channel.closed then self.channel:close(why) end
end

-- A channel that fails is not mended: the next call opens another.
local function listen(self)
  self.channel:listen()
  close(self, "the wake socket failed")
end

local function serve(self)
  local listener = ngx.thread.spawn(listen, self)
  local messenger = ngx.thread.spawn(self.channel.hand_out, self.channel)
  repeat
    self.labour.wanted:wait(ngx.worker.exiting() and LAST_TURN_S or TURN_S)
    self.labour:hire()
  until may_leave(self)
  close(self, "the worker is exiting")
  ngx.thread.kill(listener)
  ngx.thread.kill(messenger)
  self.labour:dismiss()
end

-- The timer. Whoever wanted it may have given up meanwhile.
local function run(_, self)
  if self.state ~= "starting" then return end
  self.begun = true
  self.channel, self.problem = channel.open()
  self.busy_ms, self.turn_ms = core.monotonic_ms(), core.monotonic_ms()
  if not self.channel then
    close(self)
    return let_in(self)
  end
  self.state = "running"
  let_in(self)
  serve(self)
end

-- With lua_code_cache off every request has a Lua VM of its own, and each VM threads of its own.
local function has_room()
  return phase.is_settled() or core.thread_count(THREAD_NAME) < THREADS_MAX
end

local function launch()
  if not has_room() then
    return nil, ("%d threads of other requests run; lua_code_cache off is for few requests at once"):format(THREADS_MAX)
  end
  local self = { state = "starting", begun = false, gate = semaphore.new(), labour = tasks.new() }
  local started, problem = ngx.timer.at(0, run, self)
  if not started then return nil, problem end
  current = self
  return self
end

local function wait_until_running(self)
  visit.wait(self.gate, CONFIRM_S)
  if self.state == "starting" and self.begun then visit.wait(self.gate, OPEN_S) end
  if self.state == "running" then return self end
  if self.state == "starting" then self.problem = "its timer was dropped" end
  close(self)
  return nil, self.problem
end

--- The background, running; started when there is none.
---@return ringlink.Background?
---@return string? problem
function M.get()
  phase.check()
  if current and current.state == "running" then return current end
  local self, problem = current, nil
  if not self then self, problem = launch() end
  if not self then return nil, problem end
  return wait_until_running(self)
end

--- The same, raising `not_here` or `runtime_not_started`.
---@return ringlink.Background
function M.need()
  local self, problem = M.get()
  if not self then errors.new("runtime_not_started", { detail = problem }):raise() end
  return self
end

-- A task lives in the timer that took it, so that timer is asked.
local function check_alive(self)
  if core.monotonic_ms() - self.turn_ms < SILENT_MS then return end
  errors.new("runtime_not_started", { detail = "its timer has ended" }):raise()
end

--- Runs a function as a task of the background; while that runs, from any phase.
---@param fn function
---@return ringlink.Task
function M.spawn(fn, ...)
  local self = current and current.state == "running" and current or M.need()
  local task = tasks.task(fn, ...)
  task.background = self
  self.labour:push(task)
  return task
end

--- Waits for a task and returns what it returned; raises what it raised.
---@param task ringlink.Task
function M.join(task)
  phase.check()
  return tasks.join(task, function(signal)
    local done, problem = visit.wait(signal, WAIT_S)
    if not done and problem == "timeout" then check_alive(task.background) end
  end)
end

return M
