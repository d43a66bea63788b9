--- Which columns of a row are sealed, and how they are brought under the newest key.
--
-- Invariants: a column that is not listed holds nothing secret; two columns between which a value is
-- moved as it is share a field name. Renewing never fails a write: a field that cannot be opened
-- stays what it is, for whoever has its key.

local errors = require "ringlink.errors"

local M = {}

--- column -> field, the name under which it is sealed.
M.FIELDS = {
  access = "access", refresh = "refresh", code = "code", code_verifier = "code_verifier",
  nonce = "nonce", origin = "origin", tag_key = "tag_key",
  user_sealed = "user", prior_user_sealed = "user",
  identifier = "identifier", prior_identifier = "identifier",
  identifier_shown = "identifier_shown", prior_shown = "identifier_shown",
  steps = "steps", prior_steps = "steps",
}

--- The place of an event's body.
---@param client ringlink.Client
---@param id string the event's
---@return string where
function M.event_place(client, id)
  return client.options.client_id .. "/event/" .. id
end

--- Opens columns without keeping them, before something begins that needs them: a wrong key is then
--- said while the row is still as it was.
---@param client ringlink.Client
---@param key string
---@param row table
---@param columns string[]
function M.check(client, key, row, columns)
  for _, column in ipairs(columns) do client.vault:open(key, M.FIELDS[column], row[column]) end
end

--- Whether a row has a field that an older key sealed.
---@param vault ringlink.Vault
---@param row table
---@return boolean
function M.is_stale(vault, row)
  for column in pairs(M.FIELDS) do
    if row[column] ~= nil and vault:is_stale(row[column]) then return true end
  end
  return false
end

--- Seals a value anew at its place; one that cannot be opened is returned as it is.
---@param vault ringlink.Vault
---@param where string
---@param field string
---@param sealed any
---@return any sealed
---@return ringlink.Error? problem
function M.renew_field(vault, where, field, sealed)
  local ok, text = pcall(vault.open, vault, where, field, sealed)
  if ok then return vault:seal(where, field, text) end
  if not errors.is(text) then error(text, 0) end
  return sealed, text
end

--- Seals a row's stale fields anew, in place.
---@param vault ringlink.Vault
---@param key string
---@param row table
---@return ringlink.Error? problem of the first field that could not be opened
function M.renew(vault, key, row)
  local first
  for column, field in pairs(M.FIELDS) do
    if row[column] ~= nil and vault:is_stale(row[column]) then
      local problem
      row[column], problem = M.renew_field(vault, key, field, row[column])
      first = first or problem
    end
  end
  return first
end

return M
