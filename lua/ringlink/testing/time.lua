--- Virtual time: a list of what is to happen when, and whoever waits for some of it.
--
-- For ringlink's loop it is a transport: a wait is a ticket. The loop goes on with every task that can go
-- on before it lets time pass (`poll` with milliseconds to spare); then time jumps to what comes next. So
-- nothing takes any time, and what several tasks do comes in the order that their times say.
-- Invariants: time never goes back; of one instant, what was arranged first happens first; an open ticket
-- is told something by what is still to happen.

local queues = require "ringlink.runtime.queue"
local runtime = require "ringlink.runtime"
local timers = require "ringlink.runtime.timers"

local M = {}

-- Waiting in a coroutine that the loop does not know takes no time either, so it may.
local loop = runtime.new("blocking", {})

---@class ringlink.testing.Time
---@field wall_ms number
---@field mono_ms number
---@field open table<integer, true> tickets that are still to be told their last
local Time = {}
Time.__index = Time

--- A time that begins at an instant.
---@param now_ms number
---@return ringlink.testing.Time
function M.new(now_ms)
  return setmetatable({ wall_ms = now_ms, mono_ms = 0, coming = timers.new(), told = queues.new(),
    open = {}, tickets = 0 }, Time)
end

local function pass(self, ms)
  self.wall_ms, self.mono_ms = self.wall_ms + ms, self.mono_ms + ms
end

--- Arranges that a function is called after a time.
---@param ms number
---@param fn fun()
---@return table timer for `drop`
function Time:after(ms, fn)
  return self.coming:add(self.mono_ms + ms, fn)
end

--- Takes that back.
---@param timer table
function Time:drop(timer)
  self.coming:drop(timer)
end

--- Lets time pass; what comes in between happens at its instant.
---@param ms number
function Time:advance(ms)
  local until_ms = self.mono_ms + ms
  local next_ms = self.coming:next_ms()
  while next_ms and next_ms <= until_ms do
    pass(self, math.max(0, next_ms - self.mono_ms))
    self.coming:expire(next_ms)()
    next_ms = self.coming:next_ms()
  end
  pass(self, math.max(0, until_ms - self.mono_ms))
end

--- Something to wait for.
---@return integer ticket
function Time:ticket()
  self.tickets = self.tickets + 1
  self.open[self.tickets] = true
  return self.tickets
end

--- Tells whoever waits for a ticket. One that is over is told nothing.
---@param ticket integer
---@param result table
---@param goes_on boolean? there is more to come
function Time:tell(ticket, result, goes_on)
  if not self.open[ticket] then return end
  if not goes_on then self.open[ticket] = nil end
  self.told:push({ ticket, result })
end

--- Waits for a ticket.
---@param ticket integer
---@return table result
function Time:await(ticket)
  return loop.await(self, ticket)
end

--- Waits for a time.
---@param seconds number
function Time:sleep(seconds)
  local ticket = self:ticket()
  self:after(math.ceil(seconds * 1000), function() self:tell(ticket, {}) end)
  self:await(ticket)
end

-- What the loop asks of a transport -----------------------------------------------------------

--- Lets time pass until somebody is told something, unless the loop has no time to spare.
---@param ms number
function Time:poll(ms)
  self:advance(0)
  while ms > 0 and self.told.count == 0 do
    local next_ms = self.coming:next_ms()
    if not next_ms then error("ringlink.testing: somebody waits for what will never happen") end
    self:advance(next_ms - self.mono_ms)
  end
end

--- Takes what somebody is told.
---@return integer? ticket
---@return table? result
function Time:take()
  local one = self.told:pop()
  if one then return one[1], one[2] end
end

--- Ends a ticket.
---@param ticket integer
function Time:cancel(ticket)
  self:tell(ticket, { error = "cancelled", detail = "the call was cancelled", sent = true })
end

return M
