#!/usr/bin/env lua5.4
-- The command `ringlink`, as it is installed: see cli/init.lua. Here is only what must work when nothing
-- else does: a module that lacks, and a Ctrl-C before anything has begun or after everything has ended.
-- luarocks starts it from inside its tree, and does not say where that is when it does not look after
-- dependencies.
local tree, version = arg[0]:match("^(.*)/lib/luarocks/rocks%-(%d%.%d)/")
if tree then
  local modules = ("%s/share/lua/%s/"):format(tree, version)
  package.path = modules .. "?.lua;" .. modules .. "?/init.lua;" .. package.path
  package.cpath = ("%s/lib/lua/%s/?.so;"):format(tree, version) .. package.cpath
end

local good, status = pcall(function() return require("ringlink.cli").main(arg) end)
if not good then
  local is_interrupted = tostring(status):find("interrupted!$")
  io.stderr:write("ringlink: ", is_interrupted and "interrupted" or tostring(status), "\n")
  status = is_interrupted and 130 or 5
end
os.exit(status, true)
