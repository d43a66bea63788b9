--- What keeps secrets in a row out of sight.
--
-- The memory store's rows die with the process, so sealing means holding the text in C memory that
-- is zeroed on release and shows as `secret(****)`; a row that is printed or dumped gives nothing
-- away. Stores that outlive the process put authenticated encryption behind the same three calls.

local core = require "ringlink.core"
local errors = require "ringlink.errors"

local M = {}

---@class ringlink.Vault
---@field tagger userdata prepared key of the keyed hashes
local Vault = {}
Vault.__index = Vault

--- The vault of rows that live in memory only; its keyed hashes are good for this process.
---@return ringlink.Vault
function M.memory()
  local tagger = assert(core.hmac_key({ core.hex(core.random(32)) }))
  return setmetatable({ tagger = tagger }, Vault)
end

--- Seals a text; nil stays nil. Raises an error object when it cannot: a row without its secret
--- must not come about unnoticed.
---@param text string?
---@return any sealed
function Vault:seal(text)
  if text == nil then return nil end
  local sealed, code = core.secret(text)
  if not sealed then errors.new(code, { detail = ("%d bytes cannot be sealed"):format(#text) }):raise() end
  return sealed
end

--- Opens what `seal` made; nil stays nil.
---@param sealed any
---@return string?
function Vault:open(sealed)
  return sealed ~= nil and sealed:reveal() or nil
end

--- A keyed hash by which rows are found without holding the text itself.
---@param purpose string keeps the hashes of different columns apart
---@param text string
---@return string hex 64 characters
function Vault:tag(purpose, text)
  return self.tagger:tag(purpose, text)
end

return M
