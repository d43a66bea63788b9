--- ringlink and SQLite alone, side by side: two processes over two files of the same rows.
---
--- Whatever is measured is done in rounds in which both take turns; a figure is the median of its
--- rounds. SQLite does what ringlink's log says it did, so what is compared is the same work, and
--- at the end both files must hold the same.

local child = require "support.child"
local side = require "bench.side"

local M = { BARE = ".build/bench/bare_sqlite" }

local Pair = {}
Pair.__index = Pair

local function median(list)
  table.sort(list)
  return (list[math.ceil(#list / 2)] + list[math.floor(#list / 2) + 1]) / 2
end

--- Medians by name, of the figures by name that `round(i)` returns.
function M.rounds(count, round)
  local figures, medians = {}, {}
  for i = 1, count do
    for name, figure in pairs(round(i)) do
      figures[name] = figures[name] or {}
      table.insert(figures[name], figure)
    end
  end
  for name, list in pairs(figures) do medians[name] = median(list) end
  return medians
end

--- Starts ringlink over a file and has it opened; it knows the Ring its accounts are linked with.
function M.start_ours(path, directory, ring)
  local ours = side.start("ours", { child.interpreter(), "spec/bench/ours.lua", path, ring.api_url, ring.ca_file },
    directory)
  ours:ask("open")
  return ours
end

local function start_bare(path, directory)
  local bare = side.start("bare", { M.BARE }, directory)
  bare:ask("open", path)
  return bare
end

--- Starts both, over the files `place`.ours and `place`.bare.
function M.start(place, directory, ring)
  return setmetatable({ place = place, log = directory .. "/log",
    ours = M.start_ours(place .. ".ours", directory, ring), bare = start_bare(place .. ".bare", directory) }, Pair)
end

--- Has ours do something whose jobs are kept as a log, which SQLite can do again.
function Pair:keep(log, ...)
  self.ours:ask("keep", log)
  return self.ours:ask(...)
end

--- Lets SQLite do what is in the log.
function Pair:replay(log)
  return self.bare:ask("replay", log or self.log)
end

--- The memory of both.
function Pair:memory()
  return { ours = self.ours:memory(), bare = self.bare:memory() }
end

--- Closes both files and ends the processes.
function Pair:stop()
  for _, one in ipairs { self.ours, self.bare } do
    one:ask("close")
    one:stop()
  end
end

local function sums_of(path, directory)
  local bare = start_bare(path, directory)
  local sums = bare:ask("sums")
  bare:stop()
  return sums
end

--- Makes sure that both files hold the same: SQLite did all that ringlink did, and nothing else. The
--- sums it goes by: rows, data_bytes, due_ms, versions.
function M.compare(place, directory)
  local ours, bare = sums_of(place .. ".ours", directory), sums_of(place .. ".bare", directory)
  for name, value in pairs(ours) do
    assert(value == bare[name], ("the two sides differ in %s: %s, %s"):format(name, value, bare[name]))
  end
  return ours
end

return M
