--- What sandbox_spec.lua needs besides the sandbox: an HTTP client (the curl command) and a small
--- partner backend on a free port that notes what reaches it.
--
-- The partner is an nginx of its own under its own temporary directory; it answers what the file
-- `answer` says ("STATUS DELAY_S") and appends each request to `hits` as a line of JSON.

local cjson = require "cjson"
local curl = require "support.curl"
local places = require "ringlink.sandbox.places"
local process = require "ringlink.sandbox.process"

local support = {}

local PARTNER = [[
%s
daemon on; master_process off; pid nginx.pid; error_log error.log warn;
events { worker_connections 200; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path t1; fastcgi_temp_path t2; uwsgi_temp_path t3; scgi_temp_path t4;
  server {
    listen 127.0.0.1:%d;
    location / { content_by_lua_block {
      local cjson = require "cjson"
      local prefix = ngx.config.prefix()
      ngx.req.read_body()
      local file = io.open(prefix .. "hits", "ab")
      file:write(cjson.encode { method = ngx.req.get_method(), uri = ngx.var.request_uri, at = ngx.now(),
        headers = ngx.req.get_headers(), body = ngx.req.get_body_data() or "" }, "\n")
      file:close()
      local answer = io.open(prefix .. "answer", "rb")
      local status, delay = answer:read("*n"), answer:read("*n")
      answer:close()
      ngx.sleep(delay)
      ngx.status = status
      ngx.say('{"status":"ok"}')
    } }
  }
}
]]

local partner = {}
partner.__index = partner

--- Starts a partner.
---@return table
function support.partner()
  local nginx = assert(places.nginx())
  local modules = assert(places.modules(nginx))
  local lines = {}
  for i, path in ipairs(modules) do lines[i] = "load_module " .. path .. ";" end
  local _, prefix = process.run("mktemp -d")
  local self = setmetatable({ prefix = prefix }, partner)
  self:answer(200)
  for _ = 1, 5 do
    local port = places.free_port()
    process.write(prefix .. "/nginx.conf", PARTNER:format(table.concat(lines, "\n"), port))
    local ok = process.run("env -u LUA_PATH -u LUA_CPATH " .. process.line(nginx, "-p", prefix .. "/", "-c",
      prefix .. "/nginx.conf", "-e", prefix .. "/error.log") .. " >" .. process.quote(prefix .. "/start.log"))
    if ok then
      self.url = "http://127.0.0.1:" .. port
      return self
    end
  end
  error(process.read(prefix .. "/start.log"))
end

---@param status integer
---@param delay_s number|nil
function partner:answer(status, delay_s)
  process.write(self.prefix .. "/answer", ("%d %.3f\n"):format(status, delay_s or 0))
end

--- What came in since the last look.
---@return table[]
function partner:hits()
  local hits, seen = {}, self.seen or 0
  for line in (process.read(self.prefix .. "/hits") or ""):sub(seen + 1):gmatch("([^\n]+)\n") do
    hits[#hits + 1] = cjson.decode(line)
    seen = seen + #line + 1
  end
  self.seen = seen
  return hits
end

function partner:stop()
  local pid = (process.read(self.prefix .. "/nginx.pid") or ""):match("%d+")
  if pid then process.stop(pid, 100) end
  process.run(process.line("rm", "-rf", "--", self.prefix))
end

--- One request by the curl command.
---@param options table `{method, url, headers = {"Name: value"}, form, json, ca_file, args}`
---@return table reply `{status, headers, body, value, exit_text}`; status 0: no answer
function support.http(options)
  local arguments = { "curl", "-q", "-sS", "-i", "--noproxy", "*", "--max-time", "20", "-X", options.method or "GET" }
  local function add(...) for _, one in ipairs { ... } do arguments[#arguments + 1] = one end end
  if options.ca_file then add("--cacert", options.ca_file) end
  for _, one in ipairs(options.args or {}) do add(one) end
  local config = os.tmpname()
  process.write(config, curl.config(options))
  add("-K", config)
  local _, said = process.run(process.line((table.unpack or unpack)(arguments)))
  os.remove(config)
  local reply = { status = 0, headers = {}, body = "", text = said }
  local head, body = said:gsub("\r", ""):match("^(HTTP/.-)\n\n(.*)$")
  if not head then head = said:gsub("\r", ""):match("^(HTTP/.*)$") end
  if not head then return reply end
  reply.http, reply.status = head:match("^HTTP/([%d.]+) (%d+)")
  reply.status, reply.body = tonumber(reply.status), body or ""
  for name, value in head:gmatch("\n([^:\n]+): ([^\n]*)") do reply.headers[name:lower()] = value end
  local ok, value = pcall(cjson.decode, reply.body)
  reply.value = ok and value or nil
  return reply
end

return support
