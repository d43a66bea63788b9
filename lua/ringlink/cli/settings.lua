--- The settings of a command: from flags, else the environment, else the config file, else a default.
--
-- Every option of `ringlink.new` that is text can be set: `--api-url`, RINGLINK_API_URL and `api_url = ...`
-- are the same one. Invariants: a secret is never a flag's value, because command lines can be read by
-- everybody; a message names a setting and where it came from, never what it is.

local config = require "ringlink.cli.config"
local errors = require "ringlink.errors"
local options = require "ringlink.options"

local M = {}

local ENVIRONMENT = { client_id = "RING_CLIENT_ID", client_secret = "RING_CLIENT_SECRET",
  hmac_key = "RING_HMAC_KEY" }
local NOT_HERE = { clock = true, log = true, runtime = true }
local SECRET = { secrets = true, hmac_key = true, store_key = true }
local NUMBER = { number = true, integer = true }

---@class ringlink.cli.Setting
---@field name string
---@field kind string        the option's
---@field flag string
---@field variable string
---@field is_secret boolean? its value is never shown, and no flag's
---@field required boolean?
---@field default any

--- Every setting.
---@type ringlink.cli.Setting[]
M.list = {}
for _, option in ipairs(options.list()) do
  if not NOT_HERE[option.name] then
    M.list[#M.list + 1] = { name = option.name, kind = option.kind, default = option.default,
      flag = "--" .. option.name:gsub("_", "-"), is_secret = SECRET[option.kind], required = option.required,
      variable = ENVIRONMENT[option.name] or "RINGLINK_" .. option.name:upper() }
  end
end

local function wrong(problem)
  return errors.fail("invalid_option", { stage = "settings", message = problem .. ": correct the setting" })
end

-- Text as the option takes it -----------------------------------------------------------------

local BOOLEAN = { ["true"] = true, ["false"] = false }

local function convert(setting, text, source)
  if NUMBER[setting.kind] then
    local number = text:find("^%-?%d+%.?%d*$") and tonumber(text)
    if number then return number end
    return wrong(("%s must be a number (%s)"):format(setting.name, source))
  end
  if setting.kind == "boolean" and BOOLEAN[text] == nil then
    return wrong(("%s must be true or false (%s)"):format(setting.name, source))
  end
  if setting.kind == "boolean" then return BOOLEAN[text] end
  return text
end

local function only_or_all(values)
  return #values == 1 and values[1] or values
end

-- Where a setting comes from ------------------------------------------------------------------

local function from_flag(setting, args)
  local given = args[setting.name]
  if given == nil or type(given) == "table" and given[1] == nil then return nil end
  if setting.kind == "boolean" then return { values = { "true" }, source = "flag " .. setting.flag } end
  return { values = type(given) == "table" and given or { given }, source = "flag " .. setting.flag }
end

local function from_environment(setting)
  local value = os.getenv(setting.variable)
  if value == nil or value == "" then return nil end
  return { values = { value }, source = "environment " .. setting.variable }
end

local function from_config(setting, found, path)
  local entry = found[setting.name]
  return entry and { values = entry.values, source = ("%s, line %d"):format(path, entry.line) }
end

local function without_value(setting, read)
  if read.is_unread then return "config file not read" end         -- it may be set there
  return setting.default ~= nil and "default" or "not set"
end

local function resolve(setting, read)
  local given = from_flag(setting, read.args) or from_environment(setting)
    or from_config(setting, read.found, read.path)
  if not given then return nil, without_value(setting, read) end
  local converted = {}
  for i, text in ipairs(given.values) do
    local value, err = convert(setting, text, given.source)
    if value == nil then return nil, given.source, err end
    converted[i] = value
  end
  return only_or_all(converted), given.source
end

---@class ringlink.cli.Settings
---@field values table<string, any>      what was set, by the options' names
---@field sources table<string, string>  where each comes from, also "default", "not set", "config file not read"
---@field path string?                   the config file
---@field is_unread boolean              it could not be read: nobody knows what it sets
---@field problems ringlink.Error[]      what is wrong with them

--- Reads all settings. What is wrong does not keep the others from being read.
---@param args table the flags, by the settings' names, and `config`
---@return ringlink.cli.Settings
function M.read(args)
  local read = { args = args, found = {}, path = config.path(args.config), is_unread = false, values = {},
    sources = {}, problems = {} }
  if read.path then
    local found, err = config.read(read.path)
    read.found, read.is_unread = found or {}, found == nil
    read.problems[1] = err
  end
  for _, setting in ipairs(M.list) do
    local value, source, err = resolve(setting, read)
    read.values[setting.name], read.sources[setting.name] = value, source
    read.problems[#read.problems + 1] = err
  end
  return read
end

--- What lacks of the settings that a client needs; nothing is known to lack while the config file is not read.
---@param settings ringlink.cli.Settings
---@return { name: string, ways: string }[] lacking and how each can be set
function M.lacking(settings)
  local lacking = {}
  if settings.is_unread then return lacking end
  local keeps = settings.values.store ~= nil and settings.values.store ~= "memory"
  for _, setting in ipairs(M.list) do
    local is_needed = setting.required or (setting.name == "store_key" and keeps)
    if is_needed and settings.values[setting.name] == nil then
      lacking[#lacking + 1] = { name = setting.name, ways = ("%s, or %s in the config file"):format(
        setting.is_secret and setting.variable or setting.flag .. ", " .. setting.variable, setting.name) }
    end
  end
  return lacking
end

--- The same as one error; nil when nothing lacks.
---@param settings ringlink.cli.Settings
---@return ringlink.Error?
function M.missing(settings)
  local parts = {}
  for i, one in ipairs(M.lacking(settings)) do parts[i] = ("%s (%s)"):format(one.name, one.ways) end
  if not parts[1] then return nil end
  return errors.new("invalid_option", { stage = "settings", message = ("not set: %s: `ringlink doctor` shows "
    .. "every setting and where it comes from"):format(table.concat(parts, "; ")) })
end

return M
