--- The event loop of libuv: a call of ringlink's yields, whichever coroutine it was made in.

local uv = require "luv"
local M = { name = "luv" }

-- Yields until `fire` was called, at the latest after so long; goes on in a callback of its own.
local function suspend(seconds, arrange)
  local co, timer, over = coroutine.running(), uv.new_timer(), false
  local function go_on()
    over = true
    timer:close()
    local ok, problem = true, nil
    if coroutine.status(co) == "suspended" then ok, problem = coroutine.resume(co) end
    if not ok then error(debug.traceback(co, tostring(problem)), 0) end
  end
  uv.update_time()
  timer:start(math.ceil(seconds * 1000), 0, go_on)
  arrange(function() if not over then timer:start(0, 0, go_on) end end)
  repeat coroutine.yield() until over
end

function M.wait_fd(fd, seconds)
  local poll = uv.new_poll(fd)
  suspend(seconds, function(fire) poll:start("r", fire) end)
  poll:close()
end
function M.sleep(seconds) suspend(seconds, function() end) end
function M.spawn(fn) coroutine.wrap(fn)() end
function M.condition()
  local self = { signal = function() end }
  function self.wait(_, seconds) suspend(seconds, function(fire) self.signal = fire end) end
  return self
end
function M.running()
  local co, main = coroutine.running()
  if co and not main then return true end
  if uv.loop_mode() then return false end
end
return M
