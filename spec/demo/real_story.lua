--- The story against Ring itself: the person at the terminal is Ring's user and messenger.
--
-- Chosen by RINGLINK_DEMO_REAL=1; credentials come from the environment. Code and redirect URL come
-- from stdin, never from arguments. Nothing of them is printed but how they begin.

local redact = require "demo.redact"
local steps = require "demo.steps"

local real_story = {}

local CREDENTIALS = { client_id = "RING_CLIENT_ID", client_secret = "RING_CLIENT_SECRET", hmac_key = "RING_HMAC_KEY" }
local QUERY = { nonce = "&nonce=[%w%-_]+", time = "&time=%d+" }

local WELCOME = [[
This demo links one Ring account to a demo user: it exchanges a code, matches the redirect's nonce,
confirms and completes the link, reads the devices and refreshes the tokens. It changes nothing else.
The tokens lie sealed in a directory that is removed when the demo ends; remove the app in the Ring app
afterwards.

The partner's backend listens on %s while the demo runs, with a certificate made for it.
If a public https address of yours leads here, enter these in Ring's portal (in place of YOUR-HOST):
    Token Exchange URL   https://YOUR-HOST/ring/token/%s
    Account Link URL     https://YOUR-HOST/ring/link
    Webhook URL          https://YOUR-HOST/ring/webhook
Otherwise keep your own addresses there and paste here what Ring sends to them.]]

local ASK_CODE = [[
Install the app in the Ring app. Paste the code that arrives at the Token Exchange URL (it lives 60
seconds), or press Enter once Ring has brought it here itself.]]

local ASK_REDIRECT = [[
Paste the address that Ring opens (…?nonce=…&time=…; it lives 10 minutes). If it leads here, sign in
there as %s with the password %s, connect, and press Enter after that.]]

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

local function ask(scene, text)
  scene.out:say("\n" .. text)
  local line = scene.read_line()
  scene.out:say("")
  return line or error({ failure = "nothing was pasted" }, 0)
end

local function exchange(scene)
  local code = ask(scene, ASK_CODE)
  if code ~= "" then
    local address = "/ring/token/" .. scene.partner.at.secret
    scene.secrets["the code"] = code
    local answer = scene.browser:send("POST", address, { form = { code = code } })
    scene.out:step("demo → partner", "POST", redact.path(address), answer.status, { "code=" .. redact.hint(code) })
  end
  steps.exchanged(scene)
  scene.calls:tell("partner")
end

local function link(scene)
  local user = scene.partner.user
  local address = ask(scene, ASK_REDIRECT:format(user.email, user.password))
  if address == "" then return scene.calls:tell("partner") end
  local query = address:match("%?([^#%s]+)") or ""
  for name, pattern in pairs(QUERY) do
    scene.out:expect(("&" .. query):find(pattern), "an address with nonce and time; it has no " .. name)
  end
  local page = steps.sign_in(scene, query)
  scene:says(page, "Connect Ring to d***r@partner.example.com?")
  steps.connect(scene, page, function() scene.calls:tell("partner") end)
end

local function tell(scene, step)
  local told = step(scene, scene.account)
  scene.calls:tell("script")
  scene.out:fact("script", told)
end

local function prove(scene)
  local out, info = scene.out, scene.account:info()
  out:expect(info.state == "completed", "a completed link, not " .. info.state)
  out:fact("Ring's PATCH", ("status=%s  %s  updated_at=%s"):format(tostring(info.status), info.account_identifier,
    tostring(info.updated_at)))
  out:fact("secrets", steps.search(scene))
end

--- Plays it all.
function real_story.play(scene)
  local out, ring = scene.out, credentials()
  scene:start(ring)
  out:say(out:paint("bold", "ringlink demo: a Ring account is linked at Ring itself"))
  out:fact("Ring", ring.api_url or "https://api.amazonvision.com")
  out:say("\n" .. WELCOME:format(scene.partner.at.origin, scene.partner.at.secret))
  out:headline("The user installs the app: Ring sends a code, nginx exchanges it")
  exchange(scene)
  out:headline("Ring opens the partner's page: sign in, match, POST, configure, PATCH")
  link(scene)
  out:headline("A script on the same machine reads the devices")
  scene.account = steps.account(scene)
  tell(scene, steps.devices)
  out:headline("The tokens are refreshed, and the new ones used")
  tell(scene, steps.refresh)
  tell(scene, steps.devices)
  out:headline("Proof: what Ring's answers say, and what is on the disk")
  prove(scene)
end

return real_story
