--- What a partner app is known by at a Ring of our own: the tester's choice, or made up.

local core = require "ringlink.core"

local M = {}

--- Chooses them.
---@param options { client_id: string?, client_secret: string?, hmac_key: string? }
---@return { client_id: string, client_secret: string, hmac_key: string }
function M.choose(options)
  return {
    client_id = options.client_id or "sandbox-client",
    client_secret = options.client_secret or core.hex(core.random(24)),
    -- Looks like Base64, as Ring's keys do, so that a client that decodes it is found out.
    hmac_key = options.hmac_key or core.hex(core.random(22)):sub(1, 43) .. "=",
  }
end

return M
