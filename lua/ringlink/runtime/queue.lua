--- First in, first out.

local M = {}

---@class ringlink.Queue
---@field count integer
local Queue = {}
Queue.__index = Queue

--- An empty queue.
---@return ringlink.Queue
function M.new()
  return setmetatable({ first = 1, count = 0, items = {} }, Queue)
end

--- Adds something that is not nil.
---@param item any
function Queue:push(item)
  self.items[self.first + self.count] = item
  self.count = self.count + 1
end

--- Takes the oldest out; nil when there is none.
---@return any
function Queue:pop()
  if self.count == 0 then return nil end
  local item = self.items[self.first]
  self.items[self.first] = nil
  self.first, self.count = self.first + 1, self.count - 1
  return item
end

return M
