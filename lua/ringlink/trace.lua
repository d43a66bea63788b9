--- Tracebacks of what a partner's function raised: their own lines, down to where ringlink called it.
--
-- What is below is ringlink's way to the hook, which says nothing about the mistake. It is shown where the
-- mistake is in ringlink itself: then nothing is left out.
-- Invariant: the function was called by xpcall, and whoever asks is its message handler. So the nearest xpcall
-- on the stack is that one: a nearer one would have caught it.

local errors = require "ringlink.errors"

local M = {}

local LIBRARY = debug.getinfo(1, "S").source:match("^(.*[/\\])trace%.lua$")

local function is_ours(info)
  return info.what ~= "C" and LIBRARY ~= nil and info.source:sub(1, #LIBRARY) == LIBRARY
end

-- What the library raises to whoever calls it: mistakes of theirs, and error objects as text.
local function is_told(cause, info)
  return info.func == errors.raise_outside or cause:find("^ringlink: ") ~= nil
    or cause:find("^[^\n]-:%d+: ringlink: ") ~= nil
end

-- Levels are those of `debug`, seen from the function that uses them.
local function arose_inside(cause, level)
  local info = debug.getinfo(level, "Sf")
  while info and info.what == "C" and info.func ~= xpcall do
    level = level + 1
    info = debug.getinfo(level, "Sf")
  end
  return info ~= nil and is_ours(info) and not is_told(cause, info)
end

-- A traceback has a line for each level, but for tail calls, and leaves the middle of a long one out.
local function lines_outside(level)
  local lines = {}
  for line in debug.traceback("", level):gmatch("\n(\t[^\n]+)") do
    if line:find("^\t%.%.%.") then
      lines[#lines + 1] = "\t..."
      break
    elseif not line:find("^\t%(%.%.%.") then
      local info = debug.getinfo(level, "Sf")
      if info.func == xpcall then break end
      if not is_ours(info) then lines[#lines + 1] = line end
      level = level + 1
    end
  end
  return lines
end

--- What was raised, with the traceback that concerns whoever wrote the function. No tail call may lead here: it
--- counts levels.
---@param cause string
---@param level integer as of debug.traceback: 1 is the caller
---@return string
function M.outside(cause, level)
  if arose_inside(cause, level + 2) then return debug.traceback(cause, level + 1) end
  return ("%s\nstack traceback:\n%s"):format(cause, table.concat(lines_outside(level + 2), "\n"))
end

return M
