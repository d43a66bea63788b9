--- The steps that both stories share: from the redirect to a completed link, and devices.

local redact = require "demo.redact"

local steps = {}

local function field(text, name) return text:match("[?&]" .. name .. "=([^&#]*)") end

--- What came of a code at the Token Exchange URL: 200 at once, then an unclaimed account.
function steps.exchanged(scene)
  local happened, out = scene:catch_up(), scene.out
  local received = out:expect(happened.received, "a code at the Token Exchange URL")[1]
  out:expect(received.status == 200, "200 from the Token Exchange URL")
  local failed = happened.exchange_failed and happened.exchange_failed[1].error
  out:expect(not failed, "the exchange to work, not " .. tostring(failed))
  local exchanged = out:expect(happened.exchanged, "an exchanged code")[1]
  out:expect(exchanged.n > received.n and happened.response[1].stage == "exchange", "the 200 before the exchange")
  scene.account = exchanged.account
  return exchanged
end

--- The browser follows Ring's redirect and signs in at the partner's.
---@param query string raw, with nonce and time
function steps.sign_in(scene, query)
  local out = scene.out
  scene.nonce = field("?" .. query, "nonce")
  local answer = scene:browse("GET", "/ring/account-link?" .. query, nil,
    { "nonce=" .. redact.hint(scene.nonce), "time=" .. tostring(field("?" .. query, "time")) })
  out:expect(answer.status == 303, "303 from the Account Link URL")
  out:expect(not answer.headers.location:find("nonce", 1, true), "the query to be dropped")
  local page = scene:browse("GET", answer.headers.location)
  local user = scene.partner.user
  answer = scene:submit(page, { email = user.email, password = user.password },
    { "email=" .. user.email, "password=****" })
  out:expect(answer.status == 303, "303 after the sign-in")
  return scene:browse("GET", answer.headers.location)
end

local function position(happened, name) return happened[name] and happened[name][1].n or math.huge end

local function call_position(happened, method)
  for _, entry in ipairs(happened.response or {}) do
    if entry.method == method then return entry.n, entry.status end
  end
  return math.huge
end

--- What came of the button on the partner's page: match, POST, configure, PATCH.
function steps.linked(scene)
  local out, happened = scene.out, scene:catch_up()
  local post, post_status = call_position(happened, "POST")
  local patch, patch_status = call_position(happened, "PATCH")
  out:expect(post_status == 200 and patch_status == 200, "POST and PATCH to answer 200")
  out:expect(position(happened, "matched") < post and post < position(happened, "configure")
    and position(happened, "configure") < patch, "match, POST, configure, PATCH in this order")
  out:expect(happened.completed and happened.completed[1].status == "completed", "a completed link")
end

--- The user confirms on the partner's page.
---@param page table the page with the form
function steps.link(scene, page)
  local out = scene.out
  out:expect(scene:catch_up().count == 0, "nothing to be linked by a GET")
  local answer = scene:submit(page, {}, { "csrf=****" })
  scene:settle()
  if answer.status ~= 303 then scene:catch_up() end
  out:expect(answer.status == 303, "the link to work, not " .. answer.status)
  steps.linked(scene)
  answer = scene:browse("GET", answer.headers.location)
  out:expect(answer.body:find("completed", 1, true), "the partner's page to say completed")
end

--- The partner reads the devices.
---@return table happened
function steps.devices(scene)
  local answer = scene.partner:ask("devices", { account = scene.account })
  local happened = scene:catch_up()
  scene.out:expect(not answer.error, "devices, not " .. tostring(answer.message))
  scene.out:fact("devices", ("%d: %s"):format(answer.count, answer.names))
  return happened
end

--- The partner's view of the account.
function steps.info(scene)
  local info = scene.partner:ask("info", { account = scene.account })
  scene.out:expect(not info.error, "an account, not " .. tostring(info.message))
  return info
end

return steps
