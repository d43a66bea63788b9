--- What is to happen at certain times: a heap, so that ten thousand sleepers cost each other nothing.
--
-- Invariants: the soonest stands first; of one time, those that were added first come first. A timer
-- that was taken out holds on to nothing, even while its empty place waits for its time.

local M = {}

---@class ringlink.Timers
---@field count integer
---@field added integer
local Timers = {}
Timers.__index = Timers

--- None.
---@return ringlink.Timers
function M.new()
  return setmetatable({ count = 0, added = 0 }, Timers)
end

local function is_sooner(a, b)
  if a.at_ms ~= b.at_ms then return a.at_ms < b.at_ms end
  return a.number < b.number
end

local function rise(self, timer)
  local at = self.count
  while at > 1 do
    local above = math.floor(at / 2)
    if not is_sooner(timer, self[above]) then break end
    self[at], at = self[above], above
  end
  self[at] = timer
end

local function sooner_below(self, at)
  local left = at * 2
  if left >= self.count or is_sooner(self[left], self[left + 1]) then return left end
  return left + 1
end

local function sink(self, timer)
  local at = 1
  while at * 2 <= self.count do
    local below = sooner_below(self, at)
    if not is_sooner(self[below], timer) then break end
    self[at], at = self[below], below
  end
  self[at] = timer
end

--- Adds what is to be handed out at a time.
---@param at_ms number monotonic
---@param what any
---@return table timer for `drop`
function Timers:add(at_ms, what)
  self.count, self.added = self.count + 1, self.added + 1
  local timer = { at_ms = at_ms, number = self.added, what = what }
  rise(self, timer)
  return timer
end

--- Lets go of what a timer was for: it will not be handed out.
---@param timer table
function Timers.drop(_, timer)
  timer.what = nil
end

local function pop(self)
  local first, last = self[1], self[self.count]
  self[self.count] = nil
  self.count = self.count - 1
  if self.count > 0 then sink(self, last) end
  return first
end

local function shed_dropped(self)
  while self.count > 0 and self[1].what == nil do pop(self) end
end

--- When the next one is; nil when there is none.
---@return number? at_ms
function Timers:next_ms()
  shed_dropped(self)
  return self.count > 0 and self[1].at_ms or nil
end

--- Takes out the first one if its time has come.
---@param now_ms number
---@return any what nil: none
function Timers:expire(now_ms)
  local at_ms = self:next_ms()
  if at_ms == nil or at_ms > now_ms then return nil end
  return pop(self).what
end

return M
