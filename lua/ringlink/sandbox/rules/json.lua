--- JSON for the sandbox: cjson reads, a small writer of our own writes.
--
-- lua-cjson writes an empty Lua table as `{}`; Ring's empty pages are `[]`. Keys are written in
-- sorted order, so that the same value is always the same text (a webhook's signature covers it).
-- Never: raises on input from the wire (`decode` returns nil).

local cjson = require "cjson.safe"

local json = { null = cjson.null }

local DEPTH_MAX = 32
local array_mt = {}
local decoder = cjson.new()
decoder.decode_max_depth(DEPTH_MAX)

--- Marks a table as an array, so that it stays one when it is empty.
---@param list table
---@return table list
function json.array(list)
  return setmetatable(list, array_mt)
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quote(text)
  local body = text:gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end)
  return '"' .. body .. '"'
end

local function number(value)
  if value ~= value or value == math.huge or value == -math.huge then return "null" end
  if value == math.floor(value) and math.abs(value) < 2 ^ 53 then return ("%d"):format(value) end
  return ("%.14g"):format(value)
end

local encode

local function encode_array(list)
  local parts = {}
  for i, value in ipairs(list) do parts[i] = encode(value) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function encode_object(object)
  local keys, parts = {}, {}
  for key in pairs(object) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for i, key in ipairs(keys) do parts[i] = quote(key) .. ":" .. encode(object[key]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local WRITERS = {
  string = quote,
  number = number,
  boolean = tostring,
  table = function(value)
    if getmetatable(value) == array_mt or #value > 0 then return encode_array(value) end
    return encode_object(value)
  end,
}

--- Writes a value as JSON text; whatever JSON has no form for (functions, null) becomes `null`.
---@param value any
---@return string
function json.encode(value)
  local writer = WRITERS[type(value)]
  return writer and writer(value) or "null"
end
encode = json.encode

--- Reads a JSON object.
---@param text string|nil
---@return table|nil object nil when the text is not a JSON object
function json.object(text)
  if type(text) ~= "string" then return nil end
  local value = decoder.decode(text)
  if type(value) ~= "table" or not text:find("^%s*{") then return nil end
  return value
end

return json
