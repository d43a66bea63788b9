--- Webhooks on their way: what is due when, and what an answer means (contract 9).
--
-- 2xx ends a delivery; 4xx (and any other answer below 500) is never retried; 5xx, time-outs and
-- refused connections are retried after 1 s, 5 s, 30 s, 2 min, 10 min, 1 h on Ring's own clock.
-- Undelivered ones are kept for 72 h and may be replayed. Pure: the host sends.

local outbox = {}

local RETRY_MS = { 1000, 5000, 30000, 120000, 600000, 3600000 }
local KEPT_MS = 72 * 3600 * 1000

---@return table
function outbox.new()
  return { list = {}, n = 0 }
end

--- Adds a delivery, due at once.
---@param self table
---@param delivery table `{url, body, signature, type, account, request_id}`
---@param now_ms number
---@return table|nil delivery nil when there is no address to deliver to
function outbox.add(self, delivery, now_ms)
  if not delivery.url then return nil end
  self.n = self.n + 1
  delivery.n, delivery.state, delivery.busy = self.n, "due", false
  delivery.created_ms, delivery.due_ms, delivery.attempts = now_ms, now_ms, {}
  self.list[#self.list + 1] = delivery
  return delivery
end

--- The time of the next delivery that is due and not under way.
---@param self table
---@return number|nil due_ms
function outbox.next_due(self)
  local due_ms
  for _, one in ipairs(self.list) do
    if one.state == "due" and not one.busy and (not due_ms or one.due_ms < due_ms) then due_ms = one.due_ms end
  end
  return due_ms
end

--- Takes the oldest delivery that is due, for sending.
---@param self table
---@param now_ms number
---@return table|nil delivery
function outbox.take(self, now_ms)
  for _, one in ipairs(self.list) do
    if one.state == "due" and not one.busy and one.due_ms <= now_ms then
      one.busy = true
      return one
    end
  end
  return nil
end

--- Whether something is due or under way.
---@param self table
---@param now_ms number
---@return boolean
function outbox.working(self, now_ms)
  for _, one in ipairs(self.list) do
    if one.busy or (one.state == "due" and one.due_ms <= now_ms) then return true end
  end
  return false
end

--- Notes what came of an attempt.
---@param delivery table
---@param status integer|nil nil when no answer came
---@param problem string|nil
---@param now_ms number
function outbox.settle(delivery, status, problem, now_ms)
  local attempts = delivery.attempts
  attempts[#attempts + 1] = { at_ms = now_ms, status = status, error = problem }
  delivery.busy = false
  if status and status >= 200 and status < 300 then delivery.state = "delivered" return end
  if status and status < 500 then delivery.state = "refused" return end
  local wait_ms = RETRY_MS[#attempts - (delivery.replayed_at or 0)]
  if wait_ms then delivery.due_ms = now_ms + wait_ms else delivery.state = "undelivered" end
end

--- Sends what could not be delivered in the last 72 h once more, under its old request_id.
---@param self table
---@param account string|nil
---@param now_ms number
---@return integer count
function outbox.replay(self, account, now_ms)
  local count = 0
  for _, one in ipairs(self.list) do
    local wanted = one.state == "undelivered" and (not account or one.account == account)
    if wanted and now_ms - one.created_ms <= KEPT_MS then
      one.state, one.due_ms, one.replayed_at, count = "due", now_ms, #one.attempts, count + 1
    end
  end
  return count
end

return outbox
