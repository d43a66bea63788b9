-- Does everything that is due, and reports how the links are: for cron, which mails what is printed.
--
--   15 3 * * *  ringlink run nightly_refresh.lua --quiet
--
-- The exit status is 4 when users have to link again, and 3 when refreshes failed that may work later.

local client, args, progress = ...
local argparse = require "argparse"
local json = require "ringlink.json"

local parser = argparse("ringlink run nightly_refresh.lua", "Refreshes what is due, and reports.")
parser:flag("--json", "One line of JSON.")
parser:flag("--quiet", "Nothing when all is well.")
local good, given = parser:pparse(args)
if not good then
  io.stderr:write(parser:get_usage(), "\n", given, "\n")
  return 2
end

-- work() does a part of what is due each time, and says when to come back: at once, while there is more.
local done = { refreshed = 0, refresh_failed = 0, resumed = 0, events = 0, pruned = 0 }
repeat
  local report, err = client:work()
  if not report then return nil, err end
  for name in pairs(done) do done[name] = done[name] + report[name] end
  progress(("%d refreshed, %d failed"):format(done.refreshed, done.refresh_failed))
until report.next_due_s > 0

-- What the store says of each account now; nothing is asked of Ring. A refresh token lives for about 30 days:
-- a link that has not been refreshed for a few of them is in danger, whatever the reason. What is nobody's, and
-- does not work, is no link: work() drops it in the end.
local DAY_MS, now_ms = 24 * 3600 * 1000, os.time() * 1000
local report = { done = done, accounts = 0, relink = {}, overdue = {} }
for account in client:accounts {} do
  local info = account:info()                      -- nil when it was forgotten meanwhile
  if info and info.state == "relink" and info.user then
    table.insert(report.relink, { account = info.id, user = info.user })
  elseif info and (info.state == "completed" or info.state == "awaiting") then
    local days = (now_ms - (info.refreshed_ms or info.created_ms)) / DAY_MS
    report.accounts = report.accounts + 1
    report.oldest_days = math.max(report.oldest_days or 0, days)
    if days >= 2 then table.insert(report.overdue, { account = info.id, user = info.user, days = days }) end
  end
end

local status = report.relink[1] and 4 or (report.overdue[1] or done.refresh_failed > 0) and 3 or 0
if given.json then
  print(json.encode(report))
elseif status ~= 0 or not given.quiet then
  print(("%d linked accounts, %d refreshed, %d failed; the oldest token is %.1f days old"):format(report.accounts,
    done.refreshed, done.refresh_failed, report.oldest_days or 0))
  for _, one in ipairs(report.relink) do print("must link again:", one.account, one.user) end
  for _, one in ipairs(report.overdue) do
    print(("not refreshed for %.0f days:"):format(one.days), one.account, one.user)
  end
end
return status
