--- Stores in temporary directories, for specs: SQLite ones, and their files as bytes.

local shell = require "support.shell"
local sqlite = require "ringlink.store.sqlite"

local M = { client_id = "app-under-test" }

local directories = {}

--- A new directory that `remove_all` removes.
function M.new_directory()
  local directory = shell.make_directory()
  directories[#directories + 1] = directory
  return directory
end

--- The path of a file that does not exist yet, in a directory of its own.
function M.new_path()
  return M.new_directory() .. "/ringlink.db"
end

--- A store on a file; `more` may hold clock, client_id, busy_ms.
function M.sqlite(path, more)
  local options = { path = path, client_id = M.client_id }
  for name, value in pairs(more or {}) do options[name] = value end
  return sqlite.new(options)
end

--- Every byte of the files in a path's directory, by name.
function M.files_beside(path)
  local directory, files = path:match("^(.*)/"), {}
  for name in shell.run("ls -A " .. shell.quote(directory)):gmatch("[^\n]+") do
    files[name] = shell.read(directory .. "/" .. name)
  end
  return files
end

--- Removes what new_directory and new_path made.
function M.remove_all()
  for _, directory in ipairs(directories) do
    shell.run("chmod -R u+rwX " .. shell.quote(directory))
    shell.remove_directory(directory)
  end
  directories = {}
end

return M
