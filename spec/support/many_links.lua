--- Many links at once in a process of their own that may open 256 files: many_links.run(w, 1000) returns what
--- many_links_child.lua found, as a table.

local cjson = require "cjson"
local children = require "support.child"
local core = require "ringlink.core"
local shell = require "support.shell"
local world = require "support.world"

local M = {}

local TURN_MS = 50
local FEW_FILES = "sh -c 'ulimit -n 256; exec \"$@\"' sh"

local function about_ring(w)
  local ring = w.ring
  return cjson.encode { control_url = ring.control_url, token = ring.token, api_url = ring.api_url,
    oauth_url = ring.oauth_url, ca_file = ring.ca_file, client_id = world.client_id }
end

local function read(said)
  local found = {}
  for name, number in said:gmatch("([%w_]+) (%d+)\n") do found[name] = tonumber(number) end
  return found
end

--- Links so many accounts of a sandbox without limits. However long it takes: the suite has a limit.
---@param w table support.world
---@param count integer
---@return table found
function M.run(w, count)
  local directory = shell.make_directory()
  local child = children.start("spec/support/many_links_child.lua", { tostring(count), directory,
    input = { about_ring(w) } }, FEW_FILES)
  while not child:status() do core.sleep_ms(TURN_MS) end
  local status, said = child:wait()
  shell.remove_directory(directory)
  assert(status == 0, said)
  return read(said)
end

return M
