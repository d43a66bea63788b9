--- Jobs of the SQLite store that wait to be done together: one transaction, one sync to disk for all
--- who came meanwhile.
--
-- Invariants: every job that was added is done once, at the next flush of its file, and whoever added
-- it is told how it ended, whatever happened to the others. A job that fails or conflicts takes
-- nothing else with it (io/store_sqlite.h); a commit that fails has failed for all of its batch.

local errors = require "ringlink.errors"

local M = {}

local BATCH_COUNT_MAX = 256            -- RLK_STORE_BATCH_COUNT_MAX

---@class ringlink.Batches
---@field count integer                how many jobs wait
---@field waiting table<userdata, { job: table, told: fun(result: table) }[]>
local Batches = {}
Batches.__index = Batches

--- Nothing waits.
---@return ringlink.Batches
function M.new()
  return setmetatable({ count = 0, waiting = {} }, Batches)
end

--- Adds a job; `told` is called with its result and must not raise.
---@param db userdata
---@param job table
---@param told fun(result: table)
function Batches:add(db, job, told)
  local list = self.waiting[db] or {}
  list[#list + 1] = { job = job, told = told }
  self.waiting[db] = list
  self.count = self.count + 1
end

-- The results, or what befell the whole of it, once for each.
local function run(db, jobs)
  local ok, results, code, detail = pcall(db.run, db, jobs)
  if ok and results then return results end
  if not ok then code, detail = "store_error", errors.describe(results) end
  local failed = {}
  for i = 1, #jobs do failed[i] = { error = code, detail = detail, sqlite_code = 0 } end
  return failed
end

local function run_some(db, list, first, last)
  local jobs = {}
  for i = first, last do jobs[#jobs + 1] = list[i].job end
  for i, result in ipairs(run(db, jobs)) do list[first + i - 1].told(result) end
end

--- Does what waits for one file.
---@param db userdata
function Batches:flush(db)
  local list = self.waiting[db] or {}
  self.waiting[db] = nil
  self.count = self.count - #list
  for first = 1, #list, BATCH_COUNT_MAX do
    run_some(db, list, first, math.min(first + BATCH_COUNT_MAX - 1, #list))
  end
end

--- Does everything that waits.
function Batches:flush_all()
  for db in pairs(self.waiting) do self:flush(db) end
end

return M
