--- Flat tables as bytes, for the columns of a row that no query looks at.
--
-- A version byte, then for each field, in the order of their names: a letter for the type, the
-- name's length (1 byte), the name, the value's length (4 bytes, big-endian), the value. Strings are
-- any bytes. Whole numbers and others are told apart where Lua does; both are written as text, so
-- that every Lua reads what another wrote. The same table gives the same bytes.

local M = {}

local VERSION = "\1"
local NAME_BYTES_MAX = 255
local VALUE_BYTES_MAX = 2 ^ 32 - 1
local WHOLE_MAX = 2 ^ 53               -- beyond it a double skips whole numbers

local math_type = rawget(math, "type")
local pack, unpack = rawget(string, "pack"), rawget(string, "unpack")   -- not in LuaJIT

local function is_whole(number)
  if math_type then return math_type(number) == "integer" end
  return number % 1 == 0 and number >= -WHOLE_MAX and number <= WHOLE_MAX
    and not (number == 0 and 1 / number < 0)
end

local SPECIAL = { [math.huge] = "inf", [-math.huge] = "-inf" }

local function float_text(number)
  if number ~= number then return "nan" end
  if number == 0 and 1 / number < 0 then return "-0" end
  return SPECIAL[number] or ("%.17g"):format(number)
end

local write = {}

function write.string(value) return "s", value end
function write.boolean(value) return "b", value and "1" or "0" end

function write.number(value)
  if is_whole(value) then return "i", ("%d"):format(value) end
  return "n", float_text(value)
end

-- One field as bytes: letter, name, value, as the head of this file says; `unpack` gives them back, and
-- where the next one begins.
local FIELD = ">c1s1s4"
local TOO_SHORT = "data string too short"        -- what Lua says too

local function length_4(n)
  return string.char(math.floor(n / 16777216) % 256, math.floor(n / 65536) % 256,
    math.floor(n / 256) % 256, n % 256)
end

pack = pack or function(_, letter, name, text)
  return table.concat({ letter, string.char(#name), name, length_4(#text), text })
end

unpack = unpack or function(_, bytes, at)
  local _, name_bytes = bytes:byte(at, at + 1)
  local value_at = at + 6 + (name_bytes or 0)
  local a, b, c, d = bytes:byte(value_at - 4, value_at - 1)
  local last = d and value_at - 1 + ((a * 256 + b) * 256 + c) * 256 + d
  if not last or last > #bytes then error(TOO_SHORT) end
  return bytes:sub(at, at), bytes:sub(at + 2, value_at - 5), bytes:sub(value_at, last), last + 1
end

-- The names in their order; nil and what is wrong when one cannot be stored.
local function names_of(fields, left_out)
  local names, n = {}, 0
  for name in pairs(fields) do
    if type(name) ~= "string" or #name > NAME_BYTES_MAX then
      return nil, "a field's name must be text of at most 255 bytes"
    end
    if not (left_out and left_out[name]) then
      n = n + 1
      names[n] = name
    end
  end
  table.sort(names)
  return names
end

local function value_of(name, value)
  local writer = write[type(value)]
  if not writer then
    return nil, ("the field %s is a %s; text, numbers and booleans can be stored"):format(name, type(value))
  end
  local letter, text = writer(value)
  if #text > VALUE_BYTES_MAX then return nil, ("the field %s is too long"):format(name) end
  return letter, text
end

--- A flat table as bytes.
---@param fields table<string, string|number|boolean>
---@param left_out table<string, any>? names that are keys of it are not written
---@return string? bytes
---@return string? problem names the field that cannot be stored
function M.encode(fields, left_out)
  local names, problem = names_of(fields, left_out)
  if not names then return nil, problem end
  local parts = { VERSION }
  for i, name in ipairs(names) do
    local letter, text = value_of(name, fields[name])
    if not letter then return nil, text end
    parts[i + 1] = pack(FIELD, letter, name, text)
  end
  return table.concat(parts)
end

local FLOATS = { nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge, ["-0"] = -0.0 }

local function read_text(text) return text end

local function read_flag(text)
  if text == "1" then return true end
  if text == "0" then return false end
end

local function read_whole(text)
  return text:find("^%-?%d+$") and tonumber(text) or nil
end

local function read_float(text)
  local number = FLOATS[text]
  if number then return number end
  number = text:find("^%-?%d[%d%.e+-]*$") and tonumber(text) or nil
  return number and number + 0.0
end

local read = { s = read_text, b = read_flag, i = read_whole, n = read_float }

-- Raises TOO_SHORT when a field is cut.
local function read_fields(bytes)
  local fields, at = {}, 2
  while at <= #bytes do
    local letter, name, text, next_at = unpack(FIELD, bytes, at)
    local reader = read[letter]
    local value = reader and reader(text)
    if value == nil then return nil end
    fields[name], at = value, next_at
  end
  return fields
end

--- The table that `encode` was given; nil for bytes it did not make.
---@param bytes string
---@return table<string, string|number|boolean>?
function M.decode(bytes)
  if bytes:sub(1, 1) ~= VERSION then return nil end
  local ok, fields = pcall(read_fields, bytes)
  if ok then return fields end
  if not tostring(fields):find(TOO_SHORT, 1, true) then error(fields, 0) end
  return nil
end

return M
