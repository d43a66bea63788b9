--- How a client waits: everything of it that takes time, or must outlive whoever asked, goes through
--- its runtime. Nobody but this module knows which kinds there are.
--
-- What a runtime has: `name`; `await` for a ticket of a transport that `open_transport` made and
-- `drop_transport` gives up; `spawn`, `critical` and `join` for tasks; `sleep`; `check_may_wait`,
-- which raises before anything begins where nothing can be waited for; `store`, the carrier of the
-- SQLite store's jobs; `visit`, by which others can ask whether the caller is still there; `limiter`.
-- They are functions, not methods. Where signals end a program there are `hold` and `release` too, by
-- which a task keeps them back; where many may want to send at once `admit` makes them wait for room.

local auto = require "ringlink.runtime.auto"
local core = require "ringlink.core"
local direct = require "ringlink.store.direct"
local errors = require "ringlink.errors"
local external = require "ringlink.runtime.external"
local loop = require "ringlink.runtime.loop"

local M = {}

---@class ringlink.Runtime
---@field name "auto"|"loop"|"blocking"|"ngx"|"cqueues"|"luv"|string
---@field open_transport fun(config: table): userdata?, string?, string?
---@field drop_transport fun(transport: userdata) whoever waits for it is told `cancelled`
---@field admit fun(transport: userdata)? before a request is started
---@field attend fun(transport: userdata, visit: table)? the visitor waits for a ticket more than once
---@field desert fun(transport: userdata, visit: table)? that is over
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
    admit = function(transport) loop.admit(transport, blocking) end,
    spawn = loop.spawn, critical = loop.critical, hold = loop.hold, release = loop.release,
    join = function(task) return loop.join(task, blocking) end,
    sleep = function(seconds) loop.sleep(seconds, blocking) end,
    check_may_wait = function() loop.check_may_wait(blocking) end,
    store = { open = direct.open, run = loop.run_job, scrub = direct.scrub, close = loop.close_db },
    visit = visit,
    limiter = core.limiter,
  }
end

local Made = {}

--- The loop's runtime, with some parts of somebody else's making, such as the connections and the time of
--- ringlink.testing. The option `runtime` takes it.
---@param parts table fields of a runtime, in the place of the loop's
---@return ringlink.Runtime
function M.make(parts)
  local rt = of_loop("blocking")
  for name, part in pairs(parts) do rt[name] = part end
  return setmetatable(rt, Made)
end

--- Whether something is a runtime that `make` made.
---@param value any
---@return boolean
function M.is_made(value)
  return getmetatable(value) == Made
end

-- Inside nginx `auto` never means the loop: turning it would hold up the whole worker.
local function nginx()
  local host = rawget(_G, "ngx")
  local is_nginx = type(host) == "table" and host.config and host.config.subsystem == "http"
  return is_nginx and require "ringlink.runtime.ngx" or nil
end

-- The adapter of an event loop, whose own module need not be installed.
local function adapter(name)
  local ok, host = pcall(require, "ringlink.runtime." .. name)
  if ok then return name == "cqueues" and host.any or host end
  errors.misuse(("option runtime is %s, but its module cannot be loaded: %s"):format(name,
    errors.describe(host):match("^[^\n]*")))
end

local ADAPTERS = { cqueues = true, luv = true }

--- A client's runtime.
---@param kind "auto"|"loop"|"blocking"|"ngx"|"cqueues"|"luv"|table as the option says
---@param options table the client's
---@return ringlink.Runtime
function M.new(kind, options)
  if M.is_made(kind) then return kind end
  if type(kind) == "table" then return external.new(kind) end
  if ADAPTERS[kind] then return external.new(adapter(kind)) end
  local inside = (kind == "auto" or kind == "ngx") and nginx()
  if inside then return inside.new(options) end
  if kind == "ngx" then errors.misuse("option runtime is ngx, but this is not nginx") end
  if kind == "auto" then return auto.new(of_loop("loop"), loop.is_task) end
  return of_loop(kind)
end

local function run_in_nginx(rt, on_error, fn, ...)
  if on_error ~= "finish" then errors.misuse("run: on_error belongs to ringlink's own loop, not to nginx") end
  return rt.run(fn, ...)
end

--- What `ringlink.run`, `spawn`, `join` and `sleep` are here.
---@return { run: function, spawn: function, join: function, sleep: function }
function M.here()
  local rt = nginx()
  if not rt then return loop end
  return { run = function(...) return run_in_nginx(rt, ...) end, spawn = rt.spawn, sleep = rt.sleep,
    join = require("ringlink.runtime.ngx.background").join }
end

return M
