--- Where in nginx's life of a request the calling code runs, and whether it may wait there.
--
-- Also learns whether this Lua VM lives as long as the worker (`settled`): with lua_code_cache off
-- each request has a VM of its own, and what runs in the background of it must end soon after.

local errors = require "ringlink.errors"

local M = {}

-- Those in which lua-nginx-module lets a light thread wait for a semaphore in a plain nginx; two more,
-- ssl_client_hello and ssl_session_fetch, end the connection there, without OpenResty's patches.
local MAY_WAIT = { rewrite = true, server_rewrite = true, access = true, content = true, timer = true,
  ssl_cert = true }
local ADVICE = "rewrite, access, content and ssl_certificate handlers and timers can wait"

local HAS_REQUEST = { rewrite = true, server_rewrite = true, access = true, content = true }

local settled = false
local first_request                    -- the first one seen

local function look_at_request(phase)
  if not HAS_REQUEST[phase] then return end
  local request = ngx.var.connection .. " " .. ngx.var.connection_requests
  first_request = first_request or request
  settled = request ~= first_request
end

--- Whether this VM is known to serve more than one request.
---@return boolean
function M.is_settled()
  return settled
end

--- Says that this VM is the worker's: only there does init_worker_by_lua run.
function M.settle()
  settled = true
end

--- Raises `not_here`.
---@param phase string
function M.refuse(phase)
  errors.new("not_here", { detail = ("%s_by_lua*; %s"):format(phase, ADVICE) }):raise()
end

-- nginx would not resume a coroutine that another event loop made and resumes, but the light thread
-- around it, in the middle of something else. It takes those that it does not know for dead.
local function is_foreign()
  return coroutine.status(coroutine.running()) == "dead"
end

--- Raises `not_here` or `foreign_coroutine` where nothing can be waited for.
function M.check()
  local phase = ngx.get_phase()
  if not MAY_WAIT[phase] then M.refuse(phase) end
  if is_foreign() then errors.new("foreign_coroutine"):raise() end
  if not settled then look_at_request(phase) end
end

return M
