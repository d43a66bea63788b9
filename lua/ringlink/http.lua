--- One call to Ring: the attempts, the waiting between them, the rate limit, the time that is left.
--
-- The core decides whether to repeat (src/core/retry); this module does what it says. It knows
-- nothing of Ring's endpoints. What it returns tells whether an attempt may have been processed
-- without its answer arriving, because that changes what the next answer means.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local json = require "ringlink.json"
local sinks = require "ringlink.sink"
local url = require "ringlink.url"

local M = {}

local LIMITER_BLOCK_MS_MAX = 60000     -- one answer holds up everybody's calls no longer than this
local RESERVE = 0.5                    -- of the calls of a second: what `work` leaves to who waits
local PATIENCE = 0.5                   -- of the time a call has: so long it gives way to others

---@class ringlink.Call
---@field stage string         names the step in errors and logs
---@field kind "safe"|"once"|"link"|"token" src/core/retry's kinds
---@field method string
---@field url string
---@field headers string[]     "Name: value"
---@field body string?
---@field timeout_ms integer?  of one attempt
---@field deadline_ms integer? of the whole call, by the monotonic clock
---@field accept (fun(response: table): boolean)? whether a 2xx answer can be used; what is wrong it puts into `detail`
---@field response_bytes_max integer?
---@field sink string|function|nil where a 2xx answer's body goes (sink.lua)
---@field public_only boolean? never to this machine or a private network
---@field path_is_secret boolean? a pre-signed URL: no hook is told its path

---@class ringlink.Response
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string          "" when it went into a sink
---@field written integer?     bytes that did
---@field json any?            decoded, when the body is JSON
---@field attempts integer
---@field maybe_before boolean an earlier attempt may have been processed
---@field ambiguous boolean    that, or this answer does not rule it out

local function request_of(client, call)
  local left_ms = call.deadline_ms - client.clock.monotonic_ms()
  local timeout_ms = call.timeout_ms or client.options.timeout_ms
  local stall_ms, sink_path = sinks.fields(call.sink, timeout_ms)
  return {
    method = call.method, url = call.url, headers = call.headers, body = call.body,
    timeout_ms = math.max(1, math.min(timeout_ms, left_ms)), stall_ms = stall_ms, sink_path = sink_path,
    response_bytes_max = call.response_bytes_max, public_only = call.public_only,
  }
end

-- The transport, once it has room; not for a request that would have no time left.
local function open(client, call)
  local transport, err = client:open_transport()
  if not transport then return nil, err end
  if client.runtime.admit then client.runtime.admit(transport) end
  if client.clock.monotonic_ms() <= call.deadline_ms then return transport end
  return errors.fail("busy", { stage = call.stage, detail = "no connection was free before the deadline" })
end

-- A transport that failed as a whole is replaced by a new one, once.
local function start(client, call, replaced)
  local transport, err = open(client, call)
  if not transport then return nil, err end
  local ticket, code, detail = transport:start(request_of(client, call))
  if ticket then return transport, ticket end
  if code == "closed" and not replaced then
    client:drop_transport(transport)
    return start(client, call, true)
  end
  return errors.fail(code, { stage = call.stage, detail = detail })
end

local function send(client, call)
  local transport, ticket = start(client, call, false)
  if not transport then return nil, ticket end
  return sinks.receive(client, transport, ticket, call.sink)
end

-- What nobody waits for gives way to others, but not until it fails.
local function reserve_of(client, call, since_ms, now)
  local patient_ms = (call.deadline_ms - since_ms) * PATIENCE
  if not flight.is_background(client) or now - since_ms >= patient_ms then return 0 end
  return math.ceil(client.options.rate_limit_per_s * RESERVE)
end

local function await_turn(client, call)
  local since_ms = client.clock.monotonic_ms()
  while true do
    local now = client.clock.monotonic_ms()
    local reserve = reserve_of(client, call, since_ms, now)
    local wait_ms = now <= call.deadline_ms and client.limiter:take(now, reserve) or 0
    if now + wait_ms > call.deadline_ms then
      return errors.fail("rate_limited", { stage = call.stage, retry_after = wait_ms / 1000,
        detail = "the local limit leaves no turn before the deadline" })
    end
    if wait_ms == 0 then return true end
    client.clock.sleep(wait_ms / 1000)
  end
end

local function retry_after_ms(client, result)
  local text = result.headers and result.headers["retry-after"]
  if not text then return nil end
  local server_ms = core.http_date_ms(result.headers.date, client.clock.now_ms())
  return core.retry_after_ms(text, server_ms or client.clock.now_ms())
end

local function is_at_ring(client, address)
  local origin = url.origin(address)
  return origin == url.origin(client.options.api_url) or origin == url.origin(client.options.oauth_url)
end

-- A host that Ring redirects to has limits of its own.
local function observe_limits(client, call, result, wait_ms)
  if not (result.headers and is_at_ring(client, call.url)) then return end
  local remaining = tonumber(result.headers["x-ratelimit-remaining"])
  local limited = result.status == 429 and wait_ms and math.min(wait_ms, LIMITER_BLOCK_MS_MAX) or nil
  client.limiter:observe(client.clock.monotonic_ms(), remaining, limited)
end

-- Contract 8: an offline device is no trouble of Ring's, repeating does not help.
local function device_offline(result)
  return result.status == 503 and errors.first(result.json).title == "Device Unavailable"
end

-- What a function was given cannot be taken back, and an address that may not be asked stays one.
local function is_final(result)
  return device_offline(result) or result.begun or (result.error == "bad_response" and not result.sent)
end

-- Where JSON is expected it is read whatever the answer calls itself.
local function decode_json(call, result)
  if result.error then return end
  local kind = result.headers["content-type"] or ""
  if call.accept or kind:find("json", 1, true) then result.json = json.decode(result.body) end
end

-- An answer of 200 that cannot be read was lost as surely as one that never came.
local function unreadable(call, result)
  return sinks.is_success(result) and call.accept and not call.accept(result)
end

-- A success is not repeated: nothing has to be left to chance.
local function chance(client, result)
  return sinks.is_success(result) and not result.error and 0 or client:random_unit()
end

local function decide(client, call, result, state)
  local lost = result.error and result.sent
  if lost then state.lost = state.lost + 1 end
  return core.retry(call.kind, {
    status = not result.error and result.status or nil,
    error = result.error == "bad_response" and "network" or result.error,
    sent = result.sent or false,
    attempts = state.attempts, lost = state.lost, attempts_max = client.options.max_attempts,
    elapsed_ms = client.clock.monotonic_ms() - state.started_ms,
    deadline_ms = call.deadline_ms - state.started_ms,
    retry_after_ms = state.retry_after_ms, final = is_final(result) or false, random = chance(client, result),
  })
end

local READS = { GET = true, HEAD = true }

-- Whether an attempt may have been processed although its answer does not say so (design
-- "Ambiguity"). A plain call's 429 is taken at its word.
local function may_have_worked(call, result)
  if READS[call.method] then return false end
  if result.error then return result.sent and not result.begun or false end
  local limited = result.status == 429 and call.kind ~= "once"
  return result.status >= 500 or result.status == 408 or limited
end

-- The limit of a call's own is nobody's to raise.
local function too_large(client, call)
  local limit = call.response_bytes_max or client.options.response_bytes_max
  return ("the limit is %d bytes"):format(limit), call.response_bytes_max and "check proxies in between"
end

local function wire_error(client, call, result, state)
  local maybe = state.maybe_before or may_have_worked(call, result)
  local detail, cure = result.detail, nil
  if result.error == "response_too_large" then detail, cure = too_large(client, call) end
  return errors.new(result.error, {
    stage = call.stage, status = result.status, attempts = state.attempts, detail = detail, cure = cure,
    cause = result.cause, ambiguous = maybe or nil,
  })
end

-- This attempt was never made; an earlier one may still have been processed.
local function unstarted(err, state)
  err.ambiguous = state.maybe_before or nil
  return err
end

local function tell(client, name, call, fields)
  if not client.hooks:has(name) then return end
  fields.stage, fields.method = call.stage, call.method
  fields.path = call.path_is_secret and "/****" or call.url:match("^%a+://[^/]+([^?#]*)")
  flight.note(client, name, fields)
end

-- What is no mere reading is the business of whoever has the lease.
local function keep_leases(client, call, state)
  if READS[call.method] then return flight.prolong(client) end
  flight.prolong_or_end(client, { stage = call.stage, attempts = state.attempts,
    ambiguous = state.maybe_before or nil })
end

local function one_attempt(client, call, state)
  keep_leases(client, call, state)
  state.attempts = state.attempts + 1
  tell(client, "request", call, { attempt = state.attempts })
  local result, err = send(client, call)
  if not result then return nil, err end
  decode_json(call, result)
  if unreadable(call, result) then result.error, result.sent = "bad_response", true end
  state.retry_after_ms = retry_after_ms(client, result)
  observe_limits(client, call, result, state.retry_after_ms)
  client:count(call.stage, result.status or result.error, result.status and result.time_ms)
  tell(client, "response", call, { attempt = state.attempts, status = result.status,
    error = result.error, time_ms = result.time_ms, reused = result.reused, http = result.http })
  client.log("debug", "call", { stage = call.stage, attempt = state.attempts,
    status = result.status, error = result.error, sent = result.sent, time_ms = result.time_ms })
  return result
end

local function conclude(client, call, result, state)
  if result.error then return nil, wire_error(client, call, result, state) end
  result.attempts = state.attempts
  result.maybe_before = state.maybe_before
  result.ambiguous = state.maybe_before or may_have_worked(call, result)
  result.retry_after_ms = state.retry_after_ms
  return result
end

--- The instant at which an operation that begins now has to be over.
---@param client ringlink.Client
---@return integer deadline_ms monotonic
function M.deadline(client)
  return client.clock.monotonic_ms() + client.options.deadline_ms
end

--- Makes a call, repeating it as the core says.
---@param client ringlink.Client
---@param call ringlink.Call
---@return ringlink.Response? response any status; errors of the wire are the second value
---@return ringlink.Error? err `ambiguous` when Ring may have done it
function M.call(client, call)
  call.deadline_ms = call.deadline_ms or M.deadline(client)
  local state = { attempts = 0, lost = 0, maybe_before = false,
    started_ms = client.clock.monotonic_ms() }
  while true do
    local turn, err = await_turn(client, call)
    if not turn then return nil, unstarted(err, state) end
    local result, failure = one_attempt(client, call, state)
    if not result then return nil, unstarted(failure, state) end
    local verdict, wait_ms = decide(client, call, result, state)
    if verdict ~= "repeat" then return conclude(client, call, result, state) end
    state.maybe_before = state.maybe_before or may_have_worked(call, result)
    client.clock.sleep(wait_ms / 1000)
    if client.clock.monotonic_ms() > call.deadline_ms then return conclude(client, call, result, state) end
  end
end

return M
