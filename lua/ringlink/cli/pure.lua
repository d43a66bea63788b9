--- `ringlink nonce`, `mask` and `completion`: nothing but what they were told.

local errors = require "ringlink.errors"
local options = require "ringlink.options"
local parser = require "ringlink.cli.parser"
local ringlink = require "ringlink"
local session = require "ringlink.cli.session"
local settings = require "ringlink.cli.settings"

local M = {}

local function hmac_key_of(context)
  local read = settings.read(context.args.settings)
  if read.problems[1] then return nil, read.problems[1] end
  local value = read.values.hmac_key
  if value == nil then
    return errors.fail("invalid_option", { stage = "settings",
      message = "hmac_key is not set: set RING_HMAC_KEY, or hmac_key in the config file" })
  end
  local good, text = pcall(options.secret_text, "hmac_key", type(value) == "table" and value[1] or value)
  if not good then return session.mistake(text) end
  return text
end

--- Computes a nonce.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.nonce(context)
  local key, err = hmac_key_of(context)
  if not key then return nil, err end
  context.out:hide(key)
  local nonce, problem = ringlink.nonce(key, context.args.time, context.args.account)
  if not nonce then return nil, problem end
  context.out:result({ nonce = nonce }, nonce)
end

local function mask_one(context, identifier)
  local masked, err = ringlink.mask(identifier)
  if not masked then return nil, err end
  context.out:result({ masked = masked }, masked)
  return true
end

--- Masks identifiers.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.mask(context)
  local given = context.args.identifier
  for _, identifier in ipairs(given) do
    local done, err = mask_one(context, identifier)
    if not done then return nil, err end
  end
  if given[1] then return end
  for line in io.lines() do
    local done, err = mask_one(context, line)
    if not done then return nil, err end
  end
end

--- Prints a completion script.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.completion(context)
  context.out:raw(parser.completion(context.args.shell))
end

return M
