--- What browsers and Ring send, read with care: forms, queries, cookies, paths to go to.
--
-- Pure, and raises for nothing that comes from the wire. A field or cookie that came twice is no
-- field: of two readers of one request each could take another one.

local url = require "ringlink.url"

local M = {}

local FIELDS_MAX = 32
local PATH_BYTES_MAX = 2048

local function keep(fields, seen, name, value)
  fields[name] = not seen[name] and value or nil
  seen[name] = true
end

--- Reads application/x-www-form-urlencoded, at most 32 fields of it.
---@param encoded string? a body or a query
---@return table<string, string> fields
function M.read(encoded)
  local fields, seen, count = {}, {}, 0
  for pair in (encoded or ""):gmatch("[^&]+") do
    count = count + 1
    if count > FIELDS_MAX then return {} end
    local name, value = pair:match("^([^=]*)=?(.*)$")
    keep(fields, seen, url.decode_field(name), url.decode_field(value))
  end
  return fields
end

--- Reads a Cookie header.
---@param header string?
---@return table<string, string> cookies
function M.cookies(header)
  local cookies, seen = {}, {}
  for name, value in (header or ""):gmatch("([^=;%s]+)=([^;]*)") do
    keep(cookies, seen, name, (value:gsub("%s+$", "")))
  end
  return cookies
end

--- A decoded path as it may stand in a header or an address: never two slashes first, which would
--- name another host.
---@param path string
---@return string
function M.encode_path(path)
  local encoded = path:gsub("[^%w%-%._~/!$'()*,;=:@]", function(char)
    return ("%%%02X"):format(char:byte())
  end)
  return "/" .. encoded:gsub("^/+", "")
end

--- Whether a text is a path on this very host, so that sending a browser there leads nowhere else.
---@param text any
---@return boolean
function M.is_local_path(text)
  return type(text) == "string" and #text <= PATH_BYTES_MAX and text:find("^/") ~= nil
    and not text:find("^//") and not text:find("[%c%s\\\127-\255]")
end

--- Whether a browser may be sent to an address: a path of this host, or a URL of one of the origins.
---@param text any
---@param origins string[]? like https://login.partner.example.com
---@return boolean
function M.may_go_to(text, origins)
  if M.is_local_path(text) then return true end
  if type(text) ~= "string" or #text > PATH_BYTES_MAX or text:find("[%c%s\\\127-\255]") then return false end
  local origin = text:match("^(https?://[^/?#@]+)")
  for _, allowed in ipairs(origins or {}) do
    if origin == allowed and text:sub(#origin + 1, #origin + 1):find("^[/?#]?$") then return true end
  end
  return false
end

return M
