--- What stands for another machine: it takes only the time that those who are measured leave.
---
--- Ring would run elsewhere. Here it would take the processor from a worker with each request that it is
--- sent, and the more from one that has several threads.

local shell = require "support.shell"

local M = {}

local LEAST = 19                       -- nice value

-- Linux may share the processors out among sessions first.
local SCRIPT = [[
for pid in %s; do
  chrt --idle --pid 0 $pid
  test ! -w /proc/$pid/autogroup || echo %d >/proc/$pid/autogroup
done]]

--- Has processes give way, from now on.
---@param pids (string|integer)[]
function M.give_way(pids)
  shell.run(SCRIPT:format(table.concat(pids, " "), LEAST))
end

return M
