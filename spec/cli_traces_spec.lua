-- What the shell shows of a mistake in the user's own Lua: their lines, and none of ringlink's below them.

local cli = require "support.cli"
local json = require "ringlink.json"

describe("the shell shows of a mistake #network #ownstore", function()
  local w, stage

  cli.with_ring(function(ring, fresh) w, stage = ring, fresh end)

  --- Which files the lines of a traceback are from, in order; what Lua itself did is none.
  local function files_of(text)
    local files = {}
    for line in text:match("\nstack traceback:\n(.*)"):gmatch("[^\n]+") do
      local file = line:match("^%s+([^%[%s]-):%d+: in ")
      if file then files[#files + 1] = file end
    end
    return files
  end

  it("of a script's its lines only", function()
    stage:write("script.lua", "local function inner() error('broken') end\n"
      .. "local function outer() inner() end\nouter()\n")
    local done = stage:run { "run", "script.lua" }
    assert.equal(5, done.status)
    assert.truthy(done.err:find("ringlink: script.lua:1: broken\nstack traceback:\n", 1, true), done.err)
    assert.same({ "script.lua", "script.lua", "script.lua" }, files_of(done.err))
    local _, count = done.err:gsub("stack traceback:", "")
    assert.equal(1, count)
  end)

  it("of a script's also as JSON, and the script's own before that of a task it has left behind", function()
    stage:write("script.lua", "require('ringlink').spawn(function() error('task') end)\nerror('broken')\n")
    local done = stage:run { "run", "--json", "script.lua" }
    local err = json.decode(done.out).error
    assert.same({ 5, "hook_failed" }, { done.status, err.code })
    assert.truthy(err.message:find("^script.lua:2: broken\nstack traceback:\n"), err.message)
    assert.same({ "script.lua" }, files_of(err.message))
  end)

  it("of a hook's the hook's lines only", function()
    local install = w:install()
    stage:run { "exchange", input = install.code }
    stage:write("hooks.lua", "local client = ...\nclient:on('configure', function() error('no room') end)\n")
    local done = stage:run { "link", "--user", "7", "--hooks", "hooks.lua", input = cli.redirect_text(install) }
    assert.equal(5, done.status)
    assert.truthy(done.err:find("hooks.lua:2: no room\nstack traceback:\n", 1, true), done.err)
    assert.same({ "hooks.lua" }, files_of(done.err))
  end)
end)
