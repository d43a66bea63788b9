--- Which due rows this process cannot work on: another process has their key, or they are damaged.
--
-- They stay as they are, so they are due all the time, and the longest overdue. Each is remembered
-- with its version, and looked at again once it changes. When they are more than can be remembered, a
-- place in the order of what is due stands for those that come first, one after the other: what is
-- due is then asked for from there on, and once in a while from the beginning again.
--
-- Invariants: no readable row that was not handled lies before that place; what is remembered stays
-- near REMEMBERED_MAX, whatever there is in the store.

local M = {}

local REMEMBERED_MAX = 1024
local LOOK_AGAIN_MS = 3600 * 1000      -- a row before the place may have become readable

---@class ringlink.Unreadable
---@field versions table<string, integer> key -> the version that could not be opened
---@field after { due_ms: integer, key: string }? the place
---@field again_ms integer? when to begin anew, by the monotonic clock
local Unreadable = {}
Unreadable.__index = Unreadable

--- An empty one.
---@return ringlink.Unreadable
function M.new()
  return setmetatable({ versions = {} }, Unreadable)
end

--- A row cannot be worked on.
---@param key string
---@param version integer
function Unreadable:note(key, version)
  self.versions[key] = version
end

local function is_behind(after, entry)
  if after == nil then return false end
  local due_ms = entry.row.due_ms
  return due_ms < after.due_ms or (due_ms == after.due_ms and entry.key <= after.key)
end

--- Whether a due row is to be passed over.
---@param entry { key: string, row: table, version: integer }
---@return boolean
function Unreadable:has(entry)
  return self.versions[entry.key] == entry.version or is_behind(self.after, entry)
end

local function count(self)
  local n = 0
  for _ in pairs(self.versions) do n = n + 1 end
  return n
end

-- Those that come first are told by the place from now on; who is not among what is due is forgotten.
local function condense(self, due, monotonic_ms)
  local kept, leads = {}, true
  for _, entry in ipairs(due) do
    leads = leads and self:has(entry)
    if leads then
      self.after = { due_ms = entry.row.due_ms, key = entry.key }
    elseif self:has(entry) then
      kept[entry.key] = entry.version
    end
  end
  self.versions = kept
  if self.after then self.again_ms = self.again_ms or monotonic_ms + LOOK_AGAIN_MS end
end

--- Due rows of a store that can be worked on, as far as is known.
---@param store table
---@param now_ms integer wall clock
---@param monotonic_ms integer
---@param limit integer
---@return { key: string, row: table, version: integer }[]
---@return integer? next_due_ms when the earliest of the others is due
function Unreadable:others(store, now_ms, monotonic_ms, limit)
  if self.again_ms and monotonic_ms >= self.again_ms then self.after, self.again_ms = nil, nil end
  local remembered = count(self)
  local due, next_ms = store:due(now_ms, limit + remembered, self.after)
  if remembered > REMEMBERED_MAX then condense(self, due, monotonic_ms) end
  local list = {}
  for _, entry in ipairs(due) do
    if #list < limit and not self:has(entry) then list[#list + 1] = entry end
  end
  return list, next_ms
end

return M
