--- Checks of whatever may come from the wire: codes, nonces, times, users, identifiers.
--
-- Each returns the value, or nil and an `invalid_request` that names the field and its right form.
-- Nothing here raises, and no message repeats the value.

local errors = require "ringlink.errors"

local M = {}

local CODE_BYTES_MAX = 2048
local TOKEN_BYTES_MAX = 16384
local USER_BYTES_MAX = 256
local IDENTIFIER_BYTES_MAX = 320       -- the longest e-mail address
local ACCOUNT_ID_BYTES_MAX = 512
local NONCE_BYTES = 43
local TIME_DIGITS_MAX = 20

local function invalid(field, form)
  return errors.fail("invalid_request", { detail = ("%s must be %s"):format(field, form) })
end

local function describe_type(field, value, form)
  if value == nil then return invalid(field, form .. "; it is missing") end
  return invalid(field, ("%s, not a %s"):format(form, type(value)))
end

local UTF8_LEAD = {}
local function utf8_range(first, last, more, low, high)
  for byte = first, last do UTF8_LEAD[byte] = { more = more, low = low, high = high } end
end
utf8_range(0xC2, 0xDF, 1, 0x80, 0xBF)
utf8_range(0xE0, 0xE0, 2, 0xA0, 0xBF)
utf8_range(0xE1, 0xEC, 2, 0x80, 0xBF)
utf8_range(0xED, 0xED, 2, 0x80, 0x9F)      -- no surrogates
utf8_range(0xEE, 0xEF, 2, 0x80, 0xBF)
utf8_range(0xF0, 0xF0, 3, 0x90, 0xBF)
utf8_range(0xF1, 0xF3, 3, 0x80, 0xBF)
utf8_range(0xF4, 0xF4, 3, 0x80, 0x8F)

local function sequence_end(text, at, lead)
  local second = text:byte(at + 1)
  if not second or second < lead.low or second > lead.high then return nil end
  for i = at + 2, at + lead.more do
    local byte = text:byte(i)
    if not byte or byte < 0x80 or byte > 0xBF then return nil end
  end
  return at + lead.more
end

--- Whether a text is well-formed UTF-8.
---@param text string
---@return boolean
function M.is_utf8(text)
  local at = text:find("[\128-\255]")
  while at do
    local lead = UTF8_LEAD[text:byte(at)]
    local last = lead and sequence_end(text, at, lead)
    if not last then return false end
    at = text:find("[\128-\255]", last + 1)
  end
  return true
end

local function text_of(field, value, bytes_max)
  local form = ("text of 1 to %d bytes"):format(bytes_max)
  if type(value) ~= "string" then return describe_type(field, value, form) end
  if #value == 0 or #value > bytes_max then
    return invalid(field, ("%s; it has %d"):format(form, #value))
  end
  if value:find("[%z\1-\31\127]") then return invalid(field, form .. " without control characters") end
  if not M.is_utf8(value) then return invalid(field, form .. ", well-formed UTF-8") end
  return value
end

local function visible(field, value, bytes_max)
  local text, err = text_of(field, value, bytes_max)
  if not text then return nil, err end
  if text:find("[^\33-\126]") then return invalid(field, "printable ASCII without spaces") end
  return text
end

--- An authorization code, or what goes with it: RFC 6749's VSCHAR, bounded.
---@param value any
---@param field string? its name, when it is not the code
---@return string? code
---@return ringlink.Error?
function M.code(value, field)
  return visible(field or "code", value, CODE_BYTES_MAX)
end

--- A refresh token: the same form, but longer.
---@param value any
---@return string? token
---@return ringlink.Error?
function M.refresh_token(value)
  return visible("refresh_token", value, TOKEN_BYTES_MAX)
end

--- A redirect's nonce: base64url of 32 bytes, without padding.
---@param value any
---@return string? nonce
---@return ringlink.Error?
function M.nonce(value)
  local form = ("%d characters of A-Z a-z 0-9 - _"):format(NONCE_BYTES)
  if type(value) ~= "string" then return describe_type("nonce", value, form) end
  if #value ~= NONCE_BYTES or value:find("[^%w%-_]") then return invalid("nonce", form) end
  return value
end

--- A redirect's time: epoch milliseconds as text, kept as it was received.
---@param value any
---@return string? time
---@return ringlink.Error?
function M.time(value)
  local form = ("text of 1 to %d digits, as received"):format(TIME_DIGITS_MAX)
  if type(value) ~= "string" then return describe_type("time", value, form) end
  if #value == 0 or #value > TIME_DIGITS_MAX or value:find("[^0-9]") then
    return invalid("time", form)
  end
  return value
end

--- The partner's own user id.
---@param value any
---@return string? user
---@return ringlink.Error?
function M.user(value)
  return text_of("user", value, USER_BYTES_MAX)
end

--- An account identifier to be shown to the Ring user; nil is allowed.
---@param value any
---@return string? identifier
---@return ringlink.Error?
function M.identifier(value)
  if value == nil then return nil end
  return text_of("account_identifier", value, IDENTIFIER_BYTES_MAX)
end

--- An Account ID: opaque.
---@param value any
---@return string? id
---@return ringlink.Error?
function M.account_id(value)
  return text_of("account id", value, ACCOUNT_ID_BYTES_MAX)
end

--- A status for the PATCH; nil is allowed.
---@param value any
---@return string? status
---@return ringlink.Error?
function M.status(value)
  if value == nil or value == "completed" or value == "awaiting" then return value end
  return invalid("status", '"completed" or "awaiting"')
end

--- A table of named arguments that has no other names than these.
---@param call string the function's name, for the message
---@param value any
---@param known string[]
---@return table? arguments
---@return ringlink.Error?
function M.arguments(call, value, known)
  if type(value) ~= "table" then
    return describe_type(call .. "'s argument", value, "a table of named values")
  end
  local allowed = {}
  for _, name in ipairs(known) do allowed[name] = true end
  for name in pairs(value) do
    if not allowed[name] then
      errors.misuse(("%s: unknown argument %q; known are %s"):format(call, tostring(name),
        table.concat(known, ", ")))
    end
  end
  return value
end

--- Like `arguments` for options that a program writes itself: nil is none, and a wrong type is as
--- much its mistake as an unknown name.
---@param call string
---@param value any
---@param known string[]
---@return table options
function M.options(call, value, known)
  if value == nil then return {} end
  if type(value) ~= "table" then
    errors.misuse(("%s: the options must be a table, not a %s"):format(call, type(value)))
  end
  return M.arguments(call, value, known)
end

return M
