--- Starts and stops strict Rings on this machine.
--
--   local sandbox = require "ringlink.sandbox"
--   local sb = assert(sandbox.start { tls = true, webhook_url = "http://127.0.0.1:8080/webhook" })
--   local install = assert(sb:control("install", { deliver = false }))
--   sb:stop()
--
-- Each instance is one nginx process on 127.0.0.1 with a private directory (mktemp -d, 0700) that
-- holds its configuration, keys, pid and error log; stop() ends the process by its pid and removes
-- the directory. Collecting or closing the instance stops it too (Lua 5.4), unless `detached`. When the
-- starting process died without that: `sandbox.stop(prefix)`, or `kill $(cat PREFIX/nginx.pid)` and
-- `rm -r PREFIX`; the prefix is named ringlink-sandbox.XXXXXX in the directory for temporary files.
-- Runs on Lua 5.4 and LuaJIT, outside nginx, with io, os, lua-cjson and the commands nginx and openssl.

local certificates = require "ringlink.sandbox.certificates"
local cjson = require "cjson"
local client = require "ringlink.sandbox.client"
local config = require "ringlink.sandbox.config"
local core = require "ringlink.core"
local credentials = require "ringlink.sandbox.credentials"
local places = require "ringlink.sandbox.places"
local process = require "ringlink.sandbox.process"
local target = require "ringlink.sandbox.rules.target"

local sandbox = {}
local instance_methods = {}
local instance_mt = { __index = instance_methods }

local START_TRIES = 10
local STOP_TRIES = 100

local OPTIONS = {
  client_id = "string", client_secret = "string", hmac_key = "string", tls = "boolean", http2 = "boolean",
  port = "number", cert = "string", token_exchange_url = "string", account_link_url = "string",
  webhook_url = "string", redirect_uri = "string", limits = "table", prefix = "string", nginx = "string",
  modules = "string", luajit_cpath = "string", detached = "boolean",
}
local DELIVERY_URLS = { "token_exchange_url", "webhook_url", "account_link_url" }

local function check_types(options)
  for name, value in pairs(options) do
    local wanted = OPTIONS[name]
    if not wanted then error("unknown option of sandbox.start: " .. tostring(name), 3) end
    if type(value) ~= wanted then error(("option %s must be a %s"):format(name, wanted), 3) end
  end
  if options.cert and not certificates.known(options.cert) then
    error("option cert must be ok, wrong_name, expired or untrusted", 3)
  end
end

local function check_urls(options)
  for _, name in ipairs(DELIVERY_URLS) do
    local url = options[name]
    local place, problem = target.parse(url or "http://127.0.0.1/")
    if not place then return nil, name .. ": " .. problem end
  end
  return true
end

-- Everything that does not depend on the port.
local function find_places(options)
  local self = { lua_root = places.lua_root(), tls = options.tls or false }
  local problem
  self.http2 = options.http2 ~= false
  self.nginx, problem = places.nginx(options.nginx)
  if not self.nginx then return nil, problem end
  self.modules, problem = places.modules(self.nginx, options.modules)
  if not self.modules then return nil, problem end
  self.lua_cpath, problem = places.luajit_cpath(options.luajit_cpath, self.lua_root)
  if not self.lua_cpath then return nil, problem end
  return self
end

local function make_prefix(wanted)
  if wanted then
    local ok, problem = process.run("mkdir -m 0700 " .. process.quote(wanted))
    if not ok then return nil, problem end
    local _, absolute = process.run("cd " .. process.quote(wanted) .. " && pwd -P")
    return absolute
  end
  local base = os.getenv("TMPDIR") or "/tmp"
  local ok, path = process.run(process.line("mktemp", "-d", base .. "/ringlink-sandbox.XXXXXX"))
  if not ok then return nil, path end
  return path
end

local function settings(self, options)
  local per_s = options.limits and options.limits.per_s
  return {
    client_id = self.client_id, client_secret = self.client_secret, hmac_key = self.hmac_key,
    control_token = self.token, per_s = per_s, token_exchange_url = options.token_exchange_url,
    account_link_url = options.account_link_url, webhook_url = options.webhook_url,
    redirect_uri = options.redirect_uri,
    media_url = (self.tls and "https" or "http") .. "://localhost:" .. self.port,
  }
end

local function choose_ports(self, wanted)
  local scheme = self.tls and "https" or "http"
  self.port = wanted or places.free_port()
  self.control_port = self.port
  while self.tls and self.control_port == self.port do self.control_port = places.free_port() end
  self.api_url = ("%s://127.0.0.1:%d"):format(scheme, self.port)
  self.oauth_url, self.account_url = self.api_url, self.api_url
  self.control_url = ("http://127.0.0.1:%d"):format(self.control_port)
  self.page_url = self.control_url .. "/#" .. self.token
end

-- One try on one choice of ports; tells whether another choice could help.
local function try(self, options)
  choose_ports(self, options.port)
  process.write(self.prefix .. "/settings.json", cjson.encode(settings(self, options)))
  process.write(self.prefix .. "/nginx.conf", config.render(self))
  if process.start_nginx(self.nginx, self.prefix) then
    self.pid = process.nginx_pid(self.prefix)
    return self.pid ~= nil, "nginx wrote no pid", false
  end
  local log = process.read(self.prefix .. "/error.log") or ""
  local taken = log:find("Address already in use", 1, true) ~= nil
  return false, log:gsub("%s+$", ""), taken
end

local function start_nginx(self, options)
  local problem
  for _ = 1, options.port and 1 or START_TRIES do
    local ok, why, taken = try(self, options)
    if ok then return true end
    problem = why
    if not taken then break end
    os.remove(self.prefix .. "/error.log")
  end
  return nil, "nginx did not start: " .. tostring(problem)
end

local function prepare(self, options)
  process.run(process.line("mkdir", self.prefix .. "/tls"))
  if not self.tls then return true end
  local files, problem = certificates.make(self.prefix .. "/tls", options.cert or "ok")
  if not files then return nil, problem end
  self.ca_file = files.ca
  return true
end

local function remove(prefix)
  process.run(process.line("rm", "-rf", "--", prefix))
end

local function bring_up(self, options)
  local ok, problem = prepare(self, options)
  if not ok then return nil, problem end
  return start_nginx(self, options)
end

--- Starts an instance.
---@param options table|nil see README; unknown options and wrong types raise
---@return table|nil instance `{api_url, oauth_url, account_url, ca_file, control_url, page_url, token, prefix,
--- pid, port, client_id, client_secret, hmac_key}`
---@return string|nil problem
function sandbox.start(options)
  options = options or {}
  check_types(options)
  local ok, problem = check_urls(options)
  if not ok then return nil, problem end
  local self
  self, problem = find_places(options)
  if not self then return nil, problem end
  self.prefix, problem = make_prefix(options.prefix)
  if not self.prefix then return nil, problem end
  for name, value in pairs(credentials.choose(options)) do self[name] = value end
  self.token = core.hex(core.random(24))
  local finished, up, why = pcall(bring_up, self, options)
  if not (finished and up) then remove(self.prefix) end
  if not finished then error(up, 0) end          -- Ctrl-C, say: nothing is left behind
  if not up then return nil, why end
  self.detached = options.detached
  return setmetatable(self, instance_mt)
end

-- Whether a process is the nginx of this prefix: a pid may have been given to another since.
local function is_ours(pid, prefix)
  local command = process.read("/proc/" .. pid .. "/cmdline")
  if command == nil then return not process.exists("/proc/self/cmdline") end
  return command:find(prefix, 1, true) ~= nil
end

--- Stops the instance of a prefix, also one that another process started.
---@param prefix string
---@return true|nil ok, string|nil problem
function sandbox.stop(prefix)
  if not process.exists(prefix .. "/settings.json") then return nil, prefix .. " is no sandbox" end
  local pid = (process.read(prefix .. "/nginx.pid") or ""):match("^(%d+)\n")
  if pid and process.alive(pid) and is_ours(pid, prefix) and not process.stop(pid, STOP_TRIES) then
    return nil, "process " .. pid .. " does not end"
  end
  remove(prefix)
  return true
end

--- Calls a control operation, see control.lua.
---@param name string
---@param fields table|nil
---@return table|nil answer
---@return string|nil problem
function instance_methods:control(name, fields)
  return client.call(self, name, fields)
end

--- Ends the process and removes the directory; harmless when done twice.
---@return true|nil ok, string|nil problem
function instance_methods:stop()
  if self.stopped then return true end
  client.close(self)
  local ok, problem = sandbox.stop(self.prefix)
  self.stopped = ok
  return ok, problem
end

local function collect(self)
  if not self.detached then self:stop() end
end
instance_mt.__gc = collect
instance_mt.__close = collect

return sandbox
