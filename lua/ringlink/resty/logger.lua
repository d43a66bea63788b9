--- Where ringlink's log lines go when the partner names no `log`: nginx's error log.
--
-- Never as a request's line, as ngx.log would write it: nginx puts the request after those, and addresses
-- hold the Token Exchange URL's secret and Ring's nonces.

local C = require("ffi").C

require "ngx.errlog"                             -- declares what is called below

local M = {}

local NO_REQUEST = nil

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
  local line = table.concat(parts):gsub("%c", " ")
  C.ngx_http_lua_ffi_raw_log(NO_REQUEST, LEVELS[level] or ngx.ERR, line, #line)
end

return M
