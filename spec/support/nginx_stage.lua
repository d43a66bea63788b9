--- What the specs in spec/nginx share: a strict Ring, an nginx with spec/nginx/app.lua, one store.
--
--   local stage = nginx_stage.of_this_file()     -- inside describe: hooks of busted are set
--   local host = stage:start { workers = 2, client = { deadline_ms = 2000 } }
--   local account = stage:linked()
--
-- The store is a file, so that a client of the test's own (`stage:client()`) sees what nginx stored.

local busted = require "busted"
local nginx_host = require "support.nginx_host"
local ringlink = require "ringlink"
local shell = require "support.shell"
local world = require "support.world"

local M = {}

local Stage = {}
Stage.__index = Stage

local HTTP = [[
  init_by_lua_block { require("nginx.app").setup() }
]]
local SERVER = [[
  location /app/ {
    content_by_lua_block { require("nginx.app").serve() }
    log_by_lua_block { require("nginx.app").count() }
  }
]]

--- A stage whose Ring lives as long as the `describe` around, and whose nginx and store as long as
--- one test.
function M.of_this_file()
  local self = setmetatable({}, Stage)
  busted.setup(function() self.w = world.start { limits = { per_s = false } } end)
  busted.teardown(function() self.w:stop() end)
  busted.before_each(function()
    self.w:reset()
    self.directory = shell.make_directory()
    self.clients = {}
  end)
  busted.after_each(function()
    for _, client in ipairs(self.clients) do client:close() end
    nginx_host.stop_all()
    shell.remove_directory(self.directory)
  end)
  return self
end

--- Starts nginx; `client` are options of its client, `clock` says which clock that has (app.lua),
--- `http` and `server` are put before the app's.
function Stage:start(options)
  local settings = {}
  for name, value in pairs(options or {}) do settings[name] = value end
  local client = nginx_host.client_options(self.w.ring, self.directory, settings.client)
  settings.files = { ["client.json"] = { client = client, clock = settings.clock } }
  settings.http = (settings.http or "") .. HTTP
  settings.server = (settings.server or "") .. SERVER
  settings.client, settings.clock = nil, nil
  self.host = nginx_host.start(settings)
  return self.host
end

--- A client of this process at the same store.
function Stage:client()
  local client = ringlink.new(nginx_host.client_options(self.w.ring, self.directory))
  self.clients[#self.clients + 1] = client
  return client
end

--- An account that a worker linked.
function Stage:linked()
  local install = self.w:install()
  local account = self.host:call("exchange", { code = install.code }).account
  local link = self.host:call("link", { nonce = install.nonce, time = install.time })
  assert(link.status == "completed", link.message)
  return account
end

--- Waits until a call has reached Ring.
function Stage:wait_for_ring(call, count)
  self.host:wait_until("Ring has " .. call, function() return self.w:count(call) >= (count or 1) end)
end

return M
