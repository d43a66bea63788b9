--- A child process that runs one of our scripts beside the test, and patience with it.
--
-- The child says what it does by lines on its output; a test waits for a line or for its end, never
-- for a time. Whatever still runs when a test is over is ended by `stop_all`, by its own id only.
-- Codes and nonces go to it by its standard input: a command line can be read by everybody.

local core = require "ringlink.core"
local shell = require "support.shell"

local PATIENCE_MS = 60000            -- nothing takes that long, on a busy machine either
local TURN_MS = 5

local M = {}

local Child = {}
Child.__index = Child

local started = {}

local RUN = [[
%s >%s/output 2>&1 <%s/input &
echo $! >%s/pid
wait $!
echo $? >%s/status
]]

--- The interpreter for children.
function M.interpreter()
  return os.getenv("RINGLINK_LUA") or (rawget(_G, "jit") and "luajit" or "lua5.4")
end

--- Waits until `condition()` holds; fails, and says what was waited for, when it never does. `what` is
--- text, or a function for what can only be said in the end.
function M.wait_until(what, condition)
  local give_up_ms = core.monotonic_ms() + PATIENCE_MS
  while true do
    local answer = condition()
    if answer then return answer end
    if core.monotonic_ms() >= give_up_ms then
      error("this never happened: " .. (type(what) == "function" and what() or what), 0)
    end
    core.sleep_ms(TURN_MS)
  end
end

local function content(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("*a")
  file:close()
  return text
end

--- Starts a command, ready for the shell; `input` is a list of lines for its standard input.
function M.start_command(command, input)
  local directory = shell.make_directory()
  shell.write(directory .. "/input", table.concat(input or {}, "\n"))
  shell.write(directory .. "/run", RUN:format(command, directory, directory, directory, directory))
  os.execute("sh " .. directory .. "/run >/dev/null 2>&1 </dev/null &")
  local child = setmetatable({ directory = directory }, Child)
  started[#started + 1] = child
  child.pid = M.wait_until("a child starts", function()
    return content(directory .. "/pid"):match("^(%d+)\n")
  end)
  return child
end

--- Starts a script with arguments; `words.input` is a list of lines for its standard input,
--- `environment` is put before the command as it is.
function M.start(script, words, environment)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = shell.quote(word) end
  return M.start_command(("env LUA_PATH=%s LUA_CPATH=%s %s %s %s %s"):format(shell.quote(package.path),
    shell.quote(package.cpath), environment or "", M.interpreter(), shell.quote(script),
    table.concat(quoted, " ")), words.input)
end

--- Everything it said so far.
function Child:output()
  return content(self.directory .. "/output")
end

--- For `wait_until`: what is waited for, and what the child has said when it did not happen.
function Child:about(what)
  return function() return ("%s; it said:\n%s"):format(what, self:output()) end
end

--- Its exit status, as the shell tells it, once it has ended.
function Child:status()
  return tonumber(content(self.directory .. "/status"):match("^(%d+)\n"))
end

--- Waits for a line.
function Child:wait_for(line)
  return M.wait_until(self:about(("the line %q"):format(line)), function()
    local said = "\n" .. self:output()
    return said:find("\n" .. line .. "\n", 1, true) or (self:status() and error(said, 0))
  end)
end

--- Waits for its end and returns its exit status and what it said.
function Child:wait()
  local status = M.wait_until(self:about("the child's end"), function() return self:status() end)
  return status, self:output()
end

--- Sends it a signal.
function Child:signal(name)
  shell.run(("kill -%s %s"):format(name, self.pid))
end

--- Ends what still runs and removes what the children left.
function M.stop_all()
  for _, child in ipairs(started) do
    if not child:status() then
      child:signal("KILL")
      child:wait()
    end
    shell.remove_directory(child.directory)
  end
  started = {}
end

return M
