-- One of a partner's processes, all with one SQLite store and one Ring.
-- partner_child.lua MODE DIRECTORY API_URL CA_FILE ...; says a line for each thing it does, and of a
-- token its fingerprint only.

local core = require "ringlink.core"
local partner = require "support.partner"

local mode, directory, api_url, ca_file = arg[1], arg[2], arg[3], arg[4]
local TURN_MS, TURNS_MAX = 2, 5000
local ROUNDS_MAX = 10

local function say(line)
  io.write(line, "\n")
  io.flush()
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local client = partner.client(directory, { api_url = api_url, oauth_url = api_url, ca_file = ca_file })

local modes = {}

-- Asks for an account's access token as soon as everybody may.
function modes.ask(account_id)
  local account = client:account(account_id)
  assert(account:state())                          -- the store is open
  say("ready")
  for _ = 1, TURNS_MAX do
    if exists(directory .. "/go") then break end
    core.sleep_ms(TURN_MS)
  end
  local token, err = account:access_token()
  say(token and "token " .. partner.fingerprint(token:reveal()) or "refused " .. err.code)
end

-- Kills this very process at the step of that number.
local function stepper(last)
  local n = 0
  return function(name)
    n = n + 1
    if n == last then
      say(("killed at %d: %s"):format(n, name))
      os.execute("kill -9 $PPID")
    elseif last == 0 then
      say("step " .. name)
    end
  end
end

local function around(store, name, step)
  local method = store[name]
  store[name] = function(self, key, row, ...)
    local what = type(row) == "table" and row.state or key
    step(("before %s of %s"):format(name, what))
    local written, problem = method(self, key, row, ...)
    step(("after %s of %s"):format(name, what))
    return written, problem
  end
end

local function watch(step)
  for _, name in ipairs { "put_if", "remember" } do around(client.store, name, step) end
  client:on("configure", function() step("in configure") end)
end

-- Exchange, link and refresh, up to the step of that number; 0 goes through and tells the steps.
function modes.journey(last, code, nonce, time)
  watch(stepper(tonumber(last)))
  local account = assert(client:exchange(code))
  assert(client:link { nonce = nonce, time = time, user = "user-1" })
  assert(account:refresh { force = true })
end

local function tell_losses()
  local function tell(_, err)
    say("reported " .. err.code)
  end
  client:on("failed", tell)
  client:on("relink_required", tell)
end

-- Ring delivers the code once more, and the user's browser loads the page again.
function modes.again(code, nonce, time)
  tell_losses()
  local account, err = client:exchange(code)
  if account then account, err = client:link { nonce = nonce, time = time, user = "user-1" } end
  say(account and "linked" or "refused " .. err.code)
end

local function work_until_nothing_is_due()
  for _ = 1, ROUNDS_MAX do
    if assert(client:work()).next_due_s > 0 then return end
  end
  error("there is always something due")
end

-- Does what is due, and tells what there is then; a pair counts when Ring takes its token.
function modes.work()
  tell_losses()
  client:on("configure", function() end)
  work_until_nothing_is_due()
  for account in client:accounts() do
    say("state " .. tostring(account:state()))
    say(account:me() and "works" or "does not work")
  end
end

modes[mode]((table.unpack or unpack)(arg, 5))
client:close()
