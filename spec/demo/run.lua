--- `make demo`: plays one Ring account's life, line by line, and exits with 0 only if all was as expected.
--
-- Without more: against the sandbox, which is started for it. With KEEP=1 that and the partner's backend run
-- on afterwards, to be tried by hand. With RINGLINK_DEMO_REAL=1 and RING_CLIENT_ID, RING_CLIENT_SECRET,
-- RING_HMAC_KEY in the environment: against Ring itself (RINGLINK_API_URL, RINGLINK_OAUTH_URL,
-- RINGLINK_CA_FILE lead elsewhere). Whatever happens, the processes it started are stopped and their
-- directories removed.

local spec_root = arg[0]:match("^(.*)/demo/run%.lua$") or (arg[0] == "run.lua" and ".." or "spec")
package.path = spec_root .. "/?.lua;" .. package.path

local errors = require "ringlink.errors"
local report = require "demo.report"
local scene = require "demo.scene"

local COMPLAINTS = 5
local NEXT = [[
What ran here: lua/ringlink/resty/example (nginx.conf, app.lua). How to use it: README.md, "nginx".
Try it in your own browser: KEEP=1 make demo]]

local function explain(problem)
  if type(problem) == "table" and problem.failure then return problem.failure end
  if tostring(problem):find("interrupted!$") then return "interrupted" end
  local where, what = tostring(problem):match("([%w_]+%.lua:%d+:)(.*)$")
  return (where or "") .. (errors.scrub(what or tostring(problem)) or "no reason given")
end

local function complain(out, stage, problem)
  out:bad(explain(problem))
  for _, line in ipairs(stage.partner and stage.partner:complaints(COMPLAINTS) or {}) do
    io.stderr:write("  partner's error.log: ", errors.scrub(line) or "", "\n")
  end
end

local function stories()
  if os.getenv("RINGLINK_DEMO_REAL") == "1" then return { "demo.real_story" } end
  return { "demo.sandbox_story", os.getenv("KEEP") == "1" and "demo.by_hand" or nil }
end

local function play(stage)
  for _, name in ipairs(stories()) do require(name).play(stage) end
end

local function main()
  local out = report.new()
  local stage = scene.new(out)
  local ok, problem = pcall(play, stage)
  if not ok then complain(out, stage, problem) end
  if not stage:stop() then
    ok = false
    out:bad("a process that the demo started does not end")
  end
  if not ok then return false end
  out:good(("The demo held: %d expectations, %d calls to Ring."):format(out.expectations, stage.calls.count))
  out:say(NEXT)
  return true
end

os.exit(main() and 0 or 1, true)
