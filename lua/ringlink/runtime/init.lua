--- How a client waits: everything of it that takes time, or must outlive whoever asked, goes through
--- its runtime. Nobody but this module knows which kinds there are.
--
-- What a runtime has: `name`; `await` for a ticket of a transport that `open_transport` made and
-- `drop_transport` gives up; `spawn`, `critical` and `join` for tasks; `sleep`; `check_may_wait`,
-- which raises before anything begins where nothing can be waited for; `store`, the carrier of the
-- SQLite store's jobs; `visit`, by which others can ask whether the caller is still there; `limiter`.
-- They are functions, not methods. Where signals end a program there are `hold` and `release` too, by
-- which a task keeps them back.

local core = require "ringlink.core"
local direct = require "ringlink.store.direct"
local errors = require "ringlink.errors"
local loop = require "ringlink.runtime.loop"

local M = {}

---@class ringlink.Runtime
---@field name "loop"|"blocking"|"ngx"
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
---@field visit fun(): { leave: function, is_gone: fun(self: table): boolean }
---@field limiter fun(config: table): userdata|table

local function drop_transport(transport)
  loop.forget(transport)
  transport:close()
end

-- Whoever leaves does so by an error: nobody is gone without a word.
local STAYS = { leave = function() end, is_gone = function() return false end }
local function visit() return STAYS end

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
    visit = visit,
    limiter = core.limiter,
  }
end

-- Inside nginx `auto` never means the loop: turning it would hold up the whole worker.
local function nginx()
  local host = rawget(_G, "ngx")
  local is_nginx = type(host) == "table" and host.config and host.config.subsystem == "http"
  return is_nginx and require "ringlink.runtime.ngx" or nil
end

--- A client's runtime.
---@param name "auto"|"loop"|"blocking"|"ngx" as the option says
---@param options table the client's
---@return ringlink.Runtime
function M.new(name, options)
  local inside = (name == "auto" or name == "ngx") and nginx()
  if inside then return inside.new(options) end
  if name == "ngx" then errors.misuse("option runtime is ngx, but this is not nginx") end
  return of_loop(name == "blocking" and "blocking" or "loop")
end

--- What `ringlink.run`, `spawn` and `sleep` are here.
---@return { run: function, spawn: function, sleep: function }
function M.here()
  return nginx() or loop
end

return M
