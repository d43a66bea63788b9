--- The partner's ringlink client: its options, its hooks, and the user it links for.
--
-- Runs in the backend's only nginx worker. `runtime = "blocking"` is named on purpose: while
-- ringlink waits for Ring this worker waits too, which is good enough for one demo user. For the
-- same reason the memory store will do: no other process has to see the tokens.
-- Hooks only note what happened (redacted) and set up the partner's side of a link.

local core = require "ringlink.core"
local redact = require "demo.redact"
local ringlink = require "ringlink"
local story = require "demo.story"

local app = {}

local offset_ms = 0      -- the demo's clock, moved by the script to let a token's life pass
local provisioned = {}   -- what "configure" set up: user id -> Ring account id

local CLOCK = {
  now_ms = function() return core.now_ms() + offset_ms end,
  monotonic_ms = core.monotonic_ms,
  sleep = function(seconds) core.sleep_ms(math.ceil(seconds * 1000)) end,
}

---@param ms integer
function app.advance_clock(ms) offset_ms = offset_ms + ms end

local function note_link(name)
  return function(link)
    story.note(name, { account = link.account.id, user = link.user, status = link.status,
      identifier = link.account_identifier })
  end
end

local function note_tokens(name)
  return function(account)
    local access = account:access_token()
    story.note(name, { account = account.id, access = access and redact.fingerprint(access:reveal()) })
  end
end

local function note_account(name)
  return function(account, err)
    story.note(name, { account = account.id, error = err and err.code })
  end
end

local function configure(link)
  provisioned[link.user] = link.account.id
  story.note("configure", { account = link.account.id, user = link.user })
  return true
end

local function note_webhook(event)
  story.note("webhook", { account = event.account_id, type = event.type, sub_type = event.sub_type })
end

local function unlinked(account)
  for user, id in pairs(provisioned) do
    if id == account.id then provisioned[user] = nil end
  end
  story.note("unlinked", { account = account.id })
end

local function note_response(call)
  story.note("response", { stage = call.stage, method = call.method, path = redact.path(call.path),
    status = call.status, error = call.error, http = call.http })
end

local function listen(client)
  for _, name in ipairs { "matched", "awaiting", "completed" } do client:on(name, note_link(name)) end
  for _, name in ipairs { "exchanged", "token_rotated" } do client:on(name, note_tokens(name)) end
  for _, name in ipairs { "failed", "refresh_failed", "relink_required" } do client:on(name, note_account(name)) end
  client:on("configure", configure)
  client:on("webhook", note_webhook)
  client:on("unlinked", unlinked)
  client:on("response", note_response)
end

--- Makes the client.
---@param settings table `{prefix, api_url, oauth_url, ca_file, user}`
function app.open(settings)
  app.user = settings.user
  app.client = ringlink.new {
    client_id = "file:" .. settings.prefix .. "/client_id",
    client_secret = "file:" .. settings.prefix .. "/client_secret",
    hmac_key = "file:" .. settings.prefix .. "/hmac_key",
    store = "memory", runtime = "blocking", clock = CLOCK,
    api_url = settings.api_url, oauth_url = settings.oauth_url, ca_file = settings.ca_file,
  }
  listen(app.client)
end

return app
