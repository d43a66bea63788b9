--- JSON, with lua-cjson's traps closed: bounded depth, no NaN or hexadecimal numbers, no buffer
-- that keeps a secret, no `null` sentinel that is true in conditions, and whole numbers that are
-- integers where Lua has them (cjson makes every number a float).

local cjson = require("cjson.safe").new()

local DEPTH_MAX = 64

cjson.decode_max_depth(DEPTH_MAX)
cjson.encode_max_depth(DEPTH_MAX)
cjson.decode_invalid_numbers(false)
cjson.encode_keep_buffer(false)

local M = {}

--- Stands for `null` inside arrays, where leaving it out would shift what follows.
M.null = cjson.null

local to_integer = rawget(math, "tointeger") or function(number) return number end

local function tidy(value)
  if type(value) == "number" then return to_integer(value) or value end
  if type(value) ~= "table" then return value end
  for key, item in pairs(value) do
    if item == M.null and type(key) == "string" then value[key] = nil else value[key] = tidy(item) end
  end
  return value
end

--- Decodes text. Members that are `null` are absent in the result.
---@param text any
---@return any value nil when the text is no JSON
---@return string? problem what is wrong, without a piece of the text
function M.decode(text)
  if type(text) ~= "string" then return nil, "no text" end
  local value, problem = cjson.decode(text)
  if value == nil then return nil, problem end
  if value == M.null then return nil, "null" end
  return tidy(value)
end

--- Decodes text that must be an object or an array.
---@param text any
---@return table? value
---@return string? problem
function M.decode_table(text)
  local value, problem = M.decode(text)
  if type(value) == "table" then return value end
  return nil, problem or "neither an object nor an array"
end

--- Encodes a value; an empty table becomes an object.
---@param value any
---@return string? text
---@return string? problem
function M.encode(value)
  return cjson.encode(value)
end

return M
