--- The way back from C's threads: one socket on which they say that something is done, and whoever
-- waits for it.
--
-- A carrier is a core.transport_worker or core.store_worker: start gives a ticket, take hands out
-- what is done. All carriers of a channel share its wake. A byte says that a queue is no longer
-- empty; it is then emptied and each waiter's semaphore posted. A byte also comes every second from
-- any thread that lives.
-- Invariants: whoever waits is answered: by the result, by `cancelled` when the carrier is dropped,
-- by `runtime_not_started` when the channel is closed or has long been silent. A wait that its
-- request gave up leaves an empty box that the result, or the end of the channel, throws away.
-- Carriers are held weakly: one that its client has lost is collected, and its thread joined.

local core = require "ringlink.core"
local phase = require "ringlink.runtime.ngx.phase"
local semaphore = require "ngx.semaphore"
local visit = require "ringlink.runtime.ngx.visit"

local M = {}

local CONNECT_MS = 5000
local READ_MS = 24 * 3600 * 1000       -- the beat comes each second, if there is any thread
local BYTES_MAX = 4096
local PORTION = 2                      -- results of a carrier that are handed out in one go
local NEWS_S = 3600
local WAIT_S, DOUBT_S = 30, 5
local SPARE_MAX = 256                  -- semaphores kept: making one costs as much as a wait
local SILENT_MS = 15000

---@class ringlink.Channel
---@field closed boolean
local Channel = {}
Channel.__index = Channel

local records = setmetatable({}, { __mode = "k" })    -- carrier -> { channel, boxes, visits }
local spare = {}                       -- semaphores whose wait has ended by their post: nobody knows them

--- Opens a channel: the calling light thread's request must outlive it.
---@return ringlink.Channel?
---@return string? problem
function M.open()
  local wake, code, detail = core.wake()
  if not wake then return nil, ("%s: %s"):format(code, detail) end
  local socket = ngx.socket.tcp()
  socket:settimeouts(CONNECT_MS, CONNECT_MS, READ_MS)
  local done, problem = socket:connect("unix:" .. wake:path())
  if done then done, problem = wake:accept() end
  if not done then
    wake:close()
    return nil, problem
  end
  return setmetatable({ wake = wake, socket = socket, beat_ms = core.monotonic_ms(), closed = false,
    news = semaphore.new(), carriers = setmetatable({}, { __mode = "k" }) }, Channel)
end

--- Makes a carrier that speaks through this channel.
---@param make fun(config: table, wake: userdata): userdata?, string?, string?
---@param config table
---@return userdata? carrier
---@return string? code
---@return string? detail
function Channel:carry(make, config)
  local carrier, code, detail = make(config, self.wake)
  if not carrier then return nil, code, detail end
  records[carrier] = { channel = self, boxes = {}, visits = setmetatable({}, { __mode = "k" }) }
  self.carriers[carrier] = true
  return carrier
end

local function deliver(boxes, ticket, result)
  local box = boxes[ticket]
  if not box then return end
  boxes[ticket] = nil
  box.result = result
  box.done:post()
end

local function list_of(carriers)
  local list = {}
  for carrier in pairs(carriers) do list[#list + 1] = carrier end
  return list
end

--- Listens until the socket fails, which it does when it is closed.
function Channel:listen()
  while self.socket:receiveany(BYTES_MAX) do
    self.beat_ms = core.monotonic_ms()
    if self.news:count() < 1 then self.news:post() end
  end
end

-- From every carrier the same number, so that a full queue of one does not hold up the others.
local function hand_out_some(self)
  local is_more = false
  for _, carrier in ipairs(list_of(self.carriers)) do
    local boxes = records[carrier].boxes
    for count = 1, PORTION do
      local ticket, result = carrier:take()
      if not ticket then break end
      deliver(boxes, ticket, result)
      is_more = is_more or count == PORTION
    end
  end
  return is_more
end

--- Hands out what is done. Whoever is given something goes on at once, so it is a little at a time, and
--- the rest once nginx has looked at its other connections: the byte that asks for that comes to us by
--- nginx's own loop. (`ngx.sleep(0)` does not go that way without OpenResty's patch of nginx.)
function Channel:hand_out()
  while not self.closed do
    self.news:wait(NEWS_S)
    if not self.closed and hand_out_some(self) then self.wake:signal() end
  end
end

local function is_silent(self)
  return self.closed or core.monotonic_ms() - self.beat_ms > SILENT_MS
end

local function lost(detail)
  return { error = "runtime_not_started", sent = true, detail = detail, sqlite_code = 0 }
end

-- Long silence is believed when it goes on: a machine that slept has some catching up to do.
local function wait_for(box, channel)
  local doubts, done = 0, nil
  while box.result == nil do
    local problem
    done, problem = visit.wait(box.done, doubts == 0 and WAIT_S or DOUBT_S)
    if not done and problem ~= "timeout" then phase.refuse(ngx.get_phase()) end
    if not done and box.result == nil then
      doubts = is_silent(channel) and doubts + 1 or 0
      if doubts > 1 then return lost("its thread does not answer") end
    end
  end
  if done and #spare < SPARE_MAX then spare[#spare + 1] = box.done end
  return box.result
end

--- Waits for a ticket of a carrier.
---@param carrier userdata
---@param ticket integer
---@return table result
function M.await(carrier, ticket)
  local record = records[carrier]
  local box = { done = table.remove(spare) or semaphore.new() }
  record.boxes[ticket] = box
  local result = wait_for(box, record.channel)
  record.boxes[ticket] = nil
  return result
end

-- Joins the thread; what it has done by then is told, and `otherwise` to those who wait for more.
local function finish(carrier, boxes, otherwise)
  carrier:close()
  for ticket, result in carrier.take, carrier do deliver(boxes, ticket, result) end
  for ticket in pairs(boxes) do deliver(boxes, ticket, otherwise) end
end

--- Gives up a carrier: it is closed, and whoever still waits is told `cancelled`.
---@param carrier userdata
function M.drop(carrier)
  local record = records[carrier]
  record.channel.carriers[carrier] = nil
  finish(carrier, record.boxes, { error = "cancelled", sent = true, sqlite_code = 0 })
end

--- A visitor will wait for a ticket more than once, and has something else to do in between.
---@param carrier userdata
---@param visitor ringlink.Visit
function M.attend(carrier, visitor)
  records[carrier].visits[visitor] = false
end

--- That is over.
---@param carrier userdata
---@param visitor ringlink.Visit
function M.desert(carrier, visitor)
  records[carrier].visits[visitor] = nil
end

-- A visitor that was just called looks as if it were gone: it is believed when it does so twice in the
-- same wait.
local function is_attended(visits)
  if next(visits) and ngx.worker.exiting() then collectgarbage() end   -- whoever ended without a word
  for visitor, doubted in pairs(visits) do
    local gone = visitor:is_gone() and (visitor.signal or true)
    visits[visitor] = gone
    if not gone or gone ~= doubted then return true end
  end
  return false
end

local function is_awaited(boxes)
  for _, box in pairs(boxes) do
    if box.done:count() < 0 then return true end
  end
  return false
end

--- Whether anybody waits for a result at this moment, or will: an abandoned wait does not count.
---@return boolean
function Channel:is_waited_for()
  for carrier in pairs(self.carriers) do
    local record = records[carrier]
    if is_awaited(record.boxes) or is_attended(record.visits) then return true end
  end
  return false
end

--- Ends it: waiters are answered, threads joined. The light thread that reads is killed by its
--- parent.
---@param why string
function Channel:close(why)
  self.closed = true
  for _, carrier in ipairs(list_of(self.carriers)) do
    finish(carrier, records[carrier].boxes, lost(why))
  end
  self.carriers = {}
  self.wake:close()
end

return M
