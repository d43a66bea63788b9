--- Numbers and short texts that the workers of one nginx share, or one process keeps by itself.
--
-- A board over a table; shared.lua has the same over a lua_shared_dict. What is on a board may be lost
-- at any time (a restart, a full dictionary): nothing depends on it but limits and figures.

local M = {}

local ENTRIES_MAX = 10000

---@class ringlink.Board
---@field entries table<string, { value: any, until_ms: number? }>
local Board = {}
Board.__index = Board

--- A board of this process.
---@param clock { monotonic_ms: fun(): integer }
---@return ringlink.Board
function M.new(clock)
  return setmetatable({ clock = clock, entries = {}, count = 0 }, Board)
end

local function live(self, key)
  local entry = self.entries[key]
  if entry and entry.until_ms and entry.until_ms <= self.clock.monotonic_ms() then return nil end
  return entry
end

-- Once it is full, what has run out goes; when that is not enough, everything with an end does.
local function make_room(self, all)
  local now_ms = self.clock.monotonic_ms()
  for key, entry in pairs(self.entries) do
    if entry.until_ms and (all or entry.until_ms <= now_ms) then
      self.entries[key], self.count = nil, self.count - 1
    end
  end
  if self.count >= ENTRIES_MAX and not all then make_room(self, true) end
end

--- Writes a value, for a time when one is given.
---@param key string
---@param value string|number
---@param ttl_s number?
function Board:put(key, value, ttl_s)
  if not self.entries[key] then
    if self.count >= ENTRIES_MAX then make_room(self) end
    self.count = self.count + 1
  end
  self.entries[key] = { value = value, until_ms = ttl_s and self.clock.monotonic_ms() + ttl_s * 1000 }
end

--- Adds to a number; a new one begins at 0 and, with `ttl_s`, ends after that time.
---@param key string
---@param n number
---@param ttl_s number?
---@return number sum
function Board:add(key, n, ttl_s)
  local entry = live(self, key)
  if not entry then
    self:put(key, n, ttl_s)
    return n
  end
  entry.value = entry.value + n
  return entry.value
end

--- A value that was put or added up.
---@param key string
---@return any
function Board:get(key)
  local entry = live(self, key)
  return entry and entry.value
end

--- Every key that begins so.
---@param prefix string
---@return string[]
function Board:keys(prefix)
  local keys = {}
  for key in pairs(self.entries) do
    if key:sub(1, #prefix) == prefix and live(self, key) then keys[#keys + 1] = key end
  end
  return keys
end

return M
