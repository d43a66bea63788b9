--- `ringlink doctor`: every setting and where it comes from, everything that can be checked, and what to do
--- about what is wrong.
--
-- Invariants: no secret is shown, only whether it is set; nothing is made or changed that was not there; what only
-- follows from a config file that cannot be read is not told beside it.

local exit = require "ringlink.cli.exit"
local config = require "ringlink.cli.config"
local findings = require "ringlink.cli.doctor.findings"
local output = require "ringlink.cli.output"
local session = require "ringlink.cli.session"
local settings = require "ringlink.cli.settings"

local M = {}

-- One connection, one answer: what is slow or broken is to be told, not waited for.
local QUICK = { max_attempts = 1, timeout_ms = 10000, deadline_ms = 15000 }

-- Where a secret is may be shown. A default holds where nothing else is set; while the config file is not read,
-- nobody knows that.
local function shown(setting, read)
  local value = read.values[setting.name]
  if value == nil and not read.is_unread then value = setting.default end
  if value == nil then return nil end
  local parts = {}
  for i, one in ipairs(type(value) == "table" and value or { tostring(value) }) do
    parts[i] = config.is_secret(setting.name, one) and "****" or one
  end
  return table.concat(parts, ", ")
end

local function list_settings(read)
  local list = {}
  for i, setting in ipairs(settings.list) do
    list[i] = { name = setting.name, value = shown(setting, read),
      source = read.sources[setting.name] }
  end
  return list
end

local function check_settings(found, read)
  for _, problem in ipairs(read.problems) do found:add_error("settings", problem) end
  for _, one in ipairs(settings.lacking(read)) do
    found:fail(one.name, "is not set", "set it: " .. one.ways, exit.USAGE)
  end
end

local function check_with_client(found, context, read)
  if read.problems[1] or settings.missing(read) then return end
  local client, err = session.open(context, QUICK)
  if not client then return found:add_error("settings", err) end
  found:ok("settings", read.path and "config file " .. read.path or "no config file")
  require("ringlink.cli.doctor.store").check(found, client, read)
  if context.args.offline then return end
  context.out:progress("asking " .. client.options.api_url)
  require("ringlink.cli.doctor.network").check(found, client)
end

local function print_all(out, list, found)
  local rows = {}
  for i, one in ipairs(list) do rows[i] = { one.name, one.value or "-", one.source } end
  out:raw(table.concat(output.align(rows), "\n") .. "\n\n")
  rows = {}
  for i, one in ipairs(found.list) do rows[i] = { one.level, one.check, one.says } end
  for i, line in ipairs(output.align(rows)) do
    out:raw(line .. "\n")
    if found.list[i].cure then out:raw(("      -> %s\n"):format(found.list[i].cure)) end
  end
end

--- Checks everything.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.doctor(context)
  local read = settings.read(context.args.settings)
  local found = findings.new()
  check_settings(found, read)
  require("ringlink.cli.doctor.installation").check(found)
  require("ringlink.cli.doctor.credentials").check(found, read)
  check_with_client(found, context, read)
  local list, out = list_settings(read), context.out
  if out.json then out:result({ settings = list, findings = found.list }) else print_all(out, list, found) end
  return found.status or exit.DONE
end

return M
