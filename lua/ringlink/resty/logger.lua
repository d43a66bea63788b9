--- Where ringlink's log lines go when the partner names no `log`: nginx's error log.

local M = {}

local LEVELS = { debug = ngx.DEBUG, info = ngx.INFO, warn = ngx.WARN, error = ngx.ERR }

local function names_of(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- A line of the error log; control characters become spaces, so that a line stays one.
---@param level "debug"|"info"|"warn"|"error"
---@param message string
---@param fields table flat and without secrets (ringlink.log sees to that)
function M.write(level, message, fields)
  local parts = { "ringlink: ", message }
  for _, name in ipairs(names_of(fields)) do
    parts[#parts + 1] = (" %s=%s"):format(name, tostring(fields[name]))
  end
  ngx.log(LEVELS[level] or ngx.ERR, (table.concat(parts):gsub("%c", " ")))
end

return M
