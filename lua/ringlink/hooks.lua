--- The partner's hooks: who listens to what, in the order of registration.
--
-- Hooks run in the caller, never inside a critical section. A hook that raises is reported as
-- `hook_failed` and cannot lose a token or a state: everything was stored before it ran. An interruption
-- of the program is no failure of the hook it comes in, and goes on to the caller.

local errors = require "ringlink.errors"

local M = {}

local NAMES = {}
for name in ([[exchanged matched before_confirm awaiting configure before_complete completed failed
  transition token_rotated refresh_failed refresh_overdue relink_required unlinked reassign webhook request response
  audit]]):gmatch("%S+") do
  NAMES[name] = true
end

---@class ringlink.Hooks
---@field listeners table<string, function[]>
---@field log fun(level: string, message: string, fields: table?)
local Hooks = {}
Hooks.__index = Hooks

--- An empty register.
---@param log fun(level: string, message: string, fields: table?)
---@return ringlink.Hooks
function M.new(log)
  return setmetatable({ listeners = {}, log = log }, Hooks)
end

--- Whether a name is one that `client:on` takes.
---@param name any
---@return boolean
function M.known(name)
  return type(name) == "string" and (NAMES[name] or name:match("^webhook:[%w_]+$") ~= nil)
end

--- Every plain hook name, for suggestions.
---@return string[]
function M.names()
  local list = {}
  for name in pairs(NAMES) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- Adds a listener.
---@param name string
---@param fn function
---@return fun() off takes it off again; calling it twice does no harm
function Hooks:on(name, fn)
  local old = self.listeners[name] or {}
  local list = {}
  for i, listener in ipairs(old) do list[i] = listener end
  local entry = { fn = fn }
  list[#list + 1] = entry
  self.listeners[name] = list
  return function() self:off(name, entry) end
end

--- Takes a listener off; a run that is under way still finishes its own list.
---@param name string
---@param entry table
function Hooks:off(name, entry)
  local list = {}
  for _, listener in ipairs(self.listeners[name] or {}) do
    if listener ~= entry then list[#list + 1] = listener end
  end
  self.listeners[name] = list
end

--- Whether anybody listens.
---@param name string
---@return boolean
function Hooks:has(name)
  local list = self.listeners[name]
  return list ~= nil and #list > 0
end

local function trace(cause)
  if type(cause) == "string" and not errors.is_interruption(cause) then return debug.traceback(cause, 2) end
  return cause
end

-- Whatever stops a link before the POST gives the claim back, and the nonce with it.
local SPENT = { before_confirm = "let the user tap Sign In again" }

local function hook_failed(name, cause)
  local spent = SPENT[name]
  return errors.new("hook_failed", { stage = name, detail = "hook " .. name, cause = cause,
    cure = spent and "see the cause; fix the hook, then " .. spent, retryable = not spent })
end

local function call(entry, args)
  return xpcall(function() return entry.fn((table.unpack or unpack)(args, 1, args.n)) end, trace)
end

local function told_failure(self, name, cause)
  local err = hook_failed(name, cause)
  self.log("error", err.message, { hook = name, cause = errors.describe_trace(cause) })
  return err
end

--- Tells every listener. Their results are ignored; failures are logged and the first one is
--- returned, for callers to whom it matters. An interruption is raised when the others were told.
---@param name string
---@return ringlink.Error? first_failure
function Hooks:tell(name, ...)
  local args = { n = select("#", ...), ... }
  local first, interruption
  for _, entry in ipairs(self.listeners[name] or {}) do
    local ok, cause = call(entry, args)
    if not ok and errors.is_interruption(cause) then
      interruption = cause
    elseif not ok then
      local err = told_failure(self, name, cause)
      first = first or err
    end
  end
  if interruption then error(interruption, 0) end
  return first
end

local function not_answered(name, cause)
  if errors.is_interruption(cause) then error(cause, 0) end
  return nil, hook_failed(name, cause)
end

local function ask_one(entry, name, objection, args)
  local ok, answer, reason = call(entry, args)
  if not ok then return not_answered(name, answer) end
  if answer == false or (answer == nil and reason ~= nil) then
    return errors.fail(objection, {
      stage = name, cause = reason, detail = errors.describe(reason or "no reason given"),
      cure = SPENT[name],
    })
  end
  return true
end

--- Asks one function as if it were the only listener.
---@param fn function
---@param name string
---@param objection string as of `ask`
---@return boolean? agreed
---@return ringlink.Error? err
function M.ask_function(fn, name, objection, ...)
  return ask_one({ fn = fn }, name, objection, { n = select("#", ...), ... })
end

--- Asks every listener in order until one objects: by `false, reason` or `nil, err` with something
--- said. A listener that returns nothing agrees.
---@param name string
---@param objection string the error code of an objection
---@return boolean? agreed
---@return ringlink.Error? err `objection`, or hook_failed when a listener raised
function Hooks:ask(name, objection, ...)
  local args = { n = select("#", ...), ... }
  for _, entry in ipairs(self.listeners[name] or {}) do
    local agreed, err = ask_one(entry, name, objection, args)
    if not agreed then return nil, err end
  end
  return true
end

--- The first listener's answer that is neither nil nor false.
---@param name string
---@return any
function Hooks:decide(name, ...)
  local args = { n = select("#", ...), ... }
  for _, entry in ipairs(self.listeners[name] or {}) do
    local ok, answer = call(entry, args)
    if not ok then return not_answered(name, answer) end
    if answer then return answer end
  end
end

return M
