--- How long things took, in buckets as Prometheus wants them: each counts what took at most so long.
--
-- Pure. A histogram has the fields `sum_ms`, `count` and, for each bound, how many there were up to
-- it and above the bound before.

local M = {}

--- The upper bounds in ms; what took longer is in `count` only.
M.BOUNDS_MS = { 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 20000 }

---@class ringlink.Histogram
---@field sum_ms number
---@field count integer
---@field [integer] integer  by the index of BOUNDS_MS

local function empty()
  local histogram = { sum_ms = 0, count = 0 }
  for i in ipairs(M.BOUNDS_MS) do histogram[i] = 0 end
  return histogram
end

--- Adds a time to the histogram of a name.
---@param histograms table<string, ringlink.Histogram>
---@param name string
---@param time_ms number
function M.add(histograms, name, time_ms)
  local histogram = histograms[name] or empty()
  histograms[name] = histogram
  histogram.sum_ms, histogram.count = histogram.sum_ms + time_ms, histogram.count + 1
  for i, bound_ms in ipairs(M.BOUNDS_MS) do
    if time_ms <= bound_ms then
      histogram[i] = histogram[i] + 1
      return
    end
  end
end

--- A copy that does not change.
---@param histograms table<string, ringlink.Histogram>
---@return table<string, ringlink.Histogram>
function M.copy(histograms)
  local copies = {}
  for name, histogram in pairs(histograms) do
    local copy = {}
    for key, value in pairs(histogram) do copy[key] = value end
    copies[name] = copy
  end
  return copies
end

return M
