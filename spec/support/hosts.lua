--- Real event loops as specs use them: one way to run a function in each, and to drop a coroutine of it.
--
--   host.run(function(functions) ... end)   -- in a coroutine of a new loop, until that loop has ended;
--                                           -- `functions` is what the option `runtime` takes for it
--   host.spawn(fn), host.sleep(seconds)     -- inside
--   host.abandon(fn, is_time)               -- runs fn in a coroutine that is dropped at the right moment
--
-- host.abandon is nil where nothing can drop a coroutine.

local cqueues = require "cqueues"
local of_cqueues = require "ringlink.runtime.cqueues"
local uv = require "support.libuv"

local M = {}

local TURN_S = 0.002
local close = rawget(coroutine, "close")               -- LuaJIT has none

local function caught(fn, ...)
  local outcome = {}
  local args = { n = select("#", ...), ... }
  return outcome, function()
    outcome.ok, outcome.problem = xpcall(function() fn((table.unpack or unpack)(args, 1, args.n)) end, debug.traceback)
  end
end

local function judge(outcome)
  assert(outcome.ok ~= nil, "the loop ended before the function did")
  if not outcome.ok then error(outcome.problem, 0) end
end

-- cqueues ---------------------------------------------------------------------------------------

local function run_cqueues(functions_of)
  return function(fn)
    local controller = cqueues.new()
    local outcome, guarded = caught(fn, functions_of(controller))
    controller:wrap(guarded)
    assert(controller:loop())
    judge(outcome)
  end
end

-- A controller of its own that nobody turns any more.
local function drop_controller(fn, is_time)
  local inner = cqueues.new()
  inner:wrap(fn)
  repeat assert(inner:step(TURN_S)) until is_time()
end

local function spawn_cqueues(fn) cqueues.running():wrap(fn) end

M.cqueues = { name = "cqueues", spawn = spawn_cqueues, sleep = cqueues.sleep, abandon = drop_controller,
  run = run_cqueues(of_cqueues.on) }

-- The least that a loop must have.
M.table_of_three = { name = "a table of three functions", spawn = spawn_cqueues, sleep = cqueues.sleep,
  abandon = drop_controller,
  run = run_cqueues(function(controller)
    return {
      wait_fd = function(fd, seconds) cqueues.poll({ pollfd = fd, events = "r" }, seconds) end,
      sleep = cqueues.sleep,
      spawn = function(fn) controller:wrap(fn) end,
    }
  end) }

-- libuv -----------------------------------------------------------------------------------------

local function sleep_luv(seconds)
  local co, timer = coroutine.running(), uv.new_timer()
  timer:start(math.ceil(seconds * 1000), 0, function()
    timer:close()
    if coroutine.status(co) == "suspended" then assert(coroutine.resume(co)) end
  end)
  coroutine.yield()
end

local function drop_coroutine(fn, is_time)
  local co = coroutine.create(fn)
  assert(coroutine.resume(co))
  repeat sleep_luv(TURN_S) until is_time()
  assert(close(co))
end

M.luv = { name = "luv", sleep = sleep_luv, abandon = close and drop_coroutine or nil,
  spawn = function(fn) coroutine.wrap(fn)() end,
  run = function(fn)
    local outcome, guarded = caught(fn, require "ringlink.runtime.luv")
    coroutine.wrap(guarded)()
    uv.run()
    judge(outcome)
  end }

return M
