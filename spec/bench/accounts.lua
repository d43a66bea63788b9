--- The accounts of the store's benchmark: as many as one likes, each with the row of a completed link.
---
--- What such a row holds is taken from one that was linked through the sandbox, column by column; each
--- account's own are its ids, its user, its tokens (of TOKEN_BYTES) and, by ringlink, its times. They
--- are sealed, tagged and stored by the client's own grants. An account's id follows from its number.

local core = require "ringlink.core"
local grants = require "ringlink.grants"
local sealed = require "ringlink.sealed"

local M = { TOKEN_BYTES = 350 }

local TOKENS = { access = true, refresh = true }
local BY_INSERT = { kind = true, client_id = true, created_ms = true, updated_ms = true, spread = true,
  due_ms = true }

--- Ring's id of an account.
function M.id(number)
  return "ava1.ring.account." .. core.hex(core.sha256("account " .. number)):sub(1, 24):upper()
end

--- The partner's user whose account it is.
function M.user(number)
  return ("%d"):format(number)
end

local function random_text(bytes)
  return core.base64url(core.random(bytes)):sub(1, bytes)
end

--- What all accounts have in common: the texts of a linked row's sealed columns, and its open ones.
function M.template(client, key)
  local row = assert(client.store:get(key))
  local texts, open = {}, {}
  for column, value in pairs(row) do
    local field = sealed.FIELDS[column]
    if field then
      texts[column] = client.vault:open(key, field, value)
    elseif not BY_INSERT[column] then
      open[column] = value
    end
  end
  return { texts = texts, open = open }
end

local function text_of(template, column, number)
  if TOKENS[column] then return random_text(M.TOKEN_BYTES) end
  return column == "user_sealed" and M.user(number) or template.texts[column]
end

local function put_sealed(client, row, key, template, number)
  for column in pairs(template.texts) do
    local text = text_of(template, column, number)
    row[column] = client.vault:seal(key, sealed.FIELDS[column], text)
    if column == "refresh" then row.fingerprint = client.vault:tag("refresh", text) end
  end
end

--- How many bytes of what an account's row says are no names of columns, no seal and no index.
function M.plain_bytes(template)
  local bytes = 0
  for column in pairs(template.texts) do bytes = bytes + #text_of(template, column, 1) end
  for _, value in pairs(template.open) do bytes = bytes + #tostring(value) end
  return bytes
end

--- Stores an account; its key.
function M.insert(client, template, number)
  local id = core.hex(core.random(16))
  local key = grants.key(client, id)
  local row = {}
  for column, value in pairs(template.open) do row[column] = value end
  row.id, row.account = id, M.id(number)
  row.user = grants.user_tag(client, M.user(number))
  row.nonce_tag = client.vault:tag("nonce", id)
  put_sealed(client, row, key, template, number)
  assert(grants.insert(client, key, row))
  return key
end

return M
