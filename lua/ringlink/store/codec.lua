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

local function is_whole(number)
  if math_type then return math_type(number) == "integer" end
  return number % 1 == 0 and number >= -WHOLE_MAX and number <= WHOLE_MAX
    and not (number == 0 and 1 / number < 0)
end

local function length_4(n)
  return string.char(math.floor(n / 16777216) % 256, math.floor(n / 65536) % 256,
    math.floor(n / 256) % 256, n % 256)
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

local function field(name, value)
  if type(name) ~= "string" or #name > NAME_BYTES_MAX then
    return nil, "a field's name must be text of at most 255 bytes"
  end
  local writer = write[type(value)]
  if not writer then
    return nil, ("the field %s is a %s; text, numbers and booleans can be stored"):format(name, type(value))
  end
  local letter, text = writer(value)
  if #text > VALUE_BYTES_MAX then return nil, ("the field %s is too long"):format(name) end
  return table.concat({ letter, string.char(#name), name, length_4(#text), text })
end

--- A flat table as bytes.
---@param fields table<string, string|number|boolean>
---@param left_out table<string, any>? names that are keys of it are not written
---@return string? bytes
---@return string? problem names the field that cannot be stored
function M.encode(fields, left_out)
  local names, parts = {}, { VERSION }
  for name in pairs(fields) do
    if not (left_out and left_out[name]) then names[#names + 1] = name end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local part, problem = field(name, fields[name])
    if not part then return nil, problem end
    parts[#parts + 1] = part
  end
  return table.concat(parts)
end

local FLOATS = { nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge, ["-0"] = -0.0 }

local read = {}

function read.s(text) return text end

function read.b(text)
  if text == "1" then return true end
  if text == "0" then return false end
end

function read.i(text)
  return text:find("^%-?%d+$") and tonumber(text) or nil
end

function read.n(text)
  local number = FLOATS[text]
  if number then return number end
  number = text:find("^%-?%d[%d%.e+-]*$") and tonumber(text) or nil
  return number and number + 0.0
end

local function take(bytes, at, length)
  if length and at + length - 1 <= #bytes then return bytes:sub(at, at + length - 1), at + length end
end

local function take_name(bytes, at)
  local length = bytes:byte(at)
  return take(bytes, at + 1, length)
end

local function take_value(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  if not d then return nil end
  return take(bytes, at + 4, ((a * 256 + b) * 256 + c) * 256 + d)
end

--- The table that `encode` was given; nil for bytes it did not make.
---@param bytes string
---@return table<string, string|number|boolean>?
function M.decode(bytes)
  if bytes:sub(1, 1) ~= VERSION then return nil end
  local fields, at = {}, 2
  while at <= #bytes do
    local reader = read[bytes:sub(at, at)]
    local name, text, value
    if reader then name, at = take_name(bytes, at + 1) end
    if name then text, at = take_value(bytes, at) end
    if text then value = reader(text) end
    if value == nil then return nil end
    fields[name] = value
  end
  return fields
end

return M
