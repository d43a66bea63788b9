--- Where things are on this machine: nginx and its modules, our Lua files, the LuaJIT build of
--- ringlink.core, free ports.
--
-- Lookup rules (first that exists):
--   nginx    option `nginx`, $RINGLINK_NGINX, `nginx` or `openresty` on PATH, /usr/sbin/nginx, OpenResty's own place
--   modules  none when nginx has Lua built in; else option `modules`, nginx's --modules-path
--   core     option `luajit_cpath` or $RINGLINK_LUAJIT_CPATH (patterns like package.cpath); else the
--            ringlink.core of this process under LuaJIT, else its LuaJIT sibling: .../5.4/ -> .../luajit/
--            (source tree), lib/lua/5.4/ -> lib/lua/5.1/ (installed); else .build/luajit beside lua/

local random = require("ringlink.core").random
local process = require "ringlink.sandbox.process"

local places = {}

local CPATH_FORM = "a pattern like /dir/?.so"

local NGINX = { "/usr/sbin/nginx", "/usr/local/openresty/nginx/sbin/nginx", "/usr/local/nginx/sbin/nginx" }
local PORT_MIN, PORT_COUNT = 20000, 12000  -- below Linux's range for outgoing connections

--- Finds the nginx command.
---@param wanted string|nil
---@return string|nil path
---@return string|nil problem
function places.nginx(wanted)
  wanted = wanted or os.getenv("RINGLINK_NGINX")
  local names = wanted and { wanted } or { "nginx", "openresty" }
  for _, name in ipairs(names) do
    local ok, path = process.run("command -v " .. process.quote(name))
    if ok and path ~= "" then return path end
  end
  for _, path in ipairs(wanted and {} or NGINX) do
    if process.exists(path) then return path end
  end
  return nil, "nginx was not found; install nginx with its Lua module (Debian: libnginx-mod-http-lua)"
end

--- Finds the modules nginx has to load.
---@param nginx string
---@param wanted string|nil a directory
---@return string[]|nil paths empty when Lua is built in
---@return string|nil problem
function places.modules(nginx, wanted)
  local _, built = process.run(process.line(nginx, "-V"))
  if built:find("lua%-nginx%-module") or built:find("ngx_lua") then return {} end
  local directory = wanted or built:match("%-%-modules%-path=(%S+)") or "/usr/lib/nginx/modules"
  local lua = directory .. "/ngx_http_lua_module.so"
  if not process.exists(lua) then
    return nil, "nginx's Lua module was not found in " .. directory .. " (Debian: libnginx-mod-http-lua)"
  end
  local kit = directory .. "/ndk_http_module.so"
  return process.exists(kit) and { kit, lua } or { lua }
end

--- The directory that holds ringlink/.
---@return string absolute
function places.lua_root()
  local here = debug.getinfo(1, "S").source:gsub("^@", "")
  local directory = here:match("^(.*)/ringlink/sandbox/places%.lua$") or "."
  local _, absolute = process.run("cd " .. process.quote(directory) .. " && pwd -P")
  return absolute
end

local function sibling_cores(root)
  local found = {}
  local own = package.searchpath("ringlink.core", package.cpath)
  if own and rawget(_G, "jit") then found[1] = own end
  local base = own and own:match("^(.*/)5%.%d/ringlink/core%.so$")
  if base then
    found[#found + 1] = base .. "luajit/ringlink/core.so"
    found[#found + 1] = base .. "5.1/ringlink/core.so"
  end
  found[#found + 1] = root:gsub("/lua$", "") .. "/.build/luajit/ringlink/core.so"
  found[#found + 1] = root:gsub("/share/lua/5%.%d$", "/lib/lua/5.1") .. "/ringlink/core.so"
  return found
end

local function pattern_of(core)
  local directory = core:match("^(.*)/ringlink/core%.so$")
  local _, absolute = process.run("cd " .. process.quote(directory) .. " && pwd -P")
  return absolute .. "/?.so"
end

--- The package.cpath that nginx's LuaJIT needs.
---@param wanted string|nil
---@param root string
---@return string|nil cpath
---@return string|nil problem
function places.luajit_cpath(wanted, root)
  wanted = wanted or os.getenv("RINGLINK_LUAJIT_CPATH")
  if wanted and wanted ~= "" then
    if wanted:find("?", 1, true) then return wanted end
    return nil, "RINGLINK_LUAJIT_CPATH (or the option luajit_cpath) must be " .. CPATH_FORM
  end
  for _, core in ipairs(sibling_cores(root)) do
    if process.exists(core) then return pattern_of(core) end
  end
  return nil, "ringlink.core built for LuaJIT was not found; build or install it with "
    .. "LUA_VERSION=5.1, or name it in RINGLINK_LUAJIT_CPATH, " .. CPATH_FORM
end

local function taken_ports()
  local taken = {}
  for _, path in ipairs { "/proc/net/tcp", "/proc/net/tcp6" } do
    for port in (process.read(path) or ""):gmatch("%d+: %x+:(%x+) ") do taken[tonumber(port, 16)] = true end
  end
  return taken
end

--- Guesses a free port; another process may still win the race, so the caller retries.
---@return integer
function places.free_port()
  local taken = taken_ports()
  local port
  repeat
    local high, low = random(2):byte(1, 2)
    port = PORT_MIN + (high * 256 + low) % PORT_COUNT
  until not taken[port]
  return port
end

return places
