--- Webhooks as Ring would send them, for specs without network.
--
--   local event = deliveries.event(client, "motion_detected", { account = "ring-1" })
--   assert.equal("processed", deliveries.send(client, event))

local json = require "ringlink.json"

local M = {}

local count = 0

--- A number no other event of this run has.
local function unique()
  count = count + 1
  return count
end

--- Epoch milliseconds as Ring writes them, with nanoseconds.
function M.iso(ms)
  return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(ms / 1000)) .. (".%03d000000Z"):format(ms % 1000)
end

--- An event; `more` may have account, request_id, id, time_ms.
function M.event(client, kind, more)
  more = more or {}
  local n = unique()
  return {
    meta = { version = "1.1", time = M.iso(more.time_ms or client.clock.now_ms()),
      request_id = more.request_id or ("request-%d"):format(n), account_id = more.account or "ring-1" },
    data = { id = more.id or ("data-%d"):format(n), type = kind,
      attributes = { source = "d1", source_type = "devices" } },
  }
end

--- An event's body and signature.
function M.sign(client, event)
  local body = type(event) == "string" and event or assert(json.encode(event))
  return body, client.options.hmac_key:sign(body)
end

--- Delivers an event, or a body, with a good signature.
function M.send(client, event)
  return client:webhook(M.sign(client, event))
end

return M
