--- A page for the people who run this: how accounts stand, what failed and what to do about it.
--
-- Read only, without secrets, accounts and users. The partner's nginx says who may see it.

local census = require "ringlink.resty.census"
local check = require "ringlink.check"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local failures = require "ringlink.resty.failures"
local figures = require "ringlink.resty.figures"
local html = require "ringlink.resty.html"
local pages = require "ringlink.resty.pages"
local plot = require "ringlink.resty.plot"
local reply = require "ringlink.resty.reply"

local M = { name = "status" }

local HEAD = [[
<section class="card full"><h1>ringlink: {app}</h1>
<p>{environment}, version {version}. Read at {now} UTC.{counted}</p></section>]]
local FIGURES = '<section class="card{class}"><h2>{title}</h2>{{says}}<dl class="figures">{{figures}}</dl></section>'
local FIGURE = "<div><dt>{name}</dt><dd>{value}</dd></div>"
local PLOT = '<section class="card"><h2>{title}</h2><figure><figcaption>{says}</figcaption>{{svg}}</figure></section>'
local FAILURES = '<section class="card full"><h2>Recent failures</h2>{{list}}</section>'
local FAILURE = [[
<li><h3>{code}</h3><p class="quiet"><time>{at}</time>, {place}{times}</p><p>{meaning}.</p><p>{advice}.</p></li>]]

local function time_text(ms)
  return os.date("!%Y-%m-%d %H:%M:%S", math.floor(ms / 1000))
end

local function sentence(text)
  return (text:gsub("^%l", string.upper))
end

local function number(value)
  if value > 0 and value < 0.01 then return "< 0.01" end
  return value % 1 == 0 and ("%d"):format(value) or ("%.2f"):format(value)
end

local function figures_card(title, list, says, class)
  local parts = {}
  for i, figure in ipairs(list) do
    parts[i] = html.fill(FIGURE, { name = figure[1], value = figure[2] and number(figure[2]) or "not known" })
  end
  return html.fill(FIGURES, { title = title, figures = table.concat(parts), class = class,
    says = says and html.fill("<p>{says}</p>", { says = says }) or "" })
end

local function head(app, taken)
  return html.fill(HEAD, { app = app.name, environment = app.client.options.environment, version = core.version,
    now = time_text(app.client.clock.now_ms()),
    counted = taken and (" Accounts were counted at %s."):format(time_text(taken.at_ms)) or "" })
end

local function accounts(taken)
  local list = {}
  for _, state in ipairs(core.link_states) do
    if taken.states then list[#list + 1] = { state, taken.states[state] } end
  end
  if #list == 0 then return figures_card("Accounts", {}, "This store cannot count its rows.", " full") end
  return figures_card("Accounts by state", list, nil, " full")
end

local function hours(prefix)
  return function(i) return i > census.HOURS and prefix .. "24 h+" or ("%s%d h"):format(prefix, i - 1) end
end

local function most_common(columns)
  local best = 1
  for i, count in ipairs(columns) do if count > columns[best] then best = i end end
  return best
end

local function plot_card(title, says, columns)
  local words = says .. " Most fall into the column of " .. hours("")(most_common(columns)) .. "."
  return html.fill(PLOT, { title = title, says = says,
    svg = plot.columns(columns, { words = words, name = hours("") }) })
end

local function plots(taken)
  if taken.sampled == 0 then return "" end
  return plot_card("Age of tokens", ("Hours since their tokens came; completed links: %d."):format(taken.sampled),
      taken.ages)
    .. plot_card("Next refreshes", ("Hours until they are due; overdue: %d."):format(taken.overdue), taken.due)
end

-- What keeps all accounts fresh.
local function needed_per_s(app, taken)
  local held = 0
  for _, state in ipairs({ "unclaimed", "awaiting", "completed" }) do
    held = held + (taken and taken.states and taken.states[state] or 0)
  end
  return held / app.client.options.refresh_interval_s
end

local function sum_of(counters, pattern)
  local sum = 0
  for name, count in pairs(counters) do
    if name:find(pattern) then sum = sum + count end
  end
  return sum
end

local function rates(app, taken)
  local now_ms = app.client.clock.now_ms()
  return figures_card("Rates", {
    { "calls", app.tally:per_s("calls", now_ms) }, { "refreshes", app.tally:per_s("refreshes", now_ms) },
    { "refreshes needed", needed_per_s(app, taken) }, { "Ring's limit", app.client.options.rate_limit_per_s },
  }, "A second, of the last minute or two. What is needed keeps every account fresh.")
end

local function sums(app, taken)
  local counters, gauges = app.tally:read()
  return figures_card("Calls to Ring", {
      { "made", sum_of(counters, "^calls|") }, { "answered 429", sum_of(counters, "^calls|[^|]*|429$") },
      { "in flight", gauges.calls_in_flight or 0 }, { "connections", counters.connections or 0 },
    }, "Since nginx was started.")
    .. figures_card("Refreshes", {
      { "rotated", counters["refreshes|rotated"] or 0 }, { "failed", counters["refreshes|failed"] or 0 },
      { "must link again", counters["refreshes|relink"] or 0 },
    }, "Since nginx was started.")
    .. figures_card("Queues", { { "webhooks pending", taken and taken.pending },
      { "exchanges under way", gauges.exchanges_in_flight or 0 } })
end

local function place_of(entry)
  local place = entry.what
  if entry.stage and entry.stage ~= entry.what then place = place .. ", " .. entry.stage end
  return entry.status and ("%s (%d)"):format(place, entry.status) or place
end

-- What failed again and again is one entry: the newest, with how often and since when.
local function grouped(list)
  local groups, by_kind = {}, {}
  for _, entry in ipairs(list) do
    local kind = entry.code .. "|" .. place_of(entry)
    local group = by_kind[kind]
    if not group then
      group = { entry = entry, count = 0 }
      by_kind[kind], groups[#groups + 1] = group, group
    end
    group.count, group.since_ms = group.count + 1, entry.at_ms
  end
  return groups
end

local function failure(group)
  local entry = group.entry
  return html.fill(FAILURE, { at = time_text(entry.at_ms), code = entry.code, place = place_of(entry),
    times = group.count > 1 and (", %d times since %s"):format(group.count, time_text(group.since_ms)) or "",
    meaning = sentence(entry.meaning), advice = sentence(entry.advice) })
end

local function failures_card(app)
  local items = {}
  for i, group in ipairs(grouped(failures.list(app.board, app.name))) do items[i] = failure(group) end
  local list = #items > 0 and '<ol class="failures">' .. table.concat(items) .. "</ol>" or "<p>None.</p>"
  return html.fill(FAILURES, { list = list })
end

--- Answers with the page.
---@param app ringlink.App
---@param request ringlink.Request
---@param options { app: string? }?
---@return ringlink.Reply
function M.handle(app, request, options)
  check.options("status", options, { "app" })
  if request.method ~= "GET" and request.method ~= "HEAD" then return reply.method_not_allowed("GET, HEAD") end
  figures.collect(app, request:worker())
  local taken, err = errors.catch(census.read, app)
  local body = head(app, taken) .. (taken and accounts(taken) .. plots(taken)
    or figures_card("Accounts", {}, "The store cannot be read: " .. err.code, " full"))
  return reply.page(200, pages.frame({ label = "ringlink" }, "Status of " .. app.name,
    body .. rates(app, taken) .. sums(app, taken) .. failures_card(app), "wide"), pages.POLICY)
end

--- Answers when handling raised.
---@return ringlink.Reply
function M.failed()
  return reply.text(500, "the status could not be read; see the error log\n")
end

return M
