--- `ringlink exchange` and `ringlink link`.

local errors = require "ringlink.errors"
local input = require "ringlink.cli.input"
local output = require "ringlink.cli.output"
local session = require "ringlink.cli.session"

local M = {}

local function read_code(context)
  local text, err = input.secret(context.out, { file = context.args.input, variable = "RINGLINK_CODE",
    question = "Authorization code (not shown): " })
  if not text then return nil, err end
  return input.fields(context.out, text) or { code = text }
end

--- Exchanges a code.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.exchange(context)
  local client, err = session.open_with_hooks(context)
  if not client then return nil, err end
  local told, problem = read_code(context)
  if not told then return nil, problem end
  local account, failure = client:exchange(told.code,
    { code_verifier = told.code_verifier, redirect_uri = told.redirect_uri })
  if not account then return nil, failure end
  local state = account:state()
  context.out:result({ account = account.id, state = state },
    output.align({ { account.id or "not identified yet", state or "" } })[1])
end

-- What is still missing is asked for, when somebody is there.
local function ask_missing(told)
  for _, one in ipairs { { "time", "Its time (digits): " }, { "user", "Your id of the user: " } } do
    if told[one[1]] == nil and input.is_interactive() then
      local answer, err = input.ask(one[2], true)
      if not answer then return nil, err end
      told[one[1]] = answer
    end
  end
  return told
end

local function read_redirect(context)
  local args = context.args
  local text, err = input.secret(context.out, { file = args.input,
    question = "Address that Ring sent the browser to, or its nonce (not shown): " })
  if not text then return nil, err end
  local told = input.fields(context.out, text) or { nonce = text }
  told.user = args.user or told.user
  return ask_missing(told)
end

local function text_of(value)
  return value ~= nil and (type(value) == "number" and ("%d"):format(value) or value) or nil
end

--- Links an exchanged account.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.link(context)
  local args, out = context.args, context.out
  local client, err = session.open_with_hooks(context)
  if not client then return nil, err end
  local told, problem = read_redirect(context)
  if not told then return nil, problem end
  if told.user == nil then
    return errors.fail("invalid_request", { stage = "link", detail = "no user was given", cure = "say --user ID" })
  end
  out:progress("linking ...")
  local link, failure = client:link { nonce = told.nonce, time = text_of(told.time), user = text_of(told.user),
    account_identifier = args.identifier or told.account_identifier, unmasked = args.unmasked, from = args.from,
    wait_s = args.wait }
  if not link then return nil, failure end
  out:result({ account = link.account.id, user = link.user, status = link.status,
    account_identifier = link.account_identifier, updated_at = link.updated_at, waiting_for = link.waiting_for },
    output.align({ { link.account.id, link.status, link.user, link.account_identifier or "" } })[1])
end

return M
