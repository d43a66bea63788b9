--- What `ringlink doctor` has found: a list, and the exit status of the first thing that is wrong.

local errors = require "ringlink.errors"
local exit = require "ringlink.cli.exit"

local M = {}

---@class ringlink.cli.Finding
---@field check string   what was looked at
---@field level "ok"|"warn"|"fail"
---@field says string
---@field cure string?   what to do about it

---@class ringlink.cli.Findings
---@field list ringlink.cli.Finding[]
---@field status integer?  of the first that failed
local Findings = {}
Findings.__index = Findings

---@return ringlink.cli.Findings
function M.new()
  return setmetatable({ list = {} }, Findings)
end

local function add(self, level, check, says, cure)
  self.list[#self.list + 1] = { check = check, level = level, says = says, cure = cure }
end

--- It is as it should be.
function Findings:ok(check, says)
  add(self, "ok", check, says)
end

--- It works, but should be looked at.
function Findings:warn(check, says, cure)
  add(self, "warn", check, says, cure)
end

--- It is wrong.
---@param status integer the exit status, when it is the first
function Findings:fail(check, says, cure, status)
  self.status = self.status or status
  add(self, "fail", check, says, cure)
end

local CURES = {}
for _, entry in ipairs(errors.list) do CURES[entry.code] = entry.cure end

-- A message ends with what to do, after a colon.
local function without_cure(err)
  local cure = CURES[err.code]
  local says = err.message
  if says:sub(-#cure - 2) == ": " .. cure then says = says:sub(1, -#cure - 3) end
  return ("%s: %s"):format(err.code, says), cure
end

-- That of a setting is of its own and says it all, as it does where a command ends with it.
local function of_setting(err)
  return err.message:match("^(.*): (.-)$")
end

local function is_told(self, says)
  for _, one in ipairs(self.list) do
    if one.says == says then return true end
  end
  return false
end

--- It is wrong as an error object says. A mistake in a setting, over which a client stumbles again, is told once.
---@param check string
---@param err ringlink.Error
function Findings:add_error(check, err)
  local is_setting = err.stage == "settings"
  local says, cure = (is_setting and of_setting or without_cure)(err)
  if is_setting and is_told(self, says) then return end
  self:fail(check, says, cure, exit.of(err))
end

return M
