--- Lives of a partner whose processes are killed again and again; a seed decides where.
--- (It decides what every process does and where it is to die; which of two is faster, it cannot.)
--
--   local s = storm.new(k, 4711)         -- k: support.killing
--   s:live(25)                           -- a new store; waves until so many processes were killed
--   s:calm()                             -- nothing more goes wrong; what is due is done
--   s:check()                            -- what must be true then
--   s.kills, s.places                    -- how many processes were killed, and where how often
--   s.here, s.in_labour                  -- the same of this life; those that did several things at a time
--
-- A wave is one to four processes that exchange, link, refresh and work, often on the same account.
-- One or two of them die: while a call is with Ring, or at a step of their own. While somebody waits
-- for a dead process's lease, time passes; but never so much that a living one's lease would end.

local assert = require "luassert"
local children = require "support.child"
local dice = require "ringlink.sandbox.rules.dice"
local killing = require "support.killing"
local partner = require "support.partner"

local PROCESSES_MAX, KILLS_A_WAVE_MAX = 4, 2
local DIES_IN_FLIGHT, OTHER_DIES = 0.5, 0.3
local PARTS = 4                        -- of a lease, that pass at a time
local STEPS = { deliver = 45, use = 8, labour = 24 }
local CALLS = { "token", "me", "confirm", "complete", "refresh" }
local CALM_DAYS = 4
local LIVES_MAX, WAVES_MAX = 100, 1000

-- Faults that come by themselves: every so many calls.
local SMALL = {
  { call = "*", drop = "before", rate = 0.01 },
  { call = "*", status = 503, rate = 0.01 },
  { call = "*", status = 429, retry_after = 1, rate = 0.005 },
  { call = "*", status = 502, body = "html", rate = 0.005 },
  { call = "*", delay_ms = 15, rate = 0.05 },
  { call = "token", drop = "after", rate = 0.02 },
  { call = "refresh", drop = "after", rate = 0.01 },
  { call = "refresh", body = "cut", rate = 0.01 },
  { call = "confirm", drop = "after", rate = 0.03 },
  { call = "complete", status = 500, after = true, rate = 0.03 },
}

local M = {}

local Storm = {}
Storm.__index = Storm

--- Storms of a seed.
---@param k table support.killing
---@param seed integer
function M.new(k, seed)
  return setmetatable({ k = k, w = k.w, seed = seed, lives = 0, kills = 0, places = {}, bag = {} },
    Storm)
end

-- Chance ----------------------------------------------------------------------------------------

-- Each wave has dice of its own: whatever the one before came to, this one is the same.
local function new_dice(self)
  self.throw = dice.new(self.seed * LIVES_MAX * WAVES_MAX + self.lives * WAVES_MAX + self.waves)
end

local function roll(self, sides)
  return math.floor(self.throw() * sides) + 1
end

local function pick(self, list)
  return list[roll(self, #list)]
end

-- Every call is hit before and after it is done before one is hit again.
local function next_place(self)
  if #self.bag == 0 then
    for _, call in ipairs(CALLS) do
      for _, when in ipairs { "before", "after" } do table.insert(self.bag, { call = call, when = when }) end
    end
  end
  return table.remove(self.bag, roll(self, #self.bag))
end

local function order_faults(self)
  self.w:fault { off = true }
  for _, fault in ipairs(SMALL) do
    local copy = { count = "always", seed = roll(self, 1000000) }
    for name, value in pairs(fault) do copy[name] = value end
    self.w:fault(copy)
  end
end

-- What a process is to do -------------------------------------------------------------------------

local function deliver(install)
  return { mode = "deliver", install = install, install.code, install.nonce, install.time, install.user }
end

local function new_install(self)
  local install = self.w:install()
  install.user = "user-" .. #self.installs
  table.insert(self.installs, install)
  return install
end

local function use(install)
  return { mode = "use", install = install, install.account }
end

local function job_for_call(self, call)
  if call ~= "refresh" then return deliver(new_install(self)) end
  return use(#self.installs > 0 and pick(self, self.installs) or new_install(self))
end

local function any_job(self)
  local mode = pick(self, { "deliver", "deliver", "use", "labour" })
  if mode == "deliver" or #self.installs == 0 then return deliver(new_install(self)) end
  if mode == "use" then return use(pick(self, self.installs)) end
  return { mode = "labour" }
end

-- Somebody who gets in the way of a job.
local function job_beside(self, job)
  local mode = pick(self, { "same", "same", "use", "labour" })
  if mode == "same" then return job end
  if mode == "labour" or #self.installs == 0 then return { mode = "labour" } end
  return use(job.install or pick(self, self.installs))
end

local function start(self, job, step)
  local child = self.k:start(job.mode, step or -1, (table.unpack or unpack)(job))
  return { child = child, mode = job.mode, aged = {} }
end

-- Watching them -----------------------------------------------------------------------------------

local function note_kill(self, one, place)
  if one.mode == "labour" then self.in_labour = self.in_labour + 1 end
  self.kills, self.killed_here = self.kills + 1, self.killed_here + 1
  for _, places in ipairs { self.places, self.here } do places[place] = (places[place] or 0) + 1 end
  self.passed_ms = 0
end

-- Of a process that has ended: what it stored and reported is kept.
local function note_end(self, one)
  local status, said = one.child:wait()
  one.ended = true
  for _, token in ipairs(killing.all_after(said, "stored")) do self.stored[token] = true end
  for _, code in ipairs(killing.all_after(said, "reported")) do
    self.told[code] = (self.told[code] or 0) + 1
  end
  if one.killed then return end
  local place = said:match("killed at %d+: ([^\n]*)\n$")
  assert.equal(place and killing.KILLED or 0, status, said)
  if place then note_kill(self, one, place) end
end

local TOKEN_LEASES = { refresh = true, exchange = true }      -- under which a pair is on its way

-- The leases that a process holds, each with the line that told it; and how often it had to wait.
local function leases_of(said)
  local held, waits, number = {}, 0, 0
  for line in said:gmatch("[^\n]+") do
    number = number + 1
    local verb, kind, name = line:match("^(%a+) ((%a+)/%x*)$")
    if verb == "holds" and TOKEN_LEASES[name] then held[kind] = number end
    if verb == "frees" then held[kind] = nil end
    if line == "waits" then waits = waits + 1 end
  end
  return held, waits
end

-- Whether it holds a lease that has lost a part of its time already.
local function holds_aged(one, held)
  for name, number in pairs(held) do
    if one.aged[name] == number then return true end
  end
  return false
end

-- Time may pass when somebody waits for it, and no living process would lose its lease.
local function may_pass(living)
  local somebody_waits = false
  for _, one in ipairs(living) do
    local held, waits = leases_of(one.child:output())
    if holds_aged(one, held) then return false end
    somebody_waits = somebody_waits or waits > (one.waits or 0)
  end
  return somebody_waits
end

local function pass_a_part(self, living)
  local ms = math.ceil(partner.lease_ms / PARTS)
  self.k:pass_time(ms)
  self.passed_ms = self.passed_ms + ms
  for _, one in ipairs(living) do one.aged, one.waits = leases_of(one.child:output()) end
end

local function living_of(self, wave)
  local living = {}
  for _, one in ipairs(wave) do
    if not one.ended and one.child:status() then note_end(self, one) end
    if not one.ended then table.insert(living, one) end
  end
  return living
end

local function told_by(wave)
  return function()
    local parts = { "the end of a wave" }
    for _, one in ipairs(wave) do
      local stands = one.ended and "ended" or "runs"
      table.insert(parts, ("-- %s, %s:\n%s"):format(one.mode, stands, one.child:output()))
    end
    return table.concat(parts, "\n")
  end
end

local function see_out(self, wave)
  children.wait_until(told_by(wave), function()
    local living = living_of(self, wave)
    if #living == 0 then return true end
    if self.killed_here > 0 and may_pass(living) then pass_a_part(self, living) end
  end)
end

local function await_contention(wave)
  for i = 2, #wave do
    children.wait_until("a process looks for a lease", function()
      local _, waits = leases_of(wave[i].child:output())
      return waits > 0 or wave[i].child:status()
    end)
  end
end

-- A wave ------------------------------------------------------------------------------------------

local function death_of(self, job, left)
  if left <= 0 or self.throw() > OTHER_DIES then return nil end
  return roll(self, STEPS[job.mode])
end

local function start_others(self, wave, job)
  local count = roll(self, PROCESSES_MAX) - 1
  local left = KILLS_A_WAVE_MAX - 1
  for _ = 1, count do
    local other = job_beside(self, job)
    local step = death_of(self, other, left)
    if step then left = left - 1 end
    table.insert(wave, start(self, other, step))
  end
end

local function wave_in_flight(self)
  local place = next_place(self)
  if place.call == "refresh" then self.k:pass_time(killing.lifetime_ms) end
  local job = job_for_call(self, place.call)
  local held = self.k:hold(place.call, place.when)
  local victim = start(self, job)
  local wave = { victim }
  local there = self.k:await_held(held, victim.child)
  if not there then order_faults(self) end
  start_others(self, wave, job)
  if there then
    await_contention(wave)
    victim.killed = true
    killing.kill(victim.child)
    note_kill(self, victim, ("%s with Ring, %s"):format(place.call, place.when))
  end
  see_out(self, wave)
end

local function wave_of_steps(self)
  local job = any_job(self)
  if job.mode == "use" then self.k:pass_time(killing.lifetime_ms) end
  if job.mode == "labour" then self.k:pass_time(killing.day_ms) end
  local wave = { start(self, job, roll(self, STEPS[job.mode])) }
  start_others(self, wave, job)
  see_out(self, wave)
end

-- A code that Ring has not seen yet dies in a minute: it is not left lying about.
local function a_code_is_at_risk(self)
  local uses = killing.uses(self.w:journal("token"))
  for _, install in ipairs(self.installs) do
    if not uses[partner.fingerprint(install.code)] then return true end
  end
  return false
end

local function labour(self)
  local one = start(self, { mode = "labour" })
  see_out(self, { one })
end

local function wave(self)
  self.waves, self.killed_here, self.passed_ms = self.waves + 1, 0, 0
  new_dice(self)
  local storm = self.throw() < DIES_IN_FLIGHT and wave_in_flight or wave_of_steps
  storm(self)
  local left_ms = partner.lease_ms - self.passed_ms
  if self.killed_here > 0 and left_ms > 0 then self.k:pass_time(left_ms) end
  if a_code_is_at_risk(self) or self.throw() < 0.5 then labour(self) end
  children.stop_all()
end

--- A new store; then so many processes are killed.
---@param kills integer
function Storm:live(kills)
  self.k:begin()
  self.installs, self.stored, self.told = {}, {}, {}
  self.here, self.in_labour = {}, 0
  self.lives, self.waves = self.lives + 1, 0
  new_dice(self)
  order_faults(self)
  local enough = self.kills + kills
  while self.kills < enough do wave(self) end
end

--- Nothing goes wrong any more, for some days.
function Storm:calm()
  self.w:fault { off = true }
  self.killed_here, self.passed_ms = 0, 0
  for _ = 1, CALM_DAYS do
    labour(self)
    self.k:pass_time(killing.day_ms)
  end
  labour(self)
end

return M
