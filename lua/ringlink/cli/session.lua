--- A command's client, made from the settings, and the hooks that a file of the user's sets.

local errors = require "ringlink.errors"
local options = require "ringlink.options"
local ringlink = require "ringlink"
local settings = require "ringlink.cli.settings"
local waiting = require "ringlink.cli.waiting"

local M = {}

local LEVELS = { none = 0, error = 1, warn = 2, info = 3, debug = 4 }

---@class ringlink.cli.Context
---@field args ringlink.cli.Arguments
---@field out ringlink.cli.Output
---@field client ringlink.Client?   to be closed in the end

local function wrong(problem, cure)
  return errors.fail("invalid_option", { stage = "settings", message = ("%s: %s"):format(problem, cure) })
end

local function fields_of(fields)
  local names, parts = {}, {}
  for name in pairs(fields or {}) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = ("%s=%s"):format(name, tostring(fields[name])) end
  return table.concat(parts, " ")
end

local function logger(context, level)
  local most = LEVELS[context.args.log or level]
  return function(of, message, fields)
    if (LEVELS[of] or 0) > most then return end
    context.out:note(("ringlink: %s: %s %s"):format(of, message, fields_of(fields)))
  end
end

-- What secrets say must never show, wherever it is echoed.
local function hide_secrets(out, values)
  for _, setting in ipairs(settings.list) do
    local value = setting.is_secret and values[setting.name]
    for _, one in ipairs(type(value) == "table" and value or { value or nil }) do
      out:hide(options.secret_text(setting.name, one))
    end
  end
end

--- What an option's reader raised, as an error object; what is no mistake in a setting goes on.
---@param problem any
---@return nil
---@return ringlink.Error
function M.mistake(problem)
  local said = type(problem) == "string" and problem:match("ringlink: (option .*)$")
  if not said then error(problem, 0) end
  return wrong(said, "correct it; `ringlink doctor` shows where it comes from")
end

--- A client of the settings.
---@param context ringlink.cli.Context
---@param more table? `log`, the level by default; other fields are options that win over the settings
---@return ringlink.Client?
---@return ringlink.Error?
function M.open(context, more)
  local read = settings.read(context.args.settings)
  local problem = read.problems[1] or settings.missing(read)
  if problem then return nil, problem end
  local given = {}
  for name, value in pairs(read.values) do given[name] = value end
  for name, value in pairs(more or {}) do given[name] = value end
  given.log = logger(context, more and more.log or "error")
  local good, client = pcall(function()
    hide_secrets(context.out, read.values)
    return ringlink.new(given)
  end)
  if not good then return M.mistake(client) end
  context.client = client
  waiting.watch(client, context.out)
  return client
end

--- A file of Lua as a function.
---@param path string
---@param globals table? what it sees in place of the globals
---@return function?
---@return ringlink.Error?
function M.load(path, globals)
  local file, problem = io.open(path, "rb")
  if not file then return wrong(problem, "name a file of Lua that can be read") end
  file:close()
  local chunk, mistake = loadfile(path, "t", globals or _G)
  if chunk then return chunk end
  return errors.fail("hook_failed", { stage = "script",
    message = ("the file is no Lua (%s): correct it"):format(errors.describe(mistake)) })
end

--- A client whose hooks the file of --hooks has set.
---@param context ringlink.cli.Context
---@param more table?
---@return ringlink.Client?
---@return ringlink.Error?
function M.open_with_hooks(context, more)
  local path = context.args.hooks
  local chunk, err
  if path then
    chunk, err = M.load(path)
    if not chunk then return nil, err end
  end
  local client, problem = M.open(context, more)
  if client and chunk then chunk(client) end
  return client, problem
end

return M
