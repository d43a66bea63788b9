--- The shell command `ringlink`: reads its line, runs one command, and tells the shell how it went.
--
-- Whatever happens, the client is closed before the process ends, so that nothing is left half-written:
-- open critical sections are waited for, with Ctrl-C held back meanwhile.

local exit = require "ringlink.cli.exit"
local output = require "ringlink.cli.output"
local parser = require "ringlink.cli.parser"
local trace = require "ringlink.trace"

local M = {}

-- Where each command is done; loaded when it is asked for.
local ROOMS = { exchange = "linking", link = "linking", accounts = "accounts", refresh = "accounts",
  forget = "accounts", work = "work", reseal = "work", request = "request", webhook = "webhook",
  nonce = "pure", mask = "pure", completion = "pure", doctor = "doctor", run = "script", sandbox = "sandbox" }

local function has(words, wanted)
  for _, word in ipairs(words) do
    if word == wanted then return true end
  end
  return nil
end

local function traced(problem)
  if type(problem) ~= "string" or exit.is_interruption(problem) then return problem end
  return problem:find("\nstack traceback:", 1, true) and problem or (trace.outside(problem, 2))
end

local function close(context)
  if not context.client then return end
  local good, problem = pcall(context.client.close, context.client)
  if not good then context.out:problem(problem) end
end

local function tell(out, problem)
  if exit.of(problem) == exit.INTERRUPTED then return out:note("ringlink: interrupted") end
  out:problem(problem)
end

local function run(context, words)
  local args, err = parser.read(words)
  if not args then return nil, err end
  context.args, context.out = args, output.new(args)
  return require("ringlink.cli." .. ROOMS[args.command])[args.command](context)
end

-- A problem is what was raised, or the second value.
local function outcome(good, first, second)
  if good then return first, second end
  return nil, first ~= nil and first or "an error without a message"
end

--- Runs a command line.
---@param words string[]
---@return integer status for the shell
function M.main(words)
  local context = { out = output.new({ json = has(words, "--json") }) }
  local status, problem = outcome(xpcall(run, traced, context, words))
  context.out:clear()
  if problem ~= nil then tell(context.out, problem) end
  close(context)
  if problem ~= nil then return exit.of(problem) end
  return status or exit.DONE
end

return M
