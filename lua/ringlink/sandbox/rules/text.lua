--- The small text forms of HTTP: percent-encoding, forms, paths, dates, fingerprints.
--
-- Pure. Times are epoch milliseconds and come in as arguments. Never raises on wire input.

local core = require "ringlink.core"
local url = require "ringlink.url"

local text = {}

local FINGERPRINT_DIGITS = 12

-- Not the client's `url.encode`: each side's encoder is tried by what the other one reads, and a mistake in one that
-- both had would show nowhere.
---@param raw string
---@return string encoded everything but RFC 3986's unreserved characters is escaped
function text.percent_encode(raw)
  return (raw:gsub("[^%w%-%._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- Reads a form or a query.
---@param encoded string|nil
---@return table fields name to value, the first of each
---@return string|nil repeated the name of a field that came twice
function text.form(encoded)
  local fields, repeated = {}, nil
  for pair in (encoded or ""):gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    name = url.decode_field(name)
    if fields[name] ~= nil then repeated = name end
    fields[name] = fields[name] or url.decode_field(value)
  end
  return fields, repeated
end

--- Writes a form or a query with its fields in sorted order.
---@param fields table
---@return string
function text.to_form(fields)
  local parts = {}
  for name, value in pairs(fields) do
    parts[#parts + 1] = text.percent_encode(name) .. "=" .. text.percent_encode(tostring(value))
  end
  table.sort(parts)
  return table.concat(parts, "&")
end

--- Splits a raw request target; segments are decoded only after splitting, so that an id may
--- hold an encoded slash.
---@param target string
---@return string path as it was sent
---@return string[] segments decoded
---@return string query raw
function text.target(target)
  local path, query = target:match("^([^?]*)%??(.*)$")
  local segments = {}
  for segment in path:gmatch("/([^/]*)") do segments[#segments + 1] = url.decode(segment) end
  return path, segments, query
end

--- Appends query fields to a URL that may have a query already.
---@param address string
---@param fields table
---@return string
function text.with_query(address, fields)
  return address .. (address:find("?", 1, true) and "&" or "?") .. text.to_form(fields)
end

---@param header string|nil a Content-Type header
---@return string media type in lower case, without parameters
function text.media_type(header)
  return ((header or ""):match("^%s*([^;]*)"):gsub("%s+$", "")):lower()
end

---@param secret string
---@return string fingerprint short and one-way: equal secrets have equal ones
function text.fingerprint(secret)
  return core.hex(core.sha256(secret)):sub(1, FINGERPRINT_DIGITS)
end

---@param now_ms number
---@return string IMF-fixdate of RFC 9110; the C locale's names, whatever the process's locale
function text.http_date(now_ms)
  local t = os.date("!*t", math.floor(now_ms / 1000))
  local day = ("SunMonTueWedThuFriSat"):sub(t.wday * 3 - 2, t.wday * 3)
  local month = ("JanFebMarAprMayJunJulAugSepOctNovDec"):sub(t.month * 3 - 2, t.month * 3)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(day, t.day, month, t.year, t.hour, t.min, t.sec)
end

---@param now_ms number
---@return string ISO 8601 with seconds
function text.iso(now_ms)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(now_ms / 1000))
end

--- ISO 8601 with nanoseconds, as `meta.time` of webhooks has it.
---@param now_ms number
---@param below_ms integer nanoseconds below the millisecond, 0 to 999999
---@return string
function text.iso_nanoseconds(now_ms, below_ms)
  local fraction = ("%03d%06d"):format(math.floor(now_ms) % 1000, below_ms)
  return (text.iso(now_ms):gsub("Z$", "." .. fraction .. "Z"))
end

return text
