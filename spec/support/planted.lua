--- The secrets that specs plant, and what a search knows them by.
--
-- Invariant: whatever a spec gives ringlink to keep to itself contains one of MARKS, in the clear or, for
-- store keys, in Base64 and hex. The sandbox marks its own codes and tokens (rules/grants.lua). What
-- cannot be marked, like a nonce, is added while a test runs. Never prints what it knows.

local core = require "ringlink.core"

local M = {
  client_secret = "planted-client-secret-3f9c1b7e5d",
  hmac_key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
}

local STORE_KEY = "planted-store-key-"       -- its length is a multiple of 3: Base64 keeps it apart
local STORE_KEY_BYTES = 32
local EXCHANGE_SECRET = "planted-exchange-secret-"

--- The bytes of store key n.
function M.store_key_bytes(n)
  return STORE_KEY .. ("%0" .. STORE_KEY_BYTES - #STORE_KEY .. "d"):format(n)
end

--- Bytes as padded Base64.
function M.base64(bytes)
  local text = core.base64url(bytes):gsub("-", "+"):gsub("_", "/")
  return text .. ("="):rep(-#text % 4)
end

--- An unguessable segment of a Token Exchange URL, of hex digits and a mark.
function M.exchange_secret()
  return EXCHANGE_SECRET .. core.hex(core.random(16))
end

--- Store key n as the option `store_key` takes it.
function M.store_key(n)
  return M.base64(M.store_key_bytes(n))
end

local MARKS = {
  { "a client secret", "planted-client-secret" },
  { "the HMAC key", M.hmac_key },
  { "a store key", STORE_KEY },
  { "a store key in Base64", M.base64(STORE_KEY) },
  { "a store key in hex", core.hex(STORE_KEY) },
  { "the Token Exchange URL's secret", EXCHANGE_SECRET },
  { "a code", "planted-code" },
  { "a code of the sandbox", "sandbox-code-" },
  { "an access token", "planted-access-token-" },
  { "an access token", "served-access-" },
  { "an access token of the sandbox", "sandbox-access-" },
  { "a refresh token", "planted-refresh-token-" },
  { "a refresh token", "served-refresh-" },
  { "a refresh token of the sandbox", "sandbox-refresh-" },
}

local added = {}

--- Adds a secret without a mark, until `forget_added`.
---@param what string
---@param secret string
function M.add(what, secret)
  added[#added + 1] = { what, secret }
end

function M.forget_added()
  added = {}
end

--- What a text contains that it must not, nil when nothing.
---@param text string
---@return string? what
function M.find(text)
  for _, list in ipairs { MARKS, added } do
    for _, mark in ipairs(list) do
      if text:find(mark[2], 1, true) then return mark[1] end
    end
  end
end

return M
