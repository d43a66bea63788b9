--- What keeps secrets in a row out of sight.
--
-- Two vaults with the same methods. The memory vault holds a text in C memory that is zeroed on
-- release and shows as `secret(****)`: such rows die with the process. The sealed vault makes bytes
-- for stores that outlive it (AES-256-GCM, src/io/vault.h); a field opens only at the place it was
-- sealed for, `where` (the row's key, or an event's place) and `field`, and nowhere else.
-- Trouble is raised as error objects (store_key, store_corrupt, no_memory), never a text given out.

local core = require "ringlink.core"
local errors = require "ringlink.errors"

local M = {}

local TAG_KEY_BYTES = 32
local WHERE_BYTES_MAX = 120

---@class ringlink.Vault
---@field tagger userdata? prepared key of the keyed hashes

-- Both ----------------------------------------------------------------------------------------

local function raise(code, detail)
  errors.new(code, { stage = "store", detail = detail }):raise()
end

-- Enough to find the field again, and nothing of what is in it.
local function place_of(where, field)
  return ("field %s of %s"):format(field, where:sub(1, WHERE_BYTES_MAX):gsub("[%c\127-\255]", "?"))
end

local function tagger_of(bytes)
  return assert(core.hmac_key({ core.hex(bytes) }))
end

local function refuse_to_seal(code, where, field)
  if code == "invalid_request" then raise("store_error", place_of(where, field) .. " is too long") end
  raise(code)
end

-- Rows that die with the process --------------------------------------------------------------

---@class ringlink.MemoryVault: ringlink.Vault
local MemoryVault = {}
MemoryVault.__index = MemoryVault

--- The vault of rows that live in memory only; its keyed hashes are good for this process.
---@return ringlink.MemoryVault
function M.memory()
  return setmetatable({ tagger = tagger_of(core.random(TAG_KEY_BYTES)) }, MemoryVault)
end

--- Seals a text; nil stays nil.
---@param where string the row's key, or the place of an event
---@param field string
---@param text string?
---@return any sealed
function MemoryVault:seal(where, field, text)
  if text == nil then return nil end
  local secret, code = core.secret(text)
  return secret or refuse_to_seal(code, where, field)
end

--- Opens what `seal` made; nil stays nil.
---@param where string
---@param field string
---@param sealed any
---@return string?
function MemoryVault:open(where, field, sealed) -- luacheck: ignore 212
  if sealed == nil then return nil end
  return sealed:reveal()
end

--- A keyed hash by which rows are found without holding the text itself.
---@param purpose string keeps the hashes of different columns apart
---@param text string
---@return string hex 64 characters
function MemoryVault:tag(purpose, text)
  return self.tagger:tag(purpose, text)
end

--- Whether a field waits to be sealed anew; in memory none does.
---@param sealed any
---@return boolean
function MemoryVault:is_stale(sealed) -- luacheck: ignore 212
  return false
end

--- Gives the keys back. Secrets that rows hold are wiped with the rows.
function MemoryVault:close() end

-- Rows that outlive the process ---------------------------------------------------------------

---@class ringlink.SealedVault: ringlink.Vault
---@field keys userdata core.vault
---@field fetch_tag_key fun() sets the tag key that the store keeps, or raises
local SealedVault = {}
SealedVault.__index = SealedVault

--- The vault of a persistent store.
---@param keys userdata core.vault: the store keys, newest first
---@return ringlink.SealedVault
function M.sealed(keys)
  return setmetatable({ keys = keys }, SealedVault)
end

-- Key, row and field of the associated data cannot run into each other: no field has a NUL in it.
local function associated(where, field)
  return where .. "\0" .. field
end

--- Seals a text with the newest key; nil stays nil.
---@param where string the row's key, or the place of an event
---@param field string
---@param text string?
---@return string? sealed
function SealedVault:seal(where, field, text)
  if text == nil then return nil end
  local sealed, code = self.keys:seal(text, associated(where, field))
  return sealed or refuse_to_seal(code, where, field)
end

local function complain(self, code, where, field, sealed)
  local place = place_of(where, field)
  if code == "store_key" then
    raise(code, ("%s was sealed by key %s; store_key holds %s"):format(place,
      self.keys:sealer(sealed), table.concat(self.keys:ids(), ", ")))
  end
  if code == "store_corrupt" then
    raise(code, place .. " is cut, altered, or was sealed for another row or field")
  end
  raise(code)
end

--- Opens what `seal` made for this very place; nil stays nil.
---@param where string
---@param field string
---@param sealed any as the store gave it
---@return string?
function SealedVault:open(where, field, sealed)
  if sealed == nil then return nil end
  local text, code = self.keys:open(sealed, associated(where, field))
  return text or complain(self, code, where, field, sealed)
end

--- A keyed hash by which rows are found without holding the text itself. Its key is the store's, and
--- survives a change of store keys.
---@param purpose string keeps the hashes of different columns apart
---@param text string
---@return string hex 64 characters
function SealedVault:tag(purpose, text)
  if not self.tagger then self.fetch_tag_key() end
  return self.tagger:tag(purpose, text)
end

--- A new key for `tag`, for a store that has none yet.
---@return string bytes
function SealedVault.new_tag_key()
  return core.random(TAG_KEY_BYTES)
end

--- Tells the vault the store's tag key.
---@param bytes string
function SealedVault:set_tag_key(bytes)
  self.tagger = tagger_of(bytes)
end

--- Whether an older key sealed a field, so that the next write should seal it anew.
---@param sealed any
---@return boolean
function SealedVault:is_stale(sealed)
  return self.keys:sealer(sealed) ~= nil and not self.keys:is_newest(sealed)
end

--- Wipes the keys; nothing is sealed or opened after that.
function SealedVault:close()
  self.keys:close()
end

return M
