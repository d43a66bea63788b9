--- What a benchmark prints: lines of what was measured, beside its baseline and their ratio.
---
---   local report = require("bench.report").new(print)
---   report:section("tokens")
---   report:line("access_token()", 0.00004, "s", 0.00001, "SELECT by key")
---
--- A ratio says how many times as much of something ringlink takes as its baseline, so less is better.

local M = {}

local Report = {}
Report.__index = Report

local WIDTHS = { name = 40, figure = 11 }
local SCALES = {
  s = { { 1, "s" }, { 1e-3, "ms" }, { 1e-6, "us" } },
  times = { { 1, "x" } },
  bytes = { { 1e9, "GB" }, { 1e6, "MB" }, { 1e3, "kB" }, { 1, "B" } },
}

--- A figure with three digits that count.
local function shown(value, unit)
  for _, scale in ipairs(SCALES[unit]) do
    if value >= scale[1] or scale == SCALES[unit][#SCALES[unit]] then
      local number = value / scale[1]
      local digits = number >= 100 and 0 or number >= 10 and 1 or 2
      return ("%." .. digits .. "f %s"):format(number, scale[2])
    end
  end
end

local function row(name, ours, baseline, ratio, what)
  return ("  %-" .. WIDTHS.name .. "s%" .. WIDTHS.figure .. "s%" .. WIDTHS.figure .. "s%9s  %s"):format(
    name, ours, baseline, ratio, what)
end

--- A report that says each line by `say`.
function M.new(say)
  return setmetatable({ say = say, ratios = {} }, Report)
end

--- Says how far it has come.
function Report:note(text)
  self.say("  " .. text)
end

--- Begins a part of it.
function Report:section(title)
  self.say("")
  self.say(title)
  self.say(row("", "ringlink", "baseline", "ratio", "the baseline is"))
end

--- One thing that was measured; the ratio, which is kept too.
function Report:line(name, ours, unit, baseline, what)
  local ratio = ours / baseline
  self.say(row(name, shown(ours, unit), shown(baseline, unit), ("%.2f"):format(ratio), what))
  self.ratios[name .. " / " .. what] = ratio
  return ratio
end

return M
