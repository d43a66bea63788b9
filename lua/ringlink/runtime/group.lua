--- The tasks of one `run`: who of them is still at it, who failed, and what that means for the others.
--
-- Invariants: a task belongs to the group of whoever spawned it; a group is over when its last task
-- is. A critical section belongs to none: nobody's failure ends it. A failure that somebody joined is
-- that one's; of the others the first FAILED_MAX are kept, or, when they are collected, all.

local origin = require "ringlink.runtime.origin"

local M = {}

local FAILED_MAX = 16

---@class ringlink.Group
---@field live integer           tasks that have not ended
---@field on_error "finish"|"cancel"|"collect"
---@field failed ringlink.Task[] in the order in which they failed
---@field tasks table<ringlink.Task, true>
---@field over fun()?            told when the last task has ended
local Group = {}
Group.__index = Group

--- A group without tasks.
---@param on_error "finish"|"cancel"|"collect"?
---@return ringlink.Group
function M.new(on_error)
  return setmetatable({ live = 0, on_error = on_error or "finish", failed = {}, tasks = {} }, Group)
end

--- A task begins.
---@param task ringlink.Task
function Group:add(task)
  self.live = self.live + 1
  self.tasks[task] = true
  task.group = self
end

--- A task has ended.
---@param task ringlink.Task
function Group:remove(task)
  self.live = self.live - 1
  self.tasks[task] = nil
  if self.live == 0 and self.over then self.over() end
end

--- A task failed, and nobody has asked for what it would return.
---@param task ringlink.Task
---@return boolean cancels whether the others are to be cancelled
function Group:fail(task)
  if #self.failed < FAILED_MAX or self.on_error == "collect" then
    self.failed[#self.failed + 1] = task
    task.kept = true
  end
  return self.on_error == "cancel"
end

--- Somebody takes a task's failure upon itself.
---@param task ringlink.Task
function Group:take(task)
  if not task.kept then return end
  task.kept = nil
  for i, one in ipairs(self.failed) do
    if one == task then return table.remove(self.failed, i) end
  end
end

--- The first failure that nobody took; the others go with it.
---@return ringlink.Task?
function Group:take_first()
  local first = self.failed[1]
  self.failed = {}
  return first
end

--- All failures that nobody took, in their order.
---@return { error: any, spawned: string }[]
function Group:collect()
  local list = {}
  for i, task in ipairs(self.failed) do
    list[i] = { error = task.failure, spawned = origin.describe(task.origin) }
  end
  self.failed = {}
  return list
end

--- The tasks that have not ended.
---@return ringlink.Task[]
function Group:list()
  local list = {}
  for task in pairs(self.tasks) do list[#list + 1] = task end
  return list
end

return M
