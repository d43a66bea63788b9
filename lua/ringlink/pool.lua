--- The unclaimed accounts of this process's store, kept up to date by its change numbers, and the
-- match of a nonce against them (contract 6).
--
-- Invariants: whoever matches sees everything that was stored before. Of all who want to know at once
-- one asks the store. No search holds up the others of this process for longer than a bounded number
-- of accounts takes: between two such portions they get their turn.

local grants = require "ringlink.grants"

local M = {}

-- In the order in which a link goes through them: one that goes on meanwhile is found further on.
local HELD_STATES = { "matched", "confirming", "awaiting", "relink", "completed" }
local HELD_SCAN_MAX = 4096             -- of each state: a nonce cannot be looked up, only tried
local HELD_PORTION = 64
local PORTION = 256                    -- accounts tried in one go: a fraction of a millisecond
local TURN_S = 0.001

---@class ringlink.PoolEntry
---@field key string
---@field id string
---@field created_ms integer

---@class ringlink.Pool
---@field change integer
---@field entries table<string, ringlink.PoolEntry>
---@field list ringlink.PoolEntry[] the same, the newest last
---@field asked integer    how often the store was asked
---@field answered integer the newest of its answers
---@field question ringlink.Task? the last one
local Pool = {}
Pool.__index = Pool

--- An empty pool.
---@param client ringlink.Client
---@return ringlink.Pool
function M.new(client)
  return setmetatable({ client = client, change = 0, entries = {}, list = {}, asked = 0, answered = 0 }, Pool)
end

-- The list ------------------------------------------------------------------------------------

local function is_older(a, b)
  if a.created_ms ~= b.created_ms then return a.created_ms < b.created_ms end
  return a.key < b.key
end

-- How many are older than an entry.
local function count_older(list, entry)
  local low, high = 0, #list
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if is_older(list[middle], entry) then low = middle else high = middle - 1 end
  end
  return low
end

local function remove(self, key)
  local entry = self.entries[key]
  if not entry then return end
  self.entries[key] = nil
  table.remove(self.list, count_older(self.list, entry) + 1)
end

local function add(self, key, row)
  remove(self, key)
  local entry = { key = key, id = row.account, created_ms = row.created_ms }
  self.entries[key] = entry
  table.insert(self.list, count_older(self.list, entry) + 1, entry)
end

-- Keeping it up to date -----------------------------------------------------------------------

local function ask(self, turn)
  local delta = self.client.store:unclaimed(self.change)
  if delta.change < self.change then             -- set back to a backup: what was learned is void
    self.entries, self.list, delta = {}, {}, self.client.store:unclaimed(0)
  end
  for _, key in ipairs(delta.gone) do remove(self, key) end
  for i = #delta.rows, 1, -1 do add(self, delta.rows[i].key, delta.rows[i].row) end
  self.change, self.answered = delta.change, turn
end

local function start(self)
  self.asked = self.asked + 1
  self.question = self.client.runtime.critical(ask, self, self.asked)
end

-- A store in memory answers at once: nobody comes meanwhile. Of any other an answer that was asked for
-- before somebody came may be older than what that one has seen.
local function sync(self)
  local client, wanted = self.client, self.asked + 1
  if not client.options.store_key then return ask(self, 0) end
  while self.answered < wanted do
    if not self.question or self.question.done then start(self) end
    client.runtime.join(self.question)
  end
end

-- Matching ------------------------------------------------------------------------------------

-- Tries a part of a list, backwards.
local function try(client, nonce, time, list, first, last)
  local ids = {}
  for i = last, first, -1 do ids[#ids + 1] = list[i].id end
  local index = client.options.hmac_key:match(nonce, time, ids)
  return index and list[last - index + 1] or nil
end

--- The newest unclaimed account that a nonce belongs to.
---@param nonce string
---@param time string
---@return { key: string, id: string }?
function Pool:match(nonce, time)
  sync(self)
  local last = #self.list
  while last > 0 do
    local first = math.max(1, last - PORTION + 1)
    local oldest, found = self.list[first], try(self.client, nonce, time, self.list, first, last)
    if found or first == 1 then return found end
    self.client.clock.sleep(TURN_S)
    last = count_older(self.list, oldest)        -- accounts have come and gone
  end
end

local function with_accounts(page)
  local entries = {}
  for _, found in ipairs(page) do
    local id = found.row.account     -- none: its tokens were refused before users/me told whose it is
    if id then entries[#entries + 1] = { id = id } end
  end
  return entries
end

-- The account of a state's grants that a nonce belongs to.
local function find_held(client, state, nonce, time)
  local after
  for _ = 1, HELD_SCAN_MAX / HELD_PORTION do
    local page = client.store:find({ state = state, after = after, limit = HELD_PORTION })
    local entries = with_accounts(page)
    local found = try(client, nonce, time, entries, 1, #entries)
    if found then return found.id end
    if #page < HELD_PORTION then return nil end
    after = page[#page].key
  end
end

local function newest_held(client, id)
  for _, entry in ipairs(grants.of_account(client, id)) do
    for _, state in ipairs(HELD_STATES) do
      if entry.row.state == state then return { key = entry.key, id = id, row = entry.row } end
    end
  end
end

--- The account a nonce belongs to among those that are linked or being linked. The search is
-- bounded; past the bound a nonce of a linked account is answered like one that matches nothing.
---@param nonce string
---@param time string
---@return { key: string, id: string, row: table }?
function Pool:match_held(nonce, time)
  for _, state in ipairs(HELD_STATES) do
    local id = find_held(self.client, state, nonce, time)
    local held = id and newest_held(self.client, id)
    if held then return held end
  end
end

return M
