--- A small HTTP client on nginx's cosockets, for deliveries to the partner on this machine.
--
-- One request a connection, one time-out for the whole exchange. Loopback only (rules/target.lua).
-- A partner's certificate is not verified: it is this machine's own, usually self-signed. Reads the
-- answer's head and then lets the body come in, up to a bound, so that the partner is not cut off.
-- Never retries: what an answer means is outbox.lua's business.
-- luacheck: globals ngx

local target = require "ringlink.sandbox.rules.target"

local http = {}

local BODY_BYTES_MAX = 1024 * 1024
local HEADER_COUNT_MAX = 100

local function connect(place, timeout_ms)
  local socket = ngx.socket.tcp()
  socket:settimeouts(timeout_ms, timeout_ms, timeout_ms)
  local ok, problem = socket:connect(place.address, place.port)
  if ok and place.scheme == "https" then ok, problem = socket:sslhandshake(nil, place.host, false) end
  if not ok then return nil, problem end
  return socket
end

local function head(request, place)
  local lines = {
    ("%s %s HTTP/1.1"):format(request.method, place.path), "Host: " .. place.authority,
    "Connection: close", "User-Agent: ringlink-sandbox", "Accept: */*",
  }
  for name, value in pairs(request.headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  if request.body then lines[#lines + 1] = "Content-Length: " .. #request.body end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function read_headers(socket)
  local headers = {}
  for _ = 1, HEADER_COUNT_MAX do
    local line, problem = socket:receive("*l")
    if not line then return nil, problem end
    if line == "" then return headers end
    local name, value = line:match("^([^:%s]+):%s*(.-)%s*$")
    if name then headers[name:lower()] = value end
  end
  return nil, "too many headers"
end

-- 1xx answers are passed over.
local function read_head(socket)
  for _ = 1, 4 do
    local line, problem = socket:receive("*l")
    if not line then return nil, problem end
    local status = tonumber(line:match("^HTTP/1%.[01] (%d%d%d)"))
    if not status then return nil, "not HTTP" end
    local headers
    headers, problem = read_headers(socket)
    if not headers then return nil, problem end
    if status >= 200 then return { status = status, headers = headers } end
  end
  return nil, "no final answer"
end

-- A partner that ignores `Connection: close` ends its answer by Content-Length alone.
local function drain(socket, length)
  local bytes, most = 0, math.min(tonumber(length) or BODY_BYTES_MAX, BODY_BYTES_MAX)
  while bytes < most do
    local chunk = socket:receiveany(65536)
    if not chunk then return end
    bytes = bytes + #chunk
  end
end

local function exchange(request, place, deadline)
  local left_ms = function() return math.max(1, (deadline - ngx.now()) * 1000) end
  local socket, problem = connect(place, left_ms())
  if not socket then return nil, problem end
  local answer = nil
  local sent
  socket:settimeout(left_ms())
  sent, problem = socket:send { head(request, place), request.body or "" }
  if sent then
    ngx.update_time()
    socket:settimeout(left_ms())
    answer, problem = read_head(socket)
  end
  if answer then drain(socket, answer.headers["content-length"]) end
  socket:close()
  return answer, problem
end

--- Sends a request.
---@param request table `{method, url, headers, body, timeout_ms}`
---@return table|nil answer `{status, headers}`
---@return string|nil problem "timeout", "connection refused", ...
function http.send(request)
  local place, problem = target.parse(request.url)
  if not place then return nil, problem end
  ngx.update_time()
  return exchange(request, place, ngx.now() + request.timeout_ms / 1000)
end

return http
