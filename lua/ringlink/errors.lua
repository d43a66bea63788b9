--- Error objects: one kind for everything that can go wrong while ringlink works.
--
-- Invariants: every `code` stands in the list of src/core/err.h; a message says what happened and
-- what to do; no secret ever gets into one (text from the wire passes `scrub`).

local core = require "ringlink.core"

local M = {}

---@class ringlink.Error
---@field code string        one of the names in `ringlink.errors.list`
---@field message string     what happened and what to do
---@field stage string?      which step: exchange, identify, confirm, settle, complete, refresh, ...
---@field step string?       which of a flow's steps
---@field flow string?       which flow this process does not have
---@field status integer?    HTTP status of Ring's answer
---@field title string?      Ring's own error title, or OAuth's `error`
---@field said string?       what Ring answered: HTTP status, title, detail
---@field ring_id string?    Ring's id of the error, to quote to its support
---@field retryable boolean  repeating the operation later can help
---@field ambiguous boolean? Ring may have done it although no answer came
---@field retry_after number? seconds Ring asked to wait
---@field total_bytes integer? how much there is, when a range was asked for behind its end
---@field attempts integer?  how often it was tried
---@field difference_ms integer? how far a link's `time` is from this machine's clock
---@field cause any          the error below this one
local Error = {}
Error.__index = Error
Error.__name = "ringlink.error"

--- Every code with its class, meaning, cause and cure, as published in the README.
---@type { code: string, class: string, meaning: string, cause: string, cure: string }[]
M.list = core.errors

local by_code = {}
for _, entry in ipairs(core.errors) do by_code[entry.code] = entry end

local SECRET_RUN = "[%w%-_%.~%+/=]+"
local SECRET_RUN_BYTES_MIN = 20
local UUID_BYTES = 36
local TEXT_BYTES_MAX = 200
local TRACE_BYTES_MAX = 2000

-- Long words are no secrets: plain ones, names like unsupported_grant_type, and the ids of errors.
local function is_word(run)
  return run:match("^%a+$") or run:match("^[%l_]+$")
    or (#run == UUID_BYTES and run:match("^%x+%-%x+%-%x+%-%x+%-%x+$"))
end

local function hide_long(run)
  if #run >= SECRET_RUN_BYTES_MIN and not is_word(run) then return "****" end
end

-- `path:line:` before a message, and the lines of a traceback.
local function is_place(text, run, after)
  return (run:find("/", 1, true) or run:find("%.lua$")) and text:find("^:%d+[:>]", after) ~= nil
end

local function show(text, hide, bytes_max)
  text = text:gsub("[%c\127]", " ")
  return hide(text):sub(1, bytes_max)             -- cut last: a cut secret would look short
end

local function hide_all(text)
  return (text:gsub(SECRET_RUN, hide_long))
end

local function hide_all_but_places(text)
  return (text:gsub("(" .. SECRET_RUN .. ")()", function(run, after)
    return is_place(text, run, after) and run or hide_long(run) or run
  end))
end

--- Makes text from the wire fit to be shown: printable, short, and without anything that is long
--- enough to be a token, code or nonce.
---@param text any
---@return string?
function M.scrub(text)
  if type(text) ~= "string" then return nil end
  return show(text, hide_all, TEXT_BYTES_MAX)
end

local function describe(value, bytes_max)
  local ok, text = pcall(tostring, value)
  return show(ok and text or type(value), hide_all_but_places, bytes_max)
end

--- Any value of this process, such as a hook's reason, as text fit to be shown: `scrub`, but where in
--- the program it comes from stays readable.
---@param value any
---@return string
function M.describe(value)
  return describe(value, TEXT_BYTES_MAX)
end

--- The same with room for a traceback.
---@param value any
---@return string
function M.describe_trace(value)
  return describe(value, TRACE_BYTES_MAX)
end

--- The first error in a body as Ring (JSON:API) or OAuth (RFC 6749) writes it; an empty table for
--- any other body.
---@param body any decoded JSON
---@return { title: any, detail: any, id: any }
function M.first(body)
  if type(body) ~= "table" then return {} end
  if type(body.errors) == "table" and type(body.errors[1]) == "table" then return body.errors[1] end
  return { title = body.error, detail = body.error_description }
end

--- An answer of Ring's in words: what an error's `said` is. The texts were scrubbed before.
---@param status integer
---@param title string?
---@param detail string?
---@return string
function M.said(status, title, detail)
  return ("HTTP %d%s%s"):format(status, title and ", " .. title or "", detail and ", " .. detail or "")
end

local function compose(entry, detail, cure)
  if detail then return ("%s (%s): %s"):format(entry.meaning, detail, cure or entry.cure) end
  return ("%s: %s"):format(entry.meaning, cure or entry.cure)
end

--- A new error object.
---@param code string one of the list
---@param fields table? any field of ringlink.Error; `detail` (else `said`) is put into the message,
--- `cure` in place of the list's
---@return ringlink.Error
function M.new(code, fields)
  local entry = assert(by_code[code], "unknown error code: " .. tostring(code))
  local err = setmetatable({}, Error)
  for name, value in pairs(fields or {}) do err[name] = value end
  err.code = code
  err.message = err.message or compose(entry, err.detail or err.said, err.cure)
  err.detail, err.cure = nil, nil
  if err.retryable == nil then err.retryable = entry.class == "retry" end
  return err
end

--- Like `new`, as the two values operations return.
---@param code string
---@param fields table?
---@return nil
---@return ringlink.Error
function M.fail(code, fields)
  return nil, M.new(code, fields)
end

--- Says what to do about Ring's answer where more is known than the list of errors says.
---@param err ringlink.Error
---@param cure string
---@return ringlink.Error
function M.advise(err, cure)
  err.message = compose(by_code[err.code], err.said, cure)
  return err
end

--- Calls a function and returns an error object that it raises as the second of two values; other
--- errors go on.
---@param fn function
---@return any
---@return ringlink.Error?
function M.catch(fn, ...)
  local function settle(ok, ...)
    if ok then return ... end
    if M.is((...)) then return nil, (...) end
    error((...), 0)
  end
  return settle(pcall(fn, ...))
end

--- Whether a value is one of these error objects.
---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Error
end

local OF_STORE = { store_error = true, store_busy = true, store_belongs_elsewhere = true,
  store_key = true, store_corrupt = true, no_memory = true, closed = true }

--- Whether a raised value is a failure of the store or its vault.
---@param value any
---@return boolean
function M.is_of_store(value)
  return M.is(value) and OF_STORE[value.code] == true
end

--- Whether a raised value is something that can happen to a right program, which the face returns.
---@param value any
---@return boolean
function M.is_returned(value)
  return M.is_of_store(value) or (M.is(value) and value.code == "runtime_not_started")
end

--- Whether a raised value says that one sealed field cannot be opened.
---@param value any
---@return boolean
function M.is_unreadable(value)
  return M.is(value) and (value.code == "store_key" or value.code == "store_corrupt")
end

--- Whether a raised value is the interruption by which the standalone interpreter ends a program, in
--- whatever runs.
---@param value any
---@return boolean
function M.is_interruption(value)
  return type(value) == "string" and value:find("interrupted!$") ~= nil
end

local LIBRARY = debug.getinfo(1, "S").source:match("^(.*[/\\])errors%.lua$")

local function is_ours(info)
  return info.what == "C" or (LIBRARY ~= nil and info.source:sub(1, #LIBRARY) == LIBRARY)
end

-- The level of whoever called the library, for `error` in this function's caller. Counting by hand
-- would go wrong with every call in between that is a tail call.
local function level_outside()
  local level = 3
  local info = debug.getinfo(level, "S")
  while info and is_ours(info) do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  return info and level - 1 or 0
end

--- Raises a mistake of the calling program, at the line that made it.
---@param message string
function M.misuse(message)
  error("ringlink: " .. message, level_outside())
end

local raises_text = false

--- Whether users of the library see raised errors as text from now on, or as the objects: nginx writes
--- "unknown reason" into its log for a table that nobody caught.
---@param wanted boolean
function M.raise_text(wanted)
  raises_text = wanted
end

--- Raises an error object to whoever uses the library.
---@param err ringlink.Error
function M.raise_outside(err)
  error(raises_text and tostring(err) or err, 0)
end

--- Raises this error, for those who prefer exceptions; inside the library always the object.
function Error:raise()
  local caller = debug.getinfo(2, "S")
  if caller and is_ours(caller) then error(self, 0) end
  M.raise_outside(self)
end

-- What the cures speak of by its name.
local function named(err)
  local parts = {}
  if err.ring_id then parts[#parts + 1] = "ring_id " .. err.ring_id end
  if err.retry_after then parts[#parts + 1] = ("retry_after %g s"):format(err.retry_after) end
  return #parts > 0 and " [" .. table.concat(parts, ", ") .. "]" or ""
end

function Error:__tostring()
  local where = self.stage and (" while " .. self.stage) or ""
  return ("%s%s: %s%s"):format(self.code, where, self.message, named(self))
end

function Error.__concat(a, b)
  return tostring(a) .. tostring(b)
end

return M
