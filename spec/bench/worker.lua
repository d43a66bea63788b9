--- A real nginx of one worker in which contestants run, and the Ring that they call.
---
---   local worker = worker.start(settings)
---   worker:ask("calls", { who = "ringlink", version = "2", concurrent = 64, count = 1000 }).took_s
---   worker:stop()
---
--- backend.lua says what can be asked for. Nothing is bound to a processor: nginx's worker and ringlink's
--- threads in it share those that there are, as they would elsewhere; Ring takes none from whoever runs.

local nginx_host = require "support.nginx_host"
local plain_ring = require "bench.plain_ring"

local M = { token = ("t"):rep(200) }

local TIMEOUT_MS = 300000

local HTTP = [[
  lua_ssl_trusted_certificate %s;
  lua_ssl_verify_depth 3;
  init_by_lua_block { require("bench.backend").setup() }
]]
local SERVER = [[
  location / { content_by_lua_block { require("bench.backend").serve() } }
]]

local Worker = {}
Worker.__index = Worker

local function settings_of(ring, place, settings)
  return { url = ring.url, ca_file = ring.ca_file, token = M.token, identifier = plain_ring.identifier,
    hmac_key = "key of the benchmark", resty_http = settings.resty_http, place = place,
    store_key = nginx_host.store_key }
end

--- Starts both. `place` is where stores are to lie: a path that HTTP's version and `.ours` are put to.
function M.start(settings, place)
  local self = setmetatable({ ring = plain_ring.start() }, Worker)
  self.settings = settings_of(self.ring, place, settings)
  local ok, host = pcall(nginx_host.start, { level = "error", http = HTTP:format(self.ring.ca_file), server = SERVER,
    files = { ["settings.json"] = self.settings } })
  if not ok then
    self.ring:stop()
    error(host, 0)
  end
  self.host = host
  return self
end

--- Has it do something; what that took.
function Worker:ask(name, arguments)
  local words = {}
  for key, value in pairs(arguments) do words[#words + 1] = key .. "=" .. value end
  local answer = self.host:get("/" .. name .. "?" .. table.concat(words, "&"), { timeout_ms = TIMEOUT_MS })
  return answer.json or error(("%s: %s\n%s"):format(name, answer.error or answer.status, self.host:log()), 0)
end

--- Ends both.
function Worker:stop()
  self.host:stop()
  self.ring:stop()
end

return M
