--- Files that somebody swaps for others at the worst moment: whoever owns the directory can.

local shell = require "support.shell"

local M = {}

local function set(open, lines)
  rawset(io, "open", open)
  rawset(io, "lines", lines)
end

--- Runs a function while another file takes the place of one: "before" the next opening, so that what was
--- asked by path was asked of the first; or "after" it, so that what is asked by path is asked of the other.
---@param moment "before"|"after"
---@param path string
---@param other string
---@param fn fun(): ...
---@return any ... what it returned, or raised, as pcall says
function M.during(moment, path, other, fn)
  local open, lines = io.open, io.lines
  local function swap()
    set(open, lines)
    shell.run(("mv %s %s"):format(shell.quote(other), shell.quote(path)))
  end
  local function swapping(opens)
    return function(name, ...)
      if name ~= path then return opens(name, ...) end
      if moment == "before" then swap() end
      local file, problem = opens(name, ...)
      if moment == "after" then swap() end
      return file, problem
    end
  end
  local function finish(...)
    set(open, lines)
    return ...
  end
  set(swapping(open), swapping(lines))
  return finish(pcall(fn))
end

return M
