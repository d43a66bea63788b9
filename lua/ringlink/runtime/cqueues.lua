--- The event loop cqueues: a call of ringlink's yields to the controller that runs the caller.

local auxlib = require "cqueues.auxlib"
local condition = require "cqueues.condition"
local cqueues = require "cqueues"

local M = {}

local function running()
  local controller, is_direct = cqueues.running()
  if controller then return is_direct end
end

--- What `runtime` takes for a controller. Critical sections go on in it, so name the outermost one when
--- you drop others; without one it is whichever runs when a section goes on.
---@param home userdata?
---@return table
function M.on(home)
  return {
    name = "cqueues",
    wait_fd = function(fd, seconds) cqueues.poll({ pollfd = fd, events = "r" }, seconds) end,
    sleep = cqueues.sleep,
    spawn = function(fn) (home or cqueues.running()):wrap(fn) end,
    condition = condition.new, running = running, resume = auxlib.resume,
  }
end

M.any = M.on()

return M
