--- What ringlink asks of its SQLite store, counted, and kept when it is to be done again by SQLite
--- alone (bare_sqlite.c, which says what a log looks like).
---
--- It puts itself before `core.store_sqlite` and `core.store_worker`, so it must be required before
--- ringlink. Keeping costs a reference a job; the log is written later, when nothing is measured. Which
--- jobs a worker's thread does together is not seen: there each job is a batch until it is written.

local core = require "ringlink.core"

local unpack = table.unpack or unpack

local M = { jobs = 0, batches = 0 }

local kept                             -- list of batches while they are to be kept

local Db = {}

function Db:run(jobs)
  M.jobs, M.batches = M.jobs + #jobs, M.batches + 1
  if kept then kept[#kept + 1] = { unpack(jobs) } end
  return self.inner:run(jobs)
end

function Db:start(job)
  M.jobs, M.batches = M.jobs + 1, M.batches + 1
  if kept then kept[#kept + 1] = { job } end
  return self.inner:start(job)
end

-- All else is the store's own affair.
setmetatable(Db, { __index = function(_, name)
  Db[name] = function(self, ...) return self.inner[name](self.inner, ...) end
  return Db[name]
end })

local MT = { __index = Db }

local function stand_before(name)
  local open = core[name]
  core[name] = function(...)
    local db, code, detail = open(...)
    if not db then return nil, code, detail end
    return setmetatable({ inner = db }, MT)
  end
end

stand_before("store_sqlite")
stand_before("store_worker")

--- Counts from nothing on; `keep` says whether the jobs are for a log.
function M.begin(keep)
  M.jobs, M.batches, kept = 0, 0, keep and {} or nil
end

local function line_of(job)
  local fields = { "op=" .. job.op }
  for name, value in pairs(job) do
    if name == "data" then value = #value end
    if name ~= "op" then fields[#fields + 1] = ("%s=%s"):format(name, tostring(value)) end
  end
  return table.concat(fields, "\t")
end

--- Writes what was kept, and keeps no more; so many batches as one, if that is said.
---@param path string
---@param group integer?
function M.write(path, group)
  local file = assert(io.open(path, "wb"))
  for i, jobs in ipairs(kept) do
    for _, job in ipairs(jobs) do file:write(line_of(job), "\n") end
    if i % (group or 1) == 0 or i == #kept then file:write("\n") end
  end
  file:close()
  kept = nil
end

return M
