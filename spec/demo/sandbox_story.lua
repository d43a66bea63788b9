--- The story against the sandbox: everything from the installation to the removal, and the proof.
--
-- Ring's user, home and trouble are played through the sandbox's control plane; all else is real HTTPS.

local calls = require "demo.calls"
local partner = require "demo.partner"
local redact = require "demo.redact"
local stage = require "demo.scene"
local steps = require "demo.steps"

local sandbox_story = {}

local function install(scene)
  local out, answer = scene.out, scene:control("install", {})
  scene.code, scene.account_id, scene.secrets["the code"] = answer.code, answer.account, answer.code
  out:step("Ring → partner", "POST", redact.path("/ring/token/" .. scene.partner.at.secret),
    answer.delivered[1].status, { "code=" .. redact.hint(answer.code) })
  out:expect(answer.delivered[1].status == 200, "the Token Exchange URL to answer 200")
  steps.exchanged(scene)
  scene:called("partner", "token 200, me 200")
  return answer.redirect:match("%?(.*)$")
end

local function question(scene, query)
  local page = steps.sign_in(scene, query)
  scene:says(page, "Connect Ring to d***r@partner.example.com?")
  scene:called("partner", "")
  return page
end

local function connect(scene, question_page)
  scene:control("faults", { call = "complete", drop = "after" })
  steps.connect(scene, question_page, function()
    scene:called("partner", "confirm 200, complete lost, complete 400")
    scene.out:fact("nginx", "takes that refusal for what it is: the first PATCH had worked")
  end)
  scene:webhooks "app_integration_added 200, device_added 200, device_added 200"
  local state = scene:state()
  scene.out:expect(state.status == "completed" and state.confirmed, "the sandbox to say completed")
end

-- The homepage, where the one link is in this state.
local function home(scene, state)
  local page = scene:browse("GET", "/ring/home")
  scene:says(page, "Ring and Demo Partner")
  scene:says(page, state, stage.STATE)
  return page
end

local function press(scene, page, button)
  local answer = scene:submit(page, {}, { "do=" .. button }, { "do", button })
  scene.out:expect(answer.status == 303, "303 after " .. button .. ", not " .. answer.status)
end

local function look_after(scene)
  local before = scene:state()
  scene:control("expire", { account = scene.account_id, tokens = "access" })
  scene.out:fact("Ring", "stops accepting access=" .. redact.mark(before.access_token))
  press(scene, scene.homepage, "pause")
  scene:called("partner", "update 401, refresh 200, update 200")
  scene.out:expect(scene:state().status == "awaiting", "the sandbox to say awaiting")
  press(scene, home(scene, "Paused"), "resume")
  scene:called("partner", "complete 200")
  home(scene, "Connected")
end

local function restart(scene)
  local out, user = scene.out, scene.partner.user
  scene.counted_before = calls.counted(scene)
  scene.browser:close()
  scene.partner.server:restart()
  out:fact("nginx", "has ended and was started anew; who was signed in is forgotten")
  local page = scene:follow(scene:browse("GET", "/ring/home"))
  page = scene:follow(scene:submit(page, { email = user.email, password = user.password }, { "password=****" }))
  scene:says(page, "Connected", stage.STATE)
  scene.homepage = page
end

local function script(scene)
  local out, before = scene.out, scene:state()
  scene.account = steps.account(scene)
  local told = steps.devices(scene, scene.account)
  scene:called("script", "devices 200")
  out:fact("script", told)
  told = steps.refresh(scene, scene.account)
  scene:called("script", "refresh 200")
  out:fact("script", told)
  local after = scene:state()
  out:expect(before.refresh_token ~= after.refresh_token, "another refresh token")
end

local function counted_webhooks(scene)
  local counts = scene:figures().ringlink_webhooks_total
  return counts.processed or 0, counts.duplicate or 0, counts.signature or 0
end

local function motion(scene)
  local event = { account = scene.account_id, type = "motion_detected", subType = "human", times = 2 }
  scene:control("event", event)
  scene:webhooks "motion_detected 200, motion_detected 200"
  event.times, event.signature = 1, "wrong"
  scene:control("event", event)
  scene:webhooks("motion_detected 401", "wrongly signed")
  scene:await("one event to be acted on, one to be known, one to be refused", function()
    local processed, known, refused = counted_webhooks(scene)
    return processed > 0 and known > 0 and refused == 1
  end)
  scene.out:expect(counted_webhooks(scene) == 1, "the event to be acted on once only")
  scene.out:fact("nginx", "acted on it once")
end

-- A stranger has learned the address and posts junk: what Ring refuses stands on the status page.
local function junk(scene)
  scene.code = "junk-of-a-stranger"
  scene.secrets["a stranger's code"] = scene.code
  local address = "/ring/token/" .. scene.partner.at.secret
  local answer = scene.browser:send("POST", address, { form = { code = scene.code } })
  scene.out:step("stranger → partner", "POST", redact.path(address), answer.status,
    { "code=" .. redact.hint(scene.code) })
  scene:await("Ring to refuse that code", function()
    return scene:figures().ringlink_token_exchanges_total.exchange_refused
  end)
  scene:called("partner", "token 400")
end

local function run_it(scene)
  local out, address = scene.out, scene.partner:admin "status"
  junk(scene)
  local html = scene.browser:send("GET", address).body
  local failure = out:expect(partner.failures(html)[1], "a failure on the status page")
  out:expect(failure.code == "exchange_refused", "the refusal on the status page, not " .. failure.code)
  out:fact("status page", ("%s: “%s”"):format(failure.code, failure.advice))
  local linked = scene:figures().ringlink_accounts.completed
  out:expect(linked == 1, "one completed account, not " .. tostring(linked))
  out:fact("metrics", ('ringlink_accounts{state="completed"} %d'):format(linked))
end

local function unlink(scene)
  local out = scene.out
  scene.completed = scene:state()
  scene:control("unlink", { account = scene.account_id })
  scene:webhooks "app_integration_removed 200"
  scene:await("ringlink to know that it is unlinked", function() return scene.account:state() == "unlinked" end)
  scene:says(scene:browse("GET", "/ring/home"), "Ring is not connected")
  local body, err = scene.account:get("/v1/devices")
  out:expect(not body and err.code == "unlinked", "the script to be told that the account is unlinked")
  scene:called("script", "")
  out:fact("script", "is told \"unlinked\"; nothing reaches Ring")
end

local function describe(row)
  if row.confirmed then
    return ("status=%s  confirmed  %s  updated_at=%s"):format(row.status, row.account_identifier, row.updated_at)
  end
  return ("status=%s  no integration  tokens %s"):format(row.status, row.revoked and "revoked" or "alive")
end

local function sum(counts)
  local total = 0
  for _, count in pairs(counts) do total = total + count end
  return total
end

local function prove_wire(scene)
  local connections, version = 0, nil
  for _, http in pairs(scene.calls.connections) do connections, version = connections + 1, http end
  local counted = sum(scene.counted_before) + sum(calls.counted(scene))
  scene.out:fact("wire", ("%d calls over TLS, HTTP/%s, %d connections; ringlink counted %d"):format(
    scene.calls.count, tostring(version), connections, counted))
  scene.out:expect(counted == scene.calls.count, "ringlink's figures to be those of Ring's journal")
end

local function prove(scene)
  local out, after, state = scene.out, scene:state()
  out:fact("before", describe(scene.completed))
  out:fact("after", describe(after))
  out:expect(scene.completed.status == "completed" and scene.completed.confirmed, "completed before")
  out:expect(after.status == "unlinked" and after.revoked and not after.confirmed, "unlinked, revoked after")
  out:expect(state.accounts[1].status == "unlinked" and state.accounts[1].grants == 0, "no grant to be left")
  prove_wire(scene)
  out:fact("secrets", steps.search(scene))
end

local ACTS = {
  { "A user installs the app: Ring sends a code, nginx exchanges it", install },
  { "Ring opens the partner's page: the user signs in, and is asked", question },
  { "The user says yes: match, POST, configure, PATCH", connect },
  { "nginx is restarted: the link lies on the disk", restart },
  { "A script on the same machine shares the link and its tokens", script },
  { "The user pauses and resumes, and Ring refuses a token meanwhile", look_after },
  { "Somebody moves at the front door: the webhook twice, then a forged one", motion },
  { "For those who run it: the status page, figures for Prometheus", run_it },
  { "The user removes the app", unlink },
  { "Proof: what the sandbox itself says, and what is on the disk", prove },
}

--- Plays it all.
function sandbox_story.play(scene)
  local out, given = scene.out, nil
  scene:start()
  out:say(out:paint("bold", "ringlink demo: a Ring account is linked against the strict sandbox"))
  out:fact("Ring", scene.ring.api_url .. "  (sandbox, TLS, certificate verified)")
  out:fact("partner", scene.partner.at.origin .. "  (nginx with lua/ringlink/resty/example, rows sealed in SQLite)")
  for _, act in ipairs(ACTS) do
    out:headline(act[1])
    given = act[2](scene, given)
  end
end

return sandbox_story
