--- URLs, as little of them as ringlink needs: encoding, joining, comparing origins.

local M = {}

local function percent(char)
  return ("%%%02X"):format(char:byte())
end

--- Percent-encodes everything but RFC 3986's unreserved characters; fit for one path segment, a
--- query value or a form value.
---@param text string|number|boolean
---@return string
function M.encode(text)
  return (tostring(text):gsub("[^%w%-%._~]", percent))
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

--- Encodes a map as application/x-www-form-urlencoded, in the order of the names.
---@param map table<string, string|number|boolean>
---@return string
function M.form(map)
  local pairs_text = {}
  for _, key in ipairs(sorted_keys(map)) do
    pairs_text[#pairs_text + 1] = M.encode(key) .. "=" .. M.encode(map[key])
  end
  return table.concat(pairs_text, "&")
end

--- Adds a query to a path or URL.
---@param path string
---@param query table<string, string|number|boolean>?
---@return string
function M.with_query(path, query)
  if query == nil or next(query) == nil then return path end
  return path .. (path:find("?", 1, true) and "&" or "?") .. M.form(query)
end

--- Scheme, host and port of a URL, in lower case.
---@param url string
---@return string? origin
function M.origin(url)
  local origin = url:match("^%a[%w+.-]*://[^/?#]+")
  return origin and origin:lower()
end

return M
