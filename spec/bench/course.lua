--- Inside nginx: does something again and again in many light threads of one request, and watches what
--- that does to whatever else the worker has to do.
-- luacheck: globals ngx

local ffi = require "ffi"

local M = {}

ffi.cdef [[
  typedef struct { long s; long ns; } ringlink_bench_time;
  int clock_gettime(int, ringlink_bench_time *);
]]

local MONOTONIC, PROCESS, THREAD = 1, 2, 3
local TICK_S = 0.001                   -- the least that nginx can sleep

local time = ffi.new("ringlink_bench_time")

-- Exact, and not nginx's time, which stands still within a turn of its loop.
local function read_s(clock)
  ffi.C.clock_gettime(clock, time)
  return tonumber(time.s) + tonumber(time.ns) / 1e9
end

-- How late a light thread goes on that asked to sleep for a tick, again and again.
local function watch(state)
  while not state.over do
    local began_s = read_s(MONOTONIC)
    ngx.sleep(TICK_S)
    state.late[#state.late + 1] = math.max(0, read_s(MONOTONIC) - began_s - TICK_S)
  end
end

local function part_of(list, part)
  return list[math.max(1, math.ceil(#list * part))] or 0
end

local function lane(state, act)
  while state.begun < state.count do
    state.begun = state.begun + 1
    act(state.begun)
  end
end

local function wait_for(threads)
  for _, thread in ipairs(threads) do
    local ok, problem = ngx.thread.wait(thread)
    if not ok then error(problem, 0) end
  end
end

local function spawn(count, fn, ...)
  local threads = {}
  for i = 1, count do threads[i] = ngx.thread.spawn(fn, ...) end
  return threads
end

local function times()
  return { took_s = read_s(MONOTONIC), process_s = read_s(PROCESS), loop_s = read_s(THREAD) }
end

--- Calls `act(i)` for 1 to count, so many at once. What that took: time, the processor's time of the whole
--- worker and of its event loop; and how late others were, at the median and in 99 of a hundred cases.
---@param act fun(i: integer)
---@param concurrent integer
---@param count integer
---@return table figures
function M.run(act, concurrent, count)
  local state = { begun = 0, count = count, late = {} }
  local watcher = spawn(1, watch, state)
  local began = times()
  wait_for(spawn(concurrent, lane, state, act))
  local figures = times()
  for name, value in pairs(began) do figures[name] = figures[name] - value end
  state.over = true
  wait_for(watcher)
  table.sort(state.late)
  figures.late_s, figures.late_most_s = part_of(state.late, 0.5), part_of(state.late, 0.99)
  return figures
end

return M
