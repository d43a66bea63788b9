--- The work nobody waits for: refreshes, half-way links, stored events, pruning; in one process of all.
--
-- Every process that shares a store runs this loop. One of them holds a lease in the store and does the
-- work; the others look now and then whether it is free, so that another takes over when that one dies
-- (at once when it left in good order). Each of them puts its figures on the board.
-- Knows no nginx: it is told when the process is about to exit.

local errors = require "ringlink.errors"
local figures = require "ringlink.resty.figures"
local flight = require "ringlink.flight"

local M = {}

local LEASE_MS = 60000
local RENEW_MS = 20000                 -- before each piece of work, and while there is none
local LOOK_MS = 5000                   -- how often another process looks whether the lease is free
local WORK_MS_MAX = 5000               -- new things come due meanwhile
local TROUBLE_MS = 5000                -- after a piece of work that failed
local LIMIT = 20                       -- of one piece of work, so that the lease is prolonged in time
local TICK_S = 0.25                    -- how soon it sees that the process is about to exit

---@class ringlink.Background
---@field app ringlink.App
---@field worker string      names this process on the board
---@field leads boolean      it holds the lease
---@field look_ms number     when to look at the lease again, monotonic
---@field work_ms number     when work is due, monotonic
local Background = {}
Background.__index = Background

--- The loop's state in one process.
---@param app ringlink.App
---@param worker string
---@param does_work boolean
---@return ringlink.Background
function M.new(app, worker, does_work)
  return setmetatable({ app = app, worker = worker, does_work = does_work, leads = false, look_ms = 0, work_ms = 0 },
    Background)
end

local function lease_key(self)
  return self.app.client.options.client_id .. "/background"
end

local function look_at_lease(self, now_ms)
  local client = self.app.client
  local taken, remaining_ms = client.store:lease(lease_key(self), client:owner(), LEASE_MS)
  self.leads = taken
  self.look_ms = now_ms + (taken and RENEW_MS or math.min(remaining_ms or LOOK_MS, LOOK_MS))
end

local function work(self, now_ms)
  local client = self.app.client
  local report, err = client:work({ limit = LIMIT })
  if not report then
    client.log("error", "the background work failed", { error = err.code, stage = err.stage })
    self.work_ms = now_ms + TROUBLE_MS
    return
  end
  self.work_ms = client.clock.monotonic_ms() + math.min(math.max(report.next_due_s * 1000, 0), WORK_MS_MAX)
end

local function lead(self)
  local clock = self.app.client.clock
  if clock.monotonic_ms() >= self.look_ms then look_at_lease(self, clock.monotonic_ms()) end
  if self.leads and clock.monotonic_ms() >= self.work_ms then work(self, clock.monotonic_ms()) end
end

--- One turn: the lease, what is due, the figures. Trouble is logged, and tried again later.
---@return boolean leads
function Background:step()
  local client = self.app.client
  local ok, problem = pcall(figures.collect, self.app, self.worker)
  if ok and self.does_work then ok, problem = pcall(lead, self) end
  self.app.tally:gauge("leaders", self.worker, self.leads and 1 or 0)
  if not ok then
    self.leads, self.look_ms = false, client.clock.monotonic_ms() + TROUBLE_MS
    client.log("error", "the background loop is in trouble", { cause = errors.describe_trace(problem) })
  end
  return self.leads
end

--- Gives the lease back and leaves the figures.
function Background:leave()
  local client = self.app.client
  pcall(figures.collect, self.app, self.worker)
  if self.leads then flight.give_lease_back(client, lease_key(self)) end
  self.leads = false
end

--- Turns until the process is about to exit; a task of the client's runtime.
---@param self ringlink.Background
---@param is_exiting fun(): boolean
function M.run(self, is_exiting)
  while not is_exiting() do
    self:step()
    self.app.client.runtime.sleep(TICK_S)
  end
  self:leave()
end

return M
