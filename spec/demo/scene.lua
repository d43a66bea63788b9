--- The stage: the partner's backend, the browser, and Ring (the sandbox, or the real one).
--
-- `catch_up` turns what happened since the last call into lines: the backend's own story is the
-- thread, and each call it says it made is held against the sandbox's journal, from which the lines
-- take what went over the wire. Against the real Ring there is no journal, only the backend's word.

local core = require "ringlink.core"
local http = require "demo.http"
local partner = require "demo.partner"
local process = require "ringlink.sandbox.process"
local redact = require "demo.redact"
local sandbox = require "ringlink.sandbox"

local Scene = {}
Scene.__index = Scene

local scene = {}

---@param out table a report
function scene.new(out)
  return setmetatable({ out = out, seen = 0, journal_seen = 0, calls = 0, connections = {}, heard = {} }, Scene)
end

function Scene:start_partner()
  self.partner = partner.start()
  self.browser = http.open(self.partner.origin)
end

--- A strict Ring of our own, over TLS, that knows the partner's addresses. It lives in the partner's
--- directory, so that it is found and ended even when its start is interrupted.
function Scene:start_sandbox()
  local problem
  self.ring_prefix = self.partner.prefix .. "/ring"
  self.ring, problem = sandbox.start { prefix = self.ring_prefix, tls = true,
    token_exchange_url = self.partner.token_exchange_url,
    account_link_url = self.partner.account_link_url, webhook_url = self.partner.webhook_url }
  if not self.ring then error("the sandbox did not start: " .. tostring(problem), 0) end
end

local function stop_ring(self)
  if self.ring then return self.ring:stop() end
  local started = self.ring_prefix and process.exists(self.ring_prefix .. "/settings.json")
  return not started or sandbox.stop(self.ring_prefix)
end

--- Ends everything; harmless when only a part of it was started. Signals wait meanwhile.
---@return boolean clean
function Scene:stop()
  core.hold_signals()
  if self.browser then self.browser:close() end
  local clean = stop_ring(self) and (self.partner == nil or self.partner:stop())
  core.release_signals()
  return clean
end

--- Calls the sandbox's control plane.
function Scene:control(name, fields)
  local answer, problem = self.ring:control(name, fields)
  if not answer then error({ failure = ("the sandbox refused %s: %s"):format(name, tostring(problem)) }, 0) end
  return answer
end

--- Lets everything that is on its way arrive: the sandbox's webhooks.
---@return table[]|nil webhooks the sandbox's list of deliveries
function Scene:settle()
  return self.ring and self:control("deliver", {}).webhooks
end

--- The sandbox's view of the newest grant, and all of it.
function Scene:state()
  local state = self:control("state")
  return state.integrations[#state.integrations], state
end

-- One call to Ring ----------------------------------------------------------------------------

local function tokens_of(self)
  local newest = self:state()
  return { "→", "access=" .. redact.mark(newest.access_token), "refresh=" .. redact.mark(newest.refresh_token) }
end

local function secret_details(self, row)
  local details = {}
  for _, name in ipairs { "code", "nonce" } do
    if row[name] then
      self.out:expect(row[name] == redact.fingerprint(self[name]), "the very same " .. name .. " to reach Ring")
      details[#details + 1] = name .. "=" .. redact.hint(self[name])
    end
  end
  if row.refresh_token then details[#details + 1] = "refresh=" .. redact.mark(row.refresh_token) end
  if row.bearer then details[#details + 1] = "bearer=" .. redact.mark(row.bearer) end
  return details
end

local function row_details(self, row)
  local details = secret_details(self, row)
  if row.call == "complete" then details[#details + 1] = "status=completed" end
  if row.call == "me" and row.status == 200 then details[#details + 1] = "→ " .. redact.id(row.account) end
  if (row.call == "token" or row.call == "refresh") and row.status == 200 then
    for _, detail in ipairs(tokens_of(self)) do details[#details + 1] = detail end
  end
  return details
end

local function same_call(entry, row)
  return row and row.method == entry.method and redact.path(row.path) == entry.path and row.status == entry.status
end

local function show_call(self, entry, rows)
  self.calls = self.calls + 1
  if not self.ring then
    return self.out:step("partner → Ring", entry.method, entry.path, entry.status or entry.error, { entry.stage })
  end
  local row = table.remove(rows, 1)
  self.out:expect(same_call(entry, row), ("Ring's journal to hold %s %s → %s, as ringlink tells"):format(
    entry.method, entry.path, tostring(entry.status or entry.error)))
  self.connections[row.connection] = row.http
  self.out:step("partner → Ring", row.method, row.path, row.status, row_details(self, row))
end

-- What the backend notes ----------------------------------------------------------------------

local function show_received(self, entry)
  local details = {}
  for _, name in ipairs { "code", "signature", "result" } do
    if entry[name] then details[#details + 1] = (name == "result" and "" or name .. "=") .. entry[name] end
  end
  local who = self.pasted and entry.code and "demo" or "Ring"
  self.out:step(who .. " → partner", entry.method, entry.path, entry.status, details)
end

local function show_hook(self, entry)
  local details = { redact.id(entry.account) }
  if entry.user then details[#details + 1] = "user=" .. entry.user end
  if entry.identifier then details[#details + 1] = entry.identifier end
  if entry.access then details[#details + 1] = "access=" .. redact.mark(entry.access) end
  if entry.type then details[#details + 1] = entry.type .. (entry.sub_type and "/" .. entry.sub_type or "") end
  if entry.error then details[#details + 1] = entry.error end
  self.out:step("partner", "hook", entry.name, nil, details)
end

local SHOWN = { response = show_call, received = show_received }

local function index(entries)
  local found = { count = #entries }
  for _, entry in ipairs(entries) do
    found[entry.name] = found[entry.name] or {}
    table.insert(found[entry.name], entry)
  end
  return found
end

local function new_rows(self)
  if not self.ring then return {} end
  local rows = self:control("requests", { since = self.journal_seen })
  if #rows > 0 then self.journal_seen = rows[#rows].n end
  return rows
end

--- Prints what happened since the last time.
---@return table happened lists of entries by name, and how many calls reached Ring
function Scene:catch_up()
  local entries, rows = self.partner:ask("story", { since = self.seen }).entries, new_rows(self)
  local calls = #rows
  for _, entry in ipairs(entries) do
    self.seen = entry.n
    if entry.name == "webhook" then self.heard[entry.type] = true end
    local show = SHOWN[entry.name] or show_hook
    show(self, entry, rows)
  end
  self.out:expect(#rows == 0, "no call to reach Ring that ringlink does not tell of")
  local happened = index(entries)
  happened.calls = calls
  return happened
end

-- The browser ---------------------------------------------------------------------------------

--- The browser asks for something; the line shows what came.
---@param method string
---@param path string
---@param options table|nil `{form}`
---@param details string[]|nil what to show of the request
---@return table answer
function Scene:browse(method, path, options, details)
  local answer = self.browser:send(method, path, options)
  local shown = {}
  for i, detail in ipairs(details or {}) do shown[i] = detail end
  local location = answer.headers.location
  if location then shown[#shown + 1] = "→ " .. location end
  self.out:step("browser → partner", method, redact.path(path), answer.status, shown)
  return answer
end

--- Posts the form of a page, filled in.
---@param page table an answer
---@param filled table<string, string>
---@param details string[]
---@return table answer
function Scene:submit(page, filled, details)
  local form = self.out:expect(http.form_of(page.body), "a form on the page")
  for name, value in pairs(filled) do
    self.out:expect(form.fields[name] ~= nil, "the form to ask for " .. name)
    form.fields[name] = value
  end
  return self:browse(form.method, form.action, { form = form.fields }, details)
end

return scene
