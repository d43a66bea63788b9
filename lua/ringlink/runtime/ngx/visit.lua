--- Whether a light thread that came into ringlink is still there.
--
-- nginx ends the light threads of a request whose client has gone away, and `ngx.thread.kill` any,
-- without a word to what they were at. But it takes them out of the queue of the semaphore that they
-- wait for. So each wait of ringlink's own is noted in the visits of its light thread, and one whose
-- semaphore nobody waits for any more has ended. One that ends in a wait of somebody else's, in a hook,
-- is missed after a time.

local core = require "ringlink.core"
local semaphore = require "ngx.semaphore"

local M = {}

local ELSEWHERE_MS_MAX = 120000        -- without a wait of our own

---@class ringlink.Visit
---@field thread thread
---@field outer ringlink.Visit? of the same thread
---@field signal table?         the semaphore it waits for
---@field seen_ms integer       when it last waited for one
local Visit = {}
Visit.__index = Visit

local visits = setmetatable({}, { __mode = "k" })     -- thread -> its innermost visit

-- nginx uses the coroutines of threads that have ended again: whoever runs here waits for nothing.
local function present(thread)
  local visit = visits[thread]
  if visit and visit.signal then visits[thread] = nil end
  return visits[thread]
end

--- The running light thread begins something that others will ask about.
---@return ringlink.Visit
function M.begin()
  local thread = coroutine.running()
  local self = setmetatable({ thread = thread, outer = present(thread), seen_ms = core.monotonic_ms() }, Visit)
  visits[thread] = self
  return self
end

--- It has ended.
function Visit:leave()
  visits[self.thread] = self.outer
end

--- Whether its light thread has ended without a word. Believed when it is still so after others have
--- had their turn: one that was just called looks the same.
---@return boolean
function Visit:is_gone()
  if self.signal then return self.signal:count() >= 0 end
  return core.monotonic_ms() - self.seen_ms > ELSEWHERE_MS_MAX
end

local function note(visit, signal)
  local now_ms = visit and core.monotonic_ms()
  while visit do
    visit.signal, visit.seen_ms = signal, now_ms
    visit = visit.outer
  end
end

--- Waits for a semaphore, as its `wait` does.
---@param signal table
---@param seconds number
---@return boolean? posted
---@return string? problem
function M.wait(signal, seconds)
  local visit = present(coroutine.running())
  note(visit, signal)
  local posted, problem = signal:wait(seconds)
  note(visit, nil)
  return posted, problem
end

--- Waits for a time.
---@param seconds number
function M.sleep(seconds)
  M.wait(semaphore.new(), seconds)
end

return M
