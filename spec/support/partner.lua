--- A partner whose processes share one directory: the store in it, the clock, and the sign to go.

local core = require "ringlink.core"
local planted = require "support.planted"
local ringlink = require "ringlink"
local shared_clock = require "support.shared_clock"
local world = require "support.world"

local M = {
  store_key = planted.store_key(1),
  deadline_ms = 3000,
}

--- How long a dead process can hold a lease, and a millisecond.
M.lease_ms = 2 * M.deadline_ms + 15001

local FINGERPRINT_DIGITS = 12

--- A token as the sandbox's journal and state show it.
function M.fingerprint(token)
  return core.hex(core.sha256(token)):sub(1, FINGERPRINT_DIGITS)
end

--- A client at the directory's store, with the clock that all its processes share.
function M.client(directory, options)
  local settings = { client_id = world.client_id, client_secret = world.client_secret,
    hmac_key = world.hmac_key, store = "sqlite:" .. directory .. "/ringlink.db", store_key = M.store_key,
    clock = shared_clock.at(directory), deadline_ms = M.deadline_ms }
  for name, value in pairs(options) do settings[name] = value end
  return ringlink.new(settings)
end

return M
