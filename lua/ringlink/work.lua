--- What is due: refreshes, journeys that were left half way, stored events, pruning.
--
-- One call does a bounded amount and says when to come back. A failure puts a row off for a while,
-- so that one bad account never keeps the others waiting. A row that cannot be opened (another
-- process has its key, or it is damaged) stays as it is: this process passes it over until it changes.

local check = require "ringlink.check"
local errors = require "ringlink.errors"
local exchange = require "ringlink.exchange"
local grants = require "ringlink.grants"
local link = require "ringlink.link"
local tokens = require "ringlink.tokens"
local webhook = require "ringlink.webhook"

local M = {}

local LIMIT_DEFAULT = 100
local PAUSE_MS = 60000                 -- after a failure, doubled for each further one
local PAUSE_DOUBLINGS_MAX = 6          -- about an hour
local EVENT_PAUSE_S = 60               -- before hooks that failed are run again
local UNREADABLE_MAX = 1024            -- rows passed over that are remembered

---@class ringlink.Report
---@field refreshed integer
---@field refresh_failed integer
---@field relink integer       accounts whose user must link again
---@field resumed integer      exchanges and links taken on
---@field events integer       webhook events finished
---@field pruned integer
---@field next_due_s number    when to call again

local function put_off(client, key, row, err)
  local doublings = math.min(row.put_offs or 0, PAUSE_DOUBLINGS_MAX)
  client.log("warn", "due, but it failed; put off",
    { state = row.state, error = err.code, stage = err.stage, status = err.status })
  grants.postpone(client, key, PAUSE_MS * 2 ^ doublings)
end

local LOST = { relink_required = true, refresh_outcome_unknown = true }

local function refresh(client, key, row, report)
  local rotated, err = tokens.refresh(client, key)
  if rotated then
    report.refreshed = report.refreshed + 1
  elseif LOST[err.code] then
    report.relink = report.relink + 1
  else
    report.refresh_failed = report.refresh_failed + 1
    put_off(client, key, row, err)
  end
end

local function prune(client, key, _, report, version)
  if client.store:delete(key, version) then report.pruned = report.pruned + 1 end
end

-- What nobody has come for in all that time goes; anything else is done meanwhile.
local function unless_lapsed(handler)
  return function(client, key, row, report, version)
    local age_ms = client.clock.now_ms() - row.created_ms
    local lapsed = age_ms >= client.options.unclaimed_max_age_s * 1000
    return (lapsed and prune or handler)(client, key, row, report, version)
  end
end

local function resumed(client, key, row, report, done, err)
  if not done then return put_off(client, key, row, err) end
  report.resumed = report.resumed + 1
end

local function resume_exchange(client, key, row, report)
  resumed(client, key, row, report, exchange.resume(client, key))
end

local function resume_link(client, key, row, report)
  if client.conducts[key] then return grants.postpone(client, key, PAUSE_MS) end  -- somebody here is at it
  local goal = row.conducted and "completed" or "awaiting"
  resumed(client, key, row, report, link.conduct(client, key, { goal = goal }))
end

local function resume_or_refresh(client, key, row, report)
  return (row.conducted and resume_link or refresh)(client, key, row, report)
end

local HANDLERS = {
  exchanging = resume_exchange, identifying = unless_lapsed(resume_exchange),
  unclaimed = unless_lapsed(refresh), relink = prune,
  matched = resume_link, confirming = resume_link,
  awaiting = resume_or_refresh, completed = refresh,
  failed = prune, superseded = prune, unlinked = prune, code = prune, gone = prune,
}

local function read_limit(options)
  local given, err = check.arguments("work", options or {}, { "limit" })
  if not given then return nil, err end
  local limit = given.limit or LIMIT_DEFAULT
  if type(limit) ~= "number" or limit < 1 or limit % 1 ~= 0 then
    errors.misuse("work: limit must be a whole number of at least 1")
  end
  return limit
end

-- Rows that could not be opened and have not changed since are due all the time.
local function is_passed_over(client, entry)
  return client.unreadable[entry.key] == entry.version
end

local function readable_due(client, limit)
  local passed_over = 0
  for _ in pairs(client.unreadable) do passed_over = passed_over + 1 end
  if passed_over > UNREADABLE_MAX then client.unreadable, passed_over = {}, 0 end
  local found, next_ms = client.store:due(client.clock.now_ms(), limit + passed_over)
  local list = {}
  for _, entry in ipairs(found) do
    if #list < limit and not is_passed_over(client, entry) then list[#list + 1] = entry end
  end
  return list, next_ms
end

-- Looks again: the handlers before may have taken long, and others are at work too.
local function handle(client, key, report)
  local row, version = client.store:get(key)
  if not (row and row.due_ms and row.due_ms <= client.clock.now_ms()) then return end
  local ok, problem = pcall(HANDLERS[row.state], client, key, row, report, version)
  if ok then return end
  if not errors.is_unreadable(problem) then error(problem, 0) end
  client.unreadable[key] = version
  client.log("error", "due, but it cannot be opened; left as it is",
    { state = row.state, error = problem.code })
end

local function next_due_s(client)
  local now = client.clock.now_ms()
  local waiting, next_ms = readable_due(client, 1)
  if waiting[1] then return 0 end
  return next_ms and (next_ms - now) / 1000 or client.options.refresh_interval_s
end

--- Does what is due, at most `limit` of each kind.
---@param client ringlink.Client
---@param options { limit: integer? }?
---@return ringlink.Report?
---@return ringlink.Error?
function M.work(client, options)
  local limit, err = read_limit(options)
  if not limit then return nil, err end
  local report = { refreshed = 0, refresh_failed = 0, relink = 0, resumed = 0, pruned = 0 }
  for _, entry in ipairs((readable_due(client, limit))) do handle(client, entry.key, report) end
  local unfinished
  report.events, unfinished = webhook.finish(client, limit)
  report.pruned = report.pruned + client.store:prune(client.clock.now_ms())
  report.next_due_s = next_due_s(client)
  if unfinished > 0 then report.next_due_s = math.min(report.next_due_s, EVENT_PAUSE_S) end
  return report
end

return M
