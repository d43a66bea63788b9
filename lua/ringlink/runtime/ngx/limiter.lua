--- The rate limit of one worker: its share of the app's, and what any worker was told to wait.
--
-- Ring counts an app's calls, nginx has several workers. Each keeps to an equal share. A `Retry-After`
-- that one of them is given holds all up, if the configuration has a `lua_shared_dict ringlink`.
-- Of many who wait each is told a time of its own: the next call's would wake them all, for one of them.

local core = require "ringlink.core"

local M = {}

local DICT = "ringlink"
local MS_PER_S = 1000
local SPREAD_MS = 500                  -- less than it takes until unused calls are lost

---@class ringlink.SharedLimiter
local Limiter = {}
Limiter.__index = Limiter

--- A limiter; nothing is asked of nginx before its first use, since it may be made before the fork.
---@param config { per_s: number, burst: integer }
---@param name string whose calls are counted together
---@return ringlink.SharedLimiter
function M.new(config, name)
  return setmetatable({ config = config, key = "blocked_ms:" .. name }, Limiter)
end

local function bucket_of(self)
  if not self.bucket then
    local config = {}
    self.share = 1 / (ngx.worker.count() or 1)
    for field, value in pairs(self.config) do config[field] = value end
    config.per_s = config.per_s * self.share
    self.turn_ms, self.pace_ms = 0, MS_PER_S / config.per_s
    config.burst = math.max(1, math.ceil(config.burst * self.share))
    self.bucket, self.dict = core.limiter(config), ngx.shared[DICT]
  end
  return self.bucket
end

local function blocked_ms(self, now_ms)
  local until_ms = self.dict and self.dict:get(self.key)
  return until_ms and until_ms - now_ms or 0
end

-- One after the other at the pace of the limit, over and over within the spread: who has waited may find
-- that somebody who just came was faster.
local function own_time(self, now_ms, wait_ms)
  local first_ms = now_ms + wait_ms
  local turn_ms = math.max(self.turn_ms + self.pace_ms, first_ms)
  self.turn_ms = turn_ms <= first_ms + SPREAD_MS and turn_ms or first_ms
  return math.ceil(self.turn_ms - now_ms)
end

--- Takes a turn.
---@param now_ms number monotonic, the same for all workers
---@param reserve number? calls that are to be left to others, in all workers together
---@return number wait_ms 0: taken
function Limiter:take(now_ms, reserve)
  local bucket = bucket_of(self)
  local wait_ms = blocked_ms(self, now_ms)
  if wait_ms <= 0 then wait_ms = bucket:take(now_ms, math.ceil((reserve or 0) * self.share)) end
  return wait_ms > 0 and own_time(self, now_ms, wait_ms) or 0
end

local function block_all(self, now_ms, ms)
  if self.dict and blocked_ms(self, now_ms) < ms then
    self.dict:set(self.key, now_ms + ms, math.max(1, ms / 1000))
  end
end

--- What an answer said of the limit. Calls that are left are left to all workers together.
---@param now_ms number
---@param remaining integer?
---@param retry_after_ms number?
function Limiter:observe(now_ms, remaining, retry_after_ms)
  local bucket = bucket_of(self)
  if remaining then remaining = math.floor(remaining * self.share) end
  if retry_after_ms then block_all(self, now_ms, retry_after_ms) end
  bucket:observe(now_ms, remaining, retry_after_ms)
end

return M
