--- Webhooks on their way out: takes what is due from the outbox, sends it, tells the outbox.
--
-- One timer waits for the next due time on Ring's movable clock; moving the clock arms it anew.
-- A run sends one delivery after the other, so that the order of events is kept; while it waits
-- for a slow partner another run may start for what has come due since.
-- luacheck: globals ngx

local http = require "ringlink.sandbox.nginx.http"
local outbox = require "ringlink.sandbox.rules.outbox"

local delivery = {}

-- The worker's one armed timer: when it fires, in real ms; nil when none waits.
local armed_ms
local WAIT_MS_MAX = 3600 * 1000

local function send(ring, one)
  local headers = { ["Content-Type"] = "application/json", ["X-Signature"] = one.signature }
  local answer, problem = http.send {
    method = "POST", url = one.url, body = one.body, headers = headers,
    timeout_ms = ring.variant.webhook_timeout_ms,
  }
  return answer and answer.status, problem
end

local function run(premature, host, at_ms)
  if armed_ms == at_ms then armed_ms = nil end
  if premature then return end
  local ring = host.ring
  local one = outbox.take(ring.outbox, host.now_ms())
  while one do
    local status, problem = send(ring, one)
    outbox.settle(one, status, problem, host.now_ms())
    one = outbox.take(ring.outbox, host.now_ms())
  end
  delivery.arm(host)
end

--- Makes sure that a timer fires when the next delivery is due.
---@param host table
function delivery.arm(host)
  local due_ms = outbox.next_due(host.ring.outbox)
  if not due_ms then return end
  local wait_ms = math.min(math.max(0, due_ms - host.now_ms()), WAIT_MS_MAX)
  local at_ms = ngx.now() * 1000 + wait_ms
  if armed_ms and armed_ms <= at_ms then return end
  if ngx.timer.at(wait_ms / 1000, run, host, at_ms) then armed_ms = at_ms end
end

return delivery
