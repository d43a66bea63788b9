--- core's workers as a plain program uses them: a wake, a socket that reads it, the workers on it.
--
-- Nothing waits longer than PATIENCE_S in all: a test whose result never comes fails and says so.

local core = require "ringlink.core"
local errno = require "cqueues.errno"
local sockets = require "cqueues.socket"

local PATIENCE_S = 30
local TURN_S = 0.005

local M = {}

local Loop = {}
Loop.__index = Loop

local opened = {}

--- A wake that was connected to. `stop_all` ends it and its workers.
function M.open()
  local wake = assert(core.wake())
  local socket = sockets.connect({ path = wake:path() })
  assert(socket:connect(PATIENCE_S))
  assert(wake:accept())
  socket:setmode("bn", "bn")
  socket:onerror(function(_, _, code) return code end)
  local loop = setmetatable({ wake = wake, socket = socket, workers = {}, results = {} }, Loop)
  opened[#opened + 1] = loop
  return loop
end

function M.stop_all()
  for _, loop in ipairs(opened) do loop:stop() end
  opened = {}
end

local function keep(loop, worker)
  loop.workers[#loop.workers + 1] = worker
  loop.results[worker] = {}
  return worker
end

--- A transport worker; plain http to this machine is allowed unless said otherwise.
function Loop:transport(options)
  local settings = { allow_http_loopback = true }
  for name, value in pairs(options or {}) do settings[name] = value end
  return keep(self, assert(core.transport_worker(settings, self.wake)))
end

function Loop:store(options)
  return keep(self, assert(core.store_worker(options, self.wake)))
end

--- Waits for bytes; how many came, 0 when there were none in time, nil at the end.
function Loop:read(seconds)
  self.socket:settimeout(seconds)
  local bytes, code = self.socket:read(-4096)
  self.socket:clearerr()
  if bytes then return #bytes end
  return code == errno.ETIMEDOUT and 0 or nil
end

--- Takes what is done; a ticket that comes twice raises.
function Loop:collect()
  for _, worker in ipairs(self.workers) do
    for ticket, result in worker.take, worker do
      assert(self.results[worker][ticket] == nil, "a ticket was completed twice")
      self.results[worker][ticket] = result
    end
  end
end

--- Waits for a ticket, a server (may be nil) moving meanwhile.
function Loop:await(worker, ticket, server)
  local give_up_ms = core.monotonic_ms() + PATIENCE_S * 1000
  self:collect()
  while not self.results[worker][ticket] do
    assert(core.monotonic_ms() < give_up_ms, "nothing more happens")
    if server then server:step() end
    self:read(server and TURN_S or PATIENCE_S)
    self:collect()
  end
  return self.results[worker][ticket]
end

--- One request or one job.
function Loop:call(worker, what, server)
  return self:await(worker, assert(worker:start(what)), server)
end

function Loop:stop()
  for _, worker in ipairs(self.workers) do worker:close() end
  self.wake:close()
  self.socket:close()
end

return M
