--- Puts a client's own counts into its app's tally, with labels from bounded sets.
--
-- Statuses come from the wire: those that are not known by number are counted by their class.

local core = require "ringlink.core"
local histogram = require "ringlink.histogram"

local M = {}

local PLACES = { "queued", "at_work", "done" }
local STATUSES = {}
for status in ("200 201 204 206 301 302 303 304 307 308 400 401 403 404 405 408 409 410 413 415 416 422 425 429 "
  .. "500 502 503 504"):gmatch("%d+") do
  STATUSES[status] = true
end
local CODES = {}
for _, entry in ipairs(core.errors) do CODES[entry.code] = true end

local function outcome_label(outcome)
  if STATUSES[outcome] or CODES[outcome] then return outcome end
  return outcome:find("^%d%d%d$") and outcome:sub(1, 1) .. "xx" or "other"
end

local function add_calls(sums, calls)
  for name, count in pairs(calls) do
    local stage, outcome = name:match("^(.*) (%S+)$")
    local label = ("calls|%s|%s"):format(stage, outcome_label(outcome))
    sums[label] = (sums[label] or 0) + count
  end
end

local function add_times(sums, times)
  for stage, one in pairs(times) do
    sums["times_sum|" .. stage], sums["times_count|" .. stage] = one.sum_ms, one.count
    for i, bound_ms in ipairs(histogram.BOUNDS_MS) do sums[("times|%s|%d"):format(stage, bound_ms)] = one[i] end
  end
end

-- By the thread and where in its queues; what this process has not got is 0, as after a restart.
local function gauge_queues(app, worker, metrics)
  for _, thread in ipairs({ "transport", "store" }) do
    for _, place in ipairs(PLACES) do
      local length = metrics[thread] and metrics[thread][place] or 0
      app.tally:gauge(("queues|%s|%s"):format(thread, place), worker, length)
    end
  end
end

--- Takes over what the client counted and how much is under way.
---@param app ringlink.App
---@param worker string names this process among its kind
function M.collect(app, worker)
  local metrics, sums = app.client:metrics(), {}
  add_calls(sums, metrics.calls)
  add_times(sums, metrics.times)
  sums.requests, sums.reused, sums.connections =
    metrics.transport.started, metrics.transport.reused, metrics.transport.connections
  local now_ms = app.client.clock.now_ms()
  for name, sum in pairs(sums) do
    local more = app.tally:follow(name, sum)
    if name:find("^calls|refresh|") then app.tally:happened("refreshes", more, now_ms) end
    if name:find("^calls|") then app.tally:happened("calls", more, now_ms) end
  end
  app.tally:gauge("calls_in_flight", worker, metrics.transport.in_flight or 0)
  app.tally:gauge("exchanges_in_flight", worker, app.in_flight)
  gauge_queues(app, worker, metrics)
  app.tally:flush()
end

return M
