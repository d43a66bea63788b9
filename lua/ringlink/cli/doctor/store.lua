--- Checks the store: that it can be opened, that it is this app's, and that its key fits.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local exit = require "ringlink.cli.exit"

local M = {}

local OTHERS = 64

local function count(tallied)
  local total = 0
  for _, number in pairs(tallied.states) do total = total + number end
  return total
end

-- Opening finds out whose it is and whether the newest key opens its stamp.
local function open(client)
  local tallied = client.store:tally()
  return tallied and ("%d rows, %d webhooks wait"):format(count(tallied), tallied.pending) or "it opens"
end

local function check_open(found, client)
  local good, says, err = pcall(errors.catch, open, client)
  if not good then error(says, 0) end
  if says == nil then return found:add_error("store", err) end
  found:ok("store", says .. "; its stamp is this app's")
end

local function check_place(found, path)
  local folder = path:match("^(.*)/[^/]*$") or "."
  if folder == "" then folder = "/" end
  if core.file_mode(folder) then
    return found:ok("store", ("%s is not there yet; the first use makes it"):format(path))
  end
  found:fail("store", ("the folder %s does not exist"):format(folder), "mkdir -p " .. folder, exit.HERE)
end

--- Checks the store of a client.
---@param found ringlink.cli.Findings
---@param client ringlink.Client
---@param read ringlink.cli.Settings
function M.check(found, client, read)
  local path = read.values.store:match("^sqlite:(.*)$")
  if not path then
    return found:warn("store", "is in memory: nothing is kept when a command ends", "set store = sqlite:PATH")
  end
  local mode = core.file_mode(path)
  if not mode then return check_place(found, path) end
  if mode % OTHERS ~= 0 then
    found:warn("store", ("%s is open to others (mode %04o)"):format(path, mode), "chmod 600 " .. path)
  end
  check_open(found, client)
end

return M
