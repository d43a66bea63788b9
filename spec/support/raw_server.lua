--- A server in the test's own process that answers byte for byte what a test says.
--
-- It moves only when `step` is called, so a test decides in which order things happen, and may look
-- at what has arrived at any moment. One handler coroutine a connection; a handler that raises ends
-- its connection, and `step` raises the error. Plain TCP on 127.0.0.1, any free port.

local cqueues = require("cqueues")
local socket = require("cqueues.socket")

local Server = {}
Server.__index = Server

local Connection = {}
Connection.__index = Connection

--- Reads one request: {line, method, path, headers = {name = value}, body}, or nil at the end.
function Connection:read()
  local line = self.socket:read("*l")
  if not line then return nil end
  line = line:gsub("\r$", "")
  local request = { line = line, headers = {}, connection = self.number }
  request.method, request.path = line:match("^(%S+) (%S+)")
  for header in self.socket:lines("*l") do
    header = header:gsub("\r$", "")
    if header == "" then break end
    local name, value = header:match("^([^:]+):%s*(.*)$")
    if name then request.headers[name:lower()] = value end
  end
  local length = tonumber(request.headers["content-length"] or 0)
  request.body = length > 0 and self.socket:read(length) or ""
  table.insert(self.server.requests, request)
  return request
end

--- Reads one line as it came, for what is no request.
function Connection:read_line()
  return self.socket:read("*L")
end

function Connection:write(bytes)
  self.socket:write(bytes)
  self.socket:flush()
end

--- Answers with a status, a body and header lines.
function Connection:answer(status, body, headers)
  local lines = { "HTTP/1.1 " .. status .. " Status", "Content-Length: " .. #body }
  for _, header in ipairs(headers or {}) do
    table.insert(lines, header)
  end
  self:write(table.concat(lines, "\r\n") .. "\r\n\r\n" .. body)
end

--- Waits until the peer has closed; the test sees it as `server.closed`.
function Connection:wait_closed()
  repeat
    local bytes = self.socket:read(-4096)
  until not bytes
end

function Connection:close()
  self.socket:close()
end

local function serve(server, number, con)
  con:setmode("bn", "bn")
  con:onerror(function(_, _, code)
    return code -- returned to the handler as nil, code; nothing raises
  end)
  local connection = setmetatable({ socket = con, server = server, number = number }, Connection)
  server.open = server.open + 1
  server.handler(connection)
  con:close()
  server.open = server.open - 1
  server.closed = server.closed + 1
end

local function accept_all(server)
  for con in server.listener:clients() do
    server.connections = server.connections + 1
    local number = server.connections
    server.queue:wrap(function()
      serve(server, number, con)
    end)
  end
end

--- Answers every request on every connection with `answer(connection, request, n)`.
local function each_request(answer)
  return function(connection)
    local n = 0
    for request in connection.read, connection do
      n = n + 1
      answer(connection, request, n)
    end
  end
end

--- Starts a server; `handler(connection)` serves one connection.
local function start(handler)
  local listener = assert(socket.listen({ host = "127.0.0.1", port = 0 }))
  assert(listener:listen())
  local _, _, port = listener:localname()
  local server = setmetatable({
    listener = listener,
    handler = handler,
    port = port,
    url = "http://127.0.0.1:" .. port,
    queue = cqueues.new(),
    requests = {},
    connections = 0,
    open = 0,
    closed = 0,
  }, Server)
  server.queue:wrap(accept_all, server)
  server:step()
  return server
end

--- Does what can be done without waiting.
function Server:step()
  assert(self.queue:step(0))
end

function Server:stop()
  self.listener:close()
  self.queue:close()
end

--- A port on which nobody listens (any more).
local function free_port()
  local listener = assert(socket.listen({ host = "127.0.0.1", port = 0 }))
  assert(listener:listen())
  local _, _, port = listener:localname()
  listener:close()
  return port
end

return { start = start, each_request = each_request, free_port = free_port }
