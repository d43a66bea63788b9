--- What the transport's specs share: opening transports that are closed again, and driving them.
--
-- Nothing waits longer than `PATIENCE_MS` in all: a test whose result never comes fails and says so.

local core = require("ringlink.core")

local PATIENCE_MS = 60000
local TURN_MS = 5

local M = {
  HOST_COUNT = 16,                     -- connections to one host, until it is known to speak HTTP/1.1 only
  STREAM_COUNT = 64,                   -- transfers that share a connection by HTTP/2, at most
}

local opened = {}

--- A transport that `close_all` closes. Plain http to this machine is allowed unless said otherwise.
function M.open(options)
  local settings = { allow_http_loopback = true }
  for name, value in pairs(options or {}) do settings[name] = value end
  local transport = assert(core.transport(settings))
  opened[#opened + 1] = transport
  return transport
end

function M.close_all()
  for _, transport in ipairs(opened) do transport:close() end
  opened = {}
end

--- Turns transport and server (may be nil) until `done()` is true.
function M.drive(transport, server, done)
  local give_up_ms = core.monotonic_ms() + PATIENCE_MS
  while not done() do
    assert(core.monotonic_ms() < give_up_ms, "nothing more happens")
    transport:poll(TURN_MS)
    if server then server:step() end
  end
end

--- Drives until every ticket is done; returns the results by ticket.
function M.results(transport, server, tickets)
  local results, missing = {}, #tickets
  M.drive(transport, server, function()
    for ticket, result in transport.take, transport do
      assert(results[ticket] == nil, "a ticket was completed twice")
      results[ticket] = result
      missing = missing - 1
    end
    return missing == 0
  end)
  return results
end

--- Sends one request and returns its result.
function M.call(transport, server, request)
  local ticket = assert(transport:start(request))
  return M.results(transport, server, { ticket })[ticket]
end

return M
