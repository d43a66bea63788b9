--- A client's clock on which waiting costs nothing: sleeping moves it on, other tasks get their turn.
--
--   local clock = require("support.clock").new()
--   local client = w:client { clock = clock }
--   clock.advance(61000)            -- milliseconds
--
-- It runs with the machine's clock, ahead of it by whatever was slept or advanced. `slept_ms` adds
-- up what the client wanted to wait.

local core = require "ringlink.core"
local ringlink = require "ringlink"

local M = {}

local TURN_S = 0.001                 -- what a sleep really takes: a turn of the loop

--- A clock at the machine's present time.
function M.new()
  local ahead_ms = 0
  local clock = { slept_ms = 0 }

  function clock.now_ms() return core.now_ms() + ahead_ms end

  function clock.monotonic_ms() return core.monotonic_ms() + ahead_ms end

  function clock.advance(ms) ahead_ms = ahead_ms + ms end

  --- The wall clock is set; the monotonic one goes on as before.
  function clock.step(ms)
    local now_ms = clock.now_ms
    clock.now_ms = function() return now_ms() + ms end
  end

  function clock.sleep(seconds)
    local ms = math.ceil(seconds * 1000)
    clock.slept_ms = clock.slept_ms + ms
    clock.advance(ms)
    ringlink.sleep(TURN_S)
  end

  return clock
end

return M
