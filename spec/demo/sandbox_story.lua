--- The story against the sandbox: everything from the installation to the removal, and the proof.
--
-- Ring's user, home and clock are played through the sandbox's control plane; all else is real HTTP.

local redact = require "demo.redact"
local steps = require "demo.steps"

local sandbox_story = {}

local MINUTE_MS = 60000

local function install(scene)
  local answer = scene:control("install", {})
  scene.code = answer.code
  scene.out:fact("Ring", "code=" .. redact.hint(answer.code) .. " for " .. redact.id(answer.account))
  local exchanged = steps.exchanged(scene)
  scene.out:expect(answer.delivered[1].status == 200, "the sandbox to see 200 for the code")
  scene.out:expect(exchanged.account == answer.account, "the account the app was installed for")
  scene.out:expect(exchanged.access == scene:state().access_token, "the token that Ring gave")
  return answer
end

-- Every webhook so far was delivered, and these kinds were heard.
local function heard(scene, ...)
  local webhooks = scene:settle()
  local happened = scene:catch_up()
  for _, delivery in ipairs(webhooks) do
    scene.out:expect(delivery.state == "delivered", "the sandbox to see 2xx for its webhooks")
  end
  for _, kind in ipairs { ... } do scene.out:expect(scene.heard[kind], "the webhook " .. kind) end
  return happened
end

local function link(scene, redirect)
  steps.link(scene, steps.sign_in(scene, redirect:match("%?(.*)$")))
  heard(scene, "app_integration_added", "device_added")
  local state = scene:state()
  scene.out:expect(state.status == "completed" and state.confirmed, "the sandbox to say completed")
end

local function calls_of(happened)
  local list = {}
  for i, entry in ipairs(happened.response or {}) do list[i] = entry.stage .. " " .. tostring(entry.status) end
  return table.concat(list, ", ")
end

local function rotated(scene, before)
  local after = scene:state()
  scene.out:expect(after.access_token ~= before.access_token and after.refresh_token ~= before.refresh_token,
    "a new pair of tokens")
  scene.out:fact("rotated", ("access %s → %s, refresh %s → %s"):format(redact.mark(before.access_token),
    redact.mark(after.access_token), redact.mark(before.refresh_token), redact.mark(after.refresh_token)))
end

local function let_token_lapse(scene)
  local before, state = scene:state()
  local pass_ms = before.access_expires_ms - state.now_ms + MINUTE_MS
  scene:control("clock", { advance_ms = pass_ms })
  scene.partner:ask("clock", { advance_ms = pass_ms })
  scene.out:fact("both clocks", ("%.0f minutes pass: the access token has lapsed"):format(pass_ms / MINUTE_MS))
  local happened = steps.devices(scene)
  scene.out:expect(calls_of(happened) == "refresh 200, request 200", "one refresh, then the call")
  rotated(scene, before)
end

local function recover(scene)
  local before = scene:state()
  scene:control("expire", { account = scene.account, tokens = "access" })
  scene.out:fact("Ring", "stops accepting access=" .. redact.mark(before.access_token))
  local happened = steps.devices(scene)
  scene.out:expect(calls_of(happened) == "request 401, refresh 200, request 200", "401, one refresh, the call again")
  rotated(scene, before)
end

local function motion(scene)
  scene:control("event", { account = scene.account, type = "motion_detected", subType = "human" })
  local happened = heard(scene, "motion_detected")
  scene.out:expect(happened.received[1].result == "processed", "the event to be acted on")
end

local function unlink(scene)
  scene.completed = scene:state()
  scene:control("unlink", { account = scene.account })
  local happened = heard(scene, "app_integration_removed")
  scene.out:expect(happened.unlinked, "ringlink to forget the link")
  local answer = scene.partner:ask("devices", { account = scene.account })
  scene.out:expect(answer.error == "unlinked" and scene:catch_up().calls == 0, "no further call to Ring")
  scene.out:fact("partner", "answers a further call with \"unlinked\"; nothing reaches Ring")
end

local function describe(row)
  if row.confirmed then
    return ("status=%s  confirmed  %s  updated_at=%s"):format(row.status, row.account_identifier, row.updated_at)
  end
  return ("status=%s  no integration  tokens %s"):format(row.status, row.revoked and "revoked" or "alive")
end

local function prove(scene)
  local after, state = scene:state()
  local out, info = scene.out, steps.info(scene)
  out:fact("before", describe(scene.completed))
  out:fact("after", describe(after))
  out:fact("partner", "state=" .. info.state)
  out:expect(scene.completed.status == "completed" and scene.completed.confirmed, "completed before")
  out:expect(after.status == "unlinked" and after.revoked and not after.confirmed, "unlinked, revoked after")
  out:expect(state.accounts[1].status == "unlinked" and state.accounts[1].grants == 0, "no grant to be left")
  out:expect(info.state == "unlinked", "the partner to know that too")
  local connections, version = 0, nil
  for _, http in pairs(scene.connections) do connections, version = connections + 1, http end
  out:fact("wire", ("%d calls to Ring over TLS, HTTP/%s, %d connection%s"):format(scene.calls, tostring(version),
    connections, connections == 1 and "" or "s"))
end

--- Plays it all.
function sandbox_story.play(scene)
  local out = scene.out
  scene:start_partner()
  scene:start_sandbox()
  scene.partner:open(scene.ring)
  out:say(out:paint("bold", "ringlink demo: a Ring account is linked against the strict sandbox"))
  out:fact("Ring", scene.ring.api_url .. "  (sandbox, TLS, certificate verified)")
  out:fact("partner", scene.partner.origin .. "  (nginx, ringlink, runtime \"blocking\", store \"memory\")")
  out:headline("The user installs the app: Ring sends a code, the partner exchanges it")
  local answer = install(scene)
  out:headline("Ring opens the partner's page: sign in, match, POST, configure, PATCH")
  link(scene, answer.redirect)
  out:headline("The partner reads the devices")
  steps.devices(scene)
  out:headline("Time passes: the token is refreshed before it is used")
  let_token_lapse(scene)
  out:headline("Ring refuses a token that looked good: 401 and recovery")
  recover(scene)
  out:headline("Somebody moves at the front door: a signed webhook")
  motion(scene)
  out:headline("The user removes the app: unlink webhook")
  unlink(scene)
  out:headline("Proof: what the sandbox itself says")
  prove(scene)
end

return sandbox_story
