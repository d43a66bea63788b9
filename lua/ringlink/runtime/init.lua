--- How a client waits: everything of it that takes time, or must outlive whoever asked, goes through
--- its runtime. Nobody but this module knows which kinds there are.
--
-- What a runtime has: `name`; `await` for a ticket of a transport that `open_transport` made and
-- `drop_transport` gives up; `spawn`, `critical` and `join` for tasks; `sleep`; `check_may_wait`,
-- which raises before anything begins where nothing can be waited for; `store`, the carrier of the
-- SQLite store's jobs; `limiter`. They are functions, not methods. Where signals end a program there are
-- `hold` and `release` too, by which a task keeps them back.

local core = require "ringlink.core"
local direct = require "ringlink.store.direct"
local loop = require "ringlink.runtime.loop"

local M = {}

---@class ringlink.Runtime
---@field name "loop"|"blocking"
---@field open_transport fun(config: table): userdata?, string?, string?
---@field drop_transport fun(transport: userdata) whoever waits for it is told `cancelled`
---@field await fun(transport: userdata, ticket: integer): table
---@field spawn fun(fn: function, ...): ringlink.Task
---@field critical fun(fn: function, ...): ringlink.Task goes on when whoever waits for it is gone
---@field join fun(task: ringlink.Task): any raises what the task raised
---@field sleep fun(seconds: number)
---@field check_may_wait fun()
---@field hold fun()? no SIGINT and SIGTERM until the calling task releases them, or ends
---@field release fun()?
---@field store table open, run, scrub, close
---@field limiter fun(config: table): userdata

local function drop_transport(transport)
  loop.forget(transport)
  transport:close()
end

-- A blocking client may wait in anybody's coroutine, stopping everything else meanwhile.
local function of_loop(name)
  local blocking = name == "blocking"
  return {
    name = name,
    open_transport = core.transport, drop_transport = drop_transport,
    await = function(transport, ticket) return loop.await(transport, ticket, blocking) end,
    spawn = loop.spawn, critical = loop.critical, hold = loop.hold, release = loop.release,
    join = function(task) return loop.join(task, blocking) end,
    sleep = function(seconds) loop.sleep(seconds, blocking) end,
    check_may_wait = function() loop.check_may_wait(blocking) end,
    store = { open = direct.open, run = loop.run_job, scrub = direct.scrub, close = loop.close_db },
    limiter = core.limiter,
  }
end

--- A client's runtime.
---@param name "auto"|"loop"|"blocking" as the option says
---@return ringlink.Runtime
function M.new(name)
  return of_loop(name == "blocking" and "blocking" or "loop")
end

return M
