--- Many visitors at once in one process: each is a coroutine, its requests go over ringlink's transport.
--
--   local traffic = traffics.new { ca_file = "...", reloads = true }
--   traffic:send_in(function() local answer = traffic:ask("GET", url, {}) ... end)
--   traffic:turn()                       -- takes in what has arrived; call it all the time
--   traffic:close()
--
-- Half of the requests go over HTTP/2, half over kept HTTP/1.1 connections. With `reloads` a server closes
-- kept connections while requests are on their way to them. A browser sends those again that change
-- nothing, and so does this (`repeated`; some libcurl does by itself); the others have a connection of their
-- own, and none of them is ever sent again.
-- A visitor who raises has met a failure: it is kept, and `check` raises the first ones.

local core = require "ringlink.core"

local unpack = table.unpack or unpack

local TURN_MS = 3
local REPEATS_MAX = 3
local TIMEOUT_MS = 30000
local FAILURES_SHOWN = 5
local IDEMPOTENT = { GET = true, HEAD = true }

local M = {}

---@class soak.Traffic
---@field inside integer     visitors who have not left
---@field answers integer    how many requests were answered
---@field slowest_ms integer
---@field repeated integer   how many were sent again
---@field failures string[]
local Traffic = {}
Traffic.__index = Traffic

local function transport(ca_file, http_version)
  return assert(core.transport { ca_file = ca_file, http_version = http_version, allow_http_loopback = true })
end

--- Nobody yet.
---@param options { ca_file: string, reloads: boolean? }
---@return soak.Traffic
function M.new(options)
  local lanes = {}
  for i, http_version in ipairs { "1.1", "2", "1.1" } do lanes[i] = transport(options.ca_file, http_version) end
  return setmetatable({ lanes = lanes, reloads = options.reloads, turn_of = 0, waiting = { {}, {}, {} }, asleep = {},
    inside = 0, answers = 0, slowest_ms = 0, repeated = 0, failures = {} }, Traffic)
end

local function go_on(self, thread, value)
  local ok, problem = coroutine.resume(thread, value)
  if coroutine.status(thread) ~= "dead" then return end
  self.inside = self.inside - 1
  if not ok then self.failures[#self.failures + 1] = debug.traceback(thread, tostring(problem)) end
end

--- Sends a visitor in: a function that asks and pauses as it likes.
---@param visit fun(visitor: any)
---@param visitor any what it is given
function Traffic:send_in(visit, visitor)
  self.inside = self.inside + 1
  go_on(self, coroutine.create(visit), visitor)
end

local function lane_of(self, method)
  if self.reloads and not IDEMPOTENT[method] then return 3 end
  self.turn_of = self.turn_of % 2 + 1
  return self.turn_of
end

local function with_connection(self, lane, headers)
  local lines = { unpack(headers) }
  if self.reloads and lane == 3 then lines[#lines + 1] = "Connection: close" end
  return lines
end

-- A kept connection was closed under a request that changes nothing.
local function may_repeat(self, method, answer)
  return self.reloads and IDEMPOTENT[method] and answer.error == "network" and answer.reused
end

local function ask_once(self, method, url, more)
  local lane = lane_of(self, method)
  local ticket = assert(self.lanes[lane]:start { method = method, url = url, body = more.body,
    headers = with_connection(self, lane, more.headers or {}), timeout_ms = TIMEOUT_MS })
  self.waiting[lane][ticket] = coroutine.running()
  return coroutine.yield()
end

--- A request of the visitor who calls this, and its answer.
---@param method string
---@param url string
---@param more { headers: string[]?, body: string? }
---@return table answer { status, headers, body } or { error, detail }
function Traffic:ask(method, url, more)
  local answer = ask_once(self, method, url, more)
  for _ = 1, REPEATS_MAX do
    if not may_repeat(self, method, answer) then break end
    self.repeated = self.repeated + 1
    answer = ask_once(self, method, url, more)
  end
  return answer
end

--- The visitor who calls this waits.
---@param ms number
function Traffic:pause(ms)
  self.asleep[coroutine.running()] = core.monotonic_ms() + ms
  coroutine.yield()
end

local function wake_up(self)
  local now_ms, due = core.monotonic_ms(), {}
  for thread, at_ms in pairs(self.asleep) do
    if at_ms <= now_ms then due[#due + 1] = thread end
  end
  for _, thread in ipairs(due) do
    self.asleep[thread] = nil
    go_on(self, thread)
  end
end

--- Takes in what has arrived, and lets those go on who waited for it.
function Traffic:turn()
  for i, lane in ipairs(self.lanes) do
    lane:poll(i == 1 and TURN_MS or 0)
    for ticket, answer in lane.take, lane do
      local thread = self.waiting[i][ticket]
      self.waiting[i][ticket], self.answers = nil, self.answers + 1
      self.slowest_ms = math.max(self.slowest_ms, answer.time_ms)
      go_on(self, thread, answer)
    end
  end
  wake_up(self)
end

--- Raises when a visitor met a failure.
function Traffic:check()
  if #self.failures == 0 then return end
  error(("%d visitors met a failure:\n%s"):format(#self.failures,
    table.concat(self.failures, "\n", 1, math.min(#self.failures, FAILURES_SHOWN))), 0)
end

--- Closes the connections.
function Traffic:close()
  for _, lane in ipairs(self.lanes) do lane:close() end
end

return M
