--- How long another location of a worker takes while the worker has 500 links under way, and Ring takes
--- 2 s for each answer.
---
--- Three times the same probe, at a constant rate, each answer's time counted from the instant at which
--- it was due: with the worker idle, with the links in another nginx on this machine (what the machine
--- makes of it), and with the links in the probed worker itself. Links come evenly, so many that 500 are
--- under way as soon as the first ones end; only from then on the probe counts. The prober is a process
--- with the highest priority it may have; the sandbox and the crowd, which would be other machines, give
--- way. A bystander, which only waits for instants, tells what any process of the machine goes through
--- meanwhile. Nothing is pinned to a core: threads of the worker's own must compete with it as they do. A first
--- round is not counted: code is compiled then.

local cjson = require "cjson"
local load = require "bench.load"
local other_machine = require "bench.other_machine"
local pairs_of = require "bench.pair"
local places = require "ringlink.sandbox.places"
local resty_server = require "support.resty_server"
local shell = require "support.shell"
local world = require "support.world"

local M = {}

local IN_FLIGHT, DELAY_MS, ROUNDS = 500, 2000, 3
local ANSWERS = 2                      -- of Ring's in a link
local PROBES_PER_S, PROBE_CONNECTIONS = 250, 8
local EXCHANGES_AT_ONCE = 16
local FIRST, LOW = -20, 10             -- nice values
local LEAD_S = 0.2                     -- before the first link comes

local SERVER = [[
  server {
    listen 127.0.0.1:%d backlog=2048;
    access_log off;
    keepalive_requests 1000000;
    location / { content_by_lua_block { require("bench.latency_site").serve() } }
  }
]]

-- Sites -----------------------------------------------------------------------------------------

local function start_site(ring)
  local port = places.free_port()
  local server = resty_server.start(ring, { http = SERVER:format(port),
    setup = "rate_limit_per_s = 100000," })
  return { server = server, port = port, users = 0 }
end

local function ask(self, path)
  return shell.run(("curl -sS --fail 'http://127.0.0.1:%d%s'"):format(self.port, path))
end

local function figures(self)
  return cjson.decode(ask(self, "/figures?rest=1"))
end

local function assert_all(answers, body)
  for _, answer in ipairs(answers) do
    if answer.body ~= body then error("a request ended with: " .. answer.body, 0) end
  end
end

-- Accounts to link, while Ring answers at once.
local function exchange(self, bench, count)
  local installs, plan = {}, {}
  for i = 1, count do
    installs[i] = bench.w:install()
    plan[i] = { at_s = 0, path = "/exchange?code=" .. installs[i].code }
  end
  assert_all(load.run(bench.directory, "exchange", { port = self.port, connections = EXCHANGES_AT_ONCE }, plan),
    "exchanged")
  return installs
end

-- Measuring -------------------------------------------------------------------------------------

local function probe(bench, from_s, seconds)
  return load.start(bench.directory, "probe", { port = bench.here.port, connections = PROBE_CONNECTIONS,
    priority = FIRST }, load.steady("/other", from_s, seconds, PROBES_PER_S))
end

-- A process that has nothing to do with either, and nothing to do but to wait for instants.
local function bystander(bench, from_s, seconds)
  return load.start(bench.directory, "bystander", { port = 0, connections = 0 },
    load.steady("-", from_s, seconds, PROBES_PER_S))
end

local function crowd(self, bench, installs)
  local plan = {}
  for i, install in ipairs(installs) do
    self.users = self.users + 1
    plan[i] = { at_s = LEAD_S + (i - 1) * bench.link_s / bench.in_flight,
      path = ("/link?nonce=%s&time=%s&user=u%d"):format(install.nonce, install.time, self.users) }
  end
  local middle = #plan - math.floor(bench.in_flight / 4)
  table.insert(plan, middle, { at_s = plan[middle].at_s, path = "/figures" })
  return load.start(bench.directory, "crowd", { port = self.port, connections = 2 * bench.in_flight,
    priority = LOW }, plan)
end

local function split(answers)
  local links, busy = {}, nil
  for _, answer in ipairs(answers) do
    if answer.body:find("^{") then busy = cjson.decode(answer.body) else links[#links + 1] = answer end
  end
  return links, busy
end

-- How many links Ring had before it at once, at most.
local function at_ring(bench)
  local times, most, first = {}, 0, 1
  for _, row in ipairs(bench.w:journal()) do
    if row.fault then times[#times + 1] = row.at_ms end
  end
  table.sort(times)
  for i, at_ms in ipairs(times) do
    while at_ms - times[first] >= bench.delay_ms do first = first + 1 end
    most = math.max(most, i - first + 1)
  end
  return most
end

-- Twice as many links as are to be under way, in twice the time that one takes: in the second half they
-- are. The probe of the first half is not counted.
local function under_load(bench, self)
  local installs = exchange(self, bench, 2 * bench.in_flight)
  bench.w:fault { call = "*", delay_ms = bench.delay_ms, count = "always" }
  local from_s = LEAD_S + bench.link_s
  local till_s = from_s + bench.link_s
  local run, prober, other = crowd(self, bench, installs), probe(bench, 0, till_s), bystander(bench, 0, till_s)
  local probes = load.between(load.finish(prober), from_s, till_s)
  local bystanders = load.between(load.finish(other), from_s, till_s)
  local links, busy = split(load.finish(run))
  assert_all(links, "completed")
  local result = { probes = probes, bystanders = bystanders, links = links, busy = busy, at_ring = at_ring(bench),
    open = load.open_at(links, from_s + bench.link_s / 2) }
  bench.w:reset()
  return result
end

local function idle(bench)
  local run, other = probe(bench, LEAD_S, bench.link_s), bystander(bench, LEAD_S, bench.link_s)
  return { probes = (load.finish(run)), bystanders = (load.finish(other)) }
end

-- The report ------------------------------------------------------------------------------------

local PARTS = { { "p50", 0.5 }, { "p99", 0.99 }, { "at most", 1 } }

local function times_of(result, list)
  local times = {}
  for _, part in ipairs(PARTS) do times[part[1]] = load.percentile(result[list], part[2]) end
  return times
end

local function medians(rounds, which, list)
  return pairs_of.rounds(#rounds, function(i) return times_of(rounds[i][which], list) end)
end

local function tell_probes(report, rounds)
  local alone, elsewhere, here = medians(rounds, "idle", "probes"), medians(rounds, "elsewhere", "probes"),
    medians(rounds, "here", "probes")
  report:section("another location of the worker, while it has links under way; the median of the rounds")
  for _, part in ipairs(PARTS) do
    report:line(part[1], here[part[1]], "s", alone[part[1]], "the same worker, idle")
    report:line(part[1], here[part[1]], "s", elsewhere[part[1]], "idle, the links in another nginx here")
  end
end

local function tell_bystanders(report, rounds)
  local alone = medians(rounds, "idle", "bystanders")
  report:section("how late a process is that has nothing to do with either, and waits for instants")
  for _, where in ipairs { { "elsewhere", "links in another nginx" }, { "here", "links in the worker" } } do
    local late = medians(rounds, where[1], "bystanders")
    for _, part in ipairs(PARTS) do
      report:line(part[1] .. ", " .. where[2], late[part[1]], "s", alone[part[1]], "the same, no links anywhere")
    end
  end
end

local function tell_links(report, bench, rounds)
  local took = medians(rounds, "here", "links")
  report:section("the links, none of them refused")
  for _, part in ipairs(PARTS) do
    report:line(part[1], took[part[1]], "s", bench.link_s, ("%d answers of Ring, %g s each"):format(ANSWERS,
      bench.delay_ms / 1000))
  end
  for i, round in ipairs(rounds) do
    local busy = round.here.busy
    report:note(("round %d: %d links under way, %d calls before Ring at once; the threads had %d requests and %d jobs")
      :format(i, round.here.open, round.here.at_ring, busy.transport.in_flight,
        busy.store.queued + busy.store.at_work))
  end
end

local function tell_memory(report, rounds)
  local first, last = rounds[1].rest, rounds[#rounds].rest
  report:section("memory of the worker, garbage collected")
  for _, kind in ipairs { { "lua_bytes", "Lua" }, { "rss_bytes", "the whole process" } } do
    local field, name = kind[1], kind[2]
    report:line(name .. ", with the links", rounds[#rounds].here.busy[field], "bytes", last[field],
      "after the last round")
    report:line(name .. ", after the last round", last[field], "bytes", first[field], "after the first round")
  end
end

-- What is measured -------------------------------------------------------------------------------

local function round(bench)
  local result = { idle = idle(bench), elsewhere = under_load(bench, bench.there) }
  result.here = under_load(bench, bench.here)
  result.rest = figures(bench.here)
  return result
end

local function measure(report, bench)
  local rounds = {}
  round(bench)
  for i = 1, bench.rounds do
    rounds[i] = round(bench)
    local function p99(which) return 1000 * load.percentile(rounds[i][which].probes, 0.99) end
    report:note(("round %d of %d, p99: idle %.2f ms, links elsewhere %.2f ms, links here %.2f ms"):format(i,
      bench.rounds, p99("idle"), p99("elsewhere"), p99("here")))
  end
  tell_probes(report, rounds)
  tell_bystanders(report, rounds)
  tell_links(report, bench, rounds)
  tell_memory(report, rounds)
end

--- Runs it; `settings` may say `in_flight`, `delay_ms` and `rounds`.
function M.run(report, settings)
  local w = world.start { limits = { per_s = false } }
  local bench = { w = w, directory = settings.directory, in_flight = settings.in_flight or IN_FLIGHT,
    delay_ms = settings.delay_ms or DELAY_MS, rounds = settings.rounds or ROUNDS }
  bench.link_s = ANSWERS * bench.delay_ms / 1000
  other_machine.give_way { w.ring.pid }
  bench.here, bench.there = start_site(w.ring), start_site(w.ring)
  local ok, problem = pcall(measure, report, bench)
  bench.here.server:stop()
  bench.there.server:stop()
  w:stop()
  if not ok then error(problem, 0) end
end

return M
