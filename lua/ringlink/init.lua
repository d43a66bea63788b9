--- ringlink: links a partner's users to their Ring accounts and keeps those links alive.
--
--     local ringlink = require "ringlink"
--     local client = ringlink.new { client_id = ..., client_secret = ..., hmac_key = ..., store = ... }

if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then
  error("ringlink needs Lua 5.4 or LuaJIT, and this is Lua 5.1: busted and other tools choose theirs by --lua")
end

local core = require "ringlink.core"
local client = require "ringlink.client"
local errors = require "ringlink.errors"
local flow = require "ringlink.flow"
local runtime = require "ringlink.runtime"
local url = require "ringlink.url"

local M = {}

local here = runtime.here()

M._VERSION = core.version

--- Every error code with its meaning, cause and cure.
M.errors = errors.list

-- Only tests need it, so it is loaded when it is first asked for.
setmetatable(M, { __index = function(_, name)
  if name == "testing" then return require "ringlink.testing" end
end })

--- A new client; a mistake in the options raises at the caller's line.
---@param options table see the README's table of options
---@return ringlink.Client
function M.new(options)
  return client.new(options)
end

--- A new flow: the partner's own steps around Ring's two. Pure.
---@param given { name: string, from: ringlink.Flow? }
---@return ringlink.Flow
function M.flow(given)
  return flow.new(given)
end

--- The nonce Ring would sign for an account (contract 6). Pure.
---@param hmac_key string used as the text it is
---@param time string epoch milliseconds
---@param account_id string
---@return string? nonce 43 characters
---@return ringlink.Error?
function M.nonce(hmac_key, time, account_id)
  local key, code
  if type(hmac_key) == "string" then key, code = core.hmac_key({ hmac_key }) end
  if not key then
    return errors.fail(code or "invalid_option", { detail = "hmac_key must be text of 1 to 4096 bytes" })
  end
  local nonce, problem = key:nonce(time, account_id)
  if nonce then return nonce end
  return errors.fail(problem, { detail = "time must be 1 to 20 digits, account_id text" })
end

--- Masks an identifier the way Ring shows it: user@host becomes u***r@host. Pure.
---@param identifier string
---@return string?
---@return ringlink.Error?
function M.mask(identifier)
  if type(identifier) ~= "string" then
    return errors.fail("invalid_request", { detail = "identifier must be text, not a " .. type(identifier) })
  end
  return core.mask(identifier)
end

--- Percent-encodes one path segment or query value. Pure.
---@param text string|number
---@return string
function M.encode(text)
  if type(text) ~= "string" and type(text) ~= "number" then
    errors.misuse("encode: needs text or a number, not a " .. type(text))
  end
  return url.encode(text)
end

local function check_function(call, fn)
  if type(fn) ~= "function" then errors.misuse(("%s: needs a function, not a %s"):format(call, type(fn))) end
end

local ON_ERROR = { finish = true, cancel = true, collect = true }

local function check_run(options)
  for name in pairs(options) do
    if name ~= "on_error" then errors.misuse(("run: unknown option %s; known is on_error"):format(tostring(name))) end
  end
  if options.on_error ~= nil and not ON_ERROR[options.on_error] then
    errors.misuse("run: on_error must be one of: finish, cancel, collect")
  end
  return options.on_error or "finish"
end

local function run(on_error, fn, ...)
  check_function("run", fn)
  return here.run(on_error, fn, ...)
end

--- Runs a function as a task of the loop and returns what it returns, once every task that was spawned
--- in it has ended: `run(fn, ...)`, or `run({ on_error = ... }, fn, ...)`. When one fails that nobody
--- joined, `"finish"` lets the others go on and raises the failure in the end, `"cancel"` cancels them and
--- raises it, `"collect"` raises nothing and returns a list of all failures before what `fn` returned.
---@param first function|{ on_error: "finish"|"cancel"|"collect"? }
function M.run(first, ...)
  if type(first) == "table" then return run(check_run(first), ...) end
  return run("finish", first, ...)
end

--- Starts a task beside the caller; the run that the caller is in waits for it.
---@param fn function
---@return table task for `join`
function M.spawn(fn, ...)
  check_function("spawn", fn)
  return here.spawn(fn, ...)
end

--- Waits for a task and returns what it returned; raises what it raised.
---@param task table
function M.join(task)
  if type(task) ~= "table" or task.waiters == nil then errors.misuse("join: needs a task, as spawn returns it") end
  return here.join(task)
end

--- Waits, letting other tasks run.
---@param seconds number
function M.sleep(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
    errors.misuse("sleep: needs a number of seconds, 0 or more")
  end
  return here.sleep(seconds)
end

return M
