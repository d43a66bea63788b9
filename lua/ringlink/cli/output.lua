--- What a command says: results on standard output, everything else on standard error.
--
-- With --json each result is one line of JSON, and so is what went wrong ({"error": {...}}); for people
-- results are short aligned lines. The progress line is for terminals only. Invariants: nothing that was
-- read as a secret is ever written to standard error; nothing that others wrote commands a terminal; a progress
-- line is gone before anything else comes.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local json = require "ringlink.json"

local M = {}

local OUT = 1                              -- the file descriptor of standard output
local ERR = 2                              -- that of standard error
local PROGRESS_MS = 100
local COLUMNS_DEFAULT = 80
local ERROR_FIELDS = { "code", "message", "stage", "status", "title", "ring_id", "retryable", "ambiguous",
  "retry_after", "attempts" }
local SAY_IT_ALL = { usage = true, settings = true }      -- stages whose messages need no code before them
local CLEAR = "\r\27[K"

---@class ringlink.cli.Output
---@field json boolean?
---@field quiet boolean?
---@field secrets string[]  what this process was told, hidden wherever it would show
local Output = {}
Output.__index = Output

--- What a command writes to.
---@param args { json: boolean?, quiet: boolean? }
---@return ringlink.cli.Output
function M.new(args)
  return setmetatable({ json = args.json, quiet = args.quiet, secrets = {},
    is_terminal = core.is_terminal(ERR), told_ms = 0 }, Output)
end

--- Keeps a text from ever being written to standard error.
---@param secret string
function Output:hide(secret)
  if #secret > 0 then self.secrets[#self.secrets + 1] = secret end
end

local function without(text, secret)
  local parts, at = {}, 1
  while true do
    local first, last = text:find(secret, at, true)
    if not first then break end
    parts[#parts + 1] = text:sub(at, first - 1)
    at = last + 1
  end
  parts[#parts + 1] = text:sub(at)
  return table.concat(parts, "****")
end

function Output:hidden(text)
  for _, secret in ipairs(self.secrets) do text = without(text, secret) end
  return text
end

-- What a terminal obeys, in a name or an answer of somebody else's, is shown instead: C0 but for tab and line
-- end, DEL, and C1 as UTF-8 writes it.
local function harmless(text)
  return (text:gsub("[%z\1-\8\11-\31\127]", "?"):gsub("\194[\128-\159]", "?"))
end

-- The same of what may not begin a line or move a column either.
local function one_line(text)
  return (harmless(text):gsub("[\t\n]", "?"))
end

--- A line on standard error.
function Output:note(line)
  self:clear()
  io.stderr:write(harmless(self:hidden(line)), "\n")
end

-- Results -------------------------------------------------------------------------------------

local function write(text)
  if core.is_terminal(OUT) then text = harmless(text) end
  local done, problem = io.write(text)
  if not done then errors.new("store_error", { stage = "output", detail = problem,
    cure = "make standard output writable" }):raise() end
end

--- A result: the table for machines, or else the line for people.
---@param value table
---@param line string|nil
function Output:result(value, line)
  self:clear()
  if self.json then
    write(assert(json.encode(value)) .. "\n")
  elseif line then
    write(line .. "\n")
  end
  io.flush()
end

local function widths(rows)
  local most = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do most[i] = math.max(most[i] or 0, #cell) end
  end
  return most
end

--- Rows of text, each column as wide as its longest.
---@param rows string[][]
---@return string[] lines
function M.align(rows)
  local most, lines = widths(rows), {}
  for n, row in ipairs(rows) do
    local cells = {}
    for i = 1, #row do
      local cell = one_line(row[i])
      cells[i] = i < #row and cell .. (" "):rep(most[i] - #cell) or cell
    end
    lines[n] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return lines
end

--- Raw bytes as the result.
function Output:raw(bytes)
  self:clear()
  write(bytes)
  io.flush()
end

-- Trouble -------------------------------------------------------------------------------------

local function as_table(err)
  local shown = {}
  for _, field in ipairs(ERROR_FIELDS) do shown[field] = err[field] end
  return shown
end

--- What a raised value is, as an error object or as text.
---@param problem any
---@return string
function M.describe(problem)
  if errors.is(problem) then return SAY_IT_ALL[problem.stage] and problem.message or tostring(problem) end
  local lines = {}
  for line in tostring(problem):gmatch("[^\n]+") do lines[#lines + 1] = errors.describe(line) end
  return table.concat(lines, "\n")
end

local function cause_of(problem)
  local cause = errors.is(problem) and problem.cause
  if type(cause) ~= "string" then return "" end
  local text = M.describe(cause)
  return problem.message:find(text, 1, true) and "" or "\n" .. text       -- a reason is in the message
end

--- Tells what went wrong.
---@param problem any an error object, or whatever was raised
function Output:problem(problem)
  if not self.json then return self:note("ringlink: " .. M.describe(problem) .. cause_of(problem)) end
  local shown = errors.is(problem) and as_table(problem)
    or { code = "hook_failed", message = M.describe(problem) }
  shown.message = self:hidden(shown.message)
  self:result({ error = shown })
end

-- Progress ------------------------------------------------------------------------------------

--- The line that shows how far long work is; written over by the next.
---@param text string
function Output:progress(text)
  local now = core.monotonic_ms()
  if self.quiet or not self.is_terminal or now - self.told_ms < PROGRESS_MS then return end
  self.told_ms = now
  local columns = core.terminal_columns(ERR)
  self.shown = true
  io.stderr:write(CLEAR, one_line(self:hidden(text)):sub(1, (columns > 0 and columns or COLUMNS_DEFAULT) - 1))
  io.stderr:flush()
end

--- Takes the progress line away.
function Output:clear()
  if not self.shown then return end
  self.shown = false
  io.stderr:write(CLEAR)
  io.stderr:flush()
end

return M
