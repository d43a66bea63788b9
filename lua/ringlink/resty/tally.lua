--- What has been counted, by all workers together.
--
-- Each process counts by itself and now and then puts what came since then on the board; what a dead
-- worker had put there stays. Gauges are each worker's own and fade when it does.
-- A name is a metric and its labels, `|` between them; labels come from bounded sets.

local M = {}

local GAUGE_TTL_S = 5
local MINUTE_TTL_S = 180

---@class ringlink.Tally
---@field board ringlink.Board
---@field prefix string
---@field counts table<string, number> of this process
---@field told table<string, number>   how much of it is on the board
---@field seen table<string, number>   the sums that are followed, as they were
local Tally = {}
Tally.__index = Tally

--- The tally of an app.
---@param board ringlink.Board
---@param app string
---@return ringlink.Tally
function M.new(board, app)
  return setmetatable({ board = board, prefix = "tally|" .. app .. "|", gauges = "gauge|" .. app .. "|",
    minutes = "minute|" .. app .. "|",
    counts = {}, told = {}, seen = {} }, Tally)
end

--- Counts one.
---@param name string
function Tally:add(name)
  self.counts[name] = (self.counts[name] or 0) + 1
end

--- Takes over a sum that is kept elsewhere in this process; one that became smaller has begun anew.
---@param name string
---@param sum number
---@return number more how much came since the last time
function Tally:follow(name, sum)
  local seen = self.seen[name] or 0
  local more = sum >= seen and sum - seen or sum
  self.counts[name] = (self.counts[name] or 0) + more
  self.seen[name] = sum
  return more
end

local function minute_key(self, name, minute)
  return ("%s%s|%d"):format(self.minutes, name, minute)
end

--- Counts things that happened about now, for `per_s`.
---@param name string
---@param n number
---@param now_ms number
function Tally:happened(name, n, now_ms)
  if n > 0 then self.board:add(minute_key(self, name, math.floor(now_ms / 60000)), n, MINUTE_TTL_S) end
end

--- How many a second there were lately: in this minute and the one before.
---@param name string
---@param now_ms number
---@return number
function Tally:per_s(name, now_ms)
  local minute = math.floor(now_ms / 60000)
  local n = (self.board:get(minute_key(self, name, minute)) or 0)
    + (self.board:get(minute_key(self, name, minute - 1)) or 0)
  return n / (60 + now_ms % 60000 / 1000)
end

--- Puts what came since the last time on the board.
function Tally:flush()
  for name, count in pairs(self.counts) do
    local more = count - (self.told[name] or 0)
    if more ~= 0 then self.board:add(self.prefix .. name, more) end
    self.told[name] = count
  end
end

--- Says how much there is of something in this process just now.
---@param name string
---@param worker string
---@param value number
function Tally:gauge(name, worker, value)
  self.board:put(self.gauges .. name .. "|" .. worker, value, GAUGE_TTL_S)
end

local function read(board, prefix, pattern)
  local sums = {}
  for _, key in ipairs(board:keys(prefix)) do
    local name = key:sub(#prefix + 1):match(pattern)
    sums[name] = (sums[name] or 0) + (board:get(key) or 0)
  end
  return sums
end

--- All workers' sums by name, and their gauges added up.
---@return table<string, number> counts
---@return table<string, number> gauges
function Tally:read()
  self:flush()
  return read(self.board, self.prefix, "^(.*)$"), read(self.board, self.gauges, "^(.*)|[^|]*$")
end

return M
