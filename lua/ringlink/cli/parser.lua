--- Reads a command line as the manual says, and refuses words that must not be in one.
--
-- Invariant: no message repeats a word of the command line that may be a secret.

local argparse = require "argparse"
local config = require "ringlink.cli.config"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local input = require "ringlink.cli.input"
local manual = require "ringlink.cli.manual"
local settings = require "ringlink.cli.settings"

local M = {}

local MARGIN = 30
local LEVELS = { "none", "error", "warn", "info", "debug" }
local SECRET_FLAGS = { ["--code"] = true, ["--nonce"] = true, ["--token"] = true, ["--access-token"] = true,
  ["--refresh-token"] = true, ["--code-verifier"] = true, ["--password"] = true }
local BY_INPUT = "codes, nonces and secrets are no arguments, which `ps` shows to everybody: give them by "
  .. "standard input, --input FILE, the environment, or type them when asked"
local BY_NAME = "a secret is no argument, which `ps` shows to everybody: say env:NAME or file:PATH, or put "
  .. "it into the environment or the config file"
local BY_PROXY = "its password is a secret, and `ps` shows arguments to everybody: put proxy into the "
  .. "environment or the config file"

local function wrong(problem, cure)
  return errors.fail("invalid_request", { stage = "usage", message = ("%s: %s"):format(problem, cure) })
end

-- Building the parser -------------------------------------------------------------------------

local function add_number(element)
  element:convert(function(text)
    local number = tonumber(text)
    if number then return number end
    return nil, "a number is needed"
  end)
end

local function add_option(command, spec)
  local element = spec.arg and command:option(spec[1]) or command:flag(spec[1])
  element:description(spec.choices and ("%s %s."):format(spec.text, table.concat(spec.choices, ", ")) or spec.text)
  if spec.arg then element:argname(spec.arg) end
  if spec.many then element:count("*") end
  if spec.required then element:count(1) end
  if spec.number then add_number(element) end
  if spec.choices then element:choices(spec.choices) end
end

local function add_argument(command, spec)
  local element = command:argument(spec[1]):description(spec.text)
  if spec.many then element:args("*") elseif spec.optional then element:args("?") end
  if spec.choices then element:choices(spec.choices) end
end

local function examples_of(command)
  return "Examples:\n  " .. table.concat(command.examples, "\n  ")
    .. "\n\nSettings, --json and exit status: ringlink --help"
end

local function add_command(parser, spec)
  local command = parser:command(spec.name):summary(spec.summary .. ".")
    :description(spec.summary .. ".\n\n" .. spec.about):epilog(examples_of(spec))
  for _, argument in ipairs(spec.arguments or {}) do add_argument(command, argument) end
  for _, option in ipairs(spec.options or {}) do add_option(command, option) end
end

local function add_setting(parser, setting)
  local element = setting.kind == "boolean" and parser:flag(setting.flag) or parser:option(setting.flag)
  element:target("setting_" .. setting.name)
  if setting.kind ~= "boolean" then element:argname(setting.is_secret and "SOURCE" or "VALUE") end
  if setting.is_secret then element:count("*") end
  element:description(setting.variable .. (setting.is_secret and "; env:NAME or file:PATH, newest first" or ""))
  return element
end

local function add_common(parser)
  parser:group("Output",
    parser:flag("--json"):description("one line of JSON for each result, and for an error."),
    parser:flag("-q --quiet"):description("no progress line."),
    parser:option("--log"):argname("LEVEL"):choices(LEVELS)
      :description("what the library says on standard error: " .. table.concat(LEVELS, ", ") .. "."),
    parser:flag("--version"):description("print the version."):action(function()
      io.write("ringlink ", core.version, "\n")
      os.exit(0)
    end))
  local elements = { parser:option("--config"):argname("FILE"):description("the config file.") }
  for _, setting in ipairs(settings.list) do elements[#elements + 1] = add_setting(parser, setting) end
  parser:group("Settings", (table.unpack or unpack)(elements))
end

local function new_parser()
  local parser = argparse("ringlink", manual.description, manual.epilog)
  parser:command_target("command"):require_command(true):help_description_margin(MARGIN)
  parser:usage("Usage: ringlink [options] COMMAND ...\n       ringlink COMMAND --help")
  add_common(parser)
  for _, command in ipairs(manual.commands) do add_command(parser, command) end
  return parser
end

-- Words that must not be there ----------------------------------------------------------------

local IS_SECRET = {}
for _, setting in ipairs(settings.list) do IS_SECRET[setting.flag] = setting.is_secret end

local function refused(word, following)
  local flag, value = word:match("^(%-%-[%w-]+)=?(.*)$")
  if value == "" then value = following or "" end
  if SECRET_FLAGS[flag] then return BY_INPUT end
  local kind = value and value:match("^(%a+):")
  if flag and IS_SECRET[flag] and kind ~= "env" and kind ~= "file" then return BY_NAME end
  if flag == "--proxy" and config.is_secret("proxy", value) then return BY_PROXY end
  return input.looks_secret(word) and BY_INPUT or nil
end

local function refuse_secrets(words)
  for i, word in ipairs(words) do
    local reason = refused(word, words[i + 1])
    if reason then return wrong(("argument %d is or holds a secret"):format(i), reason) end
  end
  return true
end

-- What follows a script is the script's own: a "--" before it says so.
local function takes_value(word)
  for _, setting in ipairs(settings.list) do
    if setting.flag == word then return setting.kind ~= "boolean" end
  end
  return word == "--config" or word == "--log"
end

local function script_position(words)
  local at, seen = 1, false
  while at <= #words do
    local word = words[at]
    if word:sub(1, 1) == "-" then
      if takes_value(word) then at = at + 1 end
    elseif seen then
      return at
    elseif word == "run" then
      seen = true
    else
      return nil
    end
    at = at + 1
  end
end

local function separated(words)
  local position, list = script_position(words), {}
  for i, word in ipairs(words) do
    if i == position then list[#list + 1] = "--" end
    list[#list + 1] = word
  end
  return list
end

-- Reading -------------------------------------------------------------------------------------

local function settings_of(parsed)
  local given = { config = parsed.config }
  for _, setting in ipairs(settings.list) do given[setting.name] = parsed["setting_" .. setting.name] end
  return given
end

local function command_named(name)
  for _, command in ipairs(manual.commands) do
    if command.name == name then return command end
  end
end

local function explain(message, words)
  message = errors.scrub(message)
  local is_stray = message:find("too many arguments", 1, true)
  for _, word in ipairs(words) do
    local takes_input = word == "exchange" or word == "link"
    if is_stray and takes_input then return wrong(message, BY_INPUT) end
    if command_named(word) then return wrong(message, ("see `ringlink %s --help`"):format(word)) end
  end
  return wrong(message, "see `ringlink --help`")
end

---@class ringlink.cli.Arguments what argparse gives: values by the names of arguments and options, and
---@field command string
---@field json boolean?
---@field quiet boolean?
---@field log string?
---@field settings table<string, any>  the flags among the settings

--- Reads a command line. Prints help and ends the process when that is asked for.
---@param words string[]
---@return ringlink.cli.Arguments?
---@return ringlink.Error?
function M.read(words)
  local sound, err = refuse_secrets(words)
  if not sound then return nil, err end
  local good, parsed = new_parser():pparse(separated(words))
  if not good then return explain(parsed, words) end
  parsed.settings = settings_of(parsed)
  return parsed, command_named(parsed.command)
end

--- A completion script.
---@param shell "bash"|"zsh"|"fish"
---@return string
function M.completion(shell)
  local parser = new_parser()
  return parser["get_" .. shell .. "_complete"](parser)
end

return M
