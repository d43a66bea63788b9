--- What stands for another machine: it has its share of the processors, but takes none from whoever runs.
---
--- Ring would be elsewhere. Here each request would wake it on a processor that a worker is using, and the
--- more often the more threads a worker has.

local shell = require "support.shell"

local M = {}

--- Has processes be such, from now on.
---@param pids (string|integer)[]
function M.give_way(pids)
  for _, pid in ipairs(pids) do shell.run(("chrt --batch --pid 0 %d"):format(pid)) end
end

return M
