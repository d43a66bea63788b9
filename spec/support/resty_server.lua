--- The example backend of ringlink.resty in a real nginx, over TLS, under a temporary directory.
--
--   local server = resty_server.start(w.ring, { workers = 2, setup = "clock = require('...')," })
--   server:stop()
--   local urls = resty_server.reserve()      -- where Ring will find it, before there is a Ring
--   local server = resty_server.start(sandbox.start(...), { at = urls })
--
-- It is lua/ringlink/resty/example/nginx.conf itself: only places, ports and Ring's addresses are
-- replaced, so what the specs prove holds for the example. `setup` is put into the options of setup,
-- `init` after it, `locations` into the public server, `main` and `http` where their names say.

local certificates = require "support.certificates"
local child = require "support.child"
local places = require "ringlink.sandbox.places"
local planted = require "support.planted"
local process = require "ringlink.sandbox.process"
local shell = require "support.shell"

local Server = {}
Server.__index = Server

local M = { password = "correct horse", store_key = planted.store_key(1) }

local USERS = 60

local START_TRIES, STOP_TRIES = 10, 200
local EXAMPLE = places.lua_root() .. "/ringlink/resty/example"

local function put(self, name, text)
  shell.write(self.directory .. "/" .. name, text)
  shell.run("chmod 600 " .. shell.quote(self.directory .. "/" .. name))
end

local function user_name(i)
  return ("user.%d@partner.example.com"):format(i)
end

local function many_users()
  local users = {}
  for i = 1, USERS do users[i] = user_name(i) end
  return users
end

-- The password reaches openssl by a file: a command line can be read by everybody.
local function password_file(self, users, password)
  put(self, "input", password .. "\n")
  local hash = shell.run("openssl passwd -6 -in " .. shell.quote(self.directory .. "/input")):gsub("%s+$", "")
  os.remove(self.directory .. "/input")
  return table.concat(users, ":" .. hash .. "\n") .. ":" .. hash .. "\n"
end

--- Somebody who can sign in and has never been here; the password is everybody's.
---@return string email
function Server:new_user()
  self.users_taken = self.users_taken + 1
  return user_name(self.users_taken)
end

local function write_files(self, ring, options)
  shell.run("mkdir " .. self.directory .. "/store " .. self.directory .. "/logs")
  for _, name in ipairs { "client_id", "client_secret", "hmac_key" } do put(self, name, ring[name]) end
  put(self, "exchange_secret", self.at.secret .. "\n")
  put(self, "store_key", options.store_key or M.store_key)
  put(self, "users", password_file(self, options.users or many_users(), options.password or M.password))
  shell.write(self.directory .. "/app.lua", shell.read(EXAMPLE .. "/app.lua"))
  local authority = certificates.new(self.directory, "authority")
  local signed = authority:sign("tls", "DNS:localhost,IP:127.0.0.1")
  self.ca_file = authority.file
  shell.run(("mv %s %s/tls.pem.new && mv %s/tls.pem.new %s/tls.pem"):format(signed.cert, self.directory,
    self.directory, self.directory))
end

local function literal(text, what, with)
  local from, to = text:find(what, 1, true)
  assert(from, "the example has no " .. what)
  return text:sub(1, from - 1) .. with .. text:sub(to + 1)
end

local function load_lines()
  local lines = {}
  for i, path in ipairs(assert(places.modules(assert(places.nginx())))) do lines[i] = "load_module " .. path .. ";" end
  return table.concat(lines, "\n")
end

-- Where Ring is, unless it is where the module finds it by itself.
local function client_options(self, ring, more)
  local ca_file = ring.ca_file and self.directory .. "/ring.pem"
  if ca_file then shell.write(ca_file, shell.read(ring.ca_file)) end        -- workers may be another user
  local function option(name, value) return value and ("%s = %q, "):format(name, value) or "" end
  return option("api_url", ring.api_url) .. option("oauth_url", ring.oauth_url) .. option("ca_file", ca_file) .. more
end

local function lua_paths()
  local root = places.lua_root()
  local spec = shell.run("cd spec && pwd -P"):gsub("%s+$", "")
  return ("%s/?.lua;%s/?/init.lua;%s/?.lua;;"):format(root, root, spec), assert(places.luajit_cpath(nil, root))
end

M.is_root = shell.succeeds("test $(id -u) -eq 0")

-- Workers are the same user as the master unless a test wants otherwise.
local function user_line(options)
  local user = options.user or M.is_root and "root" or nil
  return user and "user " .. user .. ";" or ""
end

local TEMPORARY = [[
client_body_temp_path body; proxy_temp_path unused_proxy; fastcgi_temp_path unused_fastcgi;
  uwsgi_temp_path unused_uwsgi; scgi_temp_path unused_scgi;
  ]]

local function render(self, ring, options)
  local path, cpath = lua_paths()
  local text = shell.read(EXAMPLE .. "/nginx.conf"):gsub("load_module [^\n]*\n", ""):gsub("\nuser [^\n]*", "")
  text = literal(text, "worker_processes auto;", ("%s\nworker_processes %d;\ndaemon on;\n%s"):format(
    user_line(options), options.workers or 1, options.main or ""))
  text = literal(text, "pid /run/nginx.pid;", "pid nginx.pid;")
  text = literal(text, "error_log /var/log/nginx/error.log warn;", "error_log logs/error.log notice;")
  text = literal(text, "/var/log/nginx/access.log", "logs/access.log")
  text = literal(text, "server_tokens off;", "server_tokens off;\n  " .. TEMPORARY .. (options.http or ""))
  text = literal(text, '"/etc/ringlink/?.lua;;"', ('"%s/?.lua;%s";\n  lua_package_cpath "%s;;"'):format(
    self.directory, path, cpath))
  text = literal(text, '.setup {', ".setup {\n      " .. client_options(self, ring, options.setup or ""))
  text = literal(text, '    require("app").read_users', (options.init or "") .. '\n    require("app").read_users')
  text = literal(text, "listen 443 ssl http2;", ("listen 127.0.0.1:%d ssl http2;\n%s"):format(self.at.port,
    options.locations or ""))
  text = literal(text, "127.0.0.1:9145", "127.0.0.1:" .. self.admin_port)
  text = text:gsub("/etc/ringlink", self.directory):gsub("/var/lib/ringlink", self.directory .. "/store")
  for _, change in ipairs(options.change or {}) do text = literal(text, change[1], change[2]) end
  return load_lines() .. "\n" .. text
end

local function launch(self, ring, options)
  local problem
  for try = 1, START_TRIES do
    if try > 1 and not options.at then self.at = M.reserve() end
    self.admin_port = places.free_port()
    shell.write(self.directory .. "/nginx.conf", render(self, ring, options))
    local ok, said = process.start_nginx(assert(places.nginx()), self.directory)
    problem = said .. (process.read(self.directory .. "/start.log") or "") .. self:log()
    if ok then
      self.pid = assert(process.nginx_pid(self.directory), "nginx wrote no pid")
      return
    end
    if not problem:find("Address already in use", 1, true) then break end
  end
  error(problem, 0)
end

--- Addresses on a free port, and the secret in one of them.
---@param secret string?
---@return table at port, secret, token_exchange_url, account_link_url, webhook_url
function M.reserve(secret)
  local port = places.free_port()
  secret = secret or planted.exchange_secret()
  local origin = "https://127.0.0.1:" .. port
  return { port = port, secret = secret, origin = origin, token_exchange_url = origin .. "/ring/token/" .. secret,
    account_link_url = origin .. "/ring/link", webhook_url = origin .. "/ring/webhook" }
end

--- Starts a backend for a sandbox. Raises what nginx complained of, with nothing left behind.
---@param ring table a sandbox, or its addresses and credentials
---@param options table? workers, user, setup, init, locations, main, http, change, at; users (a list),
--- password, store_key; directory, an empty one that is its maker's to remove when the start fails
function M.start(ring, options)
  options = options or {}
  local self = setmetatable({ directory = options.directory or shell.make_directory(),
    at = options.at or M.reserve(), users_taken = 0 }, Server)
  write_files(self, ring, options)
  if options.user then
    shell.run(("cd %s && chmod 711 . && chown %s store logs"):format(self.directory, options.user))
  end
  local ok, problem = pcall(launch, self, ring, options)
  if not ok then
    if not options.directory then shell.remove_directory(self.directory) end
    error(problem, 0)
  end
  self.origin, self.exchange_url = self.at.origin, self.at.token_exchange_url
  self.admin = "http://127.0.0.1:" .. self.admin_port
  return self
end

--- nginx's error log so far.
function Server:log()
  return process.read(self.directory .. "/logs/error.log") or ""
end

--- The access log so far.
function Server:access_log()
  return process.read(self.directory .. "/logs/access.log") or ""
end

--- Sends the master a signal.
function Server:signal(name)
  shell.run("kill -" .. name .. " " .. self.pid)
end

--- The pids of the workers that are not shutting down.
function Server:workers()
  local pids = {}
  local _, said = process.run(("grep -sl '^PPid:[[:space:]]*%s$' /proc/[0-9]*/status"):format(self.pid))
  for pid in said:gmatch("/proc/(%d+)/") do
    local args = process.read("/proc/" .. pid .. "/cmdline") or ""
    if args:find("worker process", 1, true) and not args:find("shutting down", 1, true) then pids[#pids + 1] = pid end
  end
  return pids
end

--- Ends it in good order, and starts it anew.
function Server:restart()
  local old = self.pid
  self:signal("QUIT")
  child.wait_until("nginx has ended", function() return not process.alive(old) end)
  local ok, said = process.start_nginx(assert(places.nginx()), self.directory)
  assert(ok, said)
  self.pid = assert(process.nginx_pid(self.directory), "nginx wrote no pid")
end

--- Ends it and removes the directory.
function Server:stop()
  assert(process.stop(self.pid, STOP_TRIES), "nginx does not end")
  shell.remove_directory(self.directory)
end

return M
