--- Bringing a whole store under its newest key.
--
-- Invariants: a row is written by compare-and-set as it was read, but for its sealed fields; what
-- cannot be opened is left as it is and told. What was done stays done, so that a call which is
-- interrupted is simply repeated.

local errors = require "ringlink.errors"
local sealed = require "ringlink.sealed"

local M = {}

local PAGE = 256
local CONFLICTS_MAX = 16

---@class ringlink.Reseal
---@field done integer
---@field total integer    rows that were stale at the beginning, and events met since
---@field left integer     could not be opened
---@field problem ringlink.Error?
---@field progress fun(done: integer, total: integer)

local function each_page(client, fn)
  local after
  repeat
    local page = client.store:find({ after = after, limit = PAGE })
    fn(page)
    after = page[#page] and page[#page].key
  until #page < PAGE
end

local function count_stale(client)
  local count = 0
  each_page(client, function(page)
    for _, entry in ipairs(page) do
      if sealed.is_stale(client.vault, entry.row) then count = count + 1 end
    end
  end)
  return count
end

local function note(run, problem)
  run.left = run.left + (problem and 1 or 0)
  run.done = run.done + (problem and 0 or 1)
  run.problem = run.problem or problem
end

-- Rows ----------------------------------------------------------------------------------------

local function reseal_row(client, key, row, version)
  for _ = 1, CONFLICTS_MAX do
    if not row or not sealed.is_stale(client.vault, row) then return nil end
    local problem = sealed.renew(client.vault, key, row)
    if client.store:put_if(key, row, version) then return problem end
    row, version = client.store:get(key)
  end
  return errors.new("store_busy", { stage = "reseal", detail = "a row changed again and again" })
end

local function reseal_rows(client, run)
  each_page(client, function(page)
    for _, entry in ipairs(page) do
      if sealed.is_stale(client.vault, entry.row) then
        note(run, reseal_row(client, entry.key, entry.row, entry.version))
      end
    end
    run.progress(run.done, run.total)
  end)
end

-- Events --------------------------------------------------------------------------------------

-- Compare-and-set on the body: whoever acts on the event meanwhile has opened the old one already.
local function reseal_event(client, event)
  local body, problem = sealed.renew_field(client.vault, sealed.event_place(client, event.id), "body",
    event.body)
  if not problem then client.store:event_replace(event.id, event.body, body) end
  return problem
end

local function reseal_events(client, run)
  local after
  repeat
    local page = client.store:event_pending(after, PAGE)
    for _, event in ipairs(page) do
      if client.vault:is_stale(event.body) then
        run.total = run.total + 1
        note(run, reseal_event(client, event))
      end
    end
    after = page[#page] and page[#page].id
    run.progress(run.done, run.total)
  until #page < PAGE
end

-- What others call ----------------------------------------------------------------------------

local function said(run)
  local detail = ("%d were left as they are, %d sealed anew"):format(run.left, run.done)
  return errors.new(run.problem.code, { stage = "reseal", cause = run.problem, detail = detail })
end

--- Seals every row and event anew that an older key sealed.
---@param client ringlink.Client
---@param progress (fun(done: integer, total: integer))?
---@return integer? done
---@return ringlink.Error? err at least one could not be opened
function M.reseal(client, progress)
  if not client.options.store_key then return 0 end           -- in memory nothing is sealed
  local run = { done = 0, left = 0, progress = progress or function() end }
  run.total = count_stale(client)
  run.progress(0, run.total)
  reseal_rows(client, run)
  reseal_events(client, run)
  client.store:renew()
  if run.problem then return nil, said(run) end
  return run.done
end

return M
