--- The control plane's operations: what the Ring user, the home and the tester may do.
--
-- Every operation has a list of its fields; an unknown field or a wrong type is refused before
-- anything happens. Pure but for the host, which sends and waits:
--   host = { now_ms(), sleep_ms(ms), move_clock(offset_ms), clock_offset_ms(),
--            send(request) -> {status, headers}|nil, problem;  send_all(requests) -> results;
--            background(fn);  deliver() }
-- Never: a redirect or delivery to anything but loopback (rules/target.lua).

local authorization = require "ringlink.sandbox.rules.authorize"
local core = require "ringlink.core"
local events = require "ringlink.sandbox.rules.events"
local faults = require "ringlink.sandbox.rules.faults"
local fields = require "ringlink.sandbox.rules.fields"
local grants = require "ringlink.sandbox.rules.grants"
local journal = require "ringlink.sandbox.rules.journal"
local json = require "ringlink.sandbox.rules.json"
local limit = require "ringlink.sandbox.rules.limit"
local links = require "ringlink.sandbox.rules.links"
local outbox = require "ringlink.sandbox.rules.outbox"
local routes = require "ringlink.sandbox.rules.routes"
local text = require "ringlink.sandbox.rules.text"
local users = require "ringlink.sandbox.rules.users"
local variant = require "ringlink.sandbox.rules.variant"

local control = {}

local FORM = "application/x-www-form-urlencoded"
local SEND_TIMEOUT_MS = 5000
local DELIVER_TIMEOUT_MS = 10000
local POLL_MS = 10
local CODES_MAX = 1000

local function known_user(ring, id)
  if id == nil then return nil, "account is required" end
  local user = ring.users[id]
  if user then return user end
  return nil, "unknown account"
end

local function code_delivery(ring, code)
  return {
    method = "POST", url = ring.settings.token_exchange_url, body = text.to_form { code = code.text },
    headers = { ["Content-Type"] = FORM }, timeout_ms = SEND_TIMEOUT_MS,
  }
end

local function choose_devices(ring, user, now_ms)
  user.devices_chosen = true
  if ring.variant.device_added == "install" then events.announce_devices(ring, user, now_ms) end
end

local function redirect_into(ring, host, answer, user, args)
  local redirect = links.redirect(ring, user, host.now_ms(), args.time_offset_ms)
  answer.nonce, answer.time, answer.redirect = redirect.nonce, redirect.time, redirect.url
  if not (args.follow and redirect.url) then return end
  local page, problem = host.send { method = "GET", url = redirect.url, timeout_ms = SEND_TIMEOUT_MS }
  answer.followed = page and { status = page.status, location = page.headers.location } or { error = problem }
end

local function delivered(results)
  local rows, ok = json.array {}, false
  for i, result in ipairs(results) do
    rows[i] = { status = result.status, error = result.problem }
    ok = ok or result.status == 200
  end
  return rows, ok
end

local function deliver_code(ring, host, user, requests)
  local rows, ok = delivered(host.send_all(requests))
  if ok and ring.variant.devices == "after" then
    choose_devices(ring, user, host.now_ms())
    host.deliver()
  end
  return rows, ok
end

-- The user installs the app: devices, then the code to the Token Exchange URL, then the redirect.
local function install(ring, host, args)
  local now_ms = host.now_ms()
  local user = users.ensure(ring, args.account, now_ms)
  user.redirected = false
  if ring.variant.devices == "before" or args.deliver == false then choose_devices(ring, user, now_ms) end
  local code = grants.mint_code(ring, user, now_ms)
  local answer = { account = user.id, code = code.text }
  local redirect = args.redirect == nil and "after" or args.redirect
  if args.deliver == false then
    if redirect then redirect_into(ring, host, answer, user, args) end
    return answer
  end
  if not ring.settings.token_exchange_url then return nil, "token_exchange_url is not set; use deliver = false" end
  local requests = { code_delivery(ring, code), args.twice and code_delivery(ring, code) or nil }
  if redirect == "at_once" then
    host.background(function() deliver_code(ring, host, user, requests) end)
    redirect_into(ring, host, answer, user, args)
    return answer
  end
  local ok
  answer.delivered, ok = deliver_code(ring, host, user, requests)
  if redirect and ok then redirect_into(ring, host, answer, user, args) end
  return answer
end

local function codes(ring, host, args)
  local user = users.ensure(ring, args.account, host.now_ms())
  user.devices_chosen = true
  local minted = json.array {}
  for i = 1, args.count or 1 do
    minted[i] = grants.mint_code(ring, user, host.now_ms(), args.code_challenge).text
  end
  return { account = user.id, code = minted[1], codes = minted }
end

-- A user allows a partner-initiated app, or does not: plays Ring's own page.
local function authorize(ring, host, args)
  if not args.url then return nil, "url is required" end
  local asked, problem = authorization.read(ring, args.url)
  if not asked then return nil, problem end
  if args.deny then return authorization.deny(asked) end
  return authorization.allow(ring, asked, args.account, host.now_ms())
end

local function redirect(ring, host, args)
  local user, problem = known_user(ring, args.account)
  if not user then return nil, problem end
  local answer = { account = user.id }
  redirect_into(ring, host, answer, user, args)
  answer.url = answer.redirect
  return answer
end

local function unlink(ring, host, args)
  local user, problem = known_user(ring, args.account)
  if not user then return nil, problem end
  local count = links.unlink(ring, user, host.now_ms(), args)
  host.deliver()
  return { account = user.id, revoked = count }
end

local WEBHOOK_FIELDS = {
  account = "string", type = "string", subType = "string", device = "string", request_id = "string", id = "string",
  age_ms = "whole", attributes = "table", sub_type = { "paid", "trial" }, signature = { "good", "wrong", "none" },
}
local EVENT_FIELDS = { times = "whole", force = "boolean" }
for name, kind in pairs(WEBHOOK_FIELDS) do EVENT_FIELDS[name] = kind end

local function event(ring, host, args)
  local user, problem = known_user(ring, args.account)
  if not user then return nil, problem end
  if not args.type then return nil, "type is required" end
  args.request_id = args.request_id or ring:uuid()
  local times, queued = args.times or 1, 0
  for _ = 1, times do
    local copy = {}
    for name, value in pairs(args) do copy[name] = value end
    if events.happen(ring, user, copy, host.now_ms()) then queued = queued + 1 end
  end
  host.deliver()
  return { account = user.id, request_id = args.request_id, queued = queued }
end

-- A webhook in the caller's own hands: nothing happens at the user's home, nothing is sent.
local function webhook(ring, host, args)
  local user, problem = known_user(ring, args.account)
  if not user then return nil, problem end
  if not args.type then return nil, "type is required" end
  return events.write(ring, user, args, host.now_ms())
end

local function add_faults(ring, _, args)
  if args.off then
    ring.faults = {}
    return { faults = 0 }
  end
  local call = args.call or "*"
  if not routes.CALLS[call] then return nil, fields.unknown("call", call, routes.CALLS) end
  local fault, problem = faults.expand(args)
  if not fault then return nil, problem end
  if args.body == "raw" and not args.raw then return nil, "raw is required with body = raw" end
  args.call = call
  faults.add(ring.faults, args)
  return { faults = #ring.faults }
end

local function limits(ring, _, args)
  if args.off then ring.limit = limit.new(nil) end
  if args.per_s then ring.limit = limit.new(args.per_s) end
  return { per_s = ring.limit.per_s or false }
end

local function clock(_, host, args)
  local offset = host.clock_offset_ms()
  if args.set_ms then offset = offset + args.set_ms - host.now_ms() end
  host.move_clock(offset + (args.advance_ms or 0))
  host.deliver()
  return { now_ms = host.now_ms(), offset_ms = host.clock_offset_ms() }
end

local function change_variant(ring, _, args)
  local ok, problem = variant.apply(ring.variant, args)
  if not ok then return nil, problem end
  return ring.variant
end

local function expire(ring, host, args)
  local user, problem = known_user(ring, args.account)
  if not user then return nil, problem end
  return { expired = grants.expire(ring, user, args.tokens or "access", host.now_ms()) }
end

-- Sends what is due and waits until nothing is under way (deliveries due later stay due).
local function deliver(ring, host, args)
  host.deliver()
  local left_ms = args.timeout_ms or DELIVER_TIMEOUT_MS
  while outbox.working(ring.outbox, host.now_ms()) and left_ms > 0 do
    host.sleep_ms(POLL_MS)
    left_ms = left_ms - POLL_MS
  end
  local state = ring:state(host.now_ms())
  return { done = not outbox.working(ring.outbox, host.now_ms()), webhooks = state.webhooks }
end

local function replay(ring, host, args)
  local count = outbox.replay(ring.outbox, args.account, host.now_ms())
  host.deliver()
  return { replayed = count }
end

local function reset(ring, host)
  ring:reset()
  host.move_clock(0)
  return { now_ms = host.now_ms() }
end

local function state(ring, host)
  return ring:state(host.now_ms())
end

local function requests(ring, _, args)
  return json.array(journal.select(ring.journal, args))
end

local REDIRECT_FIELDS = { account = "string", time_offset_ms = "integer", follow = "boolean" }
local INSTALL_FIELDS = {
  account = "string", twice = "boolean", redirect = { "after", "at_once", false, true }, deliver = "boolean",
  time_offset_ms = "integer", follow = "boolean",
}

-- name = { method, fields, run }
local OPERATIONS = {
  install = { "POST", INSTALL_FIELDS, install },
  codes = { "POST", { account = "string", count = "whole", code_challenge = "string" }, codes },
  authorize = { "POST", { url = "string", account = "string", deny = "boolean" }, authorize },
  redirect = { "POST", REDIRECT_FIELDS, redirect },
  unlink = { "POST", { account = "string", keep_tokens = "boolean", webhook = "boolean" }, unlink },
  event = { "POST", EVENT_FIELDS, event },
  webhook = { "POST", WEBHOOK_FIELDS, webhook },
  faults = { "POST", faults.FIELDS, add_faults },
  limits = { "POST", { per_s = "whole", off = "boolean" }, limits },
  clock = { "POST", { advance_ms = "integer", set_ms = "integer" }, clock },
  variant = { "POST", nil, change_variant },
  expire = { "POST", { account = "string", tokens = { "access", "refresh", "both" } }, expire },
  deliver = { "POST", { timeout_ms = "whole" }, deliver },
  replay = { "POST", { account = "string" }, replay },
  reset = { "POST", {}, reset },
  state = { "GET", {}, state },
  requests = { "GET", { call = "string", account = "string", since = "string" }, requests },
}

--- The bounds that types do not say.
local function out_of_bounds(name, args)
  if name == "codes" and (args.count or 1) > CODES_MAX then return "count is too large" end
  if name == "event" and (args.times or 1) > CODES_MAX then return "times is too large" end
  return nil
end

--- Runs an operation.
---@param ring table
---@param host table
---@param method string
---@param name string
---@param args table
---@return integer status
---@return table body
function control.run(ring, host, method, name, args)
  local operation = OPERATIONS[name]
  if not operation then return 404, { error = fields.unknown("operation", name, OPERATIONS) } end
  if operation[1] ~= method then return 405, { error = name .. " is called by " .. operation[1] } end
  local problem = operation[2] and fields.problem(args, operation[2]) or out_of_bounds(name, args)
  if problem then return 400, { error = problem } end
  local answer, refusal = operation[3](ring, host, args)
  if not answer then return 400, { error = refusal } end
  return 200, answer
end

--- Whether a control token is the right one; the comparison takes the same time for any wrong one.
---@param token string
---@param given string|nil
---@return boolean
function control.may(token, given)
  return type(given) == "string" and core.secret(token):equals(given)
end

return control
