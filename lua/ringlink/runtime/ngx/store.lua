--- Carries the jobs of the SQLite store to a thread of its own, so that no worker waits for the disk.
--
-- The file is opened by the thread at the first job, and anew when the background that carried it
-- has ended. A job that was given up is done all the same.

local background = require "ringlink.runtime.ngx.background"
local channel = require "ringlink.runtime.ngx.channel"
local core = require "ringlink.core"

local M = {}

---@class ringlink.CarriedStore
---@field config table
---@field carrier userdata?
---@field background ringlink.Background? that the carrier belongs to
---@field closed boolean?

local function failed(code, detail)
  return { error = code == "closed" and "closed" or "store_busy", detail = detail, sqlite_code = 0 }
end

local function carrier_of(db)
  if db.closed then return nil, failed("closed", "the store is closed") end
  local owner = background.need()
  if db.background ~= owner then
    local carrier, code, detail = owner.channel:carry(core.store_worker, db.config)
    if not carrier then return nil, failed(code, detail) end
    db.carrier, db.background = carrier, owner
  end
  return db.carrier
end

-- The answer is lost with the background; whether the job was done is not known.
local function finish(result)
  if result.error == "runtime_not_started" then result.error = "store_error" end
  return result
end

local function await(carrier, ticket, detail)
  if not ticket then return failed("busy", detail or "too many jobs are waiting") end
  return finish(channel.await(carrier, ticket))
end

--- A store in a file; nothing is opened yet.
---@param config table as core.store_sqlite takes it
---@return ringlink.CarriedStore
function M.open(config)
  return { config = config }
end

--- Runs one job.
---@param db ringlink.CarriedStore
---@param job table
---@return table result as core.store_sqlite's run has them
function M.run(db, job)
  local carrier, failure = carrier_of(db)
  if not carrier then return failure end
  local ticket, _, detail = carrier:start(job)
  return await(carrier, ticket, detail)
end

--- How many jobs were carried, and where those are that are not answered yet.
---@param db ringlink.CarriedStore
---@return { started: integer, queued: integer, at_work: integer, done: integer }?
function M.stats(db)
  return db.carrier and db.carrier:stats()
end

--- Overwrites what was deleted.
---@param db ringlink.CarriedStore
---@return boolean
function M.scrub(db)
  local carrier = carrier_of(db)
  if not carrier then return false end
  return await(carrier, carrier:scrub()).yes or false
end

--- Closes it; whoever waits is told `cancelled`.
---@param db ringlink.CarriedStore
function M.close(db)
  db.closed = true
  if db.carrier then channel.drop(db.carrier) end
  db.carrier, db.background = nil, nil
end

return M
