-- busted's results as TAP, a line as soon as a test ends: a crash leaves all that went before.
--
-- `#> name` announces a test (suite.sh shows it when the test never ends). Unlike busted's own TAP
-- handler this one survives a spec file that cannot be loaded, and counts that as a failure. The last
-- test of every run is that no planted secret lay in anything the specs removed, or in a command line.
local busted = require("busted")
local base = require("busted.outputHandlers.base")
local leaks = require("support.leaks")
local pretty = require("pl.pretty")

leaks.watch()

local function say(text)
  io.write(text, "\n")
  io.flush()
end

local function comment(text)
  say("# " .. tostring(text):gsub("\n", "\n# "))
end

local function explain(message, trace)
  comment(type(message) == "string" and message or pretty.write(message))
  if type(trace) == "table" and trace.traceback then
    comment(trace.traceback)
  end
end

return function()
  local handler = base()
  local count = 0
  local complaints = {} -- of the test that runs: a busted test can fail more than once

  local function report(verdict, name)
    count = count + 1
    say(("%s %d - %s"):format(verdict, count, tostring(name):gsub("%s*#%w+", ""):gsub("[\n#]", " ")))
    for _, complaint in ipairs(complaints) do
      explain(complaint.message, complaint.trace)
    end
    complaints = {}
  end

  local function on_start(element)
    say("#> " .. handler.getFullName(element):gsub("\n", " "))
    return nil, true
  end

  local function on_end(element, _, status)
    local name = handler.getFullName(element)
    if status == "pending" then
      count = count + 1
      say(("ok %d - # SKIP %s"):format(count, name:gsub("\n", " ")))
    else
      report(status == "success" and "ok" or "not ok", name)
    end
    return nil, true
  end

  local function on_complaint(element, _, message, trace)
    complaints[#complaints + 1] = { message = message, trace = trace }
    if element.descriptor ~= "it" then -- a file, a setup, a teardown: no test end will follow
      report("not ok", element.descriptor .. " " .. handler.getFullName(element))
    end
    return nil, true
  end

  local function report_leaks()
    local finder = leaks.shared()
    for i, line in ipairs(finder.found) do complaints[i] = { message = line } end
    report(#finder.found == 0 and "ok" or "not ok", "no planted secret in " .. finder:summary())
  end

  local function on_finish()
    if count > 0 then report_leaks() end          -- a run of no tests stays one
    say("1.." .. count)
    return nil, true
  end

  busted.subscribe({ "test", "start" }, on_start)
  busted.subscribe({ "test", "end" }, on_end)
  busted.subscribe({ "failure" }, on_complaint)
  busted.subscribe({ "error" }, on_complaint)
  busted.subscribe({ "suite", "end" }, on_finish)
  return handler
end
