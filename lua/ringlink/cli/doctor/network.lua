--- Checks the way to Ring: names, TLS, and this machine's clock against the servers' Date header.

local core = require "ringlink.core"
local exit = require "ringlink.cli.exit"
local http = require "ringlink.http"
local url = require "ringlink.url"

local M = {}

local ROUNDING_MS = 500                  -- Date has whole seconds
local NOTABLE_MS = 5000

local function check_clock(found, client, response)
  local now = client.clock.now_ms()
  local there = core.http_date_ms(response.headers.date, now)
  if not there then return found:warn("clock", "the server told no Date", "check the clock otherwise") end
  local behind_ms = there + ROUNDING_MS - now
  local says = ("%.0f s %s Ring's"):format(math.abs(behind_ms) / 1000, behind_ms >= 0 and "behind" or "ahead of")
  if math.abs(behind_ms) > client.options.clock_skew_s * 1000 then
    found:fail("clock", says, "synchronise it (NTP): links expire, or lie in the future", exit.HERE)
  elseif math.abs(behind_ms) > NOTABLE_MS then
    found:warn("clock", says, "synchronise it (NTP)")
  else
    found:ok("clock", "agrees with Ring's")
  end
end

local CHECK_OF = { dns = "dns", tls = "tls" }

-- Any answer will do: without a token it is a refusal.
local function ask(client, address)
  return http.call(client, { stage = "doctor", kind = "safe", method = "GET", url = address,
    headers = { "Accept: application/json" } })
end

local function check_host(found, client, address)
  local response, err = ask(client, address)
  local origin = url.origin(address)
  if not response then
    if err.code ~= "dns" then found:ok("dns", origin .. " has an address") end
    return found:add_error(CHECK_OF[err.code] or "network", err)
  end
  found:ok("dns", origin .. " has an address")
  found:ok("tls", origin:match("^https") and "the certificate of " .. origin .. " is accepted"
    or origin .. " is plain http on this machine")
  return response
end

--- Checks the way to the servers of a client.
---@param found ringlink.cli.Findings
---@param client ringlink.Client
function M.check(found, client)
  local api, oauth = client.options.api_url, client.options.oauth_url
  local response = check_host(found, client, api .. "/v1/users/me")
  if response then check_clock(found, client, response) end
  if url.origin(oauth) ~= url.origin(api) then check_host(found, client, oauth .. "/oauth/token") end
end

return M
