--- Whole links in one worker of nginx, durable in SQLite, against what they are made of: the two calls
--- without state (calls.lua) and SQLite alone, which runs the same statements and commits them in groups
--- of as many as links are under way.
---
--- A wave is so many exchanges, and then, timed, the links of those accounts. Both files hold the same in
--- the end.

local calls = require "bench.calls"
local contestants = require "bench.contestants"
local pairs_of = require "bench.pair"
local ringlink = require "ringlink"
local shell = require "support.shell"
local side = require "bench.side"
local worker = require "bench.worker"

local M = {}

local ROUNDS = 5
local LINKS_MIN, LINKS_MAX = 10, 256   -- of a wave: so many accounts wait for their links then
local IDLE_S = 0.5

-- An empty store, twice.
local function lay_ground(settings, place, version)
  local options = contestants.client_options(settings, version)
  options.store, options.store_key = "sqlite:" .. place .. ".ours", settings.store_key
  local client = ringlink.new(options)
  client:account("none"):state()
  client:close()
  shell.run(("cp %s.ours %s.bare"):format(shell.quote(place), shell.quote(place)))
end

local function begin(its_worker, place, version, directory)
  local own = place .. version
  lay_ground(its_worker.settings, own, version)
  local bare = side.start("bare" .. version, { pairs_of.BARE }, directory)
  bare:ask("open", own .. ".bare")
  return { version = version, bare = bare, log = directory .. "/log", worker = its_worker }
end

-- The worker does something, and SQLite does it again.
local function both(self, name, concurrent, count)
  local figures = self.worker:ask(name, { version = self.version, concurrent = concurrent, count = count,
    log = self.log })
  return figures, self.bare:ask("replay", self.log).took_s
end

local function wave(self, concurrent, most)
  local count = math.max(LINKS_MIN, math.min(LINKS_MAX, 2 * concurrent, most or LINKS_MAX))
  both(self, "exchange", math.min(concurrent, count), count)
  local figures, bare_s = both(self, "links", concurrent, count)
  local two = self.worker:ask("calls", { who = "ringlink", version = self.version, concurrent = concurrent,
    count = count })
  return { took_s = figures.took_s / count, loop_s = figures.loop_s / count, late_most_s = figures.late_most_s,
    bare_s = bare_s / count, calls_s = two.took_s / count, calls_loop_s = two.loop_s / count }
end

local function measure(its_worker, place, settings)
  local versions = { idle = its_worker:ask("idle", { seconds = IDLE_S }) }
  for _, version in ipairs(calls.VERSIONS) do
    local self, levels = begin(its_worker, place, version, settings.directory), {}
    for i, concurrent in ipairs(calls.LEVELS) do
      wave(self, concurrent, settings.pairs)                  -- connections are made, code is compiled
      levels[i] = pairs_of.rounds(settings.rounds or ROUNDS, function()
        return wave(self, concurrent, settings.pairs)
      end)
    end
    self.bare:ask("close")
    self.bare:stop()
    versions[version] = levels
  end
  return versions
end

-- The report ----------------------------------------------------------------------------------

local function each_level(versions, tell)
  for _, version in ipairs(calls.VERSIONS) do
    for i, concurrent in ipairs(calls.LEVELS) do tell(calls.name(concurrent, version), versions[version][i]) end
  end
end

local function tell_all(report, versions)
  report:section("a link, durable in SQLite, in one worker")
  each_level(versions, function(name, level)
    report:line(name, level.took_s, "s", level.calls_s + level.bare_s, "its calls without state, and SQLite alone")
  end)
  report:section("the processor's time of the worker's event loop for it")
  each_level(versions, function(name, level)
    report:line(name, level.loop_s, "s", level.calls_loop_s, "its calls without state")
  end)
  report:section("how late the worker's other timers are meanwhile, 99 of 100 within")
  each_level(versions, function(name, level)
    report:line(name, level.late_most_s, "s", versions.idle.late_most_s, "the same worker idle")
  end)
end

--- Measures and reports.
function M.run(report, settings)
  local place = settings.directory .. "/links"
  local its_worker = worker.start(settings, place)
  local ok, versions = pcall(measure, its_worker, place, settings)
  its_worker:stop()
  if not ok then error(versions, 0) end
  for _, version in ipairs(calls.VERSIONS) do pairs_of.compare(place .. version, settings.directory) end
  tell_all(report, versions)
end

return M
