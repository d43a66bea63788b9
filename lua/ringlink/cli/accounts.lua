--- `ringlink accounts`, `refresh` and `forget`.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local input = require "ringlink.cli.input"
local output = require "ringlink.cli.output"
local session = require "ringlink.cli.session"

local M = {}

local OUT = 1                              -- the file descriptor of standard output
local ROWS = 256                           -- that are aligned together
local HEADER = { "ACCOUNT", "STATE", "USER", "IDENTIFIER", "LINKED (UTC)", "REFRESHED (UTC)" }

local function instant(ms)
  return ms and os.date("!%Y-%m-%d %H:%M", math.floor(ms / 1000)) or "-"
end

local function row_of(info)
  return { info.id or "-", info.pending and info.state .. "+" .. info.pending or info.state, info.user or "-",
    info.account_identifier or "-", instant(info.linked_ms), instant(info.refreshed_ms) }
end

local function print_rows(out, rows)
  for _, line in ipairs(output.align(rows)) do out:raw(line .. "\n") end
end

-- People see what each column is; a pipe gets accounts and nothing else, for a script would take the header for one.
local function first_rows()
  return core.is_terminal(OUT) and { HEADER } or {}
end

local function list_of_one(client, id)
  local done = false
  return function()
    if done then return nil end
    done = true
    return client:account(id)
  end
end

-- An account that is forgotten while it is listed is left out.
local function info_of(account, is_wanted)
  local info, err = account:info()
  if info then return info end
  if err.code ~= "not_found" or is_wanted then err:raise() end
end

--- Lists accounts.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.accounts(context)
  local args, out = context.args, context.out
  local client, err = session.open(context)
  if not client then return nil, err end
  local rows = first_rows()
  local list = args.account and list_of_one(client, args.account)
    or client:accounts { state = args.state, user = args.user }
  for account in list do
    local info = info_of(account, args.account ~= nil)
    if info and out.json then
      out:result(info)
    elseif info then
      rows[#rows + 1] = row_of(info)
      if #rows >= ROWS then
        print_rows(out, rows)
        rows = {}
      end
    end
  end
  if not out.json then print_rows(out, rows) end
end

--- Refreshes an account.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.refresh(context)
  local client, err = session.open(context)
  if not client then return nil, err end
  local account = client:account(context.args.account)
  context.out:progress("refreshing ...")
  local done, failure = account:refresh { force = context.args.force or false }
  if not done then return nil, failure end
  local info, problem = account:info()
  if not info then return nil, problem end
  context.out:result({ account = info.id, state = info.state, refreshed_ms = info.refreshed_ms,
    access_expires_ms = info.access_expires_ms },
    ("%s  %s  fresh until %s UTC"):format(info.id, info.state, instant(info.access_expires_ms)))
end

-- Forgetting ----------------------------------------------------------------------------------

local function usage(problem, cure)
  return errors.fail("invalid_request", { stage = "forget", detail = problem, cure = cure })
end

local function is_meant(args, what)
  if args.yes then return true end
  if not input.is_interactive() then return usage("nobody can be asked", "say --yes") end
  local answer, err = input.ask(("Forget %s for good? (yes/no) "):format(what), true)
  if not answer then return nil, err end
  if answer == "yes" or answer == "y" then return true end
  return usage("it was not confirmed", "answer yes, or say --yes")
end

local function forget_users(client, args)
  if not args.notify then return client:forget_user(args.user) end
  local forgotten, accounts = 0, {}
  for account in client:accounts { user = args.user } do accounts[#accounts + 1] = account end
  for _, account in ipairs(accounts) do
    local done, err = account:forget { notify = true }
    if not done then return nil, err end
    forgotten = forgotten + 1
  end
  return forgotten
end

local function forget_one(client, args)
  local done, err = client:account(args.account):forget { notify = args.notify or false }
  if not done then return nil, err end
  return 1
end

--- Forgets an account, or a user's.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.forget(context)
  local args = context.args
  if (args.account == nil) == (args.user == nil) then
    return usage("an account's id or --user is needed, one of the two", "see `ringlink forget --help`")
  end
  local client, err = session.open(context)
  if not client then return nil, err end
  local meant, refusal = is_meant(args, args.account or "all accounts of user " .. args.user)
  if not meant then return nil, refusal end
  local forgotten, failure = (args.user and forget_users or forget_one)(client, args)
  if not forgotten then return nil, failure end
  context.out:result({ forgotten = forgotten }, ("%d forgotten"):format(forgotten))
end

return M
