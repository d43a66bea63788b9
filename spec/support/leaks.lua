--- Looks for planted secrets in what a run leaves behind: every directory that is about to be removed,
--- and every command line.
--
--   leaks.watch()                        -- once in a process, before anything is started (tap.lua)
--   leaks.shared():directory(path)       -- earlier than that: while a database is open, say
--
-- `watch` stands before os.execute and io.popen, by which all helpers start and remove things, so that no
-- helper can forget it. What is found is told by name and place only, and appended to RECORD, where
-- search_run.lua finds it whichever process it was.

local planted = require "support.planted"

local RECORD = ".build/test/leaks"

local M = { record = RECORD }

-- Files that have to hold secrets, and why.
local HOLDERS = {
  "/settings%.json$",                      -- the sandbox reads its credentials there
  "/hits$",                                -- what Ring delivered to a partner of sandbox_live.lua
  "/client%.json$",                        -- the options of the backend of the specs in nginx
  "/input$",                               -- what a child, the demo or curl is told
  "/environment$",                         -- the demo's and the shell command's, with an app's credentials
  "/code%.txt$", "/redirect%.txt$", "/tokens%.jsonl$", "/config$",   -- what the shell command is told by files
  "/client_secret$", "/hmac_key$",         -- for the options that begin with file:
  "/store_key$", "/exchange_secret$",
}

local Finder = {}
Finder.__index = Finder

--- A finder with counts of its own; without `record` it only keeps what it finds.
---@param record string?
function M.new(record)
  return setmetatable({ record = record, found = {}, files = 0, bytes = 0, commands = 0 }, Finder)
end

local function tell(self, what, where)
  local line = ("%s in %s"):format(what, where)
  self.found[#self.found + 1] = line
  local file = self.record and io.open(self.record, "ab")    -- none without a build
  if not file then return end
  file:write(line, "\n")
  file:close()
end

local function may_hold(path)
  for _, pattern in ipairs(HOLDERS) do
    if path:find(pattern) then return true end
  end
  return false
end

--- Searches a file; one that has to hold secrets, or cannot be read, is passed over.
---@param path string
function Finder:file(path)
  local file = not may_hold(path) and io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if not text then return end
  self.files, self.bytes = self.files + 1, self.bytes + #text
  local what = planted.find(text)
  if what then tell(self, what, path) end
end

local popen, execute = io.popen, os.execute

--- Searches every file of a directory, however deep.
---@param path string
function Finder:directory(path)
  local list = assert(popen("find '" .. path .. "' -type f 2>&1"))
  local paths = {}
  for line in list:lines() do paths[#paths + 1] = line end
  list:close()
  for _, one in ipairs(paths) do self:file(one) end
end

--- Searches a command line, which every user of the machine can read; and what it removes.
---@param line string
function Finder:command(line)
  self.commands = self.commands + 1
  local what = planted.find(line)
  if what then tell(self, what, "the command line of " .. line:match("[%w_%-./]+")) end
  local removed = line:match("rm'? '?%-rf(.*)")
  for path in (removed or ""):gmatch("'(/[^']+)'") do self:directory(path) end
end

--- One line of what was looked at.
function Finder:summary()
  return ("%d files, %d kB, %d command lines"):format(self.files, math.floor(self.bytes / 1024), self.commands)
end

local shared

--- The finder of this process.
function M.shared()
  return assert(shared, "leaks.watch() comes first")
end

--- Begins to look at every command of this process.
function M.watch()
  if shared then return end
  shared = M.new(RECORD)
  function io.popen(line, ...) -- luacheck: ignore 122
    shared:command(line)
    return popen(line, ...)
  end
  function os.execute(line) -- luacheck: ignore 122
    if line then shared:command(line) end
    return execute(line)
  end
end

return M
