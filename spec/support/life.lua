--- Accounts that live for months of simulated time, kept by `client:work` alone.
--
--   local life = lives.begin(w, directory, { accounts = 20, seed = 7, faults = lives.BEFORE })
--   life:pass(90)                 -- days: work, sleep until something is due, work
--   life:settle()                 -- no more faults; what was in doubt is found out
--   life.lost[id]                 -- an answer with a pair was lost, by Ring's journal
--   life.told[id]                 -- the code with which the hook asked for a new link
--   life.rotations[id]            -- how often Ring gave it a new pair
--   life.pause_ms_max             -- the longest that an account ever waited for one
--   life.faults                   -- how many refreshes met one
--   life:close()
--
-- The client's clock and Ring's move on together. Faults, restarts and clock steps come by chance,
-- and the seed decides which: but for the order of refreshes that are under way at the same time, a
-- life repeats itself.

local clocks = require "support.clock"
local dice = require "ringlink.sandbox.rules.dice"
local partner = require "support.partner"

local MINUTE_MS = 60 * 1000
local HOUR_MS = 60 * MINUTE_MS
local DAY_MS = 24 * HOUR_MS
local SLEEP_MS_MIN = 30 * MINUTE_MS          -- many accounts fall due a few seconds apart
local DEADLINE_MS, TIMEOUT_MS = 600 * 1000, 60 * 1000   -- nothing is lost by a slow machine
local ROUNDS_MAX = 1000
local WORK_LIMIT = 1000
local RESTARTS_A_DAY, STEPS_A_DAY = 0.1, 0.25
local STEP_MS = HOUR_MS

local M = {}

-- Each hits its part of all refreshes that the ones before have left.
local FAULT_RATE = 0.01

local function in_parts(kinds)
  for _, fault in ipairs(kinds) do
    fault.call, fault.count, fault.rate = "refresh", "always", FAULT_RATE / #kinds
  end
  return kinds
end

--- One refresh in a hundred never gets to Ring, or is refused unseen.
M.BEFORE = in_parts {
  { drop = "before" }, { status = 500 }, { status = 503 }, { status = 429, retry_after = 2 },
  { status = 502, body = "html" }, { status = 408 },
}

--- Of one refresh in a hundred the answer is lost after Ring has done it.
M.AFTER = in_parts {
  { drop = "after" }, { status = 500, after = true }, { body = "cut" }, { body = "truncated" },
  { body = "html" },
}

local Life = {}
Life.__index = Life

-- What the clock would show if nobody had set it.
local function true_ms(self)
  return self.clock.now_ms() - self.stepped_ms
end

local function move_ring(self)
  assert(self.w.ring:control("clock", { set_ms = math.floor(true_ms(self)) }))
end

local function advance(self, ms)
  self.clock.advance(ms)
  move_ring(self)
end

local function note_told(self)
  return function(account, err)
    self.told[account.id] = self.told[account.id] and "told again" or err.code
  end
end

local function open(self)
  local ring = self.w.ring
  self.client = partner.client(self.directory, { api_url = ring.api_url, oauth_url = ring.oauth_url,
    ca_file = ring.ca_file, clock = self.clock, deadline_ms = DEADLINE_MS, timeout_ms = TIMEOUT_MS })
  self.client:on("relink_required", note_told(self))
end

local function reopen(self)
  self.restarts = self.restarts + 1
  self.client:close()
  open(self)
end

local function order(self, faults)
  for i, fault in ipairs(faults) do
    local copy = { seed = self.seed + i }
    for name, value in pairs(fault) do copy[name] = value end
    self.w:fault(copy)
  end
end

--- Links the accounts; their months begin.
---@param w table support.world; the sandbox's rate limit is to be off
---@param directory string for the store
---@param options { accounts: integer, seed: integer, faults: table[]?, clock_steps: boolean? }
function M.begin(w, directory, options)
  local self = setmetatable({ w = w, directory = directory, clock = clocks.new(), seed = options.seed,
    throw = dice.new(options.seed), clock_steps = options.clock_steps, stepped_ms = 0, steps = 0,
    ids = {}, lost = {}, told = {}, rotations = {}, rotated_ms = {}, pause_ms_max = 0, faults = 0,
    restarts = 0, read = 0 }, Life)
  open(self)
  for i = 1, options.accounts do
    self.ids[i] = w:linked(self.client, "user-" .. i).account.id
    move_ring(self)
  end
  order(self, options.faults or {})
  return self
end

local function work(self)
  for _ = 1, ROUNDS_MAX do
    local next_due_s = assert(self.client:work { limit = WORK_LIMIT }).next_due_s
    if next_due_s > 0 then return next_due_s * 1000 end
  end
  error("there is always something due")
end

-- A pair was handed out; with a fault on it, its answer did not arrive.
local function note_rotation(self, row)
  local id = row.account
  self.rotations[id] = (self.rotations[id] or 0) + 1
  self.pause_ms_max = math.max(self.pause_ms_max, row.at_ms - (self.rotated_ms[id] or row.at_ms))
  self.rotated_ms[id] = row.at_ms
  if row.fault then self.lost[id] = true end
end

-- The journal forgets its oldest rows: it is read before it is full.
local function read_journal(self)
  local rows = assert(self.w.ring:control("requests", { call = "refresh", since = tostring(self.read) }))
  for _, row in ipairs(rows) do
    if row.result == 200 then note_rotation(self, row) end
    if row.fault then self.faults = self.faults + 1 end
    self.read = row.n
  end
end

-- The clock is found to be an hour off, or set right again.
local function step_clock(self)
  local to_ms = 0
  if self.stepped_ms == 0 then to_ms = self.throw() < 0.5 and STEP_MS or -STEP_MS end
  self.clock.step(to_ms - self.stepped_ms)
  self.stepped_ms, self.steps = to_ms, self.steps + 1
end

local function pass_day(self)
  local midnight_ms = true_ms(self) + DAY_MS
  local function left_ms() return midnight_ms - true_ms(self) end
  if self.throw() < RESTARTS_A_DAY then reopen(self) end
  local step_at_ms = self.clock_steps and self.throw() < STEPS_A_DAY and true_ms(self) + self.throw() * DAY_MS
  while left_ms() > 0 do
    if step_at_ms and true_ms(self) >= step_at_ms then
      step_clock(self)
      step_at_ms = nil
    end
    advance(self, math.min(math.max(work(self), SLEEP_MS_MIN), math.max(left_ms(), 0)))
  end
  read_journal(self)
end

--- So many days pass.
function Life:pass(days)
  for _ = 1, days do pass_day(self) end
end

--- No more faults; every account is refreshed once more.
function Life:settle()
  self.w:fault { off = true }
  self:pass(2)
end

--- How many pairs Ring handed out.
function Life:rotations_in_all()
  local sum = 0
  for _, count in pairs(self.rotations) do sum = sum + count end
  return sum
end

--- Ends it; the store stays.
function Life:close()
  self.client:close()
end

return M
