--- Those who make the two calls of a link, a POST and a PATCH, with the same bodies, and look at what
--- is answered. They run inside nginx.
---
--- Each is `M[name](settings, version)`: a function that makes one pair of calls and raises when one of
--- them fails. `settings` are those of worker.lua; `version` is HTTP's.

local cjson = require "cjson.safe"
local core = require "ringlink.core"
local ring = require "ringlink.ring"
local ringlink = require "ringlink"

local M = {}

local PATH = "/v1/accounts/me/app-integrations"
local NONCE = ("0123456789"):rep(5):sub(1, 43)
local PER_S = 100000                   -- the benchmark is not to wait for the rate limit
local KEPT_MS, KEPT_MAX = 60000, 256

--- The options of a client of this Ring, but for its store.
function M.client_options(settings, version)
  return { client_id = "app", client_secret = "secret", hmac_key = settings.hmac_key, store = "memory",
    api_url = settings.url[version], oauth_url = settings.url[version], ca_file = settings.ca_file,
    rate_limit_per_s = PER_S }
end

--- ringlink's calls without a store: what `link` does when it calls Ring.
function M.ringlink(settings, version)
  local client = ringlink.new(M.client_options(settings, version))
  local access = core.secret(settings.token)
  return function()
    local answer = assert(ring.confirm(client, access, { nonce = NONCE, account_identifier = settings.identifier }))
    assert(answer.status == "awaiting")
    answer = assert(ring.patch(client, access, { status = "completed" }, "complete"))
    assert(answer.status == "completed")
  end
end

--- lua-resty-http, as it is meant to be used: `request_uri`, verified, with connections that are kept.
function M.resty(settings)
  local http = require "resty.http"
  local headers = { ["Content-Type"] = "application/json", ["Accept"] = "application/json",
    ["Authorization"] = "Bearer " .. settings.token }
  local function call(method, fields, status)
    local answer, problem = http.new():request_uri(settings.url["1.1"] .. PATH, { method = method,
      body = cjson.encode(fields), headers = headers, ssl_verify = true, ssl_server_name = "localhost",
      keepalive_timeout = KEPT_MS, keepalive_pool = KEPT_MAX })
    if not answer then error(problem, 0) end
    assert(answer.status == 200 and cjson.decode(answer.body).status == status)
  end
  return function()
    call("POST", { nonce = NONCE, account_identifier = settings.identifier }, "awaiting")
    call("PATCH", { status = "completed" }, "completed")
  end
end

return M
