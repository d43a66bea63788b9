--- One clock for several processes: the machine's, ahead by what a file says.
--
--   local clock = shared_clock.at(directory)
--   shared_clock.advance(directory, 60000)     -- for all who share it, at once
--   shared_clock.step(directory, -3600000)     -- the wall clock alone is set
--
-- Only the monotonic clock, by which a call knows its deadline, stays the machine's. Whoever sleeps
-- looks again soon: what they wait for comes by `advance`.

local core = require "ringlink.core"
local ringlink = require "ringlink"

local M = {}

local SLEEP_S_MAX = 0.02

local function path_of(directory, name) return directory .. "/" .. name end

local function read_ms(directory, name)
  local file = io.open(path_of(directory, name), "rb")
  if not file then return 0 end
  local text = file:read("*a")
  file:close()
  return tonumber(text)
end

-- Readers see the old time or the new one.
local function add_ms(directory, name, ms)
  local beside = path_of(directory, name) .. ".new"
  local file = assert(io.open(beside, "wb"))
  assert(file:write(("%d"):format(read_ms(directory, name) + ms)))
  assert(file:close())
  assert(os.rename(beside, path_of(directory, name)))
end

--- Moves the clock on.
function M.advance(directory, ms)
  add_ms(directory, "ahead", ms)
end

--- Sets the wall clock: that much further, or back; no time passes.
function M.step(directory, ms)
  add_ms(directory, "stepped", ms)
end

--- The clock table that a client takes.
function M.at(directory)
  local function ahead_ms() return read_ms(directory, "ahead") end
  return {
    now_ms = function() return core.now_ms() + ahead_ms() + read_ms(directory, "stepped") end,
    boottime_ms = function() return core.boottime_ms() + ahead_ms() end,
    monotonic_ms = core.monotonic_ms,
    sleep = function(seconds) ringlink.sleep(math.min(seconds, SLEEP_S_MAX)) end,
  }
end

return M
