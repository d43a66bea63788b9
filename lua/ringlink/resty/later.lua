--- What goes on after the answer: tasks of the client's runtime, given values only.
--
-- In nginx's own runtime a task lives on its background timer and the request ends at once. Another
-- runtime has nobody to turn it, so the request waits for it here, with its answer sent already. A task
-- that fails is written down and harms nobody.

local errors = require "ringlink.errors"

local M = {}

local unpack = table.unpack or unpack

local function report(client, what, problem)
  client.log("error", "what was to be done after an answer failed", { what = what,
    cause = errors.describe_trace(problem) })
end

--- The task's body: public, because a runtime is given functions of modules, not closures.
---@param client ringlink.Client
---@param what string
---@param fn function
function M.guarded(client, what, fn, ...)
  local ok, problem = pcall(fn, ...)
  if not ok then report(client, what, problem) end
end

local function nothing() end

--- Starts what is to be done although the request may end at any moment: call it before the answer is
--- written, so that a client who goes away then takes nothing with it.
---@param client ringlink.Client
---@param what string names it in the log
---@param fn function of a module
---@return fun() rest to be called once the answer is sent: what this request has to do itself
function M.begin(client, what, fn, ...)
  local ok, task = pcall(client.runtime.critical, M.guarded, client, what, fn, ...)
  if ok and client.runtime.name == "ngx" then return nothing end
  if ok then return function() client.runtime.join(task) end end
  report(client, what, task)                   -- no task can be started just now
  local args, count = { ... }, select("#", ...)
  return function() M.guarded(client, what, fn, unpack(args, 1, count)) end
end

return M
