--- Ends the demo's processes when the script that started them is gone.
--
-- The script ends them itself, also after an error; but nobody asks it when it is killed, or when
-- the reader of its output goes away (`make demo | head`). Runs in the partner's nginx.
-- luacheck: globals ngx

local process = require "ringlink.sandbox.process"
local sandbox = require "ringlink.sandbox"

local watch = {}

local EVERY_S = 1

local function look(premature, prefix, starter)
  if premature or process.alive(starter) then return end
  sandbox.stop(prefix .. "/ring")
  process.run(process.line("rm", "-rf", "--", prefix))
  process.run("kill -TERM " .. ngx.worker.pid())
end

--- Called once the worker runs.
---@param prefix string the demo's directory; the sandbox's lies in it
---@param starter string the script's process id
function watch.start(prefix, starter)
  assert(ngx.timer.every(EVERY_S, look, prefix, starter))
end

return watch
