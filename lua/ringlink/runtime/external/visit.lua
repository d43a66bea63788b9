--- Whether a coroutine of somebody else's loop that came into ringlink is still there.
--
-- A loop may drop a coroutine in the middle of a wait, and says nothing. One that was collected or closed
-- is gone. Else each wait of ringlink's own is noted in the visit of its coroutine: one that was answered a
-- while ago and has not gone on is taken for dropped, and so is one that has long been in a wait of
-- somebody else's, in a hook. Believing so
-- wrongly does no harm (link.lua, flight.lua): every write compares the row's version.
-- Invariant: nothing here keeps a dropped coroutine from being collected.

local core = require "ringlink.core"

local M = {}

local ANSWERED_MS_MAX = 5000
local ELSEWHERE_MS_MAX = 120000

---@class ringlink.ExternalVisit
---@field outer ringlink.ExternalVisit? of the same coroutine
---@field box table?      what it waits for
---@field seen_ms integer when it last began or ended a wait
---@field place { co: thread? } weak
local Visit = {}
Visit.__index = Visit

local visits = setmetatable({}, { __mode = "k" })     -- coroutine -> its innermost visit
local MAIN = {}
local WEAK = { __mode = "v" }

local function here()
  return coroutine.running() or MAIN
end

--- The running coroutine begins something that others will ask about.
---@return ringlink.ExternalVisit
function M.begin()
  local co = here()
  visits[co] = setmetatable({ outer = visits[co], seen_ms = core.monotonic_ms(),
    place = setmetatable({ co = co }, WEAK) }, Visit)
  return visits[co]
end

--- It has ended; called by the coroutine that began it.
function Visit:leave()
  visits[here()] = self.outer
end

--- Whether its coroutine is there no more.
---@return boolean
function Visit:is_gone()
  local co = self.place.co
  if co == nil or (co ~= MAIN and coroutine.status(co) == "dead") then return true end
  local now_ms = core.monotonic_ms()
  if not self.box then return now_ms - self.seen_ms > ELSEWHERE_MS_MAX end
  return self.box.done_ms ~= nil and now_ms - self.box.done_ms > ANSWERED_MS_MAX
end

--- Notes that the running coroutine waits for a box, or (nil) that it goes on.
---@param box { done_ms: integer? }?
function M.note(box)
  local visit = visits[here()]
  local now_ms = visit and core.monotonic_ms()
  while visit do
    visit.box, visit.seen_ms = box, now_ms
    visit = visit.outer
  end
end

return M
