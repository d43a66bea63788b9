--- What specs without network share: a clock that a test moves, clients whose Ring is a port nobody
--- listens on, grants put into their store as if Ring had been there, and checks of mistakes.
--
--   local offline = require "support.offline"
--   local client, clock = offline.client()
--   local key = offline.grant(client, { account = "ring-1", state = "completed", user = "user-1" })
--
-- The grants go through the core's link machine, so a test cannot put in what could not be there.

local assert = require "luassert"
local core = require "ringlink.core"
local grants = require "ringlink.grants"
local json = require "ringlink.json"
local pair = require "ringlink.pair"
local planted = require "support.planted"
local ringlink = require "ringlink"

local M = {
  client_id = "app-under-test",
  client_secret = planted.client_secret,
  hmac_key = planted.hmac_key,
  now_ms = 1771130906289,
  token_lifetime_ms = 14400 * 1000,
  nobody = "http://127.0.0.1:1",       -- nobody listens there
}

--- A clock that stands still until a test or a sleep moves it.
function M.clock(now_ms)
  local clock = { wall = now_ms or M.now_ms, mono = 5000, slept_s = 0 }
  function clock.now_ms() return clock.wall end
  function clock.monotonic_ms() return clock.mono end
  function clock.advance(ms) clock.wall, clock.mono = clock.wall + ms, clock.mono + ms end
  function clock.sleep(seconds)
    clock.slept_s = clock.slept_s + seconds
    clock.advance(math.ceil(seconds * 1000))
  end
  return clock
end

--- Settings of `ringlink.new` that need nothing from outside, changed by `more`.
function M.options(more)
  local options = {
    client_id = M.client_id, client_secret = M.client_secret, hmac_key = M.hmac_key,
    store = "memory", api_url = M.nobody, oauth_url = M.nobody, allow_http_loopback = true,
  }
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end

--- A client on a clock of its own, which is the second result.
function M.client(more)
  local clock = more and more.clock or M.clock()
  local options = M.options(more)
  options.clock = clock
  return ringlink.new(options), clock
end

local LINKED = { "claim", "confirm_begin", "confirmed", "configured", "cleared", "complete_begin", "completed" }
local WAY = {                          -- state -> how many steps of LINKED, and what comes then
  exchanging = { 0 }, identifying = { 0 }, unclaimed = { 0 },
  matched = { 1 }, confirming = { 2 }, awaiting = { 3 }, completed = { 7 },
  failed = { 7, "gone" }, superseded = { 7, "supersede" }, unlinked = { 7, "unlink" }, relink = { 7, "relink" },
}

local function step(client, key, event, changes)
  assert(grants.apply(client, {}, key, event, { arg = client.clock.now_ms(), changes = changes }))
end

local function token_columns(client, key, now, expires_ms)
  return pair.columns(client, key, {
    access_token = "planted-access-token-" .. core.hex(core.random(8)),
    refresh_token = "planted-refresh-token-" .. core.hex(core.random(8)),
    obtained_ms = now, expires_ms = expires_ms or now + M.token_lifetime_ms, scope = "devices",
  })
end

local FIRST = { exchanging = "exchanging", identifying = "identifying" }

local function first_row(client, key, spec, id)
  local now = client.clock.now_ms()
  local state = FIRST[spec.state] or "unclaimed"
  local row = { id = id, state = state, flags = 0, time_ms = 0, code_ms = now }
  if state == "exchanging" then
    row.code = client.vault:seal(key, "code", spec.code or "planted-code")
    return row
  end
  for name, value in pairs(token_columns(client, key, now, spec.expires_ms)) do
    if value ~= grants.NONE then row[name] = value end
  end
  row.ring_date_ms = now
  if state == "unclaimed" then row.account = spec.account or "ring-1" end
  return row
end

--- A redirect for an account, signed as Ring would: `nonce` and `time`.
function M.redirect(client, account_id, time_ms)
  local time = ("%d"):format(time_ms or client.clock.now_ms())
  return { nonce = assert(ringlink.nonce(M.hmac_key, time, account_id)), time = time }
end

local function claim_columns(client, key, spec)
  local user = spec.user or "user-1"
  local redirect = M.redirect(client, spec.account or "ring-1")
  return {
    nonce = client.vault:seal(key, "nonce", redirect.nonce), time = redirect.time, claim_ms = client.clock.now_ms(),
    nonce_tag = client.vault:tag("nonce", redirect.nonce .. redirect.time),
    user = grants.user_tag(client, user), user_sealed = client.vault:seal(key, "user", user),
    identifier = client.vault:seal(key, "identifier", spec.identifier or "u***r@partner.example.com"),
    conducted = spec.conducted,
  }
end

--- Puts a grant into a client's store; the fields are account, state, user, identifier, conducted,
--- expires_ms, code. Returns its key.
function M.grant(client, spec)
  local way = WAY[spec.state or "completed"]
  local id = core.hex(core.random(16))
  local key = grants.key(client, id)
  assert(grants.insert(client, key, first_row(client, key, spec, id)))
  for i = 1, way[1] do
    local linked = LINKED[i] == "completed" and { linked_ms = client.clock.now_ms(), status = "completed" }
    step(client, key, LINKED[i], i == 1 and claim_columns(client, key, spec) or linked or nil)
  end
  if way[2] then step(client, key, way[2]) end
  local owed = client.store:get(key).owed
  if owed then grants.settle(client, { key = key, hook = owed }) end          -- as if it had been told
  return key
end

--- What a persistent observer would see of a client's store, as one value to compare.
function M.snapshot(client)
  local rows = {}
  for i, entry in ipairs(client.store:find({})) do rows[i] = { entry.key, entry.version, entry.row.state } end
  return { rows = rows, change = client.store:unclaimed(0).change }
end

--- Fails when a client opened a connection or counted a call.
function M.assert_silent(client)
  assert.is_nil(client.transport)
  assert.same({}, client:metrics().calls)
end

--- Asserts that a function of one line raises at that very line; returns the rest of the message.
function M.misuse(fn)
  local ok, message = pcall(fn)
  assert.is_false(ok, "nothing was raised")
  local info = debug.getinfo(fn, "S")
  assert.equal("string", type(message), tostring(message))
  local file, line, text = message:match("^(.-):(%d+): (.*)$")
  assert.equal(info.short_src .. ":" .. info.linedefined, ("%s:%s"):format(file, line), message)
  return text
end

--- The cases of a file of vectors.
function M.vectors(name)
  local file = assert(io.open("spec/vectors/" .. name, "rb"))
  local text = file:read("*a")
  file:close()
  return assert(json.decode_table(text)).cases
end

return M
