-- A partner's process for specs that need one of their own: to be interrupted, or to have another
-- resolver. client_child.lua MODE API_URL CA_FILE, and code, nonce and time as lines of its input. Says a
-- line for each thing it does.

local ringlink = require "ringlink"
local world = require "support.world"

local mode, api_url, ca_file = arg[1], arg[2], arg[3]
local code, nonce, time = io.read(), io.read(), io.read()

local function say(line)
  io.write(line, "\n")
  io.flush()
end

local function new_client(more)
  local settings = { client_id = world.client_id, client_secret = world.client_secret,
    hmac_key = world.hmac_key, store = "memory", api_url = api_url, oauth_url = api_url, ca_file = ca_file }
  for name, value in pairs(more or {}) do settings[name] = value end
  return ringlink.new(settings)
end

local function link(client)
  assert(client:exchange(code))
  return assert(client:link { nonce = nonce, time = time, user = "user-1" }).account
end

-- Says so whenever a new pair of tokens is in the store.
local function watch_store(client)
  local put_if, last = client.store.put_if, nil
  client.store.put_if = function(store, key, row, version)
    local written, problem = put_if(store, key, row, version)
    if written and last and row.fingerprint and row.fingerprint ~= last then say("stored") end
    last = row.fingerprint or last
    return written, problem
  end
end

local function tell_error(err)
  say(type(err) == "string" and err:match("interrupted!") or tostring(err))
end

local modes = {}

function modes.refresh()
  local client = new_client()
  local account = link(client)
  watch_store(client)
  local before = assert(account:access_token()):reveal()
  say("refreshing")
  local ok, err = pcall(account.refresh, account, { force = true })
  if ok then say("went on") else tell_error(err) end
  local after = assert(account:access_token()):reveal()
  say(after ~= before and "new token" or "old token")
  say(#assert(account:get("/v1/devices")).data .. " devices")
end

-- Another process has the lease, and for longer than anybody waits.
function modes.leased()
  local client = new_client()
  local account = link(client)
  watch_store(client)
  local before = assert(account:access_token()):reveal()
  local name, sleep, waiting = "refresh/" .. account:grant().key, client.clock.sleep, false
  assert(client.store:lease(name, "another", 3600 * 1000))
  client.clock.sleep = function(seconds)
    if not waiting then say("waiting") end
    waiting = true
    sleep(seconds)
  end
  local ok, err = pcall(account.refresh, account, { force = true })
  if ok then say("went on") else tell_error(err) end
  client.store:release(name, "another")
  assert(account:refresh({ force = true }))
  say(assert(account:access_token()):reveal() ~= before and "new token" or "old token")
end

-- The same within a task of the loop.
function modes.refresh_in_task()
  local client = new_client()
  local account = link(client)
  watch_store(client)
  local before = assert(account:access_token()):reveal()
  say("refreshing")
  local ok, err = pcall(ringlink.run, function() return account:refresh { force = true } end)
  if ok then say("went on") else tell_error(err) end
  say(assert(account:access_token()):reveal() ~= before and "new token" or "old token")
  say(#assert(account:get("/v1/devices")).data .. " devices")
end

function modes.get()
  local client = new_client()
  local account = link(client)
  say("asking")
  local ok, err = pcall(account.get, account, "/v1/devices")
  if ok then say("went on") else tell_error(err) end
  say(account:state())
end

-- The same within a task of the loop, which then has something else to do.
function modes.get_in_task()
  local client = new_client()
  local account = link(client)
  say("asking")
  local ok, err = pcall(ringlink.run, account.get, account, "/v1/devices")
  if ok then say("went on") else tell_error(err) end
  say(ringlink.run(account.state, account))
end

-- A link whose configuration hangs, and which is taken up again.
function modes.link_in_task()
  local client = new_client()
  assert(client:exchange(code))
  local q = { nonce = nonce, time = time, user = "user-1" }
  local off = client:on("configure", function()
    say("configuring")
    ringlink.sleep(600)
  end)
  local ok, err = pcall(ringlink.run, client.link, client, q)
  if ok then say("went on") else tell_error(err) end
  off()
  say(assert(ringlink.run(client.link, client, q)).status)
end

-- Under silent_resolver.c: a client whose host is never resolved beside one that has work to do.
function modes.resolver()
  local silent = new_client { api_url = "https://silent.invalid", oauth_url = "https://silent.invalid",
    timeout_ms = 1000, max_attempts = 1 }
  local unknown = new_client { oauth_url = "https://unknown.invalid", max_attempts = 1 }
  local client = new_client()
  ringlink.run(function()
    local stuck = ringlink.spawn(function() return silent:exchange("a-code") end)
    ringlink.sleep(0.01)                      -- the stuck one is on its way
    say("linked " .. link(client):state())
    say("stuck " .. tostring(not stuck.done))
  end)
  local _, err = silent:exchange("a-code")
  say(("silent %s %s %s"):format(err.code, err.stage, tostring(err.ambiguous)))
  _, err = unknown:exchange("a-code")
  say(("unknown %s %s %s"):format(err.code, err.stage, tostring(err.ambiguous)))
end

modes[mode]()
say("end")
