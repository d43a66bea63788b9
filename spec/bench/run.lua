-- `make bench`: runs the benchmarks, or those that are named, and prints what they found.
--
-- run.lua [NAME...]; BENCH_ACCOUNTS says how many accounts the store has (a million); BENCH_PAIRS how many
-- pairs of calls make a round (600), and BENCH_ROUNDS how many rounds there are of calls (15), links (5) and
-- latency (3); BENCH_IN_FLIGHT how many links are under way while another location is probed (500) and
-- BENCH_DELAY_MS how long Ring takes for each answer then (2000); RESTY_HTTP where lua-resty-http is. A
-- benchmark is a module bench.NAME with `run(report, settings)`; it takes its baseline in the same run and
-- reports ratios (report.lua). Files lie in a temporary directory (TMPDIR), which goes in the end.

local reports = require "bench.report"
local shell = require "support.shell"

local BENCHMARKS = { "store", "calls", "links", "latency" }

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

-- What the environment says, if anything.
local function given(name)
  local text = os.getenv(name)
  return text ~= "" and text or nil
end

local function number(name, least)
  local text = given(name)
  local count = tonumber(text)
  if text and not (count and count >= least and count % 1 == 0) then
    error(("%s must be a whole number of at least %d"):format(name, least), 0)
  end
  return count and math.floor(count)
end

local function resty_http()
  local folder = given("RESTY_HTTP")
  if folder and not shell.succeeds("test -r " .. shell.quote(folder .. "/resty/http.lua")) then
    error("RESTY_HTTP must be a folder that has resty/http.lua", 0)
  end
  return folder
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
  local names = chosen()
  local settings = { accounts = number("BENCH_ACCOUNTS", 100), pairs = number("BENCH_PAIRS", 10),
    rounds = number("BENCH_ROUNDS", 1), resty_http = resty_http(), in_flight = number("BENCH_IN_FLIGHT", 10),
    delay_ms = number("BENCH_DELAY_MS", 50) }
  settings.directory = shell.make_directory()
  for _, name in ipairs(names) do
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
