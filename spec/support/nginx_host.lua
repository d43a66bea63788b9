--- A real nginx, master and workers, with ringlink inside: what the specs in spec/nginx start.
--
--   local host = nginx_host.start { http = "...", server = "location /x { ... }", workers = 2 }
--   local answer = host:get("/x")            -- { status, headers, body } or { error }
--   host:stop()                              -- waits, and fails if the error log complains
--
-- It listens on a free port of 127.0.0.1, everything it writes lies in its own temporary directory,
-- and it is ended by its pid. What it says in its error log at the levels alert, crit and emerg, or
-- of an error without a reason, fails the test unless `host:expect` announced it.

local child = require "support.child"
local cjson = require "cjson"
local core = require "ringlink.core"
local places = require "ringlink.sandbox.places"
local planted = require "support.planted"
local process = require "ringlink.sandbox.process"
local shell = require "support.shell"

local M = { store_key = planted.store_key(1) }

local START_TRIES = 10
local COMPLAINTS = { "%[alert%]", "%[crit%]", "%[emerg%]", "unknown reason", "stack traceback", "semaphore gc" }

local FRAME = [[
%(modules)
%(user)
%(main)
worker_processes %(workers);
daemon %(daemon);
pid nginx.pid;
error_log error.log %(level);
events { worker_connections 2048; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path unused_proxy;
  fastcgi_temp_path unused_fastcgi;
  uwsgi_temp_path unused_uwsgi;
  scgi_temp_path unused_scgi;
  lua_package_path "%(lua_path);;";
  lua_package_cpath "%(lua_cpath);;";
  %(http)
  %(servers)
}
]]

local SERVER = [[
  server {
    listen 127.0.0.1:%d %s;
    %s
  }
]]

---@class support.NginxHost
local Host = {}
Host.__index = Host

local started = {}

local function root()
  local _, here = process.run("pwd -P")
  return here
end

local function load_lines(modules)
  local lines = {}
  for i, path in ipairs(modules) do lines[i] = "load_module " .. path .. ";" end
  return table.concat(lines, "\n")
end

--- A configuration in which ringlink and the specs' modules are found.
---@param nginx string the command
---@param options { main: string?, http: string?, servers: string?, workers: integer?, level: string?, daemon: string? }
---@return string
function M.configuration(nginx, options)
  local _, uid = process.run("id -u")
  local lua = places.lua_root()
  local values = {
    modules = load_lines(assert(places.modules(nginx))), user = uid == "0" and "user root;" or "",
    main = options.main or "", level = options.level or "warn", daemon = options.daemon or "on",
    workers = tostring(options.workers or 1), http = options.http or "", servers = options.servers or "",
    lua_path = ("%s/?.lua;%s/?/init.lua;%s/spec/?.lua"):format(lua, lua, root()),
    lua_cpath = assert(places.luajit_cpath(nil, lua)),
  }
  return (FRAME:gsub("%%%(([%w_]+)%)", values))
end

-- Another process may take the free port first: then another is tried.
local function launch(self, options)
  local problem
  for _ = 1, START_TRIES do
    self.port = places.free_port()
    options.servers = SERVER:format(self.port, options.listen or "", options.server or "")
    shell.write(self.prefix .. "/nginx.conf", M.configuration(self.nginx, options))
    local ok
    ok, problem = process.start_nginx(self.nginx, self.prefix)
    if ok then return end
    problem = problem .. (process.read(self.prefix .. "/error.log") or "")
    if not problem:find("Address already in use", 1, true) then break end
    os.remove(self.prefix .. "/error.log")
  end
  error("nginx did not start: " .. tostring(problem), 0)
end

--- Starts one; `files` are written into its directory first, tables as JSON.
---@param options { main: string?, http: string?, server: string?, workers: integer?, level: string?,
---  listen: string?, files: table? }
---@return support.NginxHost
function M.start(options)
  local self = setmetatable({ prefix = shell.make_directory(), expected = {}, arrived = {} }, Host)
  for name, content in pairs(options.files or {}) do
    shell.write(self.prefix .. "/" .. name, type(content) == "table" and cjson.encode(content) or content)
  end
  self.nginx = assert(places.nginx())
  launch(self, options)
  self.pid = assert(process.nginx_pid(self.prefix), "nginx wrote no pid")
  self.url = "http://127.0.0.1:" .. self.port
  self.transport = assert(core.transport({ allow_http_loopback = true, http_version = "1.1" }))
  started[#started + 1] = self
  return self
end

--- Stops whatever a failed test left running; its complaints are not looked at.
function M.stop_all()
  for _, host in ipairs(started) do
    if not host.gone then host:remove() end
  end
  started = {}
end

-- Requests --------------------------------------------------------------------------------------

--- Starts a request; more fields of it may be given.
function Host:send(path, more)
  local request = { method = "GET", url = self.url .. path, timeout_ms = 15000 }
  for name, value in pairs(more or {}) do request[name] = value end
  return assert(self.transport:start(request))
end

-- Takes in what has arrived.
local function collect(self)
  self.transport:poll(5)
  for ticket, result in self.transport.take, self.transport do
    local ok, value = pcall(cjson.decode, result.body or "")
    result.json = ok and value or nil
    self.arrived[ticket] = result
  end
end

--- Whether a request's answer has arrived.
function Host:has_arrived(ticket)
  collect(self)
  return self.arrived[ticket] ~= nil
end

--- Waits until `condition()` holds, while requests go out and answers come in.
function Host:wait_until(what, condition)
  return child.wait_until(what, function()
    collect(self)
    return condition()
  end)
end

--- Waits for a request's answer; a JSON body is decoded.
function Host:result(ticket)
  child.wait_until("an answer of nginx", function() return self:has_arrived(ticket) end)
  local result = self.arrived[ticket]
  self.arrived[ticket] = nil
  return result
end

--- One request and its answer.
function Host:get(path, more)
  return self:result(self:send(path, more))
end

--- Calls spec/nginx/app.lua; returns what it answers, as a table.
function Host:call(name, arguments)
  local answer = self:result(self:start(name, arguments))
  return assert(answer.json, answer.error or answer.body)
end

--- The same without waiting for the answer.
function Host:start(name, arguments)
  return self:send("/app/" .. name, { method = "POST", body = cjson.encode(arguments or {}) })
end

--- Gives a request up: nginx sees its client close the connection.
function Host:abort(ticket)
  assert(self.transport:cancel(ticket))
  self:result(ticket)
end

--- A client of a sandbox, for the file client.json of spec/nginx/app.lua, which has the store
--- ringlink.db in the directory `of`.
function M.client_options(ring, of, more)
  local options = { client_id = ring.client_id, client_secret = ring.client_secret, hmac_key = ring.hmac_key,
    api_url = ring.api_url, oauth_url = ring.oauth_url, ca_file = ring.ca_file,
    store = "sqlite:" .. of .. "/ringlink.db", store_key = M.store_key }
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end

-- Processes -------------------------------------------------------------------------------------

local function children_of(pid)
  local pids = {}
  local text = process.read(("/proc/%s/task/%s/children"):format(pid, pid)) or ""
  for one in text:gmatch("%d+") do
    if process.alive(one) then pids[#pids + 1] = one end
  end
  return pids
end

--- The pids of the workers, those that are shutting down too.
function Host:workers()
  return children_of(self.pid)
end

--- Sends the master, or another pid, a signal.
function Host:signal(name, pid)
  shell.run(("kill -%s %s"):format(name, pid or self.pid))
end

--- How many threads a process has.
function Host.threads(_, pid)
  return tonumber((process.read("/proc/" .. pid .. "/status") or ""):match("Threads:%s*(%d+)"))
end

--- How many files a process has open.
function Host.files(_, pid)
  return tonumber((shell.run("ls /proc/" .. pid .. "/fd | wc -l"):gsub("%s", "")))
end

-- The error log ---------------------------------------------------------------------------------

function Host:log()
  return process.read(self.prefix .. "/error.log") or ""
end

--- Lines with this pattern are no complaint.
function Host:expect(pattern)
  self.expected[#self.expected + 1] = pattern
end

local function matches(line, patterns)
  for _, pattern in ipairs(patterns) do
    if line:find(pattern) then return true end
  end
  return false
end

--- The lines of an error log that complain, but for those with one of these patterns.
---@param log string
---@param expected string[]?
---@return string[]
function M.complaints(log, expected)
  local lines = {}
  for line in log:gmatch("[^\n]+") do
    if matches(line, COMPLAINTS) and not matches(line, expected or {}) then lines[#lines + 1] = line end
  end
  return lines
end

--- Fails when the error log complains.
function Host:assert_quiet()
  local lines = M.complaints(self:log(), self.expected)
  assert(#lines == 0, "nginx complains: " .. table.concat(lines, "\n"))
end

-- The end ---------------------------------------------------------------------------------------

--- Waits until a process has ended.
function M.wait_gone(pid)
  child.wait_until("the end of process " .. pid, function() return not process.alive(pid) end)
end

--- Ends it and removes its directory, whatever it says.
function Host:remove()
  self.gone = true
  self.transport:close()
  for _, pid in ipairs({ self.pid, (unpack or table.unpack)(self:workers()) }) do
    if process.alive(pid) then process.run("kill -KILL " .. pid) end
  end
  shell.remove_directory(self.prefix)
end

--- Ends it by a signal, QUIT when none is named, and looks at what it said, which stays in `last_log`.
function Host:stop(signal)
  local pids = self:workers()
  self:signal(signal or "QUIT")
  M.wait_gone(self.pid)
  for _, pid in ipairs(pids) do M.wait_gone(pid) end
  local ok, problem = pcall(self.assert_quiet, self)
  self.last_log = self:log()
  self:remove()
  if not ok then error(problem, 0) end
end

return M
