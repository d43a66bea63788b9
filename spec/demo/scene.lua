--- The stage: the partner's backend, the browser, and Ring (the sandbox, or the real one).
--
-- Whatever is asked of the backend here is a line of the demo. Calls to Ring are told by `calls`.

local browser = require "demo.browser"
local calls = require "demo.calls"
local core = require "ringlink.core"
local page = require "support.page"
local partner = require "demo.partner"
local redact = require "demo.redact"
local sandbox = require "ringlink.sandbox"

local Scene = {}
Scene.__index = Scene

local scene = { STATE = 'span class="state', ALERT = 'p class="alert"' }

local PATIENCE_MS, TURN_MS, HOPS_MAX = 60000, 10, 6

---@param out table a report
function scene.new(out)
  return setmetatable({ out = out, delivered = 0 }, Scene)
end

--- Starts the partner's backend for a Ring, by default for a strict one of our own, over TLS.
---@param ring table|nil credentials, and addresses if they are not ringlink's own
function Scene:start(ring)
  self.partner = partner.new()
  if not ring then ring = self:start_sandbox() end
  self.partner:start(ring)
  self.calls = self.ring and calls.of_sandbox(self) or calls.of_figures(self)
  self.browser = browser.open(self.partner.at.origin, self.partner.server.ca_file)
  local user = self.partner.user
  self.secrets = { ["the client secret"] = ring.client_secret, ["the HMAC key"] = ring.hmac_key,
    ["the exchange secret"] = self.partner.at.secret, ["the e-mail"] = user.email, ["the password"] = user.password }
end

--- The sandbox, which knows the partner's addresses.
function Scene:start_sandbox()
  local at = self.partner.at
  local ring, problem = sandbox.start { prefix = self.partner.directory .. "/ring", tls = true, detached = true,
    token_exchange_url = at.token_exchange_url, account_link_url = at.account_link_url, webhook_url = at.webhook_url }
  self.ring = ring or error("the sandbox did not start: " .. tostring(problem), 0)
  return ring
end

--- Ends everything; harmless when only a part of it was started. Signals wait meanwhile.
---@return boolean clean
function Scene:stop()
  core.hold_signals()
  if self.browser then self.browser:close() end
  local clean = self.partner == nil or self.partner:stop()
  core.release_signals()
  return clean
end

-- Waiting -------------------------------------------------------------------------------------

--- Waits until a condition holds, and fails with what was expected when it never does.
---@param text string
---@param condition fun(): any
---@return any
function Scene:await(text, condition)
  local give_up_ms = core.monotonic_ms() + PATIENCE_MS
  while true do
    local answer = condition()
    if answer then return self.out:expect(answer, text) end
    if core.monotonic_ms() >= give_up_ms then return self.out:expect(false, text) end
    core.sleep_ms(TURN_MS)
  end
end

--- A line of whoever sits at the terminal; nil at its end. The shell reads it: an interrupt at the prompt
--- then ends the shell, and this process can still clean up.
---@return string|nil
function Scene.read_line()
  io.write("> ")
  io.flush()
  local pipe = assert(io.popen([[IFS= read -r line || test -n "$line" && printf '%s.' "$line"]], "r"))
  local line = pipe:read("*a")
  pipe:close()
  if line == "" then return nil end
  return (line:sub(1, -2):match("^%s*(.-)%s*$"))
end

-- Ring ----------------------------------------------------------------------------------------

--- Calls the sandbox's control plane.
function Scene:control(name, fields)
  local answer, problem = self.ring:control(name, fields)
  if not answer then error({ failure = ("the sandbox refused %s: %s"):format(name, tostring(problem)) }, 0) end
  return answer
end

--- The sandbox's view of the newest grant, and all of it.
function Scene:state()
  local state = self:control("state")
  return state.integrations[#state.integrations], state
end

--- Tells the calls to Ring that were made since the last time, and insists that they were these.
---@param who string
---@param wanted string as calls.lua sums them up
function Scene:called(who, wanted)
  local made = self.calls:tell(who)
  self.out:expect(made == wanted, ("the calls to Ring to be: %s, not: %s"):format(wanted, made))
end

-- Prints one delivery.
local function tell_webhook(self, webhook, note)
  local attempt = webhook.attempts[#webhook.attempts] or {}
  local answer = tostring(attempt.status or attempt.error)
  self.out:step("Ring → partner", "POST", "/ring/webhook", answer, { webhook.type, note })
  return webhook.type .. " " .. answer
end

--- Lets the sandbox's webhooks arrive, prints them, and insists that they were these.
---@param wanted string like "device_added 200, device_added 200", in the order of letters
---@param note string|nil something about them
function Scene:webhooks(wanted, note)
  local list, came = self:control("deliver", {}).webhooks, {}
  for i = self.delivered + 1, #list do came[#came + 1] = tell_webhook(self, list[i], note) end
  self.delivered = #list
  table.sort(came)
  local said = table.concat(came, ", ")
  self.out:expect(said == wanted, ("the webhooks to be: %s, not: %s"):format(wanted, said))
end

-- The partner ---------------------------------------------------------------------------------

--- What /metrics says now.
---@return table<string, table<string, number>>
function Scene:figures()
  return partner.figures(self.browser:send("GET", self.partner:admin("metrics")).body)
end

-- What a page is about: the state of a link, what went wrong, its heading.
local function gist(answer)
  return page.words(answer.body, scene.STATE) or page.words(answer.body, scene.ALERT)
    or page.words(answer.body, "h1") or ""
end

--- The browser asks for something; the line shows what came.
---@param method string
---@param address string
---@param options table|nil `{form}`
---@param details string[]|nil what to show of the request
---@return table answer
function Scene:browse(method, address, options, details)
  local answer = self.browser:send(method, address, options)
  local shown, location = {}, answer.headers.location
  for i, detail in ipairs(details or {}) do shown[i] = detail end
  shown[#shown + 1] = location and "→ " .. redact.path(location) or "“" .. gist(answer) .. "”"
  self.out:step("browser → partner", method, redact.path(answer.address), answer.status, shown)
  return answer
end

--- Goes where a redirect leads, up to the page at the end.
---@param answer table
---@return table answer
function Scene:follow(answer)
  for _ = 1, HOPS_MAX do
    if answer.status ~= 303 then return answer end
    answer = self:browse("GET", answer.headers.location)
  end
  return self.out:expect(false, "redirects to come to an end")
end

--- Posts a form of a page, filled in.
---@param answer table the page
---@param filled table<string, string>
---@param details string[]
---@param choose string[]|nil the form that has this field with this value
---@return table answer
function Scene:submit(answer, filled, details, choose)
  local form = self.out:expect(browser.form_of(answer, choose), "a form on the page")
  for name, value in pairs(filled) do
    self.out:expect(form.fields[name] ~= nil, "the form to ask for " .. name)
    form.fields[name] = value
  end
  return self:browse("POST", form.action, { form = form.fields }, details)
end

--- Insists that a page says this.
---@param answer table
---@param words string
---@param tag string|nil the element that says it, h1 when none is given
function Scene:says(answer, words, tag)
  local said = page.words(answer.body, tag or "h1")
  self.out:expect(said == words, ("the page to say “%s”, not “%s”"):format(words, tostring(said)))
end

return scene
