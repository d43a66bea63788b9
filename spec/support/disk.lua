--- A store that outlives its clients, as a partner might write one: a table of the port's functions
--- over rows that several clients, each with store keys of its own, can open one after the other.
--
--   local disk = disks.new(clock)
--   local client = disk:client({ disks.key(1) })
--   client:close(); client = disk:client({ disks.key(2), disks.key(1) })
--
-- It takes only what a database could hold, so a secret that is not sealed cannot hide in a table.

local assert = require "luassert"
local guard = require "ringlink.store.guard"
local memory = require "ringlink.store.memory"
local offline = require "support.offline"
local planted = require "support.planted"

local M = {}

local Disk = {}
Disk.__index = Disk

--- The 32 bytes of key n, Base64, and the key as the option takes it.
M.key_bytes, M.base64, M.key = planted.store_key_bytes, planted.base64, planted.store_key

--- An empty disk; `failing` may be set to a function(name) that is asked before each call.
function M.new(clock)
  clock = clock or offline.clock()
  return setmetatable({ clock = clock, memory = memory.new(clock), calls = {} }, Disk)
end

local STORABLE = { string = true, number = true, boolean = true }

local function check_flat(row)
  for name, value in pairs(row) do
    assert(STORABLE[type(value)], ("%s is a %s, which no database holds"):format(name, type(value)))
  end
end

--- A table that fills the port; closing it forgets nothing.
function Disk:store(more)
  local store = {}
  for _, name in ipairs(guard.PORT) do
    store[name] = function(_, ...)
      self.calls[#self.calls + 1] = name
      if self.failing then self.failing(name, ...) end
      for i = 1, select("#", ...) do
        local value = select(i, ...)
        if type(value) == "table" then check_flat(value) end
      end
      if name ~= "close" then return self.memory[name](self.memory, ...) end
    end
  end
  for name, value in pairs(more or {}) do store[name] = value or nil end
  return store
end

--- A client of this disk.
function Disk:client(keys, more)
  local options = { store = self:store(), store_key = keys, clock = self.clock }
  for name, value in pairs(more or {}) do options[name] = value end
  return (offline.client(options))
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for name, item in pairs(value) do out[name] = copy(item) end
  return out
end

--- All that is in it now, for `set_back`.
function Disk:keep()
  local kept = {}
  for name, value in pairs(self.memory) do
    if name ~= "clock" then kept[name] = copy(value) end
  end
  return kept
end

--- Undoes whatever was written since.
function Disk:set_back(kept)
  for name, value in pairs(kept) do self.memory[name] = copy(value) end
end

--- A row as it lies there, and its version.
function Disk:row(key) return self.memory:get(key) end

--- Puts columns into a row behind everybody's back.
function Disk:alter(key, changes)
  local row, version = self.memory:get(key)
  for name, value in pairs(changes) do row[name] = value end
  assert(self.memory:put_if(key, row, version))
end

--- Everything there is, as one value to compare or to search.
function Disk:snapshot()
  local rows = {}
  for _, entry in ipairs(self.memory:find({})) do rows[entry.key] = { entry.version, entry.row } end
  local events = {}
  for id, event in pairs(self.memory.events) do
    events[id] = { event.body, event.state, event.account, event.alias }
  end
  return { rows = rows, events = events, remembered = self.memory.remembered }
end

return M
