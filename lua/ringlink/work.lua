--- What is due: refreshes, journeys that were left half way, what hooks are still owed, stored events,
--- pruning.
--
-- One call does a bounded amount and says when to come back. A failure puts a row off for a while,
-- so that one bad account never keeps the others waiting. A row that cannot be opened stays as it is:
-- this process passes it over (unreadable).
--
-- Journeys go first, for a nonce lasts minutes and a token a month. Then refreshes: of tokens in use
-- (in_use), so that no caller has to wait, and daily ones, the longest overdue first; LANES of them at
-- once, one of which is the caller. None of the calls is waited for by anybody, so they leave room to
-- those that are (http), and are never faster than the rate.
-- Hooks run in the caller: what the other lanes have to tell it tells between its own refreshes.

local check = require "ringlink.check"
local conduct = require "ringlink.conduct"
local errors = require "ringlink.errors"
local exchange = require "ringlink.exchange"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local tokens = require "ringlink.tokens"
local webhook = require "ringlink.webhook"

local M = {}

local LIMIT_DEFAULT = 100
local LANES = 8                        -- refreshes at once; fewer when the rate is below as many a second
local PAUSE_MS = 60000                 -- after a failure, doubled for each further one
local PAUSE_DOUBLINGS_MAX = 6          -- about an hour
local PAUSE_JITTER = 0.5               -- so much of it is random: what failed together comes back spread out
local EVENT_PAUSE_S = 60               -- before hooks that failed are run again

---@class ringlink.Report
---@field refreshed integer
---@field refresh_failed integer
---@field relink integer       accounts whose user must link again
---@field resumed integer      exchanges and links taken on
---@field events integer       webhook events finished
---@field pruned integer
---@field missing_flows string[]? flows that links go by and this process does not have
---@field next_due_s number    when to call again, as far as is known now

-- What to do with a row -----------------------------------------------------------------------

local function log_put_off(client, row, err)
  client.log("warn", "due, but it failed; put off",
    { state = row.state, error = err.code, stage = err.stage, status = err.status })
end

local function put_off(client, key, row, err)
  local doublings = math.min(row.put_offs or 0, PAUSE_DOUBLINGS_MAX)
  log_put_off(client, row, err)
  grants.postpone(client, key, PAUSE_MS * 2 ^ doublings * (1 - PAUSE_JITTER * client:random_unit()))
end

-- What a refresh that brought no token counts as. One that was removed meanwhile is no failure.
local COUNTED_AS = { relink_required = "relink", refresh_outcome_unknown = "relink",
  unlinked = false, not_found = false }

-- True when it is worth another try.
local function count_failure(report, err)
  local name = COUNTED_AS[err.code]
  if name == nil then name = "refresh_failed" end
  if name then report[name] = report[name] + 1 end
  return name == "refresh_failed"
end

-- Another process may have refreshed it since it was found due, which is enough.
local function refresh(client, key, row, report)
  local rotated
  local now, err = grants.load(client, key)
  if now and now.fingerprint ~= row.fingerprint then return end
  if now then rotated, err = tokens.refresh(client, key, now) end
  if rotated then
    report.refreshed = report.refreshed + 1
  elseif count_failure(report, err) then
    put_off(client, key, row, err)
  end
end

local IS_LINKED = { awaiting = true, completed = true }

local function prune(client, key, _, report, version)
  if client.store:delete(key, version) then report.pruned = report.pruned + 1 end
end

local function resumed(client, key, row, report, done, err)
  if not done then return put_off(client, key, row, err) end
  report.resumed = report.resumed + 1
end

local function resume_exchange(client, key, row, report)
  resumed(client, key, row, report, exchange.resume(client, key))
end

local function note_missing(report, name)
  report.missing_flows = report.missing_flows or {}
  for _, noted in ipairs(report.missing_flows) do
    if noted == name then return end
  end
  table.insert(report.missing_flows, name)
end

-- However long the partner's side keeps a link from going on, its tokens stay alive.
local function keep_alive(client, key, row, report)
  if row and IS_LINKED[row.state] and grants.is_refresh_due(client, row) then refresh(client, key, row, report) end
end

-- Another process has the flow, or the next version of this one.
local function wait_for_flow(client, key, row, report, err)
  note_missing(report, err.flow)
  client.log("warn", "a link goes by a flow that this process does not have; put off",
    { flow = err.flow, state = row.state })
  grants.postpone(client, key, PAUSE_MS)
  keep_alive(client, key, row, report)
end

local function resume_link(client, key, row, report)
  if conduct.is_conducted(client, key) then return grants.postpone(client, key, PAUSE_MS) end  -- somebody here is at it
  local goal = (row.conducted or IS_LINKED[row.state]) and "completed" or "awaiting"
  local done, err = conduct.conduct(client, key, { goal = goal })
  if err and err.flow then return wait_for_flow(client, key, row, report, err) end
  resumed(client, key, row, report, done, err)
  if err and err.code == "hook_failed" then keep_alive(client, key, grants.load(client, key), report) end
end

local function tell_owed(client, key)
  local row = grants.take_owed(client, key)
  if not row then return end
  flight.tell(client, { { row.owed, client:handle(key, row), grants.problem_of(row),
    n = 3, owing = { key = key, hook = row.owed } } })
end

local HANDLERS = {
  exchanging = resume_exchange, identifying = resume_exchange, unclaimed = refresh, relink = prune,
  matched = resume_link, confirming = resume_link, awaiting = refresh, completed = refresh,
  failed = prune, superseded = prune, unlinked = prune, code = prune, gone = prune,
  ticket = prune,
}
local UNTIL_LAPSED = { identifying = true, unclaimed = true }

-- What nobody has come for in all that time goes; anything else is done meanwhile.
local function is_lapsed(client, row)
  local age_ms = client.clock.now_ms() - row.created_ms
  return UNTIL_LAPSED[row.state] and age_ms >= client.options.unclaimed_max_age_s * 1000
end

local function handler_of(client, row)
  if row.owed then return tell_owed end
  if is_lapsed(client, row) then return prune end
  if grants.has_steps_due(client, row) then return resume_link end
  return HANDLERS[row.state]
end

-- Doing it ------------------------------------------------------------------------------------

---@class ringlink.WorkRun one call of `work`
---@field client ringlink.Client
---@field report ringlink.Report
---@field until_ms integer     nothing is begun after it, by the monotonic clock
---@field notes table[]        what the other lanes have for the hooks
---@field problem any[]?       the first that was raised; the call raises it at its end
---@field stopped boolean?     nothing is begun any more

local STOPS = { cancelled = true, closed = true, foreign_coroutine = true, not_here = true }

-- What one raises does not take the others with it: it is raised when they are done.
local function attempt(run, fn, ...)
  local ok, problem = pcall(fn, ...)
  if ok then return end
  run.problem = run.problem or { problem }
  run.stopped = run.stopped or errors.is_interruption(problem)
    or errors.is(problem) and STOPS[problem.code] or nil
end

local function pass_over(client, key, row, version, problem)
  client.unreadable:note(key, version)
  client.log("error", "due, but it cannot be worked on; left as it is",
    { state = row.state, error = errors.is(problem) and problem.code or nil })
end

-- Looks again: what was done before may have taken long, and others are at work too. A row that makes
-- the program raise does so once, not for ever.
local function handle(client, key, report)
  local row, version = client.store:get(key)
  if not (row and row.due_ms and row.due_ms <= client.clock.now_ms()) then return end
  if client.unreadable:has({ key = key, row = row, version = version }) then return end
  local ok, problem = pcall(handler_of(client, row), client, key, row, report, version)
  if ok then return end
  local is_rows_own = errors.is_unreadable(problem)
    or not (errors.is(problem) or errors.is_interruption(problem))
  if is_rows_own then pass_over(client, key, row, version, problem) end
  if not errors.is_unreadable(problem) then error(problem, 0) end
end

local function refresh_ahead(client, key, report)
  local refreshed, err = tokens.refresh_ahead(client, key)
  if refreshed then report.refreshed = report.refreshed + 1 end
  if err then count_failure(report, err) end
end

local function next_job(run, jobs)
  if run.stopped or run.client.clock.monotonic_ms() >= run.until_ms then return nil end
  jobs.begun = jobs.begun + 1
  return jobs[jobs.begun]
end

-- Does one job after the other; `after` each of them.
local function lane(run, jobs, notes, after)
  local client, job = run.client, next_job(run, jobs)
  while job do
    attempt(run, flight.in_background, client, notes, job.fn, client, job.key, run.report)
    after(run)
    job = next_job(run, jobs)
  end
end

local function nothing() end

-- All that is there at once: what a row owes is settled when the last of its hooks was told.
local function tell_notes(run)
  local notes = {}
  while run.notes[1] do notes[#notes + 1] = table.remove(run.notes, 1) end
  flight.tell(run.client, notes)
end

-- Each phase has the time of one operation, so that the next one gets its turn.
local function begin(run, jobs)
  jobs.begun = 0
  run.until_ms = run.client.clock.monotonic_ms() + run.client.options.deadline_ms
end

local function one_by_one(run, jobs)
  begin(run, jobs)
  lane(run, jobs, nil, nothing)
end

local function at_once(run, jobs)
  if not jobs[1] then return end
  local client, tasks = run.client, {}
  client.runtime.check_may_wait()
  begin(run, jobs)
  local lanes = math.min(LANES, math.floor(client.options.rate_limit_per_s), #jobs)
  for i = 2, lanes do tasks[i - 1] = client.runtime.spawn(lane, run, jobs, run.notes, nothing) end
  attempt(run, lane, run, jobs, nil, tell_notes)
  for _, task in ipairs(tasks) do attempt(run, client.runtime.join, task) end
  tell_notes(run)
end

-- What is due ---------------------------------------------------------------------------------

local function readable_due(client, limit)
  local clock = client.clock
  return client.unreadable:others(client.store, clock.now_ms(), clock.monotonic_ms(), limit)
end

-- However much else is overdue: these wait for a user, and for a nonce or a code that lapses.
local URGENT = { "matched", "confirming", "exchanging", "identifying" }

local function urgent(client, limit)
  local list, now = {}, client.clock.now_ms()
  for _, state in ipairs(URGENT) do
    for _, entry in ipairs(client.store:find({ state = state, limit = limit })) do
      local is_due = entry.row.due_ms and entry.row.due_ms <= now
      if is_due and not client.unreadable:has(entry) then list[#list + 1] = entry end
    end
  end
  return list
end

local function ahead(client, limit)
  local keys = client.in_use:due(client.clock.now_ms(), client.clock.monotonic_ms())
  local jobs = {}
  for i = 1, math.min(#keys, limit) do jobs[i] = { fn = refresh_ahead, key = keys[i] } end
  return jobs
end

local function add_all(jobs, entries, wanted)
  for _, entry in ipairs(entries) do
    if wanted(entry) then jobs[#jobs + 1] = { fn = handle, key = entry.key } end
  end
  return jobs
end

local function do_rows(run, limit)
  local client = run.client
  local pressing, due = urgent(client, limit), readable_due(client, limit)
  local function is_refresh(entry) return handler_of(client, entry.row) == refresh end
  local function is_other(entry) return not is_refresh(entry) end
  one_by_one(run, add_all(add_all({}, pressing, is_other), due, is_other))
  at_once(run, add_all(ahead(client, limit), due, is_refresh))
end

local function do_events(run, limit)
  run.report.events, run.unfinished = flight.in_background(run.client, nil, webhook.finish, run.client, limit)
end

local function do_pruning(run)
  local report, client = run.report, run.client
  report.pruned = report.pruned + client.store:prune(client.clock.now_ms())
end

local function next_due_s(run)
  local client = run.client
  local now = client.clock.now_ms()
  local used, used_ms = client.in_use:due(now, client.clock.monotonic_ms())
  local waiting, next_ms = readable_due(client, 1)
  if waiting[1] or used[1] then return 0 end
  local stored_ms = next_ms and next_ms - now or client.options.refresh_interval_s * 1000
  local event_ms = run.unfinished > 0 and EVENT_PAUSE_S * 1000 or math.huge
  return math.min(stored_ms, used_ms or math.huge, event_ms) / 1000
end

local function read_limit(options)
  local given, err = check.arguments("work", options or {}, { "limit" })
  if not given then return nil, err end
  local limit = given.limit or LIMIT_DEFAULT
  if type(limit) ~= "number" or limit < 1 or limit % 1 ~= 0 then
    errors.misuse("work: limit must be a whole number of at least 1")
  end
  return limit
end

--- Does what is due, at most `limit` of each kind.
---@param client ringlink.Client
---@param options { limit: integer? }?
---@return ringlink.Report?
---@return ringlink.Error?
function M.work(client, options)
  local limit, err = read_limit(options)
  if not limit then return nil, err end
  local report = { refreshed = 0, refresh_failed = 0, relink = 0, resumed = 0, events = 0, pruned = 0 }
  local run = { client = client, report = report, notes = {}, unfinished = 0 }
  for _, part in ipairs({ do_rows, do_events, do_pruning }) do
    if not run.stopped then attempt(run, part, run, limit) end
  end
  if run.problem then error(run.problem[1], 0) end
  report.next_due_s = next_due_s(run)
  return report
end

return M
