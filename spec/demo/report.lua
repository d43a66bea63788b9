--- What the demo prints: headlines, one aligned line per step, the verdict.
--
-- Colours only on a terminal, and never when NO_COLOR is set. A failed expectation raises
-- `{failure = text}`; whoever runs the demo prints it and exits with 1.

local Report = {}
Report.__index = Report

local WHO_CHARS, VERB_CHARS, WHAT_CHARS, STATUS_CHARS = 19, 5, 35, 4
local COLOURS = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", cyan = "36" }

local report = {}

local function on_terminal()
  if (os.getenv("NO_COLOR") or "") ~= "" or os.getenv("TERM") == "dumb" then return false end
  local good = os.execute("test -t 1")
  return good == true or good == 0
end

function report.new()
  return setmetatable({ colours = on_terminal(), phases = 0, expectations = 0 }, Report)
end

function Report:paint(colour, text)
  if not self.colours or text == "" then return text end
  return ("\27[%sm%s\27[0m"):format(COLOURS[colour], text)
end

local function pad(text, chars)
  local _, count = text:gsub("[^\128-\191]", "")
  return text .. (" "):rep(chars - count)
end

function Report:say(text)
  io.write(text, "\n")
  io.flush()
end

---@param title string
function Report:headline(title)
  self.phases = self.phases + 1
  self:say("\n" .. self:paint("bold", ("%2d  %s"):format(self.phases, title)))
end

local function colour_of(status)
  local number = tonumber(status)
  if not number then return "cyan" end
  return number < 300 and "green" or number < 400 and "cyan" or "yellow"
end

--- Prints a step.
---@param who string who calls whom
---@param verb string the method, or "hook"
---@param what string path or name
---@param status any
---@param details string[]|nil
function Report:step(who, verb, what, status, details)
  local shown = status and tostring(status) or ""
  local line = "    " .. pad(who, WHO_CHARS) .. self:paint("bold", pad(verb, VERB_CHARS)) .. " "
    .. pad(what, WHAT_CHARS) .. " " .. self:paint(colour_of(status), pad(shown, STATUS_CHARS))
    .. self:paint("dim", table.concat(details or {}, "  "))
  self:say((line:gsub(" +$", "")))
end

--- A fact without a call.
function Report:fact(name, text) self:say("    " .. pad(name, WHO_CHARS) .. text) end

--- Raises unless the expectation holds.
---@param holds any
---@param text string what was expected
function Report:expect(holds, text)
  self.expectations = self.expectations + 1
  if not holds then error({ failure = "expected " .. text }, 0) end
  return holds
end

function Report:good(text) self:say("\n" .. self:paint("green", text)) end

function Report:bad(text)
  io.flush()
  io.stderr:write(self:paint("red", "FAILED: " .. text), "\n")
end

return report
