--- `ringlink work` and `ringlink reseal`: what takes long, with a line that tells how far it is.

local errors = require "ringlink.errors"
local ringlink = require "ringlink"
local session = require "ringlink.cli.session"

local M = {}

local WAIT_S_MAX = 60                  -- what begins meanwhile is not in the last report
local TICK_S = 1
local COUNTS = { "refreshed", "refresh_failed", "relink", "resumed", "events", "pruned" }

local function has_done_something(report)
  for _, name in ipairs(COUNTS) do
    if report[name] > 0 then return true end
  end
  return false
end

local function line_of(report)
  local parts = {}
  for _, name in ipairs(COUNTS) do
    if report[name] > 0 then parts[#parts + 1] = ("%s %d"):format(name:gsub("_", " "), report[name]) end
  end
  if not parts[1] then parts[1] = "nothing was due" end
  if report.missing_flows then
    parts[#parts + 1] = "unknown flows (--hooks): " .. table.concat(report.missing_flows, " ")
  end
  return ("%s; next in %.0f s"):format(table.concat(parts, ", "), report.next_due_s)
end

local function show_steps(context)
  local count = 0
  local function step(what)
    return function()
      count = count + 1
      context.out:progress(("working: %d done, %s"):format(count, what))
    end
  end
  context.client:on("token_rotated", step("a refresh"))
  context.client:on("completed", step("a link"))
  context.client:on("webhook", step("a webhook"))
end

local function wait(context, seconds)
  local left = math.min(seconds, WAIT_S_MAX)
  while left > 0 do
    context.out:progress(("waiting %.0f s"):format(left))
    ringlink.sleep(math.min(left, TICK_S))
    left = left - TICK_S
  end
end

-- What may pass is told, and waited for.
local function once(context, options)
  local report, err = context.client:work(options)
  if report then return report end
  if not (context.args.watch and err.retryable) then return nil, err end
  context.out:problem(err)
  return { next_due_s = WAIT_S_MAX, failed = true }
end

--- Does what is due; with --watch until a signal.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.work(context)
  local args, out = context.args, context.out
  if args.limit and (args.limit < 1 or args.limit % 1 ~= 0) then
    return errors.fail("invalid_request", { stage = "work", detail = "--limit must be a whole number of at least 1" })
  end
  local client, err = session.open_with_hooks(context, { log = "warn" })
  if not client then return nil, err end
  show_steps(context)
  local options = { limit = args.limit }
  out:progress("working ...")
  local is_first = true
  repeat
    local report, failure = once(context, options)
    if not report then return nil, failure end
    if not report.failed and (is_first or out.json or has_done_something(report)) then
      out:result(report, line_of(report))
    end
    is_first = false
    if args.watch then wait(context, math.max(report.next_due_s, TICK_S)) end
  until not args.watch
end

--- Seals the store under its newest key.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.reseal(context)
  local client, err = session.open(context)
  if not client then return nil, err end
  local done, failure = client:reseal(function(count, total)
    context.out:progress(("sealing: %d of %d"):format(count, total))
  end)
  if not done then return nil, failure end
  context.out:result({ resealed = done }, ("%d sealed anew"):format(done))
end

return M
