--- The two calls of a link, made in one worker of nginx without any state: ringlink, lua-resty-http and
--- libcurl's multi loop in C, in turns; and what each does to the worker's event loop.
---
--- lua-resty-http is not part of ringlink: it takes part when the folder above its `resty/http.lua` is
--- given (RESTY_HTTP). It speaks HTTP/1.1 only.

local pairs_of = require "bench.pair"
local side = require "bench.side"
local worker = require "bench.worker"

local M = { LEVELS = { 1, 16, 64, 256 }, VERSIONS = { "1.1", "2" } }

local BARE = ".build/bench/bare_multi"
local PATH = "/v1/accounts/me/app-integrations"
local ROUNDS, PAIRS = 15, 600          -- many and short: what else the machine does weighs on all alike
local WARMING = 0.1                    -- of a round: connections are made, code is compiled
local IDLE_S = 0.5

-- One at a time is slow: fewer are enough.
local function pairs_at(settings, concurrent)
  local count = settings.pairs or PAIRS
  return concurrent == 1 and math.ceil(count / 4) or math.max(count, concurrent)
end

local function inside(its_worker, who, version)
  return { name = who .. " " .. version, run = function(concurrent, count)
    return its_worker:ask("calls", { who = who, version = version, concurrent = concurrent, count = count })
  end }
end

local function alone(its_worker, version, directory)
  local bare = side.start("bare" .. version, { BARE, its_worker.ring.url[version] .. PATH, its_worker.ring.ca_file,
    worker.token }, directory)
  return { name = "bare " .. version, stop = function() bare:stop() end,
    run = function(concurrent, count) return bare:ask("calls", version, concurrent, count) end }
end

-- Those that are compared come one after the other.
local function line_up(settings, its_worker)
  local list = {}
  for i, version in ipairs(M.VERSIONS) do
    list[#list + 1] = alone(its_worker, version, settings.directory)
    list[#list + 1] = inside(its_worker, "ringlink", version)
    if i == 1 and settings.resty_http then list[#list + 1] = inside(its_worker, "resty", version) end
  end
  return list
end

-- What each took for a pair, and the latenesses, as one table of figures.
local function go_round(list, concurrent, count)
  local figures = {}
  for _, one in ipairs(list) do
    for name, value in pairs(one.run(concurrent, count)) do
      figures[one.name .. " " .. name] = name:find("^late") and value or value / count
    end
  end
  return figures
end

local function measure(settings, its_worker, list)
  local levels = { idle = its_worker:ask("idle", { seconds = IDLE_S }) }
  for i, concurrent in ipairs(M.LEVELS) do
    local count = pairs_at(settings, concurrent)
    go_round(list, concurrent, math.max(concurrent, math.ceil(count * WARMING)))
    levels[i] = pairs_of.rounds(settings.rounds or ROUNDS, function() return go_round(list, concurrent, count) end)
  end
  return levels
end

-- The report ----------------------------------------------------------------------------------

--- What the lines of a level are called.
function M.name(concurrent, version)
  return ("%d at once, HTTP/%s"):format(concurrent, version)
end

-- A line for each version and level, against those contestants that have such a figure.
local function tell(report, levels, figure, rivals)
  for _, version in ipairs(M.VERSIONS) do
    for i, concurrent in ipairs(M.LEVELS) do
      for _, rival in ipairs(rivals) do
        local baseline = levels[i][(rival.name or "bare " .. version) .. " " .. figure]
        if baseline then
          report:line(M.name(concurrent, version), levels[i]["ringlink " .. version .. " " .. figure], "s", baseline,
            rival.what)
        end
      end
    end
  end
end

local RESTY = { name = "resty 1.1", what = "lua-resty-http, by HTTP/1.1" }
local MULTI = { what = "libcurl's multi loop alone" }

local function tell_idle(report, levels)
  for _, version in ipairs(M.VERSIONS) do
    for i, concurrent in ipairs(M.LEVELS) do
      report:line(M.name(concurrent, version), levels[i]["ringlink " .. version .. " late_most_s"], "s",
        levels.idle.late_most_s, "the same worker idle")
    end
  end
end

local function tell_all(report, settings, levels)
  report:section("a POST and a PATCH without state, in one worker")
  tell(report, levels, "took_s", { RESTY, MULTI })
  if settings.resty_http then
    report:section("the processor's time of the worker for them, all its threads")
    tell(report, levels, "process_s", { RESTY })
    report:section("the processor's time of the worker's event loop for them")
    tell(report, levels, "loop_s", { RESTY })
  else
    report:note("lua-resty-http takes no part: RESTY_HTTP names no folder with its resty/http.lua")
  end
  report:section("how late the worker's other timers are meanwhile, 99 of 100 within")
  tell(report, levels, "late_most_s", { RESTY })
  tell_idle(report, levels)
end

--- Measures and reports.
function M.run(report, settings)
  local its_worker = worker.start(settings, settings.directory .. "/calls")
  local list = line_up(settings, its_worker)
  local ok, levels = pcall(measure, settings, its_worker, list)
  for _, one in ipairs(list) do
    if one.stop then one.stop() end
  end
  its_worker:stop()
  if not ok then error(levels, 0) end
  tell_all(report, settings, levels)
end

return M
