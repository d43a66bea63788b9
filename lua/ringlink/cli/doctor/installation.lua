--- Checks what is installed: the module and its libraries, and what the sandbox needs.

local core = require "ringlink.core"
local places = require "ringlink.sandbox.places"

local M = {}

-- libcurl names everything that it is made of.
local function essence(libcurl)
  local words = {}
  for word in libcurl:gmatch("%S+") do
    local matters = word:find("^libcurl") or word:find("SSL") or word:find("TLS") or word:find("^nghttp2")
    if matters then words[#words + 1] = word end
  end
  return table.concat(words, " ")
end

local function check_module(found)
  local libraries = core.libraries()
  found:ok("ringlink", ("%s, %s"):format(core.version, rawget(_G, "jit") and jit.version or _VERSION))
  found:ok("libraries", ("%s; %s; SQLite %s"):format(essence(libraries.libcurl), libraries.libcrypto,
    libraries.sqlite))
end

local function check_sandbox(found)
  local nginx, problem = places.nginx()
  local modules, core_path
  if nginx then modules, problem = places.modules(nginx) end
  if modules then core_path, problem = places.luajit_cpath(nil, places.lua_root()) end
  if core_path then return found:ok("sandbox", ("%s, %s"):format(nginx, core_path)) end
  found:warn("sandbox", problem, "only `ringlink sandbox` needs it")
end

--- Checks the installation.
---@param found ringlink.cli.Findings
function M.check(found)
  check_module(found)
  check_sandbox(found)
end

return M
