--- Where a large answer goes, instead of into memory: a file, or the caller's function, part by part.
--
-- A file is written by the transport (src/io/sink_file), wholly in C. For a function the transfer stands
-- still while a part is out, so that no more than a few parts are ever held, however slow the function
-- is; it runs in the caller's coroutine, may wait, and its time counts for nobody.
-- Invariants: only the body of a 2xx answer goes there. A transfer whose taker is gone (a raise, a
-- request that nginx ended, a coroutine that its loop dropped) is cancelled, at the latest when the
-- coroutine is collected.

local errors = require "ringlink.errors"
local flight = require "ringlink.flight"

local M = {}

--- Whether an answer's status is a 2xx.
---@param answer { status: integer? } none when no answer came
---@return boolean
function M.is_success(answer)
  return answer.status ~= nil and answer.status >= 200 and answer.status < 300
end

--- What the transport is told about it.
---@param sink string|function|nil
---@param stall_ms integer how long the answer may stand still
---@return integer? stall_ms
---@return string? sink_path
function M.fields(sink, stall_ms)
  if sink == nil then return nil, nil end
  return stall_ms, type(sink) == "string" and sink or nil
end

-- Where somebody has to know that the caller will come back, it is told.
local function attend(rt, transport)
  if not rt.attend then return function() end end
  local visit = rt.visit()
  rt.attend(transport, visit)
  return function() rt.desert(transport, visit) end, visit
end

-- What lies on the stack of whoever waits, and cancels the transfer when that is collected. LuaJIT lets
-- no table do so; and what a coroutine has given up it does not see any more, so nothing of the
-- caller's is asked for then.
local function guard_of(transport, ticket, leave)
  local function cancel()
    transport:cancel(ticket)
    leave()
  end
  if not newproxy then return setmetatable({}, { __gc = cancel }) end -- luacheck: ignore 113
  local guard = newproxy(true)                                        -- luacheck: ignore 113
  getmetatable(guard).__gc = cancel
  return guard
end

local function goes_on(problem)
  return errors.is_interruption(problem) or (errors.is(problem) and problem.code == "cancelled")
end

-- nil when the function wants more.
local function refusal(sink, part)
  local ok, answer, reason = pcall(sink, part)
  if not ok and goes_on(answer) then error(answer, 0) end
  if not ok then return { detail = "the sink raised: " .. errors.describe(answer), cause = answer } end
  if answer ~= false then return nil end
  return { detail = "the sink wanted no more" .. (reason and ": " .. errors.describe(reason) or ""),
    cause = reason }
end

local function cut_off(fields)
  fields.error, fields.sent, fields.begun = "cancelled", true, true
  return fields
end

local function next_part(client, transport, ticket)
  flight.prolong(client)
  if transport:proceed(ticket) then return client.runtime.await(transport, ticket) end
  return cut_off { detail = "the transport was closed" }
end

local function whole(first, bytes)
  first.body, first.more, first.written = "", nil, bytes
  return first
end

local function pour(client, transport, ticket, sink)
  local first = client.runtime.await(transport, ticket)
  if first.error or not M.is_success(first) then return first end
  local part, bytes = first, 0
  while true do
    local refused = part.body ~= "" and refusal(sink, part.body)
    bytes = bytes + #part.body
    if refused then
      if part.more then transport:cancel(ticket) end
      return cut_off(refused)
    end
    if not part.more then return whole(first, bytes) end
    part = next_part(client, transport, ticket)
    if part.error then
      part.begun = true
      return part
    end
  end
end

local function settle(transport, ticket, kept, ok, ...)
  kept.leave()
  if kept.visit then kept.visit:leave() end
  if ok then return ... end
  transport:cancel(ticket)
  error((...), 0)
end

--- Waits for the answer to a request that was started.
---@param client ringlink.Client
---@param transport userdata
---@param ticket integer
---@param sink string|function|nil
---@return table result with a sink its body is empty and `written` its length; `begun` when a function
--- was given a part of one that failed
function M.receive(client, transport, ticket, sink)
  if type(sink) ~= "function" then return client.runtime.await(transport, ticket) end
  if type(transport) == "table" and transport.part_here then transport = transport:part_here() end
  local leave, visit = attend(client.runtime, transport)
  local kept = { guard = guard_of(transport, ticket, leave), leave = leave, visit = visit }
  return settle(transport, ticket, kept, pcall(pour, client, transport, ticket, sink))
end

return M
