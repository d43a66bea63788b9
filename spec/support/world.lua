--- What network specs share: a strict Ring, clients that talk to it, and short ways through a link.
--
--   local world = require "support.world"
--   local w
--   setup(function() w = world.start() end)
--   teardown(function() w:stop() end)
--   before_each(function() w:reset() end)

local ringlink = require "ringlink"
local clocks = require "support.clock"
local sandbox = require "ringlink.sandbox"

local World = {}
World.__index = World

local M = {
  client_id = "app-under-test",
  client_secret = "planted-client-secret-3f9c1b7e5d",
  hmac_key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
}

--- Starts a sandbox; `options` go to sandbox.start.
function M.start(options)
  local settings = { client_id = M.client_id, client_secret = M.client_secret, hmac_key = M.hmac_key, tls = true }
  for name, value in pairs(options or {}) do settings[name] = value end
  return setmetatable({ ring = assert(sandbox.start(settings)), clients = {}, log = {} }, World)
end

--- A client of this sandbox; its log lines are kept in `w.log`.
function World:client(options)
  local settings = {
    client_id = M.client_id, client_secret = M.client_secret, hmac_key = M.hmac_key, store = "memory",
    api_url = self.ring.api_url, oauth_url = self.ring.oauth_url, ca_file = self.ring.ca_file,
    log = function(level, message, fields)
      self.log[#self.log + 1] = { level = level, message = message, fields = fields }
    end,
  }
  for name, value in pairs(options or {}) do settings[name] = value end
  local client = ringlink.new(settings)
  self.clients[#self.clients + 1] = client
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

--- A user installs the app; the code is handed to us instead of being delivered.
function World:install(options)
  local settings = { deliver = false }
  for name, value in pairs(options or {}) do settings[name] = value end
  return assert(self.ring:control("install", settings))
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
  return answer
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

--- Forgets everything at the sandbox and closes this test's clients.
function World:reset()
  for _, client in ipairs(self.clients) do client:close() end
  self.clients, self.log = {}, {}
  assert(self.ring:control("reset", {}))
end

--- Ends it all.
function World:stop()
  for _, client in ipairs(self.clients) do client:close() end
  self.ring:stop()
end

return M
