--- Stores in temporary directories, for specs: SQLite ones, and their files as bytes.

local core = require "ringlink.core"
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

--- What was written to a file and to those beside it, as a digest by name; the shared memory, which
--- readers mark too, and empty files are left out.
function M.written(path)
  local digests = {}
  for name, bytes in pairs(M.files_beside(path)) do
    if bytes ~= "" and not name:find("%-shm$") then digests[name] = core.hex(core.sha256(bytes)) end
  end
  return digests
end

--- The rows of a file as they lie there, by key: version, columns, and of the data a digest.
function M.raw_rows(path, client_id)
  local db = assert(core.store_sqlite { path = path, client_id = client_id or M.client_id })
  local result = db:run { { op = "find" } }[1]
  db:close()
  assert(not result.error, result.detail)
  local rows = {}
  for _, entry in ipairs(result.entries) do
    rows[entry.key], entry.data = entry, core.hex(core.sha256(entry.data))
  end
  return rows
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
