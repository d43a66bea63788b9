--- Which accounts this process uses: those whose present access token it has handed out.
--
-- Whoever holds a token will ask for the next one, and would have to wait for it. So `work` refreshes
-- these accounts as soon as their early window begins, and no others: a token that nobody uses is
-- renewed once a day. An entry is made when a token is handed out and ends when that token does: it
-- is refreshed (the new one is not in use until somebody asks for it), replaced elsewhere, or lapsed.
-- Nothing is written to the store for it, and what a process knows dies with it.
--
-- Invariants: no more than two generations of GENERATION_MAX entries are held. When the younger is
-- full the older is dropped, and with it what was not asked for since; its accounts are refreshed by
-- whoever asks next, as without `work`. Noting a token that is known costs a look into two tables;
-- asking what is due costs nothing until the first early window can have begun.

local core = require "ringlink.core"

local M = {}

local GENERATION_MAX = 8192

---@class ringlink.InUse
---@field young table<string, table> key -> { obtained_ms, early_ms, expires_ms, paused_ms? }
---@field old table<string, table>
---@field count integer of the young
---@field calm_ms number no early window begins before this
local InUse = {}
InUse.__index = InUse

--- An empty one.
---@return ringlink.InUse
function M.new()
  return setmetatable({ young = {}, old = {}, count = 0, calm_ms = math.huge }, InUse)
end

local function add(self, key, entry)
  if self.count >= GENERATION_MAX then self.old, self.young, self.count = self.young, {}, 0 end
  self.young[key], self.old[key] = entry, nil
  self.count = self.count + 1
  self.calm_ms = math.min(self.calm_ms, entry.early_ms)
end

local function find(self, key)
  return self.young[key] or self.old[key]
end

--- A row's access token is handed out.
---@param key string
---@param row table
---@param early_ms number how long before its expiry a token is to be refreshed
function InUse:note(key, row, early_ms)
  local entry = find(self, key)
  if entry == nil or entry.obtained_ms ~= row.access_obtained_ms then
    entry = { obtained_ms = row.access_obtained_ms, expires_ms = row.access_expires_ms,
      early_ms = core.token_early_from(row.access_obtained_ms, row.access_expires_ms, early_ms) }
  elseif self.young[key] then
    return
  end
  self:drop(key)
  add(self, key, entry)
end

--- Whether it is this very token of an account that is in use.
---@param key string
---@param row table
---@return boolean
function InUse:is_of(key, row)
  local entry = find(self, key)
  return entry ~= nil and entry.obtained_ms == row.access_obtained_ms
end

--- Forgets an account.
---@param key string
function InUse:drop(key)
  if self.young[key] then self.count = self.count - 1 end
  self.young[key], self.old[key] = nil, nil
end

--- Lets an account be until an instant of the monotonic clock: refreshing it early has failed.
---@param key string
---@param until_ms integer
function InUse:pause(key, until_ms)
  local entry = find(self, key)
  if entry then entry.paused_ms = until_ms end
end

--- Whether an account is to be let be.
---@param key string
---@param monotonic_ms integer
---@return boolean
function InUse:is_paused(key, monotonic_ms)
  local entry = find(self, key)
  return entry ~= nil and entry.paused_ms ~= nil and monotonic_ms < entry.paused_ms
end

local function wait_ms(entry, now_ms, monotonic_ms)
  return math.max(entry.early_ms - now_ms, (entry.paused_ms or monotonic_ms) - monotonic_ms, 0)
end

-- Calls each(key, entry) for those that have not lapsed, and forgets the others: no refresh would be
-- early any more.
local function each_living(self, now_ms, each)
  self.calm_ms = math.huge
  for _, generation in ipairs({ self.young, self.old }) do
    for key, entry in pairs(generation) do
      if entry.expires_ms <= now_ms then
        self:drop(key)
      else
        self.calm_ms = math.min(self.calm_ms, entry.early_ms)
        each(key, entry)
      end
    end
  end
end

--- The accounts whose time has come, the token that ends first before the others.
---@param now_ms integer wall clock
---@param monotonic_ms integer
---@return string[] keys
---@return integer? wait_ms until the next of the others, or less
function InUse:due(now_ms, monotonic_ms)
  if self.calm_ms == math.huge then return {} end
  if now_ms < self.calm_ms then return {}, self.calm_ms - now_ms end
  local keys, least, expires = {}, nil, {}
  each_living(self, now_ms, function(key, entry)
    local wait = wait_ms(entry, now_ms, monotonic_ms)
    if wait == 0 then
      keys[#keys + 1], expires[key] = key, entry.expires_ms
    else
      least = math.min(wait, least or wait)
    end
  end)
  table.sort(keys, function(a, b)
    if expires[a] ~= expires[b] then return expires[a] < expires[b] end
    return a < b
  end)
  return keys, least
end

return M
