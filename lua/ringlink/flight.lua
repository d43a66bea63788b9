--- Single flight over critical sections: of all who want the same thing at once, one does it.
--
-- The section is a task of the runtime and is given values, never a closure over whoever asked
-- first: when that caller goes away, the section still ends and everybody else gets its result.
-- Hooks do not run inside: what they are to be told is noted, and told by the caller that started
-- the section, once everything is stored.

local M = {}

local function body(client, key, flight, fn, ...)
  local results = { n = 0 }
  local function pack(...)
    results = { n = select("#", ...), ... }
  end
  local ok, failure = pcall(function(...) pack(fn(client, flight.notes, ...)) end, ...)
  client.flights[key] = nil
  if not ok then error(failure, 0) end
  return (table.unpack or unpack)(results, 1, results.n)
end

--- Whether somebody is at it already.
---@param client ringlink.Client
---@param key string
---@return boolean
function M.is_under_way(client, key)
  return client.flights[key] ~= nil
end

--- Tells the hooks what a section noted.
---@param client ringlink.Client
---@param notes table[]
function M.tell(client, notes)
  for _, note in ipairs(notes) do
    client.hooks:tell((table.unpack or unpack)(note, 1, note.n or #note))
  end
end

-- What was stored before a section failed is told too. A wait that was given up tells nothing: the
-- section goes on without it.
local function tell_and_return(client, flight, ok, ...)
  if ok or flight.task.done then M.tell(client, flight.notes) end
  if not ok then error((...), 0) end
  return ...
end

--- Runs a critical section, or waits for the one under way with the same key.
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
