--- How the accounts stand: how many in which state, how old their tokens are, when they are next due.
--
-- Counting reads an index entry for each row and the ages come from a sample at a random place, so
-- neither grows with what is read by a page. The figures are kept on the board: at least a minute, and
-- longer when counting took long, so that it never takes more than a small share of the store's time.

local core = require "ringlink.core"
local grants = require "ringlink.grants"
local json = require "ringlink.json"

local M = {}

local KEEP_S_MIN = 60
local KEEP_SHARE = 0.005              -- of the store's time, at most
local SAMPLE = 400
local HOUR_MS = 3600000
M.HOURS = 24                          -- columns of the two plots; one more for what lies beyond

---@class ringlink.Census
---@field states table<string, integer>?  by state of the link; nil when the store cannot count
---@field pending integer?                events that wait for their hooks
---@field sampled integer                 accounts behind the two plots
---@field ages integer[]                  by whole hours since the tokens came
---@field due integer[]                   by whole hours until they are refreshed
---@field overdue integer
---@field at_ms number

local function states_of(tallied)
  local states = {}
  for _, state in ipairs(core.link_states) do states[state] = tallied.states[state] or 0 end
  return states
end

-- Keys of grants end in random digits: from a random one on they are a fair sample.
local function sample(client)
  local key, list = grants.key(client, core.hex(core.random(16))), {}
  for _, after in ipairs({ key, grants.key(client, "") }) do
    for _, entry in ipairs(client.store:find({ state = "completed", after = after, limit = SAMPLE })) do
      if #list < SAMPLE and (after == key or entry.key <= key) then list[#list + 1] = entry.row end
    end
  end
  return list
end

local function empty_columns()
  local columns = {}
  for i = 1, M.HOURS + 1 do columns[i] = 0 end
  return columns
end

local function add_to(columns, ms)
  local column = math.min(math.max(math.floor(ms / HOUR_MS), 0), M.HOURS) + 1
  columns[column] = columns[column] + 1
end

local function take(client)
  local now_ms = client.clock.now_ms()
  local census = { ages = empty_columns(), due = empty_columns(), overdue = 0, at_ms = now_ms }
  local tallied = client.store.tally and client.store:tally()
  if tallied then census.states, census.pending = states_of(tallied), tallied.pending end
  local rows = sample(client)
  census.sampled = #rows
  for _, row in ipairs(rows) do
    add_to(census.ages, now_ms - (row.refreshed_ms or row.created_ms))
    local wait_ms = (row.due_ms or now_ms) - now_ms
    if wait_ms < 0 then census.overdue = census.overdue + 1 else add_to(census.due, wait_ms) end
  end
  return census
end

--- The figures, at most some minutes old.
---@param app ringlink.App
---@return ringlink.Census
function M.read(app)
  local key, clock = "census|" .. app.name, app.client.clock
  local kept = json.decode_table(app.board:get(key))
  if kept then return kept end
  local began_ms = clock.monotonic_ms()
  local census = take(app.client)
  local took_s = (clock.monotonic_ms() - began_ms) / 1000
  app.board:put(key, assert(json.encode(census)), math.max(KEEP_S_MIN, took_s / KEEP_SHARE))
  return census
end

return M
