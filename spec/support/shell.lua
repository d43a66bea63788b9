--- Shell commands and temporary directories for the specs, the same under every Lua.

local M = {}

--- A word that the shell leaves as it is.
function M.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- Runs a command; raises with all it said when it fails. Returns what it said.
function M.run(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1; echo \" $?\""))
  local said, status = pipe:read("*a"):match("^(.*) (%d+)\n$")
  pipe:close()
  assert(status == "0", command .. "\n" .. tostring(said))
  return said
end

--- Whether a command succeeds; what it says is lost.
function M.succeeds(command)
  local good = os.execute("{ " .. command .. "; } >/dev/null 2>&1")
  return good == true or good == 0
end

--- The directory that this process works in: the working copy's root, for the specs.
function M.here()
  return (M.run("pwd"):gsub("%s+$", ""))
end

--- A new directory for temporary files, among the others or in `parent`.
function M.make_directory(parent)
  local command = parent and "mktemp -d " .. M.quote(parent .. "/tmp.XXXXXXXXXX") or "mktemp -d"
  return (M.run(command):gsub("%s+$", ""))
end

--- Removes what make_directory made.
function M.remove_directory(path)
  assert(path:find("^/tmp/") or path:find("/tmp%.%w+$"), "not a temporary directory: " .. path)
  M.run("rm -rf " .. M.quote(path))
end

function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

return M
