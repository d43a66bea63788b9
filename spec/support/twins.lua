--- What becomes of a scenario at a Ring under nginx, and at one inside the process: told in the same words,
-- so that they can be compared.
--
--   local outcome = twins.play(twins.inside(options), scenario)
--   local outcome = twins.play(twins.nginx(w), scenario)         -- w: of support.world
--
-- A scenario is fn(p): p.client; p.control(name, fields); p.install(more), p.pass(ms), p.link(visit, more);
-- p.note(name, value, err) for what is to be compared, beside the journal and the state.

local testing = require "ringlink.testing"

local M = {}

local Play = {}
Play.__index = Play

--- A play at a Ring in the process.
function M.inside(options)
  local ring = testing.new()
  return setmetatable({
    client = ring:client(options),
    control = function(name, fields) return assert(ring:control(name, fields)) end,
    pass = function(ms) ring:advance(ms / 1000) end,
    notes = {},
  }, Play)
end

--- A play at a sandbox, whose world was reset.
function M.nginx(w, options)
  local client, clock = w:quick_client(options)
  return setmetatable({
    client = client,
    control = function(name, fields) return assert(w.ring:control(name, fields)) end,
    pass = function(ms) w:pass_time(clock, ms) end,
    notes = {},
  }, Play)
end

--- A user installs the app; the code is in the answer.
function Play:install(more)
  local fields = { deliver = false }
  for name, value in pairs(more or {}) do fields[name] = value end
  return self.control("install", fields)
end

--- The redirect's link.
function Play:link(visit, more)
  local q = { nonce = visit.nonce, time = visit.time, user = "user-1", account_identifier = "user@partner.example.com" }
  for name, value in pairs(more or {}) do q[name] = value end
  return self.client:link(q)
end

--- A completed link.
function Play:linked()
  local visit = self:install()
  assert(self.client:exchange(visit.code))
  return assert(self:link(visit)), visit
end

local TOLD = { "code", "stage", "status", "title", "retryable", "ambiguous", "attempts", "retry_after", "total_bytes" }

--- Notes what an operation returned: of an error what does not differ from run to run.
function Play:note(name, value, err)
  local said = value
  if value == nil and err then
    said = {}
    for _, field in ipairs(TOLD) do said[field] = err[field] end
  elseif type(value) == "table" then
    said = value.status or value.code or "a table"
  end
  self.notes[#self.notes + 1] = { name, said == nil and "nil" or said }
end

local function journal_of(play)
  local rows = {}
  for i, row in ipairs(play.control("requests")) do
    rows[i] = { row.call, row.method, row.status or "none", row.result or "none", row.fault or "none",
      row.dropped or false, row.processed, (row.path:gsub("ava1[^/]*", "ID"):gsub("/media/.*", "/media/KEY")) }
  end
  return rows
end

local function state_of(play)
  local state = play.control("state")
  local rows = {}
  for _, one in ipairs(state.accounts) do
    rows[#rows + 1] = { one.status, one.listens, one.grants, #one.devices }
  end
  for _, one in ipairs(state.integrations) do
    rows[#rows + 1] = { one.status, one.confirmed, one.revoked, one.account_identifier }
  end
  return rows
end

--- Plays a scenario and tells what became of it.
function M.play(play, scenario)
  scenario(play)
  local outcome = { notes = play.notes, journal = journal_of(play), state = state_of(play) }
  for account in play.client:accounts() do outcome[#outcome + 1] = account:state() end
  table.sort(outcome)
  play.client:close()
  return outcome
end

return M
