--- `ringlink run`: a linking script of the user's, inside the loop, with a client.
--
--   local client, args, progress = ...
--   for account in client:accounts { state = "completed" } do progress(account.id) ... end

local errors = require "ringlink.errors"
local ringlink = require "ringlink"
local session = require "ringlink.cli.session"

local M = {}

local STATUS_MAX = 255

-- What the script returned: nil, err; a status; anything else is done.
local function conclude(value, err)
  if value == nil and err ~= nil then
    if errors.is(err) then return nil, err end
    return errors.fail("hook_failed", { stage = "script",
      message = ("the script ended with nil and an error (%s): see the script"):format(errors.describe(err)) })
  end
  if type(value) ~= "number" then return 0 end
  if value % 1 == 0 and value >= 0 and value <= STATUS_MAX then return math.floor(value) end
  return errors.fail("hook_failed", { stage = "script",
    message = ("the script returned %s: a number is its exit status: return one from 0 to %d, or none"):format(
      value, STATUS_MAX) })
end

-- What it prints stands in lines of its own, not behind the progress line.
local function globals_for(out)
  local plain = print
  local function print_below(...)
    out:clear()
    plain(...)
  end
  return setmetatable({ print = print_below }, { __index = _G, __newindex = _G })
end

--- Runs a script.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.run(context)
  local chunk, err = session.load(context.args.script, globals_for(context.out))
  if not chunk then return nil, err end
  local client, problem = session.open(context, { log = "warn" })
  if not client then return nil, problem end
  local function progress(text) context.out:progress(tostring(text)) end
  return conclude(ringlink.run(chunk, client, context.args.args, progress))
end

return M
