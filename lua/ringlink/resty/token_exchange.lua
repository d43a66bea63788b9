--- The Token Exchange URL: Ring posts an authorization code, and it is exchanged within its minute.
--
-- Nothing proves that a post is Ring's, so a stranger who learns the address may post junk. What he can
-- cause is bounded: the address has an unguessable segment, codes are short and of one alphabet, so many
-- come in per address and in all (the rest of the rate to Ring belongs to refreshes and links), so many
-- are under way, and a code that Ring refused is not taken to it again.
-- Invariants: with `ack = "first"` the code is stored, sealed, before the 200; a code that comes twice is
-- used once; an answer tells a stranger nothing of a code.

local check = require "ringlink.check"
local errors = require "ringlink.errors"
local exchange = require "ringlink.exchange"
local form = require "ringlink.resty.form"
local gate = require "ringlink.resty.gate"
local json = require "ringlink.json"
local apps = require "ringlink.resty.apps"
local reply = require "ringlink.resty.reply"

local M = { name = "exchange" }

local BODY_BYTES_MAX = 8192
local OPTIONS = { "app", "secret", "ack", "query", "limits" }
local LIMITS = { "each", "all", "in_flight" }
local WINDOW_S = 10
local SHARE = 0.2                    -- of the rate to Ring, and each exchange is two calls
local EACH_PER_S = 10
local IN_FLIGHT_MAX = 64
local REFUSED_TTL_S = 600
local OK = { status = "ok" }

-- Options -------------------------------------------------------------------------------------

local function read_limits(app, given)
  given = check.options("token_exchange: limits", given, LIMITS)
  local per_s = math.max(1, app.rate_limit_per_s * SHARE)
  return {
    each = given.each or { count = EACH_PER_S * WINDOW_S, window_s = WINDOW_S },
    all = given.all or { count = math.ceil(per_s * WINDOW_S), window_s = WINDOW_S },
    in_flight = given.in_flight or IN_FLIGHT_MAX,
  }
end

local function read_options(app, options)
  options = check.options("token_exchange", options, OPTIONS)
  local ack = options.ack or "first"
  if ack ~= "first" and ack ~= "after" then errors.misuse('token_exchange: ack must be "first" or "after"') end
  local secret = options.secret and apps.path_secret(options.secret) or app.exchange_secret
  if not secret then
    errors.misuse("token_exchange: needs a secret, the unguessable last segment of its address: "
      .. "exchange_secret of setup, or secret here")
  end
  return { ack = ack, secret = secret, query = options.query, limits = read_limits(app, options.limits) }
end

-- Reading -------------------------------------------------------------------------------------

-- Ring's way of sending the code is not documented to the letter: form and JSON are taken.
local function code_of(request, body, options)
  local kind = request:header("Content-Type") or ""
  local fields
  if kind:find("json", 1, true) or body:find("^%s*{") then
    fields = json.decode_table(body) or {}
  else
    fields = form.read(body)
  end
  if fields.code == nil and options.query then return request.query.code end
  return fields.code
end

-- Admission -----------------------------------------------------------------------------------

local function refused_key(app, tag)
  return ("refused|%s|%s"):format(app.name, tag)
end

local function answer(app, status, outcome, value)
  app.tally:add("exchanges|" .. outcome)
  return reply.json(status, value or { error = outcome })
end

local function pass(app, limits, who)
  return gate.pass(app.board, app.client.clock.monotonic_ms(), app.name .. "/exchange", limits, who)
end

-- Ring delivers again what it has delivered before: it is told the same, and strangers nothing.
local function known(app, options)
  if options.ack == "first" then return answer(app, 200, "repeated", OK) end
  return answer(app, 400, "exchange_refused")
end

-- The exchange itself -------------------------------------------------------------------------

-- Ring's last word on a code; a wrong client_secret is none: put right in time, the same code works.
local function is_refused(err)
  return err.code == "exchange_refused" and not err.retryable
end

local function is_over(err)
  return is_refused(err) or err.code == "exchange_outcome_unknown"
end

local function settle(app, tag, done, err)
  if done then
    app.tally:add("exchanges|exchanged")
    return done
  end
  app.tally:add("exchanges|" .. err.code)
  if is_refused(err) then app.board:put(refused_key(app, tag), 1, REFUSED_TTL_S) end
  if not is_over(err) then apps.note_failure(app, "exchange", err) end       -- what is over told `failed`
  return nil, err
end

--- Exchanges a stored code; also as a task, so it is given values only.
---@param app_name string
---@param key string the grant's
---@param tag string the code's keyed hash
---@return ringlink.Account?
---@return ringlink.Error?
function M.finish(app_name, key, tag)
  local app = apps.get(app_name)
  app.in_flight = app.in_flight + 1
  local ok, done, err = pcall(errors.catch, exchange.resume, app.client, key)
  app.in_flight = app.in_flight - 1
  if not ok then error(done, 0) end
  return settle(app, tag, done, err)
end

local function status_of(err)
  if is_over(err) then return 400 end
  return err.retryable and 503 or 502
end

local function begin(app, options, key, tag)
  if options.ack == "first" then
    local accepted = answer(app, 200, "accepted", OK)
    accepted.after = { M.finish, app.name, key, tag }
    return accepted
  end
  local done, err = M.finish(app.name, key, tag)
  if done then return reply.json(200, OK) end
  return reply.json(status_of(err), { error = err.code })
end

local function take(app, options, code)
  local tag = app.client.vault:tag("code", code)
  if app.board:get(refused_key(app, tag)) then return known(app, options) end
  if not pass(app, { all = options.limits.all }, "") then return answer(app, 429, "busy") end
  if app.in_flight >= options.limits.in_flight then return answer(app, 503, "full") end
  local key, err = errors.catch(exchange.accept, app.client, code)
  if key then return begin(app, options, key, tag) end
  if err.code == "exchange_refused" then return known(app, options) end
  apps.note_failure(app, "exchange", err)
  return answer(app, err.retryable and 503 or 500, err.code)
end

--- Answers Ring's post.
---@param app ringlink.App
---@param request ringlink.Request
---@param given { app: string?, secret: string?, ack: "first"|"after"|nil, query: boolean?, limits: table? }?
---@return ringlink.Reply
function M.handle(app, request, given)
  local options = read_options(app, given)
  if request.method ~= "POST" then return reply.method_not_allowed("POST") end
  if not pass(app, { each = options.limits.each }, request:address()) then return answer(app, 429, "busy") end
  if not options.secret:equals(request:last_segment()) then return answer(app, 404, "not_found") end
  local body, problem = request:body(BODY_BYTES_MAX)
  if problem then return M.failed(app, problem) end
  if not body then return answer(app, 413, "too_large") end
  local code, err = check.code(code_of(request, body, options))
  if not code then return answer(app, 400, err.code) end
  return take(app, options, code)
end

--- Answers when handling raised.
---@param app ringlink.App
---@param problem any
---@return ringlink.Reply
function M.failed(app, problem)
  local is_temporary = errors.is(problem) and problem.retryable
  return answer(app, is_temporary and 503 or 500, errors.is(problem) and problem.code or "internal_error")
end

return M
