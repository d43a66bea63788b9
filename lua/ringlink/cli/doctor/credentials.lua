--- Checks secrets' shape and the files that hold them; shows none.

local core = require "ringlink.core"
local exit = require "ringlink.cli.exit"
local options = require "ringlink.options"
local session = require "ringlink.cli.session"
local settings = require "ringlink.cli.settings"

local M = {}

local SHORT_BYTES = 16
local OTHERS = 64                        -- a mode's last two octal digits are whatever remains

-- What somebody may have done to it on the way.
local function oddity(text)
  if text:find("^%s") or text:find("%s$") then return "begins or ends with a space" end
  if text:find("^[\"'].*[\"']$") then return "is in quotes, which count as part of it" end
  if #text < SHORT_BYTES then return ("has %d characters only"):format(#text) end
end

local function check_text(found, setting, value)
  local good, text = pcall(options.secret_text, setting.name, value)
  if not good then
    local _, err = session.mistake(text)
    return found:add_error(setting.name, err)
  end
  local odd = setting.kind ~= "store_key" and oddity(text)
  if odd then
    return found:warn(setting.name, odd, "compare it with what Ring's portal shows")
  end
  found:ok(setting.name, "looks as it should; whether it is right, only Ring's answer to a code tells")
end

local function check_file(found, name, path)
  local mode, is_trusted = core.file_mode(path)
  if not mode then return end                              -- whoever reads it says so
  if not is_trusted then
    found:fail(name, ("%s belongs to another user"):format(path), "chown it to yourself", exit.USAGE)
  elseif mode % OTHERS ~= 0 then
    found:fail(name, ("%s is open to others (mode %04o)"):format(path, mode), "chmod 600 " .. path, exit.USAGE)
  else
    found:ok(name, ("%s is yours alone"):format(path))
  end
end

local function each(value, fn)
  for _, one in ipairs(type(value) == "table" and value or { value }) do fn(one) end
end

--- Checks the secrets that are set.
---@param found ringlink.cli.Findings
---@param read ringlink.cli.Settings
function M.check(found, read)
  for _, setting in ipairs(settings.list) do
    local value = read.values[setting.name]
    if setting.is_secret and value ~= nil then
      each(value, function(one)
        check_text(found, setting, one)
        local path = one:match("^file:(.*)$")
        if path then check_file(found, setting.name, path) end
      end)
    end
  end
  if read.values.client_key then check_file(found, "client_key", read.values.client_key) end
end

return M
