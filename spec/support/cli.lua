--- The command `ringlink` as people run it: a directory of its own, an environment, a shell.
--
--   local stage = cli.stage { RINGLINK_STORE = "memory" }
--   local done = stage:run { "accounts", "--json", input = "..." }    --> { status, out, err }
--   local line = stage:shell('printf %s "$CODE" | ringlink exchange')
--   local account, install = stage:linked(w, "7")                     -- w: a support.world, by cli.settings(w)
--   cli.stop_all()
--   cli.with_ring(function(ring, fresh) w, stage = ring, fresh end)     -- inside describe: hooks of busted are set
--
-- Secrets reach it by the file `environment` or by standard input; no command line holds one.

local assert = require "luassert"
local busted = require "busted"
local children = require "support.child"
local json = require "ringlink.json"
local planted = require "support.planted"
local shell = require "support.shell"
local terminal = require "support.terminal"
local world = require "support.world"

local M = {}

local Stage = {}
Stage.__index = Stage

local stages = {}

local WRAPPER = [[
#!/bin/sh
LUA_PATH=%s LUA_CPATH=%s exec %s %s/lua/ringlink/cli/ringlink.lua "$@"
]]

-- What whoever runs the specs has set is nothing to the command.
local FRESH = [[unset XDG_CONFIG_HOME $(env | sed -n 's/^\(RING\(LINK\)\{0,1\}_[A-Z_]*\)=.*/\1/p' | grep -v _LUA)]]

--- A new directory with `ringlink` on its PATH.
---@param environment table<string, string>
function M.stage(environment)
  local self = setmetatable({ directory = shell.make_directory(), environment = {} }, Stage)
  stages[#stages + 1] = self
  shell.run("mkdir " .. self.directory .. "/bin")
  self:write("bin/ringlink", WRAPPER:format(shell.quote(package.path), shell.quote(package.cpath),
    children.interpreter(), shell.here()))
  shell.run("chmod +x " .. self.directory .. "/bin/ringlink")
  self:set(environment)
  return self
end

--- What reaches a sandbox: credentials, URLs, and a store in the stage's directory.
function M.settings(w)
  return { RING_CLIENT_ID = w.ring.client_id, RING_CLIENT_SECRET = w.ring.client_secret,
    RING_HMAC_KEY = w.ring.hmac_key, RINGLINK_API_URL = w.ring.api_url, RINGLINK_OAUTH_URL = w.ring.oauth_url,
    RINGLINK_CA_FILE = w.ring.ca_file, RINGLINK_STORE = "sqlite:ringlink.db",
    RINGLINK_STORE_KEY = planted.store_key(1) }
end

--- Changes the environment; false takes a name out.
function Stage:set(environment)
  for name, value in pairs(environment) do self.environment[name] = value or nil end
  local lines = { FRESH, "HOME=" .. self.directory, "export HOME",
    "PATH=" .. self.directory .. "/bin:$PATH" }
  for name, value in pairs(self.environment) do
    lines[#lines + 1] = ("%s=%s; export %s"):format(name, shell.quote(value), name)
  end
  shell.write(self.directory .. "/environment", table.concat(lines, "\n") .. "\n")
  return self
end

function Stage:path(name)
  return self.directory .. "/" .. name
end

function Stage:write(name, text)
  shell.write(self:path(name), text)
  return self:path(name)
end

function Stage:read(name)
  return shell.read(self:path(name))
end

--- Removes a file.
function Stage:remove(name)
  shell.run("rm -f " .. shell.quote(self:path(name)))
end

local RUN = "cd %s && . ./environment && . ./line >out 2>err <input; echo $? >status"

--- Runs a line of bash.
---@param line string
---@param input string?
---@return { status: integer, out: string, err: string, said: string }
function Stage:shell(line, input)
  self:write("line", line .. "\n")
  self:write("input", input or "")
  shell.run("bash -c " .. shell.quote(RUN:format(self.directory)))
  local done = { status = tonumber(self:read("status")), out = self:read("out"), err = self:read("err") }
  done.said = done.out .. done.err
  return done
end

local function quoted(words)
  local parts = {}
  for i, word in ipairs(words) do parts[i] = shell.quote(word) end
  return table.concat(parts, " ")
end

--- Runs `ringlink` with these words; `input` is its standard input.
---@param words string[]
function Stage:run(words)
  return self:shell("ringlink " .. quoted(words), words.input)
end

--- The same with --json; the decoded lines are `values`.
function Stage:json(words)
  words[#words + 1] = "--json"
  local done = self:run(words)
  done.values = {}
  for line in done.out:gmatch("[^\n]+") do
    done.values[#done.values + 1] = assert(json.decode(line), "no JSON: " .. line)
  end
  return done
end

--- An account that has been exchanged; its install.
---@param w table a support.world
function Stage:exchanged(w)
  local install = w:install()
  local done = self:run { "exchange", input = install.code }
  assert.equal(0, done.status, done.said)
  return install
end

--- The address that an install's user comes back with.
function M.redirect_text(install)
  return ("https://partner.example/link?nonce=%s&time=%s"):format(install.nonce, install.time)
end

--- An account whose link is completed; and its install.
---@param w table a support.world
---@param user string? 7, if not given
function Stage:linked(w, user)
  local install = self:exchanged(w)
  local done = self:run { "link", "--user", user or "7", "--identifier", "user@partner.example.com",
    input = M.redirect_text(install) }
  assert.equal(0, done.status, done.said)
  return install.account, install
end

--- Starts a line that is one command in the background: a child as support.child has them.
function Stage:start(line)
  self:write("line", "exec " .. line .. "\n")
  return children.start_command("bash -c " .. shell.quote(("cd %s && . ./environment && . ./line"):format(
    self.directory)))
end

--- Removes every stage.
function M.stop_all()
  for _, stage in ipairs(stages) do
    children.wait_until("nobody at work in " .. stage.directory, function()    -- a command that ends may still write
      return (pcall(shell.remove_directory, stage.directory))
    end)
  end
  stages = {}
end

--- A Ring that lives as long as the `describe` around, and for each test a stage that reaches it: both are handed to
--- `begin` before the test, and what was started in it is ended after it.
---@param begin fun(w: table, stage: table) w: a support.world
function M.with_ring(begin)
  local w
  busted.setup(function() w = world.start { limits = { per_s = false } } end)
  busted.teardown(function() w:stop() end)
  busted.before_each(function()
    w:reset()
    begin(w, M.stage(M.settings(w)))
  end)
  busted.after_each(function()
    terminal.close_all()
    children.stop_all()
    M.stop_all()
  end)
end

return M
