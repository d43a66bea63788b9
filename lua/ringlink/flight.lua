--- Single flight over critical sections: of all who want the same thing at once, one does it.
--
-- In this process the others join it; other processes are kept out by a lease of the same name, and
-- read again once they have it. The section is a task of the runtime and is given values, never a
-- closure over whoever asked first: when that caller goes away, the section still ends and everybody
-- else gets its result.
-- Hooks never run inside a section: what they are to be told is noted, and told by the caller that
-- started the outermost section, once everything is stored.

local M = {}

local unpack = table.unpack or unpack

local LEASE_MARGIN_MS = 15000          -- a lease outlives the longest operation under it
local LEASE_CALLS = 4                  -- calls that one section may make, each with its deadline
local LEASE_POLL_S = 0.25

local function take_lease(client, key)
  local ttl_ms = LEASE_CALLS * client.options.deadline_ms + LEASE_MARGIN_MS
  while true do
    local taken, remaining_ms = client.store:lease(key, client.owner, ttl_ms)
    if taken then return end
    client.clock.sleep(math.min(LEASE_POLL_S, math.max(remaining_ms, 1) / 1000))
  end
end

local function leave(client, key, co)
  client.flights[key] = nil
  client.noting[co] = nil
end

local function body(client, key, flight, fn, ...)
  local co, results = coroutine.running(), nil
  client.noting[co] = flight.notes
  local function section(...)
    take_lease(client, key)
    results = { n = 0 }
    local function keep(...) results = { n = select("#", ...), ... } end
    local ok, failure = pcall(function(...) keep(fn(client, flight.notes, ...)) end, ...)
    pcall(client.store.release, client.store, key, client.owner)   -- else it runs out by itself
    if not ok then error(failure, 0) end
  end
  local ok, failure = pcall(section, ...)
  leave(client, key, co)
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

--- Tells a hook, or, inside a section, notes it for the end of it.
---@param client ringlink.Client
---@param name string
function M.note(client, name, ...)
  local outer = client.noting[coroutine.running() or "main"]
  if outer == nil then return client.hooks:tell(name, ...) end
  outer[#outer + 1] = { n = select("#", ...) + 1, name, ... }
end

--- Tells the hooks what was noted, as soon as no section is open around the caller.
---@param client ringlink.Client
---@param notes table[]
function M.tell(client, notes)
  for _, note in ipairs(notes) do M.note(client, unpack(note, 1, note.n or #note)) end
end

-- What was stored before a section failed is told too. A wait that was given up tells nothing: the
-- section goes on without it.
local function tell_and_return(client, flight, ok, ...)
  if ok or flight.task.done then M.tell(client, flight.notes) end
  if not ok then error((...), 0) end
  return ...
end

--- Runs a critical section under a lease, or waits for the one under way with the same key.
---@param client ringlink.Client
---@param key string
---@param fn fun(client: ringlink.Client, notes: table[], ...): any a function of a module
function M.run(client, key, fn, ...)
  local flight = client.flights[key]
  if flight then return client.runtime.join(flight.task) end
  client.runtime.check_may_wait()
  flight = { notes = {} }
  client.flights[key] = flight
  flight.task = client.runtime.critical(body, client, key, flight, fn, ...)
  return tell_and_return(client, flight, pcall(client.runtime.join, flight.task))
end

return M
