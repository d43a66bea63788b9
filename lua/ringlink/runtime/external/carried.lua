--- Carries the jobs of the SQLite store to a thread of its own, so that nobody's loop waits for the disk.
--
-- The file is opened by the thread at the first job; after a fork the child has a thread of its own. A
-- job whose waiter was dropped is done all the same.

local core = require "ringlink.core"

local M = {}

local function failed(code, detail)
  return { error = code == "closed" and "closed" or "store_busy", detail = detail, sqlite_code = 0 }
end

local function carrier_of(board, db)
  if db.closed then return nil, failed("closed", "the store is closed") end
  local pid = core.process_id()
  if db.pid ~= pid then
    local carrier, code, detail = board:carry(core.store_worker, db.config)
    if not carrier then return nil, failed(code, detail) end
    db.carrier, db.pid = carrier, pid
  end
  return db.carrier
end

local function await(board, carrier, ticket, detail)
  if not ticket then return failed("busy", detail or "too many jobs are waiting") end
  return board:await(carrier, ticket)
end

--- The carrier of the stores of a board's clients, as ringlink.store.direct is one.
---@param board ringlink.Board
---@return table
function M.new(board)
  local store = {}

  function store.open(config) return { config = config } end

  function store.run(db, job)
    board:check_may_wait()
    local carrier, failure = carrier_of(board, db)
    if not carrier then return failure end
    local ticket, _, detail = carrier:start(job)
    return await(board, carrier, ticket, detail)
  end

  function store.scrub(db)
    local carrier = carrier_of(board, db)
    if not carrier then return false end
    return await(board, carrier, carrier:scrub()).yes or false
  end

  function store.close(db)
    db.closed = true
    if db.carrier then board:drop(db.carrier) end
    db.carrier = nil
  end

  return store
end

return M
