--- The partner's hooks: who listens to what, in the order of registration.
--
-- Hooks run in the caller, never inside a critical section. A hook that raises is reported as
-- `hook_failed` and cannot lose a token or a state: everything was stored before it ran. An interruption
-- of the program is no failure of the hook it comes in, and goes on to the caller.

local errors = require "ringlink.errors"
local trace = require "ringlink.trace"

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
---@field told table<thread|string, integer> how often each coroutine has told a listener something
local Hooks = {}
Hooks.__index = Hooks

--- An empty register.
---@param log fun(level: string, message: string, fields: table?)
---@return ringlink.Hooks
function M.new(log)
  return setmetatable({ listeners = {}, log = log, told = setmetatable({}, { __mode = "k" }) }, Hooks)
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

local function traced(cause)
  if type(cause) ~= "string" or errors.is_interruption(cause) then return cause end
  return (trace.outside(cause, 2))
end

-- Whatever stops a link before the POST gives the claim back, and the nonce with it.
local SPENT = { before_confirm = "let the user tap Sign In again" }

--- The error of a hook, or of a flow's step, that made a mistake.
---@param name string
---@param cause any
---@param step string?
---@return ringlink.Error
function M.failed(name, cause, step)
  local spent, what = SPENT[name], step and "step" or "hook"
  return errors.new("hook_failed", { stage = name, step = step, detail = what .. " " .. (step or name),
    cause = cause, cure = spent and ("see the cause; fix the %s, then %s"):format(what, spent),
    retryable = not spent })
end

local function call(entry, args)
  return xpcall(entry.fn, traced, (table.unpack or unpack)(args, 1, args.n))
end

local function told_failure(self, name, cause)
  local err = M.failed(name, cause)
  self.log("error", err.message, { hook = name, cause = errors.describe_trace(cause) })
  return err
end

local function here()
  return coroutine.running() or "main"
end

local function count_told(self)
  local co = here()
  self.told[co] = (self.told[co] or 0) + 1
end

--- How often the caller's coroutine has told a listener something: whoever has done so in between cannot know
--- what the listener did.
---@return integer
function Hooks:told_here()
  return self.told[here()] or 0
end

--- Tells every listener. Their results are ignored; failures are logged and the first one is
--- returned, for callers to whom it matters. An interruption is raised when the others were told.
---@param name string
---@return ringlink.Error? first_failure
function Hooks:tell(name, ...)
  local args = { n = select("#", ...), ... }
  local first, interruption
  for _, entry in ipairs(self.listeners[name] or {}) do
    count_told(self)
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

local function not_answered(name, cause, step)
  if errors.is_interruption(cause) then error(cause, 0) end
  return nil, M.failed(name, cause, step)
end

local function objected(entry, name, objection, reason)
  local said = errors.describe(reason or "no reason given")
  return errors.fail(objection, { stage = name, step = entry.name, cause = reason,
    detail = entry.name and ("step %s: %s"):format(entry.name, said) or said, cure = SPENT[name] })
end

local function ask_one(entry, name, objection, args)
  local ok, answer, more = call(entry, args)
  if not ok then return not_answered(name, answer, entry.name) end
  if answer == false or (answer == nil and more ~= nil) then return objected(entry, name, objection, more) end
  return true, answer, more
end

--- Asks one function as if it were the only listener.
---@param fn function
---@param name string
---@param objection string as of `ask`
---@return boolean? agreed
---@return any answer or ringlink.Error
---@return any more the second value of the answer
function M.ask_function(fn, name, objection, ...)
  return ask_one({ fn = fn }, name, objection, { n = select("#", ...), ... })
end

--- The same of a flow's step, which the error names.
---@param step ringlink.Step
---@param name string of the hook that it stands beside
---@param objection string
---@return boolean? agreed
---@return any answer
---@return any more
function M.ask_step(step, name, objection, ...)
  return ask_one(step, name, objection, { n = select("#", ...), ... })
end

--- Asks every listener in order until one objects: by `false, reason` or `nil, err` with something
--- said. A listener that returns nothing agrees. One of `configure` may say "later": those after it are
--- asked when it does not say so any more.
---@param name string
---@param objection string the error code of an objection
---@return boolean? agreed
---@return any answer "later", or a ringlink.Error: `objection`, or hook_failed when a listener raised
---@return any more
function Hooks:ask(name, objection, ...)
  local args = { n = select("#", ...), ... }
  for _, entry in ipairs(self.listeners[name] or {}) do
    local agreed, answer, more = ask_one(entry, name, objection, args)
    if not agreed then return nil, answer end
    if answer == "later" and name == "configure" then return true, answer, more end
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
