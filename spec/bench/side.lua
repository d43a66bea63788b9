--- One side of a comparison: a process that is told what to do by lines on its input and answers each
--- with a line of name=value words.
---
---   local bare = side.start("bare", { ".build/bench/bare_sqlite" }, directory)
---   print(bare:ask("replay", "log").took_s)
---   bare:stop()
---
--- Both sides of a comparison are such processes, so that each has its own memory to be looked at and
--- so that they can take turns: what else the machine does then weighs on both.

local shell = require "support.shell"

local M = {}

local Side = {}
Side.__index = Side

--- Starts a command, a list of words; `name` is also that of its files in the directory.
function M.start(name, command, directory)
  local words = {}
  for i, word in ipairs(command) do words[i] = shell.quote(word) end
  local place = directory .. "/" .. name
  shell.run("rm -f " .. shell.quote(place) .. ".* && mkfifo " .. shell.quote(place .. ".out"))
  local input = assert(io.popen(("echo $$ >%s; exec %s >%s"):format(shell.quote(place .. ".pid"),
    table.concat(words, " "), shell.quote(place .. ".out")), "w"))
  local output = assert(io.open(place .. ".out", "r"))
  return setmetatable({ name = name, input = input, output = output, place = place }, Side)
end

local function read(line)
  local answer = {}
  for name, value in line:gmatch("([%w_]+)=(%S+)") do answer[name] = tonumber(value) or value end
  return answer
end

--- Says a line and waits for the answer.
function Side:ask(...)
  self.input:write(table.concat({ ... }, " "), "\n")
  self.input:flush()
  local line = self.output:read("*l")
  return line and read(line) or error(("%s ended at: %s"):format(self.name, table.concat({ ... }, " ")), 0)
end

--- The memory of the process in bytes, as the kernel sees it: now, and at most so far.
function Side:memory()
  local pid = shell.read(self.place .. ".pid"):match("%d+")
  local status = shell.read("/proc/" .. pid .. "/status")
  return { now = 1024 * status:match("VmRSS:%s*(%d+)"), most = 1024 * status:match("VmHWM:%s*(%d+)") }
end

--- Ends it, by the end of its input.
function Side:stop()
  self.input:close()
  self.output:close()
end

return M
