--- The steps that both stories share: from the code to a completed link, devices, a refresh.

local redact = require "demo.redact"
local stage = require "demo.scene"

local steps = {}

local function field(text, name) return text:match("[?&]" .. name .. "=([^&#]*)") end

-- What became of the codes so far, but that they were accepted.
local function outcome(scene)
  for name, count in pairs(scene:figures().ringlink_token_exchanges_total) do
    if name ~= "accepted" and count > 0 then return name end
  end
end

--- The code has come to the Token Exchange URL, which answered at once: it is exchanged after that.
function steps.exchanged(scene)
  local out = scene.out
  local came_of_it = scene:await("a code at the Token Exchange URL", function() return outcome(scene) end)
  out:expect(came_of_it == "exchanged", "the exchange to work, not " .. came_of_it)
end

--- The browser follows Ring's redirect to the partner's sign-in, mistypes the password, and comes back to
--- the question.
---@param query string raw, with nonce and time
---@return table page with the question
function steps.sign_in(scene, query)
  local out, user = scene.out, scene.partner.user
  scene.nonce = field("?" .. query, "nonce")
  scene.secrets["the nonce"] = scene.nonce
  local answer = scene:browse("GET", "/ring/link?" .. query, nil, { "nonce=" .. redact.hint(scene.nonce) })
  out:expect(answer.status == 303, "303 from the Account Link URL, not " .. answer.status)
  out:expect(not answer.headers.location:find(scene.nonce, 1, true), "the query to be dropped")
  local page = scene:follow(answer)
  scene:says(page, "Sign in")
  page = scene:submit(page, { email = user.email, password = "a mistake" }, { "password=wrong" })
  scene:says(page, "This e-mail and password do not belong together.", stage.ALERT)
  out:expect(not scene.browser.cookies["__Host-session"], "nobody to be signed in by a wrong password")
  page = scene:follow(scene:submit(page, { email = user.email, password = user.password }, { "password=****" }))
  scene.secrets["the session"] = out:expect(scene.browser.cookies["__Host-session"], "a session after the sign-in")
  return page
end

--- The user presses the button.
---@param page table with the question
---@param told fun() called when it is done, before the user sees it
function steps.connect(scene, page, told)
  local answer = scene:submit(page, {}, { "csrf=****" })
  told()
  scene:says(scene:follow(answer), "Ring is connected")
end

--- The user's only account, as the script finds it in the file that nginx writes.
---@return table account
function steps.account(scene)
  local found = {}
  for account in scene.partner.client:accounts { user = scene.partner.user.email } do found[#found + 1] = account end
  scene.out:expect(#found == 1, "one account of this user in the store, not " .. #found)
  return found[1]
end

-- What must never be in a row or a log as it is.
local function note_token(scene, account)
  local token = scene.out:expect(account:access_token(), "an access token"):reveal()
  scene.secrets["access token " .. redact.mark(redact.fingerprint(token))] = token
  return redact.fingerprint(token)
end

--- Looks for everything secret in what the backend wrote.
---@return string told
function steps.search(scene)
  local files, found = scene.partner:search(scene.secrets)
  local count = 0
  for _ in pairs(scene.secrets) do count = count + 1 end
  scene.out:expect(not found, "no secret in what the backend wrote; there is " .. tostring(found))
  return ("%d of this run, searched for in %d files of rows and logs: none is there"):format(count, files)
end

--- The script reads the devices.
---@return string told
function steps.devices(scene, account)
  local body, err = account:get("/v1/devices", { include = "status" })
  local names = {}
  scene.out:expect(body, "devices, not " .. tostring(err))
  for i, device in ipairs(body.data) do names[i] = device.attributes and device.attributes.name or device.id end
  note_token(scene, account)
  return ("reads %d devices: %s"):format(#names, table.concat(names, ", "))
end

--- The script refreshes the tokens.
---@return string told
function steps.refresh(scene, account)
  local before = note_token(scene, account)
  local done, err = account:refresh { force = true }
  scene.out:expect(done, "a refresh, not " .. tostring(err))
  local after = note_token(scene, account)
  scene.out:expect(before ~= after, "another access token")
  return ("has refreshed the tokens: access=%s is followed by access=%s"):format(redact.mark(before),
    redact.mark(after))
end

return steps
