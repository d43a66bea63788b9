--- A pair of tokens on its way into its row.
--
-- Invariants: once Ring has handed out a pair, nothing else of it exists anywhere; so it is kept in
-- the client (`client.unsaved`) from the moment it is received, before it is sealed, until the store has
-- taken it, or refused it for good. One at a time writes it, and everybody who wants it written hears
-- the same.

local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"

local M = {}

local unpack = table.unpack or unpack

local SAVE_PAUSE_S = 0.05              -- between attempts to store a pair, doubled each time
local SAVE_PAUSE_S_MAX = 2
local TURN_S = 0.01                    -- for whoever waits while another one writes

--- The columns for a pair that was just received. With it whatever was said of the one before it ends.
---@param client ringlink.Client
---@param key string of the grant
---@param tokens table what ring.token returned
---@return table changes
function M.columns(client, key, tokens)
  local changes = {
    access = client.vault:seal(key, "access", tokens.access_token),
    access_obtained_ms = tokens.obtained_ms, access_expires_ms = tokens.expires_ms,
    refreshed_ms = tokens.obtained_ms, scope = tokens.scope,
    intent = grants.NONE, intent_ms = grants.NONE, intent_owner = grants.NONE,
    not_before_ms = grants.NONE, refresh_failures = grants.NONE, put_offs = grants.NONE,
    overdue_stage = grants.NONE,
  }
  if tokens.refresh_token then
    changes.refresh = client.vault:seal(key, "refresh", tokens.refresh_token)
    changes.fingerprint = client.vault:tag("refresh", tokens.refresh_token)
  end
  return changes
end

local function after_writing(pending, ok, row, err)
  pending.writing = false
  if ok then return row, err end
  if errors.is_of_store(row) then return nil, row end
  error(row, 0)                        -- the wait was cancelled, say: the pair is still to be written
end

local function seal_and_write(client, notes, key, pending)
  if pending.received then
    pending.columns = M.columns(client, key, pending.received)
    pending.received = nil
  end
  return pending.write(client, notes, key, pending.columns, unpack(pending))
end

local function write(client, notes, key, pending)
  while pending.writing do client.runtime.sleep(TURN_S) end
  if pending.settled then return pending.row, pending.err end
  pending.writing = true
  local row, err = after_writing(pending, pcall(seal_and_write, client, notes, key, pending))
  if row or not errors.is_of_store(err) then
    client.unsaved[key] = nil
    pending.settled, pending.row, pending.err = true, row, err
  end
  return row, err
end

-- The store is given time to recover; after that the pair waits in this process for the next call.
--- Writes a pair that Ring has handed out.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@param pending table `received`, what ring.token returned; `write` and what it is given after the
--- key and the columns
---@return table? row
---@return ringlink.Error?
function M.save(client, notes, key, pending)
  local give_up_ms = client.clock.monotonic_ms() + client.options.deadline_ms
  local pause_s = SAVE_PAUSE_S
  client.unsaved[key] = pending              -- first: whatever the store raises, it is kept
  while true do
    local row, err = write(client, notes, key, pending)
    if pending.settled or client.clock.monotonic_ms() >= give_up_ms then return row, err end
    client.clock.sleep(pause_s)
    pause_s = math.min(pause_s * 2, SAVE_PAUSE_S_MAX)
  end
end

--- Reads a grant, after writing what could not be written before: then it is as it was written.
---@param client ringlink.Client
---@param notes table[]
---@param key string
---@return table? row
---@return ringlink.Error?
function M.load(client, notes, key)
  local pending = client.unsaved[key]
  if pending then
    local row, err = write(client, notes, key, pending)
    if row or not pending.settled then return row, err end
  end
  return grants.load(client, key)
end

--- The same outside of sections: tells the hooks of what was written.
---@param client ringlink.Client
---@param key string
---@return table? row
---@return ringlink.Error?
function M.load_told(client, key)
  local notes = {}
  local row, err = M.load(client, notes, key)
  flight.tell(client, notes)
  return row, err
end

--- Writes what could not be written before, as far as the store takes it now.
---@param client ringlink.Client
function M.flush(client)
  local keys = {}
  for key in pairs(client.unsaved) do keys[#keys + 1] = key end
  for _, key in ipairs(keys) do errors.catch(M.load_told, client, key) end
end

return M
