--- A strict Ring inside this process, for tests: no server, no sockets, no waiting.
--
--   local testing = require "ringlink.testing"
--   local ring = testing.new()
--   local client = ring:client()
--   local visit = ring:install()                       -- {account, code, nonce, time}
--   ring:fail_next("confirm", "lost")
--   ring:advance(3600)                                 -- seconds, at once
--
-- Its rules are the sandbox's own (sandbox/rules, sandbox/control); of a client all is real but the
-- connections and the time (runtime.make). Ring, its clients and whatever they wait for share one virtual
-- time (time.lua). Mistakes of the test raise at its line; what Ring answers, it answers to the client.

local control = require "ringlink.sandbox.control"
local core = require "ringlink.core"
local credentials = require "ringlink.sandbox.credentials"
local errors = require "ringlink.errors"
local fields = require "ringlink.sandbox.rules.fields"
local hosts = require "ringlink.testing.host"
local outbox = require "ringlink.sandbox.rules.outbox"
local ringlink = require "ringlink"
local rings = require "ringlink.sandbox.ring"
local runtime = require "ringlink.runtime"
local times = require "ringlink.testing.time"
local webhook = require "ringlink.webhook"
local wires = require "ringlink.testing.wire"

local M = {}

local OPTIONS = {
  client_id = "string", client_secret = "string", hmac_key = "string", redirect_uri = "string", limits = "table",
  variant = "table", now_ms = "whole",
}
-- With another one a client would talk to the true Ring.
local OWN = { runtime = true, clock = true }
local READS = { state = true, requests = true }

-- Nobody is asked there: what Ring would send, `deliver` takes, and its files come from this process too.
local WEBHOOK_URL = "http://127.0.0.1/webhook"
local MEDIA_URL = "https://media.example.com"

---@class ringlink.testing.Ring
---@field client_id string
---@field client_secret string
---@field hmac_key string
local Ring = {}
Ring.__index = Ring

local function copy(value)
  if type(value) ~= "table" then return value end
  local twin = {}
  for name, part in pairs(value) do twin[name] = copy(part) end
  return twin
end

local function with(given, more)
  local all = copy(given or {})
  for name, value in pairs(more) do all[name] = value end
  return all
end

local function nobody() return nil, "connection refused" end

local function host_of(time)
  return hosts.new({
    now_ms = function() return time.wall_ms end,
    sleep_ms = function(ms) time:advance(ms) end,
    background = function(fn) time:after(0, fn) end,
  }, nobody)
end

local function runtime_of(self)
  local time = self.time
  local waiting = setmetatable({ sleep_ms = coroutine.yield }, { __index = self.host })
  local function serve(request) return self.ring:serve(request, waiting) end
  return runtime.make({
    name = "testing",
    open_transport = function(config) return wires.new(time, serve, config) end,
    drop_transport = function(wire) wire:close() end,
    await = function(_, ticket) return time:await(ticket) end,
    sleep = function(seconds) time:sleep(seconds) end,
  })
end

local function clock_of(time)
  return {
    now_ms = function() return time.wall_ms end, monotonic_ms = function() return time.mono_ms end,
    sleep = function(seconds) time:sleep(seconds) end,
  }
end

-- The sandbox's own operation; a mistake in it is the test's.
local function must(self, name, args)
  local answer, problem = self:control(name, args)
  if not answer then errors.misuse(("testing: %s: %s"):format(name, problem)) end
  return answer
end

--- A Ring where one app is registered.
---@param options { client_id: string?, client_secret: string?, hmac_key: string?, redirect_uri: string?,
--- limits: { per_s: integer|false }?, variant: table?, now_ms: integer? }?
---@return ringlink.testing.Ring
function M.new(options)
  options = options or {}
  local problem = fields.problem(options, OPTIONS)
  if problem then errors.misuse("testing.new: " .. problem) end
  local self = setmetatable(credentials.choose(options), Ring)
  local settings = with(credentials.choose(self), { redirect_uri = options.redirect_uri, media_url = MEDIA_URL,
    webhook_url = WEBHOOK_URL })
  if options.limits then settings.per_s = options.limits.per_s end
  self.ring = rings.new(settings, core.random)
  self.time = times.new(options.now_ms or core.now_ms())
  self.host, self.clock = host_of(self.time), clock_of(self.time)
  if options.variant then must(self, "variant", options.variant) end
  return self
end

--- A client of this app, as `ringlink.new` makes it; the store is in memory unless one is given.
---@param options table? as of `ringlink.new`, but for runtime and clock
---@return ringlink.Client
function Ring:client(options)
  local settings = { client_id = self.client_id, client_secret = self.client_secret, hmac_key = self.hmac_key,
    store = "memory", clock = self.clock, runtime = runtime_of(self) }
  for name, value in pairs(options or {}) do
    if OWN[name] then errors.misuse(("testing: client: option %s is this Ring's own"):format(name)) end
    settings[name] = value
  end
  return ringlink.new(settings)
end

-- What the Ring user does ---------------------------------------------------------------------

--- A user installs the app: the code that comes to the Token Exchange URL, and what comes with them to the
--- Account Link URL. Without an account it is a new user.
---@param more { account: string?, time_offset_ms: integer? }?
---@return { account: string, code: string, nonce: string, time: string }
function Ring:install(more)
  return must(self, "install", with(more, { deliver = false }))
end

--- The user taps Sign In (again): a fresh nonce.
---@param account string
---@param more { time_offset_ms: integer? }?
---@return { account: string, nonce: string, time: string }
function Ring:sign_in(account, more)
  return must(self, "redirect", with(more, { account = account }))
end

--- The user removes the app: tokens are revoked, and the webhook is due.
---@param account string
---@param more { keep_tokens: boolean?, webhook: boolean? }?
---@return { account: string, revoked: integer }
function Ring:unlink(account, more)
  return must(self, "unlink", with(more, { account = account }))
end

--- Something happens at the user's home; with a completed link a webhook is due.
---@param kind string
---@param more table account, and what a webhook says
---@return { account: string, request_id: string, queued: integer }
function Ring:event(kind, more)
  return must(self, "event", with(more, { type = kind }))
end

-- Trouble -------------------------------------------------------------------------------------

--- The next call of a name fails.
---@param call string as the sandbox names calls; "*" for any
---@param kind string|table "500", "429", "lost", ..., or the fields of a fault
---@param more table? further fields: count, skip, delay_ms, ...
function Ring:fail_next(call, kind, more)
  local is_fault = type(kind) == "table"
  local fault = with(more, is_fault and kind or { kind = kind })
  must(self, "faults", with(fault, { call = call }))
end

--- Any operation of the sandbox's control plane.
---@param name string
---@param args table?
---@return table? answer
---@return string? problem
function Ring:control(name, args)
  local method = READS[name] and "GET" or "POST"
  local status, answer = control.run(self.ring, self.host, method, name, copy(args or {}))
  if status ~= 200 then return nil, answer.error end
  return copy(answer)
end

-- Time ----------------------------------------------------------------------------------------

--- Lets time pass, for Ring and all of its clients.
---@param seconds number
function Ring:advance(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
    errors.misuse("testing: advance needs a number of seconds, 0 or more")
  end
  self.time:advance(math.ceil(seconds * 1000))
end

--- Waits in this time, letting other tasks run.
---@param seconds number
function Ring:sleep(seconds)
  self.time:sleep(seconds)
end

--- The time.
---@return number
function Ring:now_ms()
  return self.time.wall_ms
end

-- Webhooks ------------------------------------------------------------------------------------

--- A webhook as Ring would send it; nothing happens at the user's home.
---@param kind string its type
---@param more table account, and what else it says
---@return string body
---@return string? signature for X-Signature
function Ring:webhook(kind, more)
  local written = must(self, "webhook", with(more, { type = kind }))
  return written.body, written.signature
end

local function hand_over(receiver, one)
  if type(receiver) == "function" then return receiver(one.body, one.signature) end
  local done, err = receiver:webhook(one.body, one.signature)
  return done and 200 or webhook.status_of(err)
end

--- Hands over the webhooks that are due, in Ring's order. What is answered 5xx is due again after a
--- while, as with Ring.
---@param receiver ringlink.Client|fun(body: string, signature: string?): integer the HTTP status
---@return { type: string, account: string, status: integer }[]
function Ring:deliver(receiver)
  local delivered = {}
  local one = outbox.take(self.ring.outbox, self.host.now_ms())
  while one do
    local status = hand_over(receiver, one)
    outbox.settle(one, status, nil, self.host.now_ms())
    delivered[#delivered + 1] = { type = one.type, account = one.account, status = status }
    one = outbox.take(self.ring.outbox, self.host.now_ms())
  end
  return delivered
end

-- What became of it ---------------------------------------------------------------------------

--- What Ring knows: of one account, or everything.
---@param account string?
---@return table
function Ring:state(account)
  if account == nil then return must(self, "state") end
  local known = self.ring:account(account)
  if not known then errors.misuse("testing: state: unknown account") end
  return copy(known)
end

--- The requests that came, in their order, redacted.
---@param filter { call: string?, account: string?, since: string? }?
---@return table[]
function Ring:requests(filter)
  return must(self, "requests", filter)
end

--- Forgets everything but who the app is; time goes on.
function Ring:reset()
  must(self, "reset")
end

--- Shows no secret.
function Ring.__tostring()
  return "ringlink.testing.ring"
end

return M
