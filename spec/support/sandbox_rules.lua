--- A strict Ring in virtual time, without nginx, and short ways through its calls.
--
--   local rules = require "support.sandbox_rules"
--   local world = rules.new()            -- world.now is Ring's clock; world.answer the partner's answer
--   local one = rules.link(world)        -- {account, code, nonce, time, access, refresh}

local assert = require "luassert"
local cjson = require "cjson"
local control = require "ringlink.sandbox.control"
local hosts = require "ringlink.testing.host"
local ring_module = require "ringlink.sandbox.ring"
local text = require "ringlink.sandbox.rules.text"

local rules = {
  KEY = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
  START_MS = 1771130906289,
  INTEGRATIONS = "/v1/accounts/me/app-integrations",
}

-- A generator of its own: the same bytes in every run.
local function random(world, count)
  local bytes = {}
  for i = 1, count do
    world.seed = (world.seed * 1103515 + 12345) % 2147483648
    bytes[i] = string.char(math.floor(world.seed / 65536) % 256)
  end
  return table.concat(bytes)
end

-- A Ring with a host in virtual time; deliveries are answered by `world.answer`.
function rules.new(settings)
  local world = { now = rules.START_MS, sent = {}, answer = { status = 200, headers = {} }, seed = 1 }
  local all = {
    client_id = "id", client_secret = "secret", hmac_key = rules.KEY, media_url = "http://localhost:1",
    token_exchange_url = "http://127.0.0.1:1/token", account_link_url = "http://127.0.0.1:1/link?from=ring",
    webhook_url = "http://127.0.0.1:1/hook",
  }
  for name, value in pairs(settings or {}) do all[name] = value end
  world.ring = ring_module.new(all, function(count) return random(world, count) end)
  local host = hosts.new({
    now_ms = function() return world.now end,
    sleep_ms = function(ms) world.now = world.now + ms end,
    background = function(fn) world.later = fn end,
  }, function(request)
    world.sent[#world.sent + 1] = request
    return world.answer
  end)
  world.host = host
  function world.control(name, fields)
    local reads = name == "state" or name == "requests"
    local status, body = control.run(world.ring, host, reads and "GET" or "POST", name, fields or {})
    if status == 200 then return body end
    return nil, body.error
  end
  function world.serve(method, path, headers, body)
    local lower = {}
    for name, value in pairs(headers or {}) do lower[name:lower()] = value end
    local reply = world.ring:serve(
      { method = method, target = path, headers = lower, body = body or "", connection = 1, http = "1.1" }, host)
    if reply and (reply.headers["Content-Type"] or ""):find("json") and reply.body ~= "" then
      local ok, value = pcall(cjson.decode, reply.body)
      reply.value = ok and value or nil
    end
    return reply
  end
  return world
end

function rules.token_call(world, fields, headers)
  local form = { client_id = "id", client_secret = "secret" }
  for name, value in pairs(fields) do form[name] = value or nil end
  headers = headers or { ["Content-Type"] = "application/x-www-form-urlencoded" }
  return world.serve("POST", "/oauth/token", headers, text.to_form(form))
end

function rules.redeem(world, code, more)
  local fields = { grant_type = "authorization_code", code = code }
  for name, value in pairs(more or {}) do fields[name] = value end
  return rules.token_call(world, fields)
end

function rules.refresh(world, refresh_token)
  return rules.token_call(world, { grant_type = "refresh_token", refresh_token = refresh_token })
end

function rules.api(world, method, path, token, body)
  local headers = { Authorization = token and "Bearer " .. token or nil }
  if body then headers["Content-Type"] = "application/json" end
  return world.serve(method, path, headers, type(body) == "table" and cjson.encode(body) or body)
end

-- A linked account: installed, code redeemed, redirected; POST and PATCH when asked for.
function rules.link(world, upto, account)
  local one = assert(world.control("install", { deliver = false, account = account }))
  local pair = rules.redeem(world, one.code).value
  one.access, one.refresh = pair.access_token, pair.refresh_token
  if upto == "token" then return one end
  assert.equal(200, rules.api(world, "POST", rules.INTEGRATIONS, one.access, { nonce = one.nonce }).status)
  if upto == "post" then return one end
  assert.equal(200, rules.api(world, "PATCH", rules.INTEGRATIONS, one.access, { status = "completed" }).status)
  return one
end

function rules.title(reply) return reply.value.errors[1].title end

function rules.assert_error(reply, status, wanted)
  assert.equal(status, reply.status)
  assert.equal(wanted, rules.title(reply))
  assert.equal(tostring(status), reply.value.errors[1].status)
  assert.truthy(reply.value.errors[1].id:find("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$"))
end

function rules.assert_oauth(reply, status, wanted)
  assert.equal(status, reply.status)
  assert.equal(wanted, reply.value.error)
  assert.is_string(reply.value.error_description)
end

function rules.state_of(world, account)
  for _, one in ipairs(world.control("state").accounts) do
    if one.id == account then return one end
  end
end

function rules.webhooks(world, kind)
  local found = {}
  for _, one in ipairs(world.ring.outbox.list) do
    if not kind or one.type == kind then found[#found + 1] = one end
  end
  return found
end

return rules
