--- What a Prometheus server scrapes: counts of all workers, gauges, accounts by state.
--
-- No label tells an account, a user or a secret: labels are apps, steps, outcomes and states. The
-- partner's nginx says who may read it.

local apps = require "ringlink.resty.apps"
local census = require "ringlink.resty.census"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local figures = require "ringlink.resty.figures"
local histogram = require "ringlink.histogram"
local reply = require "ringlink.resty.reply"

local M = { name = "metrics" }

local KIND = { ["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8" }

---@type { [1]: string, [2]: string, [3]: string, [4]: string[] }[] in the tally, metric, help, labels
local COUNTERS = {
  { "calls", "ringlink_calls_total", "Attempts of calls to Ring by step and outcome.", { "stage", "outcome" } },
  { "requests", "ringlink_requests_total", "Requests handed to the transport.", {} },
  { "reused", "ringlink_reused_connections_total", "Requests that went over a kept connection.", {} },
  { "connections", "ringlink_connections_total", "Connections made to Ring.", {} },
  { "exchanges", "ringlink_token_exchanges_total", "Posts to the Token Exchange URL, and exchanges that ended.",
    { "outcome" } },
  { "links", "ringlink_links_total", "Links by how they ended.", { "outcome" } },
  { "refreshes", "ringlink_refreshes_total", "Refreshes of tokens by how they ended.", { "outcome" } },
  { "webhooks", "ringlink_webhooks_total", "Webhooks by how they were answered and acted on.", { "outcome" } },
  { "pages", "ringlink_pages_total", "Pages shown to people.", { "page" } },
}
local GAUGES = {
  { "calls_in_flight", "ringlink_calls_in_flight", "Calls to Ring that are under way.", {} },
  { "exchanges_in_flight", "ringlink_token_exchanges_in_flight", "Exchanges that are under way.", {} },
  { "queues", "ringlink_queue_length", "What the threads were handed and has not come back, by where it is.",
    { "thread", "place" } },
  { "leaders", "ringlink_background_leaders", "Processes of this nginx that do the background work.", {} },
}

local function labels_of(app, names, values)
  local parts, at = { ('app="%s"'):format(app) }, 0
  for value in (values or ""):gmatch("[^|]+") do
    at = at + 1
    parts[#parts + 1] = ('%s="%s"'):format(names[at], value)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function shown(value)
  return value % 1 == 0 and ("%d"):format(value) or ("%.3f"):format(value)
end

local function family(out, kind, metric, help)
  out[#out + 1] = ("# HELP %s %s"):format(metric, help)
  out[#out + 1] = ("# TYPE %s %s"):format(metric, kind)
end

local function line(out, metric, labels, value)
  out[#out + 1] = ("%s%s %s"):format(metric, labels, shown(value))
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Every app's figures of one kind stand together, as the format wants it.
local function families(out, kind, specs, read)
  for _, spec in ipairs(specs) do
    family(out, kind, spec[2], spec[3])
    for _, one in ipairs(read) do
      for _, name in ipairs(sorted(one[kind])) do
        local metric, values = name:match("^([%w_]+)|?(.*)$")
        if metric == spec[1] then line(out, spec[2], labels_of(one.name, spec[4], values), one[kind][name]) end
      end
    end
  end
end

local function stages_of(counters)
  local stages = {}
  for name in pairs(counters) do
    local stage = name:match("^times_count|(.*)$")
    if stage then stages[stage] = true end
  end
  return sorted(stages)
end

local function one_histogram(out, metric, one, stage)
  local counters, sum = one.counter, 0
  local function labels(le) return ('{app="%s",stage="%s",le="%s"}'):format(one.name, stage, le) end
  for _, bound_ms in ipairs(histogram.BOUNDS_MS) do
    sum = sum + (counters[("times|%s|%d"):format(stage, bound_ms)] or 0)
    line(out, metric .. "_bucket", labels(("%g"):format(bound_ms / 1000)), sum)
  end
  local plain = labels_of(one.name, { "stage" }, stage)
  line(out, metric .. "_bucket", labels("+Inf"), counters["times_count|" .. stage])
  line(out, metric .. "_sum", plain, (counters["times_sum|" .. stage] or 0) / 1000)
  line(out, metric .. "_count", plain, counters["times_count|" .. stage])
end

local function durations(out, read)
  local metric = "ringlink_call_duration_seconds"
  family(out, "histogram", metric, "How long Ring took to answer, by step.")
  for _, one in ipairs(read) do
    for _, stage in ipairs(stages_of(one.counter)) do one_histogram(out, metric, one, stage) end
  end
end

local function accounts(out, read)
  family(out, "gauge", "ringlink_accounts", "Grants by the state of their link.")
  for _, one in ipairs(read) do
    for _, state in ipairs(one.census and one.census.states and core.link_states or {}) do
      line(out, "ringlink_accounts", labels_of(one.name, { "state" }, state), one.census.states[state])
    end
  end
  family(out, "gauge", "ringlink_events_pending", "Webhook events whose hooks have not succeeded yet.")
  for _, one in ipairs(read) do
    if one.census and one.census.pending then
      line(out, "ringlink_events_pending", labels_of(one.name, {}), one.census.pending)
    end
  end
end

-- A store in trouble leaves the other figures standing.
local function read_app(app, worker)
  figures.collect(app, worker)
  local counters, gauges = app.tally:read()
  return { name = app.name, counter = counters, gauge = gauges, census = (errors.catch(census.read, app)) }
end

--- Every app's figures as text.
---@param worker string
---@return string
function M.text(worker)
  local read, out = {}, {}
  for i, name in ipairs(sorted(apps.all())) do read[i] = read_app(apps.all()[name], worker) end
  families(out, "counter", COUNTERS, read)
  durations(out, read)
  families(out, "gauge", GAUGES, read)
  accounts(out, read)
  return table.concat(out, "\n") .. "\n"
end

--- Answers a scrape.
---@param _ ringlink.App any of them
---@param request ringlink.Request
---@return ringlink.Reply
function M.handle(_, request)
  if request.method ~= "GET" and request.method ~= "HEAD" then return reply.method_not_allowed("GET, HEAD") end
  return reply.text(200, M.text(request:worker()), KIND)
end

--- Answers when handling raised.
---@return ringlink.Reply
function M.failed()
  return reply.text(500, "# the figures could not be read; see the error log\n")
end

return M
