--- A runtime inside somebody else's event loop, made from a small table of that loop's functions:
--
--   wait_fd(fd, seconds)   waits until the descriptor can be read, at most so long; others go on meanwhile
--   sleep(seconds)         waits; others go on meanwhile
--   spawn(fn)              runs a function in a new coroutine of the loop, at once or soon
--
-- and, where the loop has it:
--
--   condition()            -> { wait(self, seconds), signal(self) }; without it whoever waits has two
--                          descriptors of its own meanwhile
--   running()              -> true where the caller can be suspended, nil where no loop turns, else false;
--                          without it every coroutine but the main program can
--   resume(co)             coroutine.resume that lets the loop's own waits inside `co` through
--   name                   for messages
--
-- Who waits and who looks is board.lua's. What waits in a coroutine that the loop drops is abandoned, a
-- critical section never: it goes on whenever the loop turns, or a call waits in the main program.

local boards = require "ringlink.runtime.external.board"
local carried = require "ringlink.runtime.external.carried"
local core = require "ringlink.core"
local visit = require "ringlink.runtime.external.visit"

local M = {}

local NEEDED = { "wait_fd", "sleep", "spawn" }
local OPTIONAL = { "condition", "running", "resume" }

local BOARD = {}                       -- the key of its board in a table of functions

--- What is wrong with a table of a loop's functions, as the end of a sentence; nil when nothing is.
---@param host table
---@return string?
function M.problem(host)
  for _, name in ipairs(NEEDED) do
    if type(host[name]) ~= "function" then return ("lacks the function %s(%s)"):format(name, M.takes[name]) end
  end
  for _, name in ipairs(OPTIONAL) do
    local kind = type(host[name])
    if kind ~= "function" and kind ~= "nil" then return ("has a %s that is no function"):format(name) end
  end
end

--- What the needed functions are called with.
M.takes = { wait_fd = "fd, seconds", sleep = "seconds", spawn = "fn" }

-- All clients of one loop share its board, and so one descriptor that is never closed while the loop may
-- still know it. It lies in the table itself: a weak table of ours would keep both for ever in LuaJIT.
local function board_of(host)
  local board = rawget(host, BOARD) or boards.new(host)
  rawset(host, BOARD, board)
  return board
end

--- The runtime whose task the caller runs in.
---@return ringlink.Runtime?
function M.of_current_task()
  local task = boards.current_task()
  return task and task.board.runtime
end

--- A client's runtime.
---@param host table
---@return ringlink.Runtime
function M.new(host)
  local board = board_of(host)
  if board.runtime then return board.runtime end
  local function spawn(...) return board:spawn(...) end
  board.runtime = {
    name = host.name or "external",
    open_transport = function(config) return board:carry(core.transport_worker, config) end,
    drop_transport = function(transport) board:drop(transport) end,
    admit = function(transport) board:admit(transport) end,
    await = function(transport, ticket) return board:await(transport, ticket) end,
    spawn = spawn, critical = spawn,
    join = function(task) return board:join(task) end,
    sleep = function(seconds) board:sleep(seconds) end,
    check_may_wait = function() board:check_may_wait() end,
    store = carried.new(board), visit = visit.begin, limiter = core.limiter,
  }
  return board.runtime
end

return M
