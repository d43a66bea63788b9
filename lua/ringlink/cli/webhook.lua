--- `ringlink webhook`: a delivery that is at hand as a file.

local input = require "ringlink.cli.input"
local output = require "ringlink.cli.output"
local session = require "ringlink.cli.session"

local M = {}

--- Verifies a webhook, and acts on it with --process.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.webhook(context)
  local args = context.args
  local body, unread = input.bytes(args.input)
  if not body then return nil, unread end
  local client, err = session.open_with_hooks(context)
  if not client then return nil, err end
  local event, problem = client:verify_webhook(body, args.signature)
  if not event then return nil, problem end
  local done = "verified"
  if args.process then
    local failure
    done, failure = client:webhook(body, args.signature)
    if not done then return nil, failure end
  end
  context.out:result({ result = done, id = event.id, type = event.type, sub_type = event.sub_type,
    account = event.account_id, time_ms = event.time_ms, meta = event.meta, data = event.data },
    output.align({ { done, event.type, event.sub_type or "-", event.account_id or "-" } })[1])
end

return M
