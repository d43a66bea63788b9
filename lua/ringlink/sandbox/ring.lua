--- A strict Ring as a value: give it requests and the time, it gives replies.
--
-- Pure: no ngx, no clock, no randomness of its own, no I/O, so that nginx can host it and a fake
-- Ring in a test's process can too. One ring is one Ring with one partner app. It owns all state in
-- `rules/`; a host owns time, sleeping, connections and the sending of webhooks.
-- Never hands out secrets but where Ring does: the token reply, and the user acts of control.lua.

local core = require "ringlink.core"
local events = require "ringlink.sandbox.rules.events"
local faults = require "ringlink.sandbox.rules.faults"
local grants = require "ringlink.sandbox.rules.grants"
local journal = require "ringlink.sandbox.rules.journal"
local json = require "ringlink.sandbox.rules.json"
local limit = require "ringlink.sandbox.rules.limit"
local outbox = require "ringlink.sandbox.rules.outbox"
local reply = require "ringlink.sandbox.rules.reply"
local routes = require "ringlink.sandbox.rules.routes"
local text = require "ringlink.sandbox.rules.text"
local variant = require "ringlink.sandbox.rules.variant"

local ring = {}
ring.__index = ring

local FORM = "application/x-www-form-urlencoded"
local DEFAULT_PER_S = 100

--- Makes a Ring.
---@param settings table `{client_id, client_secret, hmac_key, per_s, media_url, token_exchange_url,
--- account_link_url, webhook_url}`; per_s = false switches the rate limit off
---@param random fun(count: integer): string
---@return table
function ring.new(settings, random)
  local self = setmetatable({ settings = settings, random = random }, ring)
  self.key = assert(core.hmac_key { settings.hmac_key })
  self:reset()
  return self
end

--- Forgets everything but the settings.
function ring:reset()
  self.variant = variant.defaults()
  self.users, self.user_list = {}, {}
  self.codes, self.grants, self.tokens, self.nonces = {}, {}, {}, {}
  self.presigned, self.sessions, self.faults = {}, {}, {}
  self.journal, self.outbox = journal.new(), outbox.new()
  local per_s = self.settings.per_s
  if per_s == nil then per_s = DEFAULT_PER_S end
  self.limit = limit.new(per_s or nil)
end

---@return string uuid version 4
function ring:uuid()
  local hex = core.hex(self.random(16))
  local variant_digit = ("89ab"):sub(tonumber(hex:sub(17, 17), 16) % 4 + 1):sub(1, 1)
  return ("%s-%s-4%s-%s%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12), hex:sub(14, 16), variant_digit,
    hex:sub(18, 20), hex:sub(21, 32))
end

local function read_body(request)
  if text.media_type(request.headers["content-type"]) == FORM then return text.form(request.body) end
  return json.object(request.body), nil
end

local function rate_limited(self, now_ms)
  local answer = reply.error(self, 429, "Rate Limit Exceeded")
  local by_date = self.variant.retry_after == "date"
  answer.headers["Retry-After"] = by_date and text.http_date(now_ms + 1999) or "1"
  return answer
end

--- Takes a request in: names the call, opens its journal row, asks the rate limit, picks a fault.
---@param request table `{method, target, headers (lower-case names), body, connection, http}`
---@param now_ms number
---@return table visit `{row, fault, refused}`; refused is a ready reply
function ring:receive(request, now_ms)
  local path, segments, query = text.target(request.target)
  request.path = path
  local visit = { request = request, query = text.form(query), bearer = grants.bearer(request) }
  visit.fields, visit.repeated = read_body(request)
  visit.route, visit.params = routes.find(request.method, segments)
  visit.oauth = visit.route[5] and visit.route[5].oauth
  local call = routes.call_name(visit.route, visit.fields)
  if call == "presigned" then request.path = "/media/" .. text.fingerprint(segments[2]) end
  visit.row = journal.open(self.journal, request, call, now_ms)
  journal.note_secrets(visit.row, visit.fields, visit.bearer)
  local allowed
  allowed, visit.limit_headers = limit.take(self.limit, now_ms)
  if not allowed then
    visit.refused = rate_limited(self, now_ms)
    return visit
  end
  visit.fault = faults.pick(self.faults, call)
  if visit.fault then visit.row.fault = faults.describe(visit.fault) end
  return visit
end

--- Does the work of a call.
---@param visit table
---@param now_ms number
---@return table reply
function ring:process(visit, now_ms)
  visit.row.processed = true
  visit.fields = visit.fields or (visit.oauth and {}) or nil
  local answer = routes.run(self, visit, now_ms)
  visit.row.result = answer.status
  return answer
end

--- Makes the reply that goes out: the fault's changes, the rate headers, the date, the journal.
---@param visit table
---@param answer table|nil
---@param now_ms number
---@return table reply
function ring:finish(visit, answer, now_ms)
  if visit.fault then answer = faults.garble(self, visit, visit.fault, answer, now_ms) end
  for name, value in pairs(visit.limit_headers) do answer.headers[name] = value end
  answer.headers["Date"] = answer.headers["Date"] or text.http_date(now_ms)
  visit.row.status = answer.status
  return answer
end

-- A fault's way: wait, then process or not, then (with `after`) wait, then drop or answer.
local function faulty(self, visit, host)
  local fault, answer = visit.fault, nil
  local delayed_after = fault.after or fault.drop == "after"
  if fault.delay_ms and not delayed_after then host.sleep_ms(fault.delay_ms) end
  if faults.processes(fault) then answer = self:process(visit, host.now_ms()) end
  if fault.delay_ms and delayed_after then host.sleep_ms(fault.delay_ms) end
  if fault.drop then
    visit.row.dropped = true
    return nil
  end
  return answer or {}
end

--- Serves one request from beginning to end.
---@param request table see `receive`
---@param host table `{now_ms(), sleep_ms(ms)}`
---@return table|nil reply nil: close the connection without an answer
function ring:serve(request, host)
  local visit = self:receive(request, host.now_ms())
  local answer = visit.refused
  if visit.refused then
    visit.fault = nil
  elseif visit.fault then
    answer = faulty(self, visit, host)
    if not answer then return nil end
  else
    answer = self:process(visit, host.now_ms())
  end
  return self:finish(visit, answer, host.now_ms())
end

local function integration_row(grant)
  local integration = grant.integration
  return {
    grant = grant.id, account = grant.user.id, revoked = grant.revoked,
    status = integration and integration.status or (grant.revoked and "unlinked" or "none"),
    confirmed = integration and integration.confirmed or false,
    account_identifier = integration and integration.account_identifier,
    updated_at = integration and text.iso(integration.updated_ms),
    access_expires_ms = grant.access.expires_ms, refresh_expires_ms = grant.refresh.expires_ms,
    access_token = text.fingerprint(grant.access.text), refresh_token = text.fingerprint(grant.refresh.text),
  }
end

local function newest_status(user)
  local newest = user.grants[#user.grants]
  return newest and integration_row(newest).status or "none"
end

local function account_row(self, user)
  local devices = json.array {}
  for i, one in ipairs(user.all_devices) do
    devices[i] = { id = one.id, name = one.name, online = one.online }
  end
  return {
    id = user.id, email = user.email, status = newest_status(user), devices = devices,
    listens = events.listens(self, user), grants = #grants.of_user(self, user),
  }
end

local function webhook_row(delivery)
  return {
    n = delivery.n, type = delivery.type, account = delivery.account, request_id = delivery.request_id,
    state = delivery.state, due_ms = delivery.state == "due" and delivery.due_ms or nil,
    created_ms = delivery.created_ms, attempts = json.array(delivery.attempts),
  }
end

--- What there is to see of one account.
---@param id string
---@return table|nil
function ring:account(id)
  local user = self.users[id]
  return user and account_row(self, user)
end

--- Everything there is to see, without a secret.
---@param now_ms number
---@return table
function ring:state(now_ms)
  local accounts, integrations, webhooks = json.array {}, json.array {}, json.array {}
  for i, user in ipairs(self.user_list) do accounts[i] = account_row(self, user) end
  for i, grant in ipairs(self.grants) do integrations[i] = integration_row(grant) end
  for i, delivery in ipairs(self.outbox.list) do webhooks[i] = webhook_row(delivery) end
  return {
    now_ms = now_ms, accounts = accounts, integrations = integrations, webhooks = webhooks,
    variant = self.variant, per_s = self.limit.per_s or false, requests = self.journal.n,
    faults = #self.faults,
  }
end

return ring
