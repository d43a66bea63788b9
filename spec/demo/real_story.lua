--- The story against Ring itself: the person at the terminal is Ring's user and messenger.
--
-- Chosen by RINGLINK_DEMO_REAL=1; credentials come from the environment. Code and redirect URL come
-- from stdin, never from arguments. Nothing of them is printed but how they begin.

local redact = require "demo.redact"
local steps = require "demo.steps"

local real_story = {}

local CREDENTIALS = { client_id = "RING_CLIENT_ID", client_secret = "RING_CLIENT_SECRET", hmac_key = "RING_HMAC_KEY" }
local WAIT_TRIES, WAIT_S = 60, 1
local QUERY = { nonce = "&nonce=[%w%-_]+", time = "&time=%d+" }

local WELCOME = [[
This demo links one Ring account to a demo user: it exchanges a code, matches the redirect's nonce,
confirms and completes the link, reads the devices and refreshes the tokens. It changes nothing else.
The tokens live in memory and are gone when the demo ends; remove the app in the Ring app afterwards.

The partner's backend listens on %s while the demo runs. If a public
https address of yours leads here, enter these in Ring's portal (in place of YOUR-HOST):
    Token Exchange URL   https://YOUR-HOST%s
    Account Link URL     https://YOUR-HOST/ring/account-link
    Webhook URL          https://YOUR-HOST/ring/webhook
Otherwise keep your own addresses there and paste here what Ring sends to them.]]

local ASK_CODE = [[
Install the app in the Ring app. Paste the code that arrives at the Token Exchange URL (it lives 60
seconds), or press Enter once Ring has brought it here itself.]]

local ASK_REDIRECT = [[
Paste the address that Ring opens (…?nonce=…&time=…; it lives 10 minutes). If it leads here, sign in
there as %s with the password %s, link, and press Enter after that.]]

local function credentials()
  local found, missing = {}, {}
  for name, variable in pairs(CREDENTIALS) do
    found[name] = os.getenv(variable)
    if (found[name] or "") == "" then missing[#missing + 1] = variable end
  end
  table.sort(missing)
  if #missing > 0 then
    error({ failure = "RINGLINK_DEMO_REAL=1 needs " .. table.concat(missing, ", ") .. " in the environment" }, 0)
  end
  found.api_url, found.oauth_url = os.getenv("RINGLINK_API_URL"), os.getenv("RINGLINK_OAUTH_URL")
  found.ca_file = os.getenv("RINGLINK_CA_FILE")
  return found
end

-- The shell reads the line: an interrupt at the prompt then ends the shell, and this process can
-- still clean up.
local function ask(scene, text)
  scene.out:say("\n" .. text)
  io.write("> ")
  io.flush()
  local pipe = assert(io.popen([[IFS= read -r line || test -n "$line" && printf '%s.' "$line"]], "r"))
  local line = pipe:read("*a")
  pipe:close()
  scene.out:say("")
  if line == "" then error({ failure = "nothing was pasted" }, 0) end
  return (line:sub(1, -2):match("^%s*(.-)%s*$"))
end

local function pause() os.execute("sleep " .. WAIT_S) end

-- What comes by a public address of the person's own, without this script.
local function await(scene, name)
  for _ = 1, WAIT_TRIES do
    for _, entry in ipairs(scene.partner:ask("story", { since = scene.seen }).entries) do
      if entry.name == name or entry.name == "exchange_failed" then return end
    end
    pause()
  end
  error({ failure = ("waited %d s in vain for: %s"):format(WAIT_TRIES * WAIT_S, name) }, 0)
end

local function exchange(scene)
  local code = ask(scene, ASK_CODE)
  if code == "" then return await(scene, "exchanged") end
  scene.pasted = true
  scene.out:fact("you", "code=" .. redact.hint(code))
  scene.browser:send("POST", scene.partner.token_exchange_path, { form = { code = code } })
end

local function link(scene)
  local user = scene.partner.user
  local address = ask(scene, ASK_REDIRECT:format(user.email, user.password))
  if address == "" then
    await(scene, "completed")
    return steps.linked(scene)
  end
  local query = address:match("%?([^#%s]+)") or ""
  for name, pattern in pairs(QUERY) do
    scene.out:expect(("&" .. query):find(pattern), "an address with nonce and time; it has no " .. name)
  end
  steps.link(scene, steps.sign_in(scene, query))
end

local function refresh(scene)
  local answer = scene.partner:ask("refresh", { account = scene.account })
  local happened = scene:catch_up()
  scene.out:expect(not answer.error, "a refresh, not " .. tostring(answer.message))
  local access = scene.out:expect(happened.token_rotated, "a new pair of tokens")[1].access
  scene.out:expect(access ~= scene.access, "another access token")
  scene.out:fact("rotated", ("access %s → %s"):format(redact.mark(scene.access), redact.mark(access)))
end

local function prove(scene)
  local info = steps.info(scene)
  scene.out:fact("Ring's PATCH", ("status=%s  %s  updated_at=%s"):format(info.status, info.account_identifier,
    tostring(info.updated_at)))
  scene.out:fact("partner", "state=" .. info.state)
  scene.out:expect(info.state == "completed", "a completed link")
end

--- Plays it all.
function real_story.play(scene)
  local out, ring = scene.out, credentials()
  scene:start_partner()
  scene.partner:open(ring)
  out:say(out:paint("bold", "ringlink demo: a Ring account is linked at Ring itself"))
  out:fact("Ring", ring.api_url or "https://api.amazonvision.com")
  out:say("\n" .. WELCOME:format(scene.partner.origin, scene.partner.token_exchange_path))
  out:headline("The user installs the app: Ring sends a code, the partner exchanges it")
  exchange(scene)
  scene.access = steps.exchanged(scene).access
  out:headline("Ring opens the partner's page: sign in, match, POST, configure, PATCH")
  link(scene)
  out:headline("The partner reads the devices")
  steps.devices(scene)
  out:headline("The tokens are refreshed, and the new ones used")
  refresh(scene)
  steps.devices(scene)
  out:headline("Proof: what Ring's answers say")
  prove(scene)
end

return real_story
