--- Ring's rate limit: so many requests in each second of Ring's clock, for the client as a whole.
--
-- Pure; the clock comes in. A fixed window, so that a test can tell exactly which request is refused.

local limit = {}

---@param per_s integer|nil nil switches the limit off
---@return table
function limit.new(per_s)
  return { per_s = per_s, window = -1, used = 0 }
end

--- Counts a request.
---@param self table
---@param now_ms number
---@return boolean allowed
---@return table headers X-RateLimit-*, empty when off
function limit.take(self, now_ms)
  if not self.per_s then return true, {} end
  local window = math.floor(now_ms / 1000)
  if window ~= self.window then self.window, self.used = window, 0 end
  local allowed = self.used < self.per_s
  if allowed then self.used = self.used + 1 end
  return allowed, {
    ["X-RateLimit-Limit"] = ("%d"):format(self.per_s),
    ["X-RateLimit-Remaining"] = ("%d"):format(self.per_s - self.used),
  }
end

return limit
