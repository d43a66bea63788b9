--- Commands, files and processes with nothing but io and os.
--
-- Every argument is quoted for the shell here and nowhere else. Secrets never become arguments:
-- they are written to files under the instance's own 0700 directory.

local process = {}

local POLL_S = "0.05"
local PID_TRIES = 100

---@param argument string
---@return string
function process.quote(argument)
  return "'" .. argument:gsub("'", "'\\''") .. "'"
end

--- Builds a command line of quoted arguments.
---@param ... string
---@return string
function process.line(...)
  local parts = {}
  for i, argument in ipairs { ... } do parts[i] = process.quote(argument) end
  return table.concat(parts, " ")
end

--- Runs a shell command and waits for it.
---@param command string ready for the shell
---@return boolean ok whether it exited with 0
---@return string output stdout and stderr together
function process.run(command)
  -- LuaJIT's close() does not tell the exit status; so the shell says it in the last line.
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1 </dev/null; echo \" $?\"", "r"))
  local said = pipe:read("*a")
  pipe:close()
  local output, status = said:match("^(.*) (%d+)\n$")
  return status == "0", (output or said):gsub("%s+$", "")
end

---@param path string
---@return string|nil content
function process.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local content = file:read("*a")
  file:close()
  return content
end

---@param path string
---@param content string
---@return boolean|nil ok, string|nil problem
function process.write(path, content)
  local file, problem = io.open(path, "wb")
  if not file then return nil, problem end
  local ok = file:write(content)
  return file:close() and ok and true, "cannot write " .. path
end

---@param path string
---@return boolean
function process.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

function process.pause()
  process.run("sleep " .. POLL_S)
end

--- Whether a process runs; one that has ended and only waits for its parent to notice does not.
---@param pid string digits
---@return boolean
function process.alive(pid)
  local state = (process.read("/proc/" .. pid .. "/stat") or ""):match("^%d+ %(.*%) (%a)")
  if state then return state ~= "Z" end
  return (process.run("kill -0 " .. pid))
end

--- Ends a process, by its id only, and waits until it is gone.
---@param pid string digits
---@param tries integer how many pauses to wait before it is killed outright
---@return boolean gone
function process.stop(pid, tries)
  process.run("kill -TERM " .. pid)
  for _ = 1, tries do
    if not process.alive(pid) then return true end
    process.pause()
  end
  process.run("kill -KILL " .. pid)
  process.pause()
  return not process.alive(pid)
end

--- Starts nginx with the configuration that lies in its prefix, as a process of its own.
---@param nginx string the command
---@param prefix string
---@return boolean ok
---@return string said what nginx complained of
function process.start_nginx(nginx, prefix)
  -- A Lua path meant for another Lua must not reach nginx's LuaJIT.
  local clean = "env -u LUA_PATH -u LUA_CPATH -u LUA_INIT "
  return process.run(clean .. process.line(nginx, "-p", prefix .. "/", "-c", prefix .. "/nginx.conf",
    "-e", prefix .. "/error.log") .. " >" .. process.quote(prefix .. "/start.log"))
end

--- The pid of the nginx of a prefix, as soon as it has written it.
---@param prefix string
---@return string|nil digits
function process.nginx_pid(prefix)
  for _ = 1, PID_TRIES do
    local pid = (process.read(prefix .. "/nginx.pid") or ""):match("^(%d+)\n")
    if pid then return pid end
    process.pause()
  end
  return nil
end

return process
