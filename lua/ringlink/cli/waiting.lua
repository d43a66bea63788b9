--- Tells whoever sits at the terminal that a command waits for another process, and for how long at most.
--
-- Processes keep out of each other's way by leases in the store, and whoever waits for one asks for it again and
-- again (flight.lua). Each answer of the store's passes here, and goes on as it is.

local M = {}

local MOMENT_MS = 1000                 -- what is over sooner is not told; refusals further apart are no wait
local TEXT = "another process is at this link: waiting, %.0f s at most if it has died"

---@class ringlink.cli.Wait for one lease that is refused at every try
---@field first_ms number
---@field last_ms number
---@field is_shown boolean?

local function drop_old(waits, now_ms)
  for key, wait in pairs(waits) do
    if now_ms - wait.last_ms > MOMENT_MS then waits[key] = nil end
  end
end

local function refused(waits, key, now_ms)
  drop_old(waits, now_ms)
  local wait = waits[key] or { first_ms = now_ms }
  wait.last_ms = now_ms
  wait.is_shown = now_ms - wait.first_ms >= MOMENT_MS
  waits[key] = wait
  return wait
end

--- Looks at the leases that a client asks for, from now on.
---@param client ringlink.Client
---@param out ringlink.cli.Output
function M.watch(client, out)
  local store, lease, waits = client.store, client.store.lease, {} ---@type table<string, ringlink.cli.Wait>

  function store.lease(self, key, owner, ttl_ms)
    local taken, remaining_ms = lease(self, key, owner, ttl_ms)
    if taken then
      if waits[key] and waits[key].is_shown then out:clear() end
      waits[key] = nil
    elseif refused(waits, key, client.clock.monotonic_ms()).is_shown then
      out:progress(TEXT:format(math.ceil(remaining_ms / 1000)))
    end
    return taken, remaining_ms
  end
end

return M
