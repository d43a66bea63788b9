--- Where a task came from: the lines that spawned it, and those that spawned whoever did.
--
-- Noted at every spawn, so it costs a short text a task; what a traceback would say of a task that
-- failed ends where the task begins, and the line to look at is often the one before.

local M = {}

local FRAMES_MAX = 3
local DEPTH_MAX = 8                    -- tasks of tasks; the beginning of longer chains is forgotten
local LEVELS_MAX = 24

local LIBRARY = debug.getinfo(1, "S").source:match("^(.*[/\\])runtime[/\\]origin%.lua$")

local function is_foreign(info)
  if info.what == "C" or info.currentline < 0 then return false end
  return LIBRARY == nil or info.source:sub(1, #LIBRARY) ~= LIBRARY
end

-- The lines outside of the library that led here, the nearest first.
local function place(level)
  local frames = {}
  for at = level, level + LEVELS_MAX do
    local info = debug.getinfo(at, "Sl")
    if info == nil or #frames == FRAMES_MAX then break end
    if is_foreign(info) then frames[#frames + 1] = ("%s:%d"):format(info.short_src, info.currentline) end
  end
  return #frames > 0 and table.concat(frames, ", called at ") or nil
end

---@class ringlink.Origin
---@field at string
---@field depth integer
---@field before ringlink.Origin? of the task that spawned it

--- The origin of a task that is being spawned.
---@param before ringlink.Origin? the origin of the task that spawns it
---@return ringlink.Origin?
function M.here(before)
  local at = place(3)
  if not at then return before end
  if before and before.depth >= DEPTH_MAX then before = nil end
  return { at = at, depth = before and before.depth + 1 or 1, before = before }
end

--- An origin as lines of text, "" for none.
---@param origin ringlink.Origin?
---@return string
function M.describe(origin)
  local lines, word = {}, "spawned at "
  while origin do
    lines[#lines + 1] = word .. origin.at
    origin, word = origin.before, "by a task spawned at "
  end
  return table.concat(lines, "\n\t")
end

return M
