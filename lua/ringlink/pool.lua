--- The unclaimed accounts of this process's store, kept up to date by its change numbers, and the
-- match of a nonce against them (contract 6).

local M = {}

local HELD_STATES = { "matched", "confirming", "awaiting", "relink", "completed" }
local HELD_SCAN_MAX = 4096             -- of each state: a nonce cannot be looked up, only tried

---@class ringlink.Pool
---@field change integer
---@field entries table<string, { key: string, id: string, created_ms: integer }>
local Pool = {}
Pool.__index = Pool

--- An empty pool.
---@param client ringlink.Client
---@return ringlink.Pool
function M.new(client)
  return setmetatable({ client = client, change = 0, entries = {} }, Pool)
end

local function newer(a, b)
  if a.created_ms ~= b.created_ms then return a.created_ms > b.created_ms end
  return a.key > b.key
end

local function sync(self)
  local delta = self.client.store:unclaimed(self.change)
  if delta.change < self.change then             -- set back to a backup: what was learned is void
    self.entries, delta = {}, self.client.store:unclaimed(0)
  end
  for _, key in ipairs(delta.gone) do self.entries[key] = nil end
  for _, found in ipairs(delta.rows) do
    self.entries[found.key] = { key = found.key, id = found.row.account,
      created_ms = found.row.created_ms }
  end
  self.change = delta.change
end

local function first_match(client, nonce, time, entries)
  table.sort(entries, newer)
  local ids = {}
  for i, entry in ipairs(entries) do ids[i] = entry.id end
  local index = client.options.hmac_key:match(nonce, time, ids)
  return index and entries[index] or nil
end

--- The newest unclaimed account that a nonce belongs to.
---@param nonce string
---@param time string
---@return { key: string, id: string }?
function Pool:match(nonce, time)
  sync(self)
  local entries = {}
  for _, entry in pairs(self.entries) do entries[#entries + 1] = entry end
  return first_match(self.client, nonce, time, entries)
end

local function held_entries(store)
  local entries = {}
  for _, state in ipairs(HELD_STATES) do
    for _, found in ipairs(store:find({ state = state, limit = HELD_SCAN_MAX })) do
      local row = found.row
      if row.account then            -- else its tokens were refused before users/me told whose it is
        entries[#entries + 1] = { key = found.key, id = row.account, row = row, created_ms = row.created_ms }
      end
    end
  end
  return entries
end

--- The account a nonce belongs to among those that are linked or being linked. The search is
-- bounded; past the bound a nonce of a linked account is answered like one that matches nothing.
---@param nonce string
---@param time string
---@return { key: string, id: string, row: table }?
function Pool:match_held(nonce, time)
  return first_match(self.client, nonce, time, held_entries(self.client.store))
end

return M
