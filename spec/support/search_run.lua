-- The last suite of a run: none of the planted secrets is in what the other suites wrote.
-- search_run.lua SUITE... [DIRECTORY...]
--
-- Searched are the suites' logs, everything else under .build/test, and the directories, where the run's
-- temporary files were. What the suites removed they searched themselves (leaks.lua): here it is
-- asked what they found, and that they searched at all. Speaks TAP.

local leaks = require "support.leaks"

local DIRECTORY = ".build/test"

local count = 0

local function report(good, name, complaints)
  count = count + 1
  io.write(good and "ok " or "not ok ", count, " - ", name, "\n")
  for _, line in ipairs(complaints) do io.write("# ", line, "\n") end
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

local function check(name, search)
  local finder = leaks.new()
  search(finder)
  report(#finder.found == 0, ("%s: %d files, %d kB"):format(name, finder.files, math.floor(finder.bytes / 1024)),
    finder.found)
end

local function check_logs(suites)
  for _, suite in ipairs(suites) do
    local path = ("%s/%s.log"):format(DIRECTORY, suite)
    if read(path) then check(path, function(finder) finder:file(path) end) end
  end
end

local function check_searches(suites)
  local searched = 0
  for _, suite in ipairs(suites) do
    local log = read(("%s/%s.log"):format(DIRECTORY, suite)) or ""
    for files in log:gmatch("no planted secret in (%d+) files") do searched = searched + tonumber(files) end
  end
  report(searched > 0, ("what the suites removed: %d files"):format(searched), {})
end

local function check_record()
  local lines = {}
  for line in (read(leaks.record) or ""):gmatch("[^\n]+") do lines[#lines + 1] = line end
  report(#lines == 0, "what any process found", lines)
end

check_logs(arg)
check_searches(arg)
check_record()
check("all else the suites wrote", function(finder) finder:directory(DIRECTORY) end)
for _, directory in ipairs(arg) do
  if directory:find("^/") then
    check("what was left in " .. directory, function(finder) finder:directory(directory) end)
  end
end
io.write("1..", count, "\n")
