-- `make bench`: runs the benchmarks, or those that are named, and prints what they found.
--
-- run.lua [NAME...]; BENCH_ACCOUNTS says how many accounts the store has (a million). A benchmark is a
-- module bench.NAME with `run(report, settings)`; it takes its baseline in the same run and reports
-- ratios (report.lua). Files lie in a temporary directory (TMPDIR), which goes in the end.

local reports = require "bench.report"
local shell = require "support.shell"

local BENCHMARKS = { "store" }

local function is_known(name)
  for _, known in ipairs(BENCHMARKS) do
    if known == name then return true end
  end
end

local function chosen()
  if #arg == 0 then return BENCHMARKS end
  for _, name in ipairs(arg) do
    if not is_known(name) then
      error(("there is no benchmark %q; there is: %s"):format(name, table.concat(BENCHMARKS, ", ")), 0)
    end
  end
  return arg
end

local function accounts()
  local given = os.getenv("BENCH_ACCOUNTS")
  local count = tonumber(given)
  if given and given ~= "" and not (count and count >= 100 and count % 1 == 0) then
    error("BENCH_ACCOUNTS must be a whole number of at least 100", 0)
  end
  return count and math.floor(count)
end

local function say(line)
  print(line)
  io.flush()
end

local function introduce(name, directory)
  local file_system = shell.run("stat -f -c %T " .. shell.quote(directory)):gsub("%s", "")
  say(("%s: %s, in %s on %s"):format(name, rawget(_G, "jit") and jit.version or _VERSION, directory, file_system))
  say("  The ratios are the result; times and sizes are this machine's, in this run.")
end

local function run(name, settings)
  introduce(name, settings.directory)
  require("bench." .. name).run(reports.new(say), settings)
end

local function main()
  local settings = { directory = shell.make_directory(), accounts = accounts() }
  for _, name in ipairs(chosen()) do
    local ok, problem = pcall(run, name, settings)
    if not ok then
      shell.remove_directory(settings.directory)
      error(problem, 0)
    end
  end
  shell.remove_directory(settings.directory)
end

local ok, problem = pcall(main)
if not ok then
  io.stderr:write("bench: ", tostring(problem), "\n")
  os.exit(1)
end
