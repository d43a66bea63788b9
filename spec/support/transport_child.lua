-- What the transport's specs need a process of its own for: another environment, another resolver.
-- transport_child.lua get URL CA_FILE PROXY    one GET; PROXY may be ""
-- transport_child.lua resolver                 under silent_resolver.c
-- Prints "name value" lines.

local core = require("ringlink.core")
local raw_server = require("support.raw_server")
local transfers = require("support.transfers")

local function tell(name, value) print(name .. " " .. tostring(value)) end

local function elapsed_ms(fn, ...)
  local began_ms = core.monotonic_ms()
  fn(...)
  return core.monotonic_ms() - began_ms
end

local modes = {}

function modes.get(url, ca_file, proxy)
  local t = transfers.open({ ca_file = ca_file, proxy = proxy })
  local result = transfers.call(t, nil, { method = "GET", url = url, timeout_ms = 5000 })
  tell("status", result.status)
  tell("error", result.error)
  tell("sent", result.sent)
end

function modes.resolver()
  local server = raw_server.start(raw_server.each_request(function(connection) connection:answer(200, "") end))
  local t = transfers.open()
  local silent = { method = "POST", url = "https://silent.invalid/", body = "x" }
  local stuck = t:start(silent)
  tell("other", transfers.call(t, server, { method = "GET", url = server.url }).status)
  tell("in_flight", t:stats().in_flight)
  tell("cancel_ms", elapsed_ms(t.cancel, t, stuck))
  local _, cancelled = t:take()
  tell("cancelled", cancelled.error)
  tell("cancelled_sent", cancelled.sent)
  silent.timeout_ms = 30
  local late = transfers.call(t, server, silent)
  tell("late", late.error)
  tell("late_sent", late.sent)
  local unknown = transfers.call(t, server, { method = "GET", url = "https://unknown.invalid/" })
  tell("unknown", unknown.error)
  tell("unknown_sent", unknown.sent)
  t:start(silent)
  t:poll(0)
  tell("close_ms", elapsed_ms(t.close, t))
end

modes[arg[1]](arg[2], arg[3], arg[4])
