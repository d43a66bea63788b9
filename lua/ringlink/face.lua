--- What every public method passes: the check of its `self`, and where errors that were raised inside
-- become return values.
--
-- Inside, a store or vault that fails, or a runtime that does not start, raises an error object, so
-- that no caller in between can forget to look. Here, at every public method but the iterators (they
-- raise anyway), it becomes `nil, err`. Everything else that is raised goes on: mistakes of the calling
-- program, cancelled waits, foreign coroutines.

local errors = require "ringlink.errors"

local M = {}

local function settle(ok, ...)
  if ok then return ... end
  local problem = (...)
  if errors.is_returned(problem) then return nil, problem end
  if errors.is(problem) then errors.raise_outside(problem) end
  error(problem, 0)
end

--- Replaces methods of a class by ones that refuse to be called with a dot.
---@param class table
---@param word string what users call an instance
---@param names string[]
function M.check_self(class, word, names)
  for _, name in ipairs(names) do
    local method = class[name]
    class[name] = function(self, ...)
      if getmetatable(self) ~= class then
        errors.misuse(("%s: call it with a colon: %s:%s(...)"):format(name, word, name))
      end
      return method(self, ...)
    end
  end
end

--- Replaces methods of a class by ones that return the store's errors.
---@param class table
---@param names string[]
function M.cover(class, names)
  for _, name in ipairs(names) do
    local method = class[name]
    class[name] = function(...) return settle(pcall(method, ...)) end
  end
end

return M
