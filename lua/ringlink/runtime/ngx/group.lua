--- `ringlink.run` inside nginx: the caller itself runs the function, and then waits for the tasks
-- that were spawned in it, or in those tasks.

local background = require "ringlink.runtime.ngx.background"

local M = {}

local groups = setmetatable({}, { __mode = "k" })     -- coroutine -> tasks of the run it belongs to

local function within(group, fn, ...)
  local thread = coroutine.running()
  local before = groups[thread]
  groups[thread] = group
  local function leave(ok, ...)
    groups[thread] = before
    if not ok then error((...), 0) end
    return ...
  end
  return leave(pcall(fn, ...))
end

--- Starts a task in the background; the run that it belongs to waits for it.
---@param fn function
---@return ringlink.Task
function M.spawn(fn, ...)
  local group = groups[coroutine.running()]
  if not group then return background.spawn(fn, ...) end
  local task = background.spawn(within, group, fn, ...)
  task.awaited = true
  group[#group + 1] = task
  return task
end

-- Waits for all of them; the failure of the first that failed and that nobody else joined.
local function join_all(group)
  local failure
  for _, task in ipairs(group) do
    local is_orphan = not task.joined
    local ok, problem = pcall(background.join, task)
    if not ok and is_orphan then failure = failure or { problem } end
  end
  return failure
end

local function settle(group, ok, ...)
  local failure = join_all(group)
  if not ok then error((...), 0) end
  if failure then error(failure[1], 0) end
  return ...
end

--- Runs a function and returns what it returns, once the tasks that were spawned in it have ended.
--- Raises what it raised, or else what the first of those raised that nobody joined.
---@param fn function
function M.run(fn, ...)
  local group = {}
  return settle(group, pcall(within, group, fn, ...))
end

return M
