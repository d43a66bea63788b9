--- A disk that fails when a test says so, under every SQLite file that this process opens meanwhile.
--
--   local disk = faulty_disk.load()      -- compiled once a process; see faulty_disk.c
--   disk.use(true)
--   disk.fail("full", true)              -- until disk.heal()
--   disk.use(false)

local shell = require "support.shell"

local M = {}

local SOURCES = "spec/support/faulty_disk.c spec/core/faulty_vfs.c"
local PACKAGE = rawget(_G, "jit") and (os.getenv("LUAJIT_PC") or "luajit") or os.getenv("LUA_PC") or "lua5.4"

local loaded

--- The disk.
function M.load()
  if loaded then return loaded end
  local directory = shell.make_directory()
  local library = directory .. "/faulty_disk.so"
  shell.run(("cc -std=c11 -shared -fPIC -Wall -Wextra -Ispec/core $(pkg-config --cflags %s sqlite3) -o %s %s %s")
    :format(PACKAGE, shell.quote(library), SOURCES, "-lsqlite3"))
  loaded = assert(package.loadlib(library, "luaopen_faulty_disk"))()
  shell.remove_directory(directory)
  return loaded
end

return M
