--- Starts and stops the partner's backend: one nginx process with a private temporary directory.
--
-- The directory holds configuration, credentials, pid and error log; `stop` ends the process by its
-- pid, waits until it is gone, and removes the directory.

local core = require "ringlink.core"
local json = require "ringlink.json"
local http = require "demo.http"
local places = require "ringlink.sandbox.places"
local process = require "ringlink.sandbox.process"

local Partner = {}
Partner.__index = Partner

local START_TRIES, STOP_TRIES = 10, 100
local RANDOM_BYTES, PASSWORD_BYTES = 16, 6

local partner = {}

local function random_text(bytes) return core.hex(core.random(bytes)) end

local function spec_root()
  local here = debug.getinfo(1, "S").source:match("^@(.*)/demo/partner%.lua$") or "."
  local _, absolute = process.run("cd " .. process.quote(here) .. " && pwd -P")
  return absolute
end

local function load_lines(modules)
  local lines = {}
  for i, path in ipairs(modules) do lines[i] = "load_module " .. path .. ";" end
  return table.concat(lines, "\n")
end

local function find_values()
  local lua_root, root = places.lua_root(), spec_root()
  local nginx = assert(places.nginx())
  local _, starter = process.run("echo $PPID")
  return {
    nginx = nginx, modules = load_lines(assert(places.modules(nginx))), root = root, starter = starter,
    lua_path = table.concat({ lua_root .. "/?.lua", lua_root .. "/?/init.lua", root .. "/?.lua" }, ";"),
    lua_cpath = assert(places.luajit_cpath(nil, lua_root)),
  }
end

local function make_prefix()
  local base = os.getenv("TMPDIR") or "/tmp"
  local ok, path = process.run("umask 077 && " .. process.line("mktemp", "-d", base .. "/ringlink-demo.XXXXXX"))
  assert(ok, path)
  return path
end

local function launch(self, values)
  values.prefix, values.port = self.prefix, tostring(self.port)
  local template = assert(process.read(values.root .. "/demo/nginx.conf"))
  process.write(self.prefix .. "/nginx.conf", (template:gsub("%%%(([%w_]+)%)", values)))
  return process.start_nginx(values.nginx, self.prefix)
end

-- Another process may take the free port first: then another is tried.
local function start_nginx(self, values)
  local problem
  for _ = 1, START_TRIES do
    self.port = places.free_port()
    local ok, said = launch(self, values)
    if ok then
      self.pid = assert(process.nginx_pid(self.prefix), "nginx wrote no pid")
      return
    end
    problem = said
    if not said:find("Address already in use", 1, true) then break end
  end
  error("the partner's nginx did not start: " .. tostring(problem), 0)
end

local function addresses(self)
  self.origin = ("http://127.0.0.1:%d"):format(self.port)
  self.token_exchange_url = self.origin .. self.token_exchange_path
  self.account_link_url = self.origin .. "/ring/account-link"
  self.webhook_url = self.origin .. "/ring/webhook"
end

--- Starts the backend; it is usable once `open` was called. Raises, with nothing left behind.
---@return table partner `{origin, token_exchange_url, account_link_url, webhook_url, user}`
function partner.start()
  local values = find_values()
  local self = setmetatable({ prefix = make_prefix(), control_token = random_text(RANDOM_BYTES),
    token_exchange_path = "/ring/" .. random_text(RANDOM_BYTES) .. "/token-exchange" }, Partner)
  self.user = { id = "user-7", email = "demo.user@partner.example.com",
    password = random_text(PASSWORD_BYTES) }
  process.write(self.prefix .. "/settings.json", json.encode {
    control_token = self.control_token, token_exchange_path = self.token_exchange_path })
  local ok, problem = pcall(start_nginx, self, values)
  if not ok then
    self:stop()
    error(problem, 0)
  end
  addresses(self)
  self.http = http.open(self.origin)
  return self
end

--- Asks the backend for something, see control_routes.lua.
---@param operation string
---@param args table|nil
---@return table answer
function Partner:ask(operation, args)
  local body = assert(json.encode(args or {}))
  local answer = self.http:send("POST", "/demo/" .. operation, {
    headers = { "X-Demo-Token: " .. self.control_token, "Content-Type: application/json" }, body = body })
  if answer.status ~= 200 then
    error({ failure = ("the partner's backend answered %d to %s"):format(answer.status, operation) }, 0)
  end
  return assert(json.decode_table(answer.body))
end

--- Makes the backend's ringlink client.
---@param ring table `{client_id, client_secret, hmac_key, api_url, oauth_url, ca_file}`
function Partner:open(ring)
  for _, name in ipairs { "client_id", "client_secret", "hmac_key" } do
    assert(process.write(self.prefix .. "/" .. name, ring[name]))
  end
  self:ask("open", { prefix = self.prefix, user = self.user, api_url = ring.api_url, oauth_url = ring.oauth_url,
    ca_file = ring.ca_file })
end

--- The newest lines of nginx's error log.
---@param count integer
---@return string[]
function Partner:complaints(count)
  local lines = {}
  for line in (process.read(self.prefix .. "/error.log") or ""):gmatch("[^\n]+") do lines[#lines + 1] = line end
  while #lines > count do table.remove(lines, 1) end
  return lines
end

--- Ends the process and removes the directory.
---@return boolean gone
function Partner:stop()
  if self.http then self.http:close() end
  local gone = self.pid == nil or process.stop(self.pid, STOP_TRIES)
  if gone then process.run(process.line("rm", "-rf", "--", self.prefix)) end
  return gone
end

return partner
