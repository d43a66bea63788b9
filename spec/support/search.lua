--- Looks for a text anywhere inside a value: keys, values, what `tostring` and error objects show.

local sealed = require "ringlink.sealed"

local M = {}

local function shown(value, opened)
  if type(value) == "string" then return value end
  if type(value) == "userdata" then
    return opened and value.reveal and value:reveal() or tostring(value)
  end
  local mt = type(value) == "table" and getmetatable(value)
  return mt and mt.__tostring and tostring(value) or ""
end

local function find(value, text, opened, path, seen)
  if shown(value, opened):find(text, 1, true) then return path end
  if type(value) ~= "table" or seen[value] then return nil end
  seen[value] = true
  for key, item in pairs(value) do
    local found = find(key, text, opened, path .. "[key]", seen)
      or find(item, text, opened, path .. "." .. tostring(key), seen)
    if found then return found end
  end
end

--- Where a text is found, as a path of keys, or nil.
function M.find(value, text)
  return find(value, text, false, "value", {})
end

--- The same, with sealed secrets opened.
function M.find_opened(value, text)
  return find(value, text, true, "value", {})
end

--- Where a text lies in the rows of a client's store once their sealed fields are opened.
function M.find_sealed(client, text)
  local rows = client.store:find({})
  for _, entry in ipairs(rows) do
    for column, field in pairs(sealed.FIELDS) do
      entry.row[column] = client.vault:open(entry.key, field, entry.row[column])
    end
  end
  return M.find(rows, text)
end

return M
