--- The config file: lines of `name = value`, nothing that is run.
--
--   # a comment
--   store = sqlite:/var/lib/ringlink/ringlink.db
--   client_secret = file:/etc/ringlink/secret
--   hmac_key = env:NEW_KEY
--   hmac_key = env:OLD_KEY               -- a secret named again: a list, newest first
--
-- Invariants: a file that somebody else could have written is refused, and one that holds a secret when
-- others can read it; no message repeats a value or a line.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local options = require "ringlink.options"

local M = {}

local BYTES_MAX = 65536
local OTHERS = tonumber("077", 8)
local MAY_WRITE = tonumber("022", 8)
local SECRETS = { client_secret = true, hmac_key = true, store_key = true }

local function refuse(path, problem, cure)
  return errors.fail("invalid_option", { stage = "settings",
    message = ("%s %s: %s"):format(path, problem, cure or "correct the config file") })
end

local function unreadable(reason)
  return "cannot be read: " .. tostring(reason):gsub("^.*: ", ""), "name one that can be, by --config"
end

local function at_line(number, problem)
  return ("line %d %s"):format(number, problem)
end

-- Bits of a mode without the operators that LuaJIT lacks.
local function has_any(mode, bits)
  while bits > 0 do
    if bits % 2 == 1 and mode % 2 == 1 then return true end
    mode, bits = math.floor(mode / 2), math.floor(bits / 2)
  end
  return false
end

--- Whether a value is a secret itself, rather than the name of where it is.
---@param name string
---@param value string
---@return boolean
function M.is_secret(name, value)
  if name == "proxy" then return value:find("://[^/]*@") ~= nil end
  return SECRETS[name] == true and value:match("^%a+:") ~= "env:" and value:match("^%a+:") ~= "file:"
end

local NAMES = {}
for _, option in ipairs(options.list()) do NAMES[#NAMES + 1] = option.name end
local KNOWN = {}
for _, name in ipairs(NAMES) do KNOWN[name] = true end
for _, name in ipairs { "clock", "log", "runtime" } do KNOWN[name] = nil end

local function add(found, name, value, number)
  local entry = found[name]
  if not entry then
    found[name] = { values = { value }, line = number }
  elseif SECRETS[name] then
    entry.values[#entry.values + 1] = value
  else
    return nil, at_line(number, ("sets %s again (the first is line %d)"):format(name, entry.line))
  end
  return true
end

local function read_line(found, line, number)
  if line:find("^%s*#") or not line:find("%S") then return true end
  local name, value = line:match("^%s*([%w_]+)%s*=%s*(.-)%s*$")
  if not name then return nil, at_line(number, "is not `name = value`") end
  if not KNOWN[name] then
    return nil, at_line(number, ("sets %s, which is unknown; %s"):format(errors.scrub(name),
      options.hint(name, NAMES)))
  end
  if value == "" or value:find("%c") then return nil, at_line(number, ("gives %s no value"):format(name)) end
  return add(found, name, value, number)
end

--- Reads the text of a config file.
---@param text string
---@return table<string, { values: string[], line: integer }>?
---@return string? problem
function M.parse(text)
  local found, number = {}, 0
  for line in (text:gsub("\r\n", "\n") .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    local good, problem = read_line(found, line, number)
    if not good then return nil, problem end
  end
  return found
end

local function holds_secret(found)
  for name, entry in pairs(found) do
    for _, value in ipairs(entry.values) do
      if M.is_secret(name, value) then return true end
    end
  end
  return false
end

-- The mode of a file that nobody else can have written: of the open one, for its path may name another by now.
local function trusted_mode(file, path)
  local mode, is_trusted = core.file_mode(file)
  if not mode then return nil, "cannot be asked for its owner" end
  if not is_trusted then return nil, "belongs to another user", "chown it to yourself" end
  if has_any(mode, MAY_WRITE) then
    return nil, ("can be written by others (mode %04o)"):format(mode), "chmod go-w " .. path
  end
  return mode
end

local function read_text(file)
  local text, reason = file:read(BYTES_MAX + 1)
  if reason then return nil, unreadable(reason) end            -- a folder, say
  if #(text or "") > BYTES_MAX then return nil, ("is longer than %d bytes"):format(BYTES_MAX) end
  return text or ""
end

-- What it holds, or what is wrong with it and, where more is known than that it is to be corrected, what to do.
local function read_open(file, path)
  local mode, foreign, remedy = trusted_mode(file, path)
  if not mode then return nil, foreign, remedy end
  local text, unread, cure = read_text(file)
  if not text then return nil, unread, cure end
  local found, wrong = M.parse(text)
  if found and has_any(mode, OTHERS) and holds_secret(found) then
    return nil, ("holds a secret and is open to others (mode %04o)"):format(mode), "chmod 600 " .. path
  end
  return found, wrong
end

--- Reads a config file, if nobody else can have written it and it shows no secret to others.
---@param path string
---@return table<string, { values: string[], line: integer }>?
---@return ringlink.Error?
function M.read(path)
  local file, reason = io.open(path, "rb")
  if not file then return refuse(path, unreadable(reason)) end
  local found, problem, cure = read_open(file, path)
  file:close()
  if not found then return refuse(path, problem, cure) end
  return found
end

local function set(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

--- Where the config file is: the one that was asked for, or the one in the config home if there is one.
---@param wanted string?
---@return string?
function M.path(wanted)
  if wanted then return wanted end
  local home = set("XDG_CONFIG_HOME") or (set("HOME") and set("HOME") .. "/.config")
  local path = home and home .. "/ringlink/config"
  return path and core.file_mode(path) and path or nil
end

return M
