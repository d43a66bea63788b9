--- A partner's processes at one SQLite store and one Ring, some of which are killed; and what is left.
--
--   setup(function() k = killing.start() end)        -- k.w is a support.world without a rate limit
--   teardown(function() k:stop() end)
--   before_each(function() k:begin() end)
--   after_each(function() k:finish() end)
--   k:start("ask", account_id)           -- a process of partner_child.lua
--   k:run("work")                        -- one that goes to its end: what it said
--
-- A window is a stretch in which a pair is Ring's past and not yet in the store. What Ring's journal
-- shows of it: what was used up is sent again, and refused.

local assert = require "luassert"
local children = require "support.child"
local partner = require "support.partner"
local shared_clock = require "support.shared_clock"
local shell = require "support.shell"
local world = require "support.world"

local SCRIPT = "spec/support/partner_child.lua"
local LONG_MS = 600000                 -- longer than any process of a test lives
local KILLED = 128 + 9

local M = {
  KILLED = KILLED,
  lifetime_ms = 14400 * 1000 + 1,      -- after that an access token has expired
  day_ms = 24 * 3600 * 1000,
}

local Killing = {}
Killing.__index = Killing

--- Starts a Ring for them; `options` are the sandbox's.
function M.start(options)
  local settings = { limits = { per_s = false } }
  for name, value in pairs(options or {}) do settings[name] = value end
  return setmetatable({ w = world.start(settings) }, Killing)
end

--- Ends it all.
function Killing:stop()
  self:finish()
  self.w:stop()
end

--- A new store and a Ring that knows nothing.
function Killing:begin()
  self:finish()
  self.w:reset()
  self.directory = shell.make_directory()
end

--- Ends what still runs and removes the store.
function Killing:finish()
  children.stop_all()
  if self.directory then shell.remove_directory(self.directory) end
  self.directory = nil
end

--- Starts a process in a mode of partner_child.lua.
function Killing:start(mode, ...)
  local ring = self.w.ring
  return children.start(SCRIPT, { mode, self.directory, ring.api_url, ring.ca_file, input = { ... } })
end

--- Runs one to its end and returns what it said.
function Killing:run(mode, ...)
  local status, said = self:start(mode, ...):wait()
  assert.equal(0, status, said)
  return said
end

--- Time passes for all of them and for Ring.
function Killing:pass_time(ms)
  shared_clock.advance(self.directory, ms)
  assert(self.w.ring:control("clock", { advance_ms = ms }))
end

--- The wall clock of all of them is set.
function Killing:step_clock(ms)
  shared_clock.step(self.directory, ms)
end

--- Lets those go who asked and wait.
function Killing:let_go()
  shell.write(self.directory .. "/go", "")
end

--- An account that is linked in the shared store and whose access token has just expired.
function Killing:expired_account()
  local ring = self.w.ring
  local client = partner.client(self.directory, { api_url = ring.api_url, oauth_url = ring.oauth_url,
    ca_file = ring.ca_file })
  local account = self.w:linked(client).account
  client:close()
  self:pass_time(M.lifetime_ms)
  return account.id
end

--- The integration whose tokens are the newest.
function Killing:at_ring()
  local integrations = self.w:state().integrations
  return integrations[#integrations]
end

-- In flight -------------------------------------------------------------------------------------

local HELD = { before = { drop = "before" }, after = { after = true } }

--- Ring will keep the next call of a name to itself: "before" it does the work, or "after".
function Killing:hold(call, when)
  local fault = { call = call, delay_ms = LONG_MS }
  for name, value in pairs(HELD[when]) do fault[name] = value end
  self.w:fault(fault)
  return { call = call, when = when, since = self.w:state().requests }
end

local function is_held(row, held)
  local delayed = row.fault and row.fault:find(("delay %d ms"):format(LONG_MS), 1, true)
  return delayed and (row.processed or held.when == "before")
end

--- Waits until a process's call is there; false when the process ends without having made it.
function Killing:await_held(held, child)
  return children.wait_until(child:about(held.call .. " at Ring"), function()
    local rows = assert(self.w.ring:control("requests", { call = held.call, since = tostring(held.since) }))
    for _, row in ipairs(rows) do
      if is_held(row, held) then return "there" end
    end
    return child:status() and "ended"
  end) == "there"
end

--- Kills a process and waits until it is gone.
function M.kill(child)
  child:signal("KILL")
  assert.equal(KILLED, (child:wait()))
end

--- Starts a process that dies while its call is with Ring. Returns what it said.
function Killing:killed_in_flight(call, when, mode, ...)
  local held = self:hold(call, when)
  local child = self:start(mode, ...)
  assert.is_true(self:await_held(held, child), child:output())
  M.kill(child)
  return child:output()
end

-- What is left ----------------------------------------------------------------------------------

--- What stands after a word, of each line that begins with it.
function M.all_after(said, word)
  local list = {}
  for rest in ("\n" .. said):gmatch("\n" .. word .. " ([^\n]*)") do list[#list + 1] = rest end
  return list
end

local HALF_DONE = { exchanging = true, identifying = true, matched = true, confirming = true,
  awaiting = true }

--- Whether a link in that state is on its way.
function M.is_half_done(state)
  return HALF_DONE[state] == true
end

--- What Ring answered to each code and each refresh token, in order, as far as it looked at it:
--- fingerprint -> { status... }. `account` is whose it was, `unheard` how many of the answers met a fault.
function M.uses(journal)
  local uses = {}
  for _, row in ipairs(journal) do
    local token = row.code or row.refresh_token
    if token and row.processed then
      local use = uses[token] or { unheard = 0 }
      table.insert(use, row.result)
      use.account = use.account or row.account
      if row.fault then use.unheard = use.unheard + 1 end
      uses[token] = use
    end
  end
  return uses
end

local AS_IT_SHOULD_BE = { ["200"] = 0, ["200 400"] = 1 }

--- How many windows the journal shows; nothing was sent again for another reason, and nothing twice.
function Killing:lost_at_ring()
  local lost = 0
  for _, use in pairs(M.uses(self.w:journal())) do
    local answers = table.concat(use, " ")
    assert.is_not_nil(AS_IT_SHOULD_BE[answers], "a code or refresh token was answered with " .. answers)
    lost = lost + AS_IT_SHOULD_BE[answers]
  end
  return lost
end

--- How many links were reported as lost; only in the words for a window.
function M.reported(said)
  local codes = M.all_after(said, "reported")
  for _, code in ipairs(codes) do assert.matches("^%a+_outcome_unknown$", code, nil, said) end
  return #codes
end

return M
