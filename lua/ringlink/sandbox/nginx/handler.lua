--- What nginx calls for each request: the page, the control plane, or Ring itself.
--
-- Translates between ngx and plain tables, nothing else. The control plane and the page answer only
-- to the loopback's names in Host (against DNS rebinding); the control plane wants its token in a
-- header, which no foreign page can send without a CORS preflight that is never granted.
-- luacheck: globals ngx

local connection = require "ringlink.sandbox.nginx.connection"
local control = require "ringlink.sandbox.control"
local delivery = require "ringlink.sandbox.nginx.delivery"
local host = require "ringlink.sandbox.nginx.host"
local json = require "ringlink.sandbox.rules.json"
local page = require "ringlink.sandbox.page"
local text = require "ringlink.sandbox.rules.text"

local handler = {}

local PAD_BYTES = 65536
local HEADERS_MAX = 100

local function read_body()
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  if body or not ngx.req.get_body_file() then return body or "" end
  local file = io.open(ngx.req.get_body_file(), "rb")
  body = file and file:read("*a") or ""
  if file then file:close() end
  return body
end

local function read_request()
  local headers = {}
  for name, value in pairs(ngx.req.get_headers(HEADERS_MAX)) do
    headers[name] = type(value) == "table" and tostring(value[1]) or tostring(value)
  end
  return {
    method = ngx.req.get_method(), target = ngx.var.request_uri, headers = headers, body = read_body(),
    connection = tonumber(ngx.var.connection), http = ngx.req.http_version() == 2 and "2" or "1.1",
  }
end

local function write_head(answer)
  ngx.status = answer.status
  for name, value in pairs(answer.headers) do ngx.header[name] = value end
end

-- A body that breaks off: its length is promised, half of it comes, the connection ends.
local function write_cut(answer)
  write_head(answer)
  ngx.header["Content-Length"] = #answer.body
  ngx.print(answer.body:sub(1, math.floor(#answer.body / 2)))
  ngx.flush(true)
  connection.shut()
  return ngx.exit(ngx.ERROR)
end

local function write_padding(bytes)
  local chunk = (" "):rep(PAD_BYTES)
  while bytes > 0 do
    ngx.print(bytes >= PAD_BYTES and chunk or chunk:sub(1, bytes))
    if not ngx.flush(true) then return end
    bytes = bytes - PAD_BYTES
  end
end

local function write(answer)
  if answer.cut then return write_cut(answer) end
  write_head(answer)
  if not answer.pad_bytes then ngx.header["Content-Length"] = #answer.body end
  ngx.print(answer.body)
  if answer.pad_bytes then write_padding(answer.pad_bytes) end
end

local function write_json(status, value)
  write { status = status, body = json.encode(value), headers = {
    ["Content-Type"] = "application/json", ["Cache-Control"] = "no-store",
    ["X-Content-Type-Options"] = "nosniff",
  } }
end

local function local_name()
  local port = ":" .. ngx.var.server_port
  local name = ngx.var.http_host
  return name == "127.0.0.1" .. port or name == "localhost" .. port
end

local function control_arguments(request)
  if request.method == "GET" then
    local _, _, query = text.target(request.target)
    return (text.form(query))
  end
  if request.body == "" then return {} end
  return json.object(request.body)
end

--- The control plane under /_sandbox/.
function handler.control()
  if not local_name() then return write_json(403, { error = "this Host is not served here" }) end
  local request = read_request()
  if not control.may(host.settings.control_token, request.headers["x-sandbox-token"]) then
    return write_json(401, { error = "the header X-Sandbox-Token is missing or wrong" })
  end
  local arguments = control_arguments(request)
  if not arguments then return write_json(400, { error = "the body must be a JSON object" }) end
  local path = text.target(request.target)
  local name = path:match("^/_sandbox/([%w_]+)$") or "?"
  write_json(control.run(host.ring, host, request.method, name, arguments))
end

--- The page that plays the Ring user.
function handler.page()
  if not local_name() then return write_json(403, { error = "this Host is not served here" }) end
  write { status = 200, body = page.html, headers = page.headers }
end

--- Ring.
function handler.ring()
  local answer = host.ring:serve(read_request(), host)
  delivery.arm(host)
  if not answer then return connection.drop() end
  write(answer)
end

return handler
