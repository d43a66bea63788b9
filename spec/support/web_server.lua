--- nginx with a configuration of the test's own, under a temporary directory, on 127.0.0.1.

local shell = require("support.shell")

local TURNS_MAX = 500 -- of 10 ms, for nginx to be gone

local FRAME = [[
daemon on;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 1024; }
http {
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  log_format plain '$server_port $connection $request';
  access_log access.log plain;
  %s
}
]]

local WebServer = {}
WebServer.__index = WebServer

--- Starts nginx in `directory` with these blocks inside http { }. It listens when this returns.
local function start(directory, blocks)
  shell.write(directory .. "/nginx.conf", FRAME:format(blocks))
  shell.run("nginx -p " .. shell.quote(directory) .. " -c nginx.conf -e error.log")
  local pid = assert(shell.read(directory .. "/nginx.pid"):match("%d+"))
  return setmetatable({ directory = directory, pid = pid }, WebServer)
end

--- The requests so far, one line each: port, connection, request line.
function WebServer:journal()
  return shell.read(self.directory .. "/access.log")
end

--- Ends it and waits until it is gone.
function WebServer:stop()
  shell.run("kill -TERM " .. self.pid)
  local gone = "for i in $(seq " .. TURNS_MAX .. "); do kill -0 " .. self.pid .. " || exit 0; sleep 0.01; done; exit 1"
  assert(shell.succeeds(gone), "nginx does not end")
end

return { start = start }
