--- URLs, as little of them as ringlink needs: encoding and decoding, joining, comparing origins, and which may be
-- used.

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

local function from_hex(digits)
  return string.char(tonumber(digits, 16))
end

--- Undoes percent-encoding; what is none stays as it is.
---@param text string
---@return string
function M.decode(text)
  return (text:gsub("%%(%x%x)", from_hex))
end

--- The same of a name or a value of a query or a form (application/x-www-form-urlencoded), where a plus is a space.
---@param text string
---@return string
function M.decode_field(text)
  return M.decode((text:gsub("+", " ")))
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

--- Joins the segments of a path, each encoded: what stands in one cannot begin another.
---@param segments (string|number)[]
---@return string? path
---@return string? problem
function M.path(segments)
  local list = {}
  for i = 1, #segments do
    local segment, kind = segments[i], type(segments[i])
    if kind ~= "string" and kind ~= "number" then return nil, ("segment %d of path must be text"):format(i) end
    segment = tostring(segment)
    if segment == "" or segment == "." or segment == ".." or segment:find("/", 1, true) then
      return nil, ('segment %d of path is empty, "." or "..", or has a slash'):format(i)
    end
    list[i] = M.encode(segment)
  end
  if #list == 0 then return nil, "path has no segments" end
  return "/" .. table.concat(list, "/")
end

--- Adds a query to a path or URL.
---@param path string
---@param query table<string, string|number|boolean>?
---@return string
function M.with_query(path, query)
  if query == nil or next(query) == nil then return path end
  return path .. (path:find("?", 1, true) and "&" or "?") .. M.form(query)
end

local DEFAULT_PORTS = { ["https://.*"] = ":443", ["http://.*"] = ":80" }

--- Scheme, host and port of a URL, in lower case; without a port that the scheme means anyway.
---@param url string
---@return string? origin
function M.origin(url)
  local origin = url:match("^%a[%w+.-]*://[^/?#]+")
  if not origin then return nil end
  origin = origin:lower()
  for scheme, port in pairs(DEFAULT_PORTS) do
    origin = origin:match("^(" .. scheme .. ")" .. port .. "$") or origin
  end
  return origin
end

local LOOPBACK = { ["127.0.0.1"] = true, ["localhost"] = true, ["[::1]"] = true }

--- Whether a URL is plain http to this machine. All that stands before its path is compared, so that neither a name
--- that only begins like this machine's nor a user before an `@` passes for it.
---@param url string
---@return boolean
function M.is_http_loopback(url)
  local place = url:lower():match("^http://([^/?#]+)")
  return place ~= nil and LOOPBACK[place:match("^(.+):%d+$") or place] == true
end

--- Whether what a URL carries is nobody else's to read: https, or, where that is allowed, http that does not leave
--- this machine.
---@param url string
---@param allow_http_loopback boolean
---@return boolean
function M.is_safe(url, allow_http_loopback)
  local origin = M.origin(url)
  return origin ~= nil and (origin:match("^https://") ~= nil or allow_http_loopback and M.is_http_loopback(url))
end

local function without_dots(path)
  local kept = {}
  for segment in path:gmatch("/([^/]*)") do
    if segment == ".." or segment == "." then
      if segment == ".." then kept[#kept] = nil end
      kept.open = true
    else
      kept[#kept + 1], kept.open = segment, false
    end
  end
  return "/" .. table.concat(kept, "/") .. (kept.open and #kept > 0 and "/" or "")
end

--- What a reference in the answer from a URL means (RFC 3986 section 5), without its fragment.
---@param base string an absolute URL
---@param reference string
---@return string url
function M.resolve(base, reference)
  local root, path, query = base:match("^(%a[%w+.-]*://[^/?#]*)([^?#]*)([^#]*)")
  reference = reference:gsub("#.*$", "")
  if reference:match("^%a[%w+.-]*:") then return reference end
  if reference:sub(1, 2) == "//" then return root:match("^[^/]*") .. reference end
  if reference == "" then return root .. path .. query end
  if reference:sub(1, 1) == "?" then return root .. path .. reference end
  local wanted, more = reference:match("^([^?]*)(.*)$")
  if wanted:sub(1, 1) ~= "/" then wanted = (path:match("^.*/") or "/") .. wanted end
  return root .. without_dots(wanted) .. more
end

return M
