-- One of a partner's processes, all with one SQLite store and one Ring.
-- partner_child.lua MODE DIRECTORY API_URL CA_FILE, and what the mode needs as lines of its input; says
-- a line for each thing it does, and of a token its fingerprint only.

local core = require "ringlink.core"
local partner = require "support.partner"
local watched = require "support.watched"

local mode, directory, api_url, ca_file = arg[1], arg[2], arg[3], arg[4]
local TURN_MS, TURNS_MAX = 2, 5000
local ROUNDS_MAX = 10
local WRITES = { "put_if", "remember" }
local LEASES = { "lease", "put_if", "release" }
local ALL = { "lease", "put_if", "remember", "release" }

local say = watched.say

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local client = partner.client(directory, { api_url = api_url, oauth_url = api_url, ca_file = ca_file })

-- All that can be told, and death at the step of that number.
local function watch_all(last)
  watched.tell_pairs(client)
  watched.tell_leases(client)
  watched.tell_losses(client)
  watched.steps(client, tonumber(last), ALL)
end

local function show_token(account)
  local token, err = account:access_token()
  say(token and "token " .. partner.fingerprint(token:reveal()) or "refused " .. err.code)
end

local modes = {}

-- Asks for an account's access token as soon as everybody may.
function modes.ask(account_id)
  watched.tell_leases(client)
  local account = client:account(account_id)
  assert(account:state())                          -- the store is open
  say("ready")
  for _ = 1, TURNS_MAX do
    if exists(directory .. "/go") then break end
    core.sleep_ms(TURN_MS)
  end
  show_token(account)
end

-- Asks for it at once, up to the step of that number.
function modes.own(last, account_id)
  watched.steps(client, tonumber(last), LEASES)
  show_token(client:account(account_id))
end

-- Exchange, link and refresh, up to the step of that number; 0 goes through and tells the steps.
function modes.journey(last, code, nonce, time)
  watched.steps(client, tonumber(last), WRITES)
  local account = assert(client:exchange(code))
  assert(client:link { nonce = nonce, time = time, user = "user-1" })
  assert(account:refresh { force = true })
end

-- Ring delivers the code, and the user's browser loads the page; whatever comes of it is told.
local function deliver(code, nonce, time, user)
  local account, err = client:exchange(code)
  if account then account, err = client:link { nonce = nonce, time = time, user = user or "user-1" } end
  say(account and "linked" or "refused " .. err.code)
end

-- Both come once more.
function modes.again(code, nonce, time)
  watched.tell_losses(client)
  deliver(code, nonce, time)
end

local function work_until_nothing_is_due()
  for _ = 1, ROUNDS_MAX do
    if assert(client:work()).next_due_s > 0 then return end
  end
  error("there is always something due")
end

-- Does what is due, and tells what there is then; a pair counts when Ring takes its token.
function modes.work()
  watched.tell_losses(client)
  client:on("configure", function() end)
  work_until_nothing_is_due()
  for account in client:accounts() do
    say("state " .. tostring(account:state()))
    say(account:me() and "works" or "does not work")
  end
end

-- The modes of spec/soak, where processes die at any step of anything.

function modes.deliver(last, code, nonce, time, user)
  watch_all(last)
  deliver(code, nonce, time, user)
end

function modes.use(last, account_id)
  watch_all(last)
  show_token(client:account(account_id))
end

function modes.labour(last)
  watch_all(last)
  work_until_nothing_is_due()
end

-- Every grant: its account, its state, why it is lost, and whether Ring takes its token.
function modes.tell()
  for account in client:accounts() do
    local row = assert(account:grant()).row
    say(("grant %s %s %s %s"):format(row.account or "-", row.state, row.failure or row.relink_code or "-",
      account:me() and "works" or "useless"))
  end
end

local given = {}
for line in io.lines() do given[#given + 1] = line end
modes[mode]((table.unpack or unpack)(given))
client:close()
