-- The search for planted secrets finds what it is there to find: in files, in command lines, in what the
-- sandbox makes, in the logs of a run; and it looks at whatever a spec starts or removes.

local children = require "support.child"
local core = require "ringlink.core"
local leaks = require "support.leaks"
local planted = require "support.planted"
local rules = require "support.sandbox_rules"
local shell = require "support.shell"

local SECRETS = {
  ["a client secret"] = "Basic secret=" .. planted.client_secret,
  ["the HMAC key"] = planted.hmac_key,
  ["a store key"] = "\0" .. planted.store_key_bytes(3),
  ["a store key in Base64"] = '"' .. planted.store_key(12) .. '"',
  ["a store key in hex"] = core.hex(planted.store_key_bytes(1)),
}

describe("the search for planted secrets", function()
  local directory, finder

  before_each(function()
    directory, finder = shell.make_directory(), leaks.new()
  end)
  after_each(function()
    shell.run("find " .. directory .. " -type f -delete")      -- what was planted here is no finding
    shell.remove_directory(directory)
    planted.forget_added()
  end)

  for what, secret in pairs(SECRETS) do
    it("finds " .. what, function()
      assert.equal(what, planted.find("before " .. secret .. " after"))
      assert.is_nil(planted.find(secret:sub(1, 12)))
    end)
  end

  it("finds what the sandbox hands out", function()
    local one = rules.link(rules.new())
    assert.equal("a code of the sandbox", planted.find("code=" .. one.code))
    assert.equal("an access token of the sandbox", planted.find("Bearer " .. one.access))
    assert.equal("a refresh token of the sandbox", planted.find(one.refresh))
  end)

  it("finds what has no mark once it was added", function()
    local nonce = core.base64url(core.random(32))
    assert.is_nil(planted.find("nonce=" .. nonce))
    planted.add("a nonce", nonce)
    assert.equal("a nonce", planted.find("nonce=" .. nonce))
    planted.forget_added()
    assert.is_nil(planted.find("nonce=" .. nonce))
  end)

  it("reads every file of a directory, and tells the place without the secret", function()
    shell.run("mkdir -p " .. directory .. "/a/b")
    shell.write(directory .. "/clean", ("x"):rep(5000))
    shell.write(directory .. "/a/b/ringlink.db-wal", ("\0"):rep(5000) .. planted.client_secret)
    finder:directory(directory)
    assert.same({ "a client secret in " .. directory .. "/a/b/ringlink.db-wal" }, finder.found)
    assert.equal(2, finder.files)
    assert.is_nil(planted.find(finder.found[1]))
  end)

  it("passes over files that have to hold secrets, and no others beside them", function()
    for _, name in ipairs { "settings.json", "hmac_key", "input", "error.log" } do
      shell.write(directory .. "/" .. name, planted.hmac_key)
    end
    finder:directory(directory)
    assert.same({ "the HMAC key in " .. directory .. "/error.log" }, finder.found)
  end)

  it("reads command lines, and what they are about to remove", function()
    finder:command("curl -d client_secret=" .. planted.client_secret)
    shell.write(directory .. "/error.log", planted.hmac_key)
    finder:command("{ 'rm' '-rf' '--' '" .. directory .. "'\n} 2>&1")
    finder:command("rm -rf '" .. directory .. "'")
    assert.same({ "a client secret in the command line of curl", "the HMAC key in " .. directory .. "/error.log",
      "the HMAC key in " .. directory .. "/error.log" }, finder.found)
  end)

  it("is asked for every command of this process, and every directory that it removes", function()
    local shared = leaks.shared()
    local commands, files = shared.commands, shared.files
    os.execute("true")
    shell.run("true")
    local other = shell.make_directory()
    shell.write(other .. "/a", "")
    shell.remove_directory(other)
    assert.is_true(shared.commands >= commands + 4)
    assert.equal(files + 1, shared.files)
  end)

  it("writes what it finds where the last suite looks", function()
    finder = leaks.new(directory .. "/leaks")
    for _, name in ipairs { "one", "two" } do shell.write(directory .. "/" .. name, planted.hmac_key) end
    finder:directory(directory)
    local said = shell.read(directory .. "/leaks")
    for _, line in ipairs(finder.found) do assert.truthy(said:find(line .. "\n", 1, true)) end
    assert.equal(2, #finder.found)
  end)

  -- A command run in `directory`, with our modules.
  local function run_there(command)
    local pipe = assert(io.popen(("cd %s && LUA_PATH='%s' LUA_CPATH='%s' %s %s/spec/support/%s 2>&1"):format(directory,
      package.path, package.cpath, children.interpreter(), shell.here(), command)))
    local said = pipe:read("*a")
    pipe:close()
    return said
  end

  it("fails a run of specs that left one in a directory", function()
    shell.write(directory .. "/bad_spec.lua", [[
      local shell = require "support.shell"
      it("removes a directory", function()
        local directory = shell.make_directory()
        shell.write(directory .. "/access.log", "?secret=" .. require("support.planted").client_secret)
        shell.remove_directory(directory)
      end)
    ]])
    local said = run_there("busted.lua -o " .. shell.here() .. "/spec/support/tap.lua bad_spec.lua")
    assert.truthy(said:find("ok 1 - removes a directory", 1, true), said)
    assert.truthy(said:find("not ok 2 - no planted secret in 1 files", 1, true), said)
    assert.truthy(said:find("# a client secret in /[^\n]*/access.log\n1..2\n"), said)
  end)

  describe("in a whole run", function()
    before_each(function()
      shell.run("mkdir -p " .. directory .. "/.build/test/install")
      shell.write(directory .. "/.build/test/specs.log", "ok 9 - no planted secret in 12 files, 3 kB\n")
    end)

    it("finds nothing where nothing is", function()
      local said = run_there("search_run.lua specs")
      assert.is_nil(said:find("not ok", 1, true), said)
      assert.truthy(said:find("\n1..4\n", 1, true), said)
    end)

    it("finds what lies in a log, beside it, or was found before", function()
      shell.write(directory .. "/.build/test/lint.log", planted.client_secret)
      shell.write(directory .. "/.build/test/install/x", planted.store_key(1))
      shell.write(directory .. "/.build/test/leaks", "a code in /somewhere\n")
      local said = run_there("search_run.lua specs lint")
      for _, line in ipairs { "not ok 2 - .build/test/lint.log", "# a client secret in .build/test/lint.log",
        "not ok 4 - what any process found", "# a code in /somewhere", "not ok 5 - all else",
        "# a store key in Base64 in .build/test/install/x" } do
        assert.truthy(said:find("\n" .. line, 1, true), said)
      end
    end)

    it("does not believe suites that searched nothing", function()
      shell.write(directory .. "/.build/test/specs.log", "ok 9 - something else\n")
      assert.truthy(run_there("search_run.lua specs"):find("not ok 2 - what the suites removed: 0 files", 1, true))
    end)
  end)
end)
