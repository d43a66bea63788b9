--- The nginx configuration of one instance.
--
-- One process (master_process off): it runs as whoever started it, one pid ends it, all state is in
-- its one Lua VM. Everything it writes lies under the prefix. No access log: the journal is the log,
-- and it holds no query strings and no secrets. Listens on 127.0.0.1 only.

local config = {}

local TEMPLATE = [[
%(modules)
daemon on;
master_process off;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 1000; }
http {
  access_log off;
  server_tokens off;
  client_body_temp_path body;
  proxy_temp_path unused_proxy;
  fastcgi_temp_path unused_fastcgi;
  uwsgi_temp_path unused_uwsgi;
  scgi_temp_path unused_scgi;
  client_body_buffer_size 1m;
  client_max_body_size 4m;
  merge_slashes off;
  keepalive_timeout 300s;
  keepalive_requests 1000000;
  lua_package_path "%(lua_path);;";
  lua_package_cpath "%(lua_cpath);;";
  lua_max_running_timers 1024;
  lua_max_pending_timers 1024;
  lua_socket_log_errors off;
  init_by_lua_block { require("ringlink.sandbox.nginx.host").boot("%(prefix)/settings.json") }
  server {
%(listen)
    location / { content_by_lua_block { require("ringlink.sandbox.nginx.handler").ring() } }
    location = / { content_by_lua_block { require("ringlink.sandbox.nginx.handler").page() } }
    location /_sandbox/ { content_by_lua_block { require("ringlink.sandbox.nginx.handler").control() } }
  }
}
]]

local LISTEN = "    listen 127.0.0.1:%d%s;\n"
local TLS = [[
    ssl_certificate tls/server.pem;
    ssl_certificate_key tls/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:1m;
]]

local function listen(instance)
  if not instance.tls then return LISTEN:format(instance.port, "") end
  local options = instance.http2 and " ssl http2" or " ssl"
  return LISTEN:format(instance.port, options) .. LISTEN:format(instance.control_port, "") .. TLS
end

local function modules(paths)
  local lines = {}
  for i, path in ipairs(paths) do lines[i] = "load_module " .. path .. ";" end
  return table.concat(lines, "\n")
end

--- Writes the configuration.
---@param instance table `{prefix, port, control_port, tls, http2, modules, lua_root, lua_cpath}`
---@return string
function config.render(instance)
  local values = {
    modules = modules(instance.modules), prefix = instance.prefix, listen = listen(instance),
    lua_path = instance.lua_root .. "/?.lua;" .. instance.lua_root .. "/?/init.lua",
    lua_cpath = instance.lua_cpath,
  }
  return (TEMPLATE:gsub("%%%((%w+_?%w*)%)", values))
end

return config
