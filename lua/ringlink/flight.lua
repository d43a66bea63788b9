--- Single flight over critical sections: of all who want the same thing at once, one does it.
--
-- In this process the others join it; other processes are kept out by a lease of the same name, and
-- read again once they have it. The section is a task of the runtime and is given values, never a
-- closure over whoever asked first: when that caller goes away, the section still ends and everybody
-- else gets its result.
-- A section whose lease another process has taken ends before its next POST or PATCH, with
-- `in_progress`, and writes nothing more: what it was at is the other one's now.
-- Hooks never run inside a section: what they are to be told is noted, and told by the caller that
-- started the outermost section, once everything is stored. What a row owes them (grants) is settled
-- after that.
-- Who runs what is kept by coroutine: `client.sections` maps each to the section it is in, or to what
-- stands for one while `work` is at it.

local errors = require "ringlink.errors"
local grants = require "ringlink.grants"

local M = {}

local unpack = table.unpack or unpack

-- How long a lease lasts: from the beginning of one call (every one prolongs the leases around it
-- that are not new any more) to that of the next. In between lie the call, with its deadline, and what
-- is stored or waited for after it, as long again.
local LEASE_DEADLINES = 2
local LEASE_MARGIN_MS = 15000
local LEASE_NEW_MS = 5000              -- less than the margin
local LEASE_POLL_S = 0.25

---@class ringlink.Flight
---@field key string?          its lease; none for what merely stands for a section
---@field notes table[]?       what hooks are to be told at its end; without, they are told at once
---@field background boolean?  whoever began it lets its calls give way to others
---@field patient boolean?     somebody waits until other processes give the lease back
---@field waiting ringlink.Flight[]? sections that wait for this one
---@field leased_ms integer?   when its lease was taken or prolonged
---@field lost boolean?        another process has its lease, or may have had it since
---@field ending ringlink.Error? what it is ended by, before its time
---@field task ringlink.Task?
---@field visit table?         of whoever is in what merely stands for a section

local function here()
  return coroutine.running() or "main"
end

-- What the caller is in. Nothing, when that was left without a word: nginx ends a request whose client
-- went away, and its coroutine serves another one.
local function around(client)
  local co = here()
  local flight = client.sections[co]
  if flight and flight.visit and flight.visit:is_gone() then client.sections[co] = nil end
  return client.sections[co]
end

-- Leases --------------------------------------------------------------------------------------

--- How long a lease is taken for.
---@param client ringlink.Client
---@return integer
function M.lease_ms(client)
  return LEASE_DEADLINES * client.options.deadline_ms + LEASE_MARGIN_MS
end

--- Waits before the next try to take a lease that another process has.
---@param client ringlink.Client
---@param remaining_ms integer until it runs out
function M.await_lease(client, remaining_ms)
  client.clock.sleep(math.min(LEASE_POLL_S, math.max(remaining_ms, 1) / 1000))
end

--- Gives a lease back; when the store fails, it runs out by itself.
---@param client ringlink.Client
---@param key string
function M.give_lease_back(client, key)
  pcall(client.store.release, client.store, key, client:owner())
end

local function lease(client, flight)
  local taken, remaining_ms = client.store:lease(flight.key, client:owner(), M.lease_ms(client))
  if taken then flight.leased_ms = client.clock.monotonic_ms() end
  return taken, remaining_ms
end

-- A section that waits for another one keeps its own lease meanwhile. One that cannot be prolonged
-- runs out, as one of a process that was stopped does: what is stored is safe then too.
local function prolong(client, flight)
  local age_ms = flight.leased_ms and client.clock.monotonic_ms() - flight.leased_ms or 0
  if age_ms >= LEASE_NEW_MS then
    local refused = errors.catch(lease, client, flight) == false
    flight.lost = flight.lost or refused or age_ms > M.lease_ms(client)
  end
  for _, outer in ipairs(flight.waiting or {}) do prolong(client, outer) end
end

-- From its lease on, what a section does must not be cut off; while it waits for that, it may be.
local function try_lease(client, flight)
  local rt = client.runtime
  if rt.hold then rt.hold() end
  local taken, remaining_ms = lease(client, flight)
  if rt.release and not taken then rt.release() end
  return taken, remaining_ms
end

local function take_lease(client, flight)
  while true do
    local taken, remaining_ms = try_lease(client, flight)
    if taken or not flight.patient or client.closing then return taken end
    M.await_lease(client, remaining_ms)
    prolong(client, flight)
  end
end

--- Keeps the leases of the sections around the caller: a call begins.
---@param client ringlink.Client
function M.prolong(client)
  local flight = around(client)
  if flight then prolong(client, flight) end
end

--- The same before what must not be done twice: ends the section around the caller when it has lost
--- its lease.
---@param client ringlink.Client
---@param fields table of the error it ends with
function M.prolong_or_end(client, fields)
  M.prolong(client)
  local flight = around(client)
  if not (flight and flight.lost) then return end
  fields.detail = "another process has taken it over"
  flight.ending = errors.new("in_progress", fields)
  error(flight.ending, 0)
end

-- Hooks ---------------------------------------------------------------------------------------

-- Each note is a hook's name and what it is told; with `owing` a row owed this, or one that follows.
-- When the program is interrupted meanwhile, that goes on to the caller once the others were told; what
-- a row owes to the hook that was cut off, it is told again.
local function tell_all(client, notes)
  local cut, interruption = {}, nil
  for _, note in ipairs(notes) do
    local ok, problem = pcall(client.hooks.tell, client.hooks, unpack(note, 1, note.n or #note))
    if not ok then cut[note[1]], interruption = true, { problem } end
  end
  for _, note in ipairs(notes) do
    if note.owing and not cut[note.owing.hook] then grants.settle(client, note.owing) end
  end
  if interruption then error(interruption[1], 0) end
end

--- Tells the hooks what was noted, as soon as no section is open around the caller.
---@param client ringlink.Client
---@param notes table[]
function M.tell(client, notes)
  local outer = around(client)
  if not (outer and outer.notes) then return tell_all(client, notes) end
  for _, note in ipairs(notes) do outer.notes[#outer.notes + 1] = note end
end

--- Tells a hook, or, inside a section, notes it for the end of it.
---@param client ringlink.Client
---@param name string
function M.note(client, name, ...)
  M.tell(client, { { n = select("#", ...) + 1, name, ... } })
end

-- Sections ------------------------------------------------------------------------------------

local function leave(client, flight, co)
  client.flights[flight.key] = nil
  client.sections[co] = nil
end

local function body(client, flight, fn, ...)
  local co, results = here(), nil
  client.sections[co] = flight
  local function keep(...)
    results = { n = select("#", ...), ... }
    return true
  end
  local function section(...)
    if not take_lease(client, flight) then return keep(errors.fail(client.closing and "closed" or "in_progress")) end
    local ok, failure = pcall(function(...) keep(fn(client, flight.notes, ...)) end, ...)
    if not ok and failure == flight.ending then ok = keep(nil, failure) end
    M.give_lease_back(client, flight.key)
    if not ok then error(failure, 0) end
  end
  local ok, failure = pcall(section, ...)
  leave(client, flight, co)
  if not ok then error(failure, 0) end
  return unpack(results, 1, results.n)
end

--- Whether somebody in this process is at it already.
---@param client ringlink.Client
---@param key string
---@return boolean
function M.is_under_way(client, key)
  return client.flights[key] ~= nil
end

-- One that somebody has come to wait for since it began is that no more.
local function is_background(flight)
  if not (flight and flight.background) then return false end
  for _, outer in ipairs(flight.waiting or {}) do
    if not is_background(outer) then return false end
  end
  return true
end

--- Whether the caller's calls to Ring are for nobody who waits.
---@param client ringlink.Client
---@return boolean
function M.is_background(client)
  return is_background(around(client))
end

local function finish(client, co, visit, before, ok, ...)
  client.sections[co] = before
  visit:leave()
  if not ok then error((...), 0) end
  return ...
end

--- The section around the caller, or what stands for one.
---@param client ringlink.Client
---@return ringlink.Flight?
function M.around(client)
  return around(client)
end

--- The caller waits for what somebody does in a section: unless it gives way to others itself, that
--- gives way no more.
---@param client ringlink.Client
---@param flight ringlink.Flight? as `around` told whoever does it
function M.wait_along(client, flight)
  if flight and not M.is_background(client) then flight.background = false end
end

--- Runs a function whose calls to Ring, and those of the sections it begins, give way to others. With
--- `notes` the hooks are not told but noted there.
---@param client ringlink.Client
---@param notes table[]?
---@param fn function
function M.in_background(client, notes, fn, ...)
  local co, before, visit = here(), around(client), client.runtime.visit()
  client.sections[co] = { background = true, notes = notes, visit = visit }
  return finish(client, co, visit, before, pcall(fn, ...))
end

-- What was stored before a section failed is told too. A wait that was given up tells nothing: the
-- section goes on without it.
local function tell_and_return(client, flight, ok, ...)
  if ok or flight.task.done then M.tell(client, flight.notes) end
  if not ok then error((...), 0) end
  return ...
end

local function join(client, flight, outer)
  if outer == nil then flight.background = false end
  flight.waiting[#flight.waiting + 1] = outer
  return client.runtime.join(flight.task)
end

local function run(client, key, patient, fn, ...)
  local outer = around(client)
  local flight = client.flights[key]
  if flight then
    flight.patient = flight.patient or patient
    return join(client, flight, outer)
  end
  client.runtime.check_may_wait()
  flight = { key = key, notes = {}, waiting = {}, patient = patient, background = is_background(outer) }
  client.flights[key] = flight
  flight.task = client.runtime.critical(body, client, flight, fn, ...)
  return tell_and_return(client, flight, pcall(join, client, flight, outer))
end

--- Runs a critical section under a lease, or waits for the one under way with the same key.
---@param client ringlink.Client
---@param key string
---@param fn fun(client: ringlink.Client, notes: table[], ...): any a function of a module
function M.run(client, key, fn, ...)
  return run(client, key, true, fn, ...)
end

--- The same; but while another process has the lease, it ends at once with `nil, in_progress`.
---@param client ringlink.Client
---@param key string
---@param fn fun(client: ringlink.Client, notes: table[], ...): any a function of a module
function M.try(client, key, fn, ...)
  return run(client, key, false, fn, ...)
end

return M
