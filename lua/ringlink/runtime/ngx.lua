--- The runtime inside nginx: requests of a worker wait, the worker does not.
--
-- C threads move the transfers and run the store's jobs; a light thread waits for its result on a
-- semaphore. Everything is per Lua VM and starts with the first call: a client may be made before
-- nginx forks, and is used after that, in phases that can wait.

local background = require "ringlink.runtime.ngx.background"
local channel = require "ringlink.runtime.ngx.channel"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local group = require "ringlink.runtime.ngx.group"
local limiter = require "ringlink.runtime.ngx.limiter"
local phase = require "ringlink.runtime.ngx.phase"
local store = require "ringlink.runtime.ngx.store"
local visit = require "ringlink.runtime.ngx.visit"

local M = {}

errors.raise_text(true)

local function open_transport(config)
  local owner, problem = background.get()
  if not owner then return nil, "runtime_not_started", problem end
  return owner.channel:carry(core.transport_worker, config)
end

M.run, M.spawn = group.run, group.spawn

--- Waits; the worker goes on with its other requests.
---@param seconds number
function M.sleep(seconds)
  phase.check()
  visit.sleep(seconds)
end

--- A client's runtime.
---@param options table the client's
---@return ringlink.Runtime
function M.new(options)
  return {
    name = "ngx",
    open_transport = open_transport, drop_transport = channel.drop, await = channel.await,
    attend = channel.attend, desert = channel.desert,
    spawn = background.spawn, critical = background.spawn, join = background.join,
    sleep = M.sleep, check_may_wait = background.need, store = store, visit = visit.begin,
    limiter = function(config) return limiter.new(config, options.api_url .. " " .. options.client_id) end,
  }
end

return M
