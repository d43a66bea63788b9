--- Ring as an nginx that knows its answers by heart: nothing is checked, kept or computed, so that what
--- is measured is the clients; it would be another machine, and gives way to them.
---
---   local ring = plain_ring.start()
---   print(ring.url["1.1"], ring.url["2"], ring.ca_file)
---   ring:stop()
---
--- Tokens and Account IDs are new in every answer; all else is always the same.

local certificates = require "support.certificates"
local nginx_host = require "support.nginx_host"
local other_machine = require "bench.other_machine"
local places = require "ringlink.sandbox.places"
local shell = require "support.shell"

local M = { identifier = "u***r@partner.example.com" }

local Ring = {}
Ring.__index = Ring

local SERVER = [[
  server {
    listen 127.0.0.1:%d ssl%s;
    ssl_certificate %s;
    ssl_certificate_key %s;
    ssl_session_cache shared:tls:1m;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    default_type application/json;
    client_body_buffer_size 16k;
    location = /v1/accounts/me/app-integrations {
      if ($request_method = POST) {
        return 200 '{"status":"awaiting","account_identifier":"%s","updated_at":"2026-01-01T00:00:00Z"}';
      }
      return 200 '{"status":"completed","account_identifier":"%s","updated_at":"2026-01-01T00:00:00Z"}';
    }
    location = /oauth/token {
      return 200 '{"access_token":"a-$request_id","refresh_token":"r-$request_id","expires_in":14400}';
    }
    location = /v1/users/me {
      return 200 '{"data":{"id":"ava1.ring.account.$request_id","type":"users","attributes":{}}}';
    }
  }
]]

local function server(port, version, pair)
  return SERVER:format(port, version == "2" and " http2" or "", pair.cert, pair.key, M.identifier, M.identifier)
end

--- Starts it.
function M.start()
  local directory = shell.make_directory()
  local authority = certificates.new(directory, "authority")
  local pair = authority:sign("ring", "DNS:localhost,IP:127.0.0.1")
  local ports = { ["1.1"] = places.free_port(), ["2"] = places.free_port() }
  local self = setmetatable({ directory = directory, ca_file = authority.file, url = {} }, Ring)
  local http = {}
  for version, port in pairs(ports) do
    http[#http + 1] = server(port, version, pair)
    self.url[version] = "https://127.0.0.1:" .. port
  end
  self.host = nginx_host.start { http = table.concat(http) }
  other_machine.give_way(self.host:workers())
  return self
end

--- Ends it.
function Ring:stop()
  self.host:stop()
  shell.remove_directory(self.directory)
end

return M
