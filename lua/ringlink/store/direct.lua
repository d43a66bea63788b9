--- Carries a job of the SQLite store to its file at once, in a transaction of its own.
--
-- A carrier is what the store hands its jobs to; a runtime has one of its own, by which the tasks
-- that wait at the same time share a transaction. Jobs and results are core.store_sqlite's.

local core = require "ringlink.core"

local M = {}

--- Opens a file.
---@param config { path: string, client_id: string, busy_ms: integer? }
---@return userdata? db
---@return string? code
---@return string? detail
function M.open(config)
  return core.store_sqlite(config)
end

--- Does one job.
---@param db userdata
---@param job table
---@return table result `error`, `detail` and `sqlite_code` when it failed
function M.run(db, job)
  local results, code, detail = db:run({ job })
  return results and results[1] or { error = code, detail = detail, sqlite_code = 0 }
end

--- Takes what was deleted out of the write-ahead log, unless somebody reads it just now.
---@param db userdata
---@return boolean done
function M.scrub(db)
  return db:scrub()
end

--- Closes the file.
---@param db userdata
function M.close(db)
  db:close()
end

return M
