--- One clock for several processes: the machine's, ahead by what a file says.
--
--   local clock = shared_clock.at(directory)
--   shared_clock.advance(directory, 60000)     -- for all who share it, at once
--
-- Only the monotonic clock, by which a call knows its deadline, stays the machine's.

local core = require "ringlink.core"
local ringlink = require "ringlink"

local M = {}

local function path_of(directory) return directory .. "/ahead" end

local function ahead_ms(directory)
  local file = io.open(path_of(directory), "rb")
  if not file then return 0 end
  local text = file:read("*a")
  file:close()
  return tonumber(text)
end

--- Moves the clock on; readers see the old time or the new one.
function M.advance(directory, ms)
  local beside = path_of(directory) .. ".new"
  local file = assert(io.open(beside, "wb"))
  assert(file:write(("%d"):format(ahead_ms(directory) + ms)))
  assert(file:close())
  assert(os.rename(beside, path_of(directory)))
end

--- The clock table that a client takes.
function M.at(directory)
  return {
    now_ms = function() return core.now_ms() + ahead_ms(directory) end,
    boottime_ms = function() return core.boottime_ms() + ahead_ms(directory) end,
    monotonic_ms = core.monotonic_ms,
    sleep = ringlink.sleep,
  }
end

return M
