--- What network specs share: a strict Ring, clients that talk to it, and short ways through a link.
--
--   local world = require "support.world"
--   local w
--   setup(function() w = world.start() end)
--   teardown(function() w:stop() end)
--   before_each(function() w:reset() end)
--
-- RINGLINK_SPEC_STORE=sqlite gives every client a file of its own, with sealed rows, instead of the store in
-- memory. What Ring hands out is noted as planted; files are searched for it while they are open, too.

local ringlink = require "ringlink"
local clocks = require "support.clock"
local leaks = require "support.leaks"
local planted = require "support.planted"
local sandbox = require "ringlink.sandbox"
local search = require "support.search"
local shell = require "support.shell"
local stores = require "support.stores"

local STORE = os.getenv("RINGLINK_SPEC_STORE") or "memory"
local DATABASES = os.getenv("RINGLINK_SPEC_DATABASES")     -- where those files lie, if not among the others

local World = {}
World.__index = World

local M = {
  client_id = "app-under-test",
  client_secret = planted.client_secret,
  hmac_key = planted.hmac_key,
}

--- Starts a sandbox; `options` go to sandbox.start.
function M.start(options)
  local settings = { client_id = M.client_id, client_secret = M.client_secret, hmac_key = M.hmac_key, tls = true }
  for name, value in pairs(options or {}) do settings[name] = value end
  return setmetatable({ ring = assert(sandbox.start(settings)), clients = {}, stores = {},
    directories = {}, log = {} }, World)
end

-- The options of a store that nobody else has.
local function own_store(self)
  if STORE == "memory" then return { store = "memory" } end
  assert(STORE == "sqlite", "RINGLINK_SPEC_STORE is memory or sqlite")
  local directory = shell.make_directory(DATABASES)
  self.directories[#self.directories + 1] = directory
  return { store = "sqlite:" .. directory .. "/ringlink.db", store_key = planted.store_key(1) }
end

--- A client of this sandbox; its log lines are kept in `w.log`.
function World:client(options)
  local settings = {
    client_id = M.client_id, client_secret = M.client_secret, hmac_key = M.hmac_key,
    api_url = self.ring.api_url, oauth_url = self.ring.oauth_url, ca_file = self.ring.ca_file,
    log = function(level, message, fields)
      self.log[#self.log + 1] = { level = level, message = message, fields = fields }
    end,
  }
  for name, value in pairs(options and options.store and {} or own_store(self)) do settings[name] = value end
  for name, value in pairs(options or {}) do settings[name] = value end
  local client = ringlink.new(settings)
  self.clients[#self.clients + 1] = client
  self.stores[client] = { store = settings.store, store_key = settings.store_key }
  return client
end

--- A client over another one's store, as another process of the same partner has it.
function World:client_beside(one, options)
  local settings = {}
  for name, value in pairs(self.stores[one]) do settings[name] = value end
  for name, value in pairs(options or {}) do settings[name] = value end
  local client = self:client(settings)
  if settings.store == "memory" then client.store, client.vault = one.store, one.vault end
  return client
end

--- A client on whose clock waiting costs nothing; the clock is the second value.
function World:quick_client(options)
  local clock = clocks.new()
  local settings = { clock = clock }
  for name, value in pairs(options or {}) do settings[name] = value end
  return self:client(settings), clock
end

--- Time passes, for a client of `quick_client` and for Ring alike.
function World:pass_time(clock, ms)
  clock.advance(ms)
  assert(self.ring:control("clock", { advance_ms = ms }))
end

--- Counts, from now on, the attempts a client makes at a stage.
function World.attempts(_, client, stage)
  local counted = { n = 0 }
  client:on("request", function(call)
    if call.stage == stage then counted.n = counted.n + 1 end
  end)
  return counted
end

--- Orders a fault (the sandbox's `faults`).
function World:fault(fault)
  return assert(self.ring:control("faults", fault))
end

-- A nonce has no mark by which a search could find it.
local function note_nonce(answer)
  if answer.nonce then planted.add("a nonce", answer.nonce) end
  return answer
end

--- A user installs the app; the code is handed to us instead of being delivered.
function World:install(options)
  local settings = { deliver = false }
  for name, value in pairs(options or {}) do settings[name] = value end
  return note_nonce(assert(self.ring:control("install", settings)))
end

--- An unclaimed account: install and exchange.
function World:unclaimed(client, options)
  local install = self:install(options)
  return assert(client:exchange(install.code)), install
end

--- What `client:link` needs for an install.
function World.redirect_of(install, user, more) -- luacheck: ignore 212
  local q = { nonce = install.nonce, time = install.time, user = user or "user-1",
    account_identifier = "user@partner.example.com" }
  for name, value in pairs(more or {}) do q[name] = value end
  return q
end

--- A completed link.
function World:linked(client, user, options)
  local _, install = self:unclaimed(client, options)
  return assert(client:link(self.redirect_of(install, user))), install
end

--- A fresh nonce for an account, as when the user taps Sign In again.
function World:sign_in_again(account_id, time_offset_ms)
  local answer = assert(self.ring:control("redirect", { account = account_id, time_offset_ms = time_offset_ms }))
  answer.account = account_id
  return note_nonce(answer)
end

--- The sandbox's journal, optionally of one call.
function World:journal(call)
  return assert(self.ring:control("requests", call and { call = call } or {}))
end

--- How many requests of one call reached the sandbox.
function World:count(call)
  return #self:journal(call)
end

--- Ring's status of an account's newest link, in its own words.
function World:status(account_id)
  for _, account in ipairs(self:state().accounts) do
    if account.id == account_id then return account.status end
  end
end

--- The sandbox's own view.
function World:state()
  return assert(self.ring:control("state"))
end

--- The leases that a client takes from now on and has not given back, as a set of their names; and the
--- names of all that it took.
function World.leases(_, client)
  local held, taken, store = {}, {}, client.store
  local lease, release = store.lease, store.release
  function store.lease(store_self, key, ...)
    local is_ours, remaining_ms = lease(store_self, key, ...)
    if is_ours then held[key], taken[#taken + 1] = true, key end
    return is_ours, remaining_ms
  end
  function store.release(store_self, key, ...)
    held[key] = nil
    return release(store_self, key, ...)
  end
  return held, taken
end

--- Where a text lies in a client's store, in the bytes of its files or, sealed, in a row; nil when
--- nowhere.
function World:stored(client, text)
  local path = self.stores[client].store:match("^sqlite:(.*)")
  if not path then return search.find_opened(client.store, text) end
  return search.find(stores.files_beside(path), text) or search.find_sealed(client, text)
end

local function close_clients(self)
  for _, directory in ipairs(self.directories) do leaks.shared():directory(directory) end
  for _, client in ipairs(self.clients) do client:close() end
  for _, directory in ipairs(self.directories) do shell.remove_directory(directory) end
  self.clients, self.stores, self.directories = {}, {}, {}
  planted.forget_added()
end

--- Forgets everything at the sandbox and closes this test's clients.
function World:reset()
  close_clients(self)
  self.log = {}
  assert(self.ring:control("reset", {}))
end

--- Ends it all.
function World:stop()
  close_clients(self)
  self.ring:stop()
end

return M
