--- `ringlink request`: a call in a Ring user's name.

local errors = require "ringlink.errors"
local input = require "ringlink.cli.input"
local session = require "ringlink.cli.session"

local M = {}

local function usage(problem)
  return errors.fail("invalid_request", { stage = "request", detail = problem,
    cure = "see `ringlink request --help`" })
end

-- "name=value" or "Name: value", several of them, as a table.
local function named(list, pattern, what)
  local found = {}
  for _, word in ipairs(list or {}) do
    local name, value = word:match(pattern)
    if not name then return usage(what .. " is malformed") end
    found[name] = value
  end
  return found
end

local function build(args)
  local query, err = named(args.query, "^([^=]+)=(.*)$", "--query")
  if not query then return nil, err end
  local headers, problem = named(args.header, "^([^:]+):%s*(.*)$", "--header")
  if not headers then return nil, problem end
  local body, failure
  if args.data then
    body, failure = input.bytes(args.data)
    if not body then return nil, failure end
  end
  return { method = args.method, path = args.path, query = query, headers = headers, body = body,
    follow = args.follow, retry = args.retry }
end

-- A file, or standard output as the parts come; for machines the body is part of the one line.
local function sink_of(context)
  local args, out = context.args, context.out
  if args.output then return args.output end
  if out.json or args.method == "HEAD" then return nil end
  return function(part) out:raw(part) end
end

local function show(context, response)
  local value = { status = response.status, headers = response.headers }
  if context.args.output then
    value.output, value.bytes = context.args.output, response.written
  elseif response.json ~= nil then
    value.body = response.json
  else
    value.body = response.body
  end
  context.out:result(value)
end

--- Makes a call and prints its body.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.request(context)
  local spec, err = build(context.args)
  if not spec then return nil, err end
  local client, problem = session.open(context)
  if not client then return nil, problem end
  context.out:progress("asking ...")
  spec.sink = sink_of(context)
  local response, failure = client:account(context.args.account):request(spec)
  if not response then return nil, failure end
  show(context, response)
end

return M
