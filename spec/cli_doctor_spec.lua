-- `ringlink doctor` where things are well and where they are not, and `ringlink sandbox` beside it.

local children = require "support.child"
local cli = require "support.cli"
local json = require "ringlink.json"
local planted = require "support.planted"
local process = require "ringlink.sandbox.process"
local shell = require "support.shell"

describe("the command #network #ownstore", function()
  local w, stage

  cli.with_ring(function(ring, fresh) w, stage = ring, fresh end)

  describe("doctor", function()
    local function findings(done)
      local of = {}
      for _, one in ipairs(done.values[1].findings) do of[one.check] = of[one.check] or one end
      return of
    end

    it("finds nothing where all is well", function()
      stage:exchanged(w)             -- the store is there
      local done = stage:json { "doctor" }
      assert.equal(0, done.status, done.said)
      for _, one in ipairs(done.values[1].findings) do
        assert.is_true(one.level == "ok" or one.check == "store", one.check .. ": " .. one.says)
      end
      local of = findings(done)
      for _, check in ipairs { "ringlink", "libraries", "sandbox", "settings", "client_secret", "hmac_key",
        "store_key", "store", "dns", "tls", "clock" } do
        assert.is_table(of[check], check)
      end
      assert.truthy(of.libraries.says:find("^libcurl/[%d.]+ .*; OpenSSL [%d.]+.*; SQLite 3%.%d"))
      assert.is_nil(planted.find(done.said))
    end)

    it("makes nothing that was not there", function()
      local done = stage:json { "doctor", "--offline" }
      assert.truthy(findings(done).store.says:find("is not there yet", 1, true))
      assert.equal("", shell.run("ls " .. stage.directory .. " | grep ringlink.db; true"))
    end)

    it("tells people, with what to do under each", function()
      stage:set { RINGLINK_STORE = "sqlite:no/where.db" }
      local done = stage:run { "doctor", "--offline" }
      assert.equal(5, done.status)
      assert.truthy(done.out:find("\nfail  store  +the folder no does not exist\n +%-> mkdir %-p no\n"), done.out)
    end)

    for name, case in pairs {
      ["a clock that is behind"] = { before = function() assert(w.ring:control("clock", { advance_ms = 3600000 })) end,
        status = 5, check = "clock", says = "^3600 s behind Ring's$" },
      ["a clock that is ahead"] = { before = function() assert(w.ring:control("clock", { advance_ms = -20000 })) end,
        status = 0, level = "warn", check = "clock", says = "^[12]%d s ahead of Ring's$" },
      ["a certificate that is not accepted"] = { set = { RINGLINK_CA_FILE = false }, status = 2, check = "tls",
        says = "^tls: the server's certificate was not accepted" },
      ["a name that leads nowhere"] = { set = { RINGLINK_API_URL = "https://unknown.invalid",
        RINGLINK_STORE = "sqlite:other.db" }, status = 3,
        check = "dns", says = "^dns: the host name could not be resolved" },
      ["a host where nobody listens"] = { set = { RINGLINK_API_URL = "https://127.0.0.1:1",
        RINGLINK_STORE = "sqlite:other.db" }, status = 3,
        check = "network", says = "^connect: no connection could be made" },
      ["a store of another environment"] = { set = { RINGLINK_ENVIRONMENT = "staging" }, status = 5, check = "store",
        says = "^store_belongs_elsewhere: .*its environment is production" },
      ["another store key"] = { set = { RINGLINK_STORE_KEY = planted.store_key(2) }, status = 5, check = "store",
        says = "^store_key: a sealed field cannot be opened" },
      ["a store key of a wrong length"] = { set = { RINGLINK_STORE_KEY = "c2hvcnQ=" }, status = 2, check = "settings",
        says = "option store_key must be 32 bytes as Base64" },
      ["a secret in quotes"] = { set = { RING_CLIENT_SECRET = '"planted-client-secret-0"' }, status = 0,
        level = "warn", check = "client_secret", says = "is in quotes" },
      ["a variable that is not set"] = { set = { RING_HMAC_KEY = "env:NOT_SET" }, status = 2, check = "hmac_key",
        says = "NOT_SET, which is not set" },
    } do
      it("tells of " .. name, function()
        stage:exchanged(w)           -- the store is there
        stage:set(case.set or {})
        if case.before then case.before() end
        local done = stage:json { "doctor" }
        local one = findings(done)[case.check]
        assert.equal(case.level or "fail", one.level, done.said)
        assert.truthy(one.says:find(case.says), one.says)
        assert.truthy(one.cure and #one.cure > 0)
        assert.equal(case.status, done.status)
        assert.is_nil(planted.find(done.said))
      end)
    end

    it("tells of key files that are open to others", function()
      stage:write("client_secret", planted.client_secret .. "\n")
      shell.run("chmod 644 " .. stage:path("client_secret"))
      stage:set { RING_CLIENT_SECRET = "file:client_secret" }
      local done = stage:run { "doctor", "--offline" }
      assert.equal(2, done.status)
      assert.truthy(done.out:find("fail  client_secret +client_secret is open to others %(mode 0644%)\n"
        .. " +%-> chmod 600 client_secret\n"), done.out)
      shell.run("chmod 600 " .. stage:path("client_secret"))
      assert.truthy(stage:run({ "doctor", "--offline" }).out:find("client_secret is yours alone", 1, true))
    end)
  end)

  describe("sandbox", function()
    it("is there until Ctrl-C, for whom its config file is named", function()
      local child = stage:start("ringlink sandbox --tls --save sandbox.conf --json")
      local told = children.wait_until(child:about("the sandbox is up"), function()
        return json.decode(child:output():match("^[^\n]+\n"))
      end)
      stage:set { RING_CLIENT_ID = false, RING_CLIENT_SECRET = false, RING_HMAC_KEY = false, RINGLINK_API_URL = false,
        RINGLINK_OAUTH_URL = false, RINGLINK_CA_FILE = false, RINGLINK_STORE = false, RINGLINK_STORE_KEY = false }
      assert.equal("-rw-------", shell.run("ls -l " .. stage:path("sandbox.conf")):match("^%S+"))
      local done = stage:run { "--config", "sandbox.conf", "doctor" }
      assert.equal(0, done.status, done.said)
      child:signal("INT")
      assert.equal(0, (child:wait()))
      assert.is_false(process.alive(told.pid))
      assert.is_false(shell.succeeds("test -e " .. told.prefix))
    end)

    for _, name in ipairs { "TERM", "HUP" } do
      it("stops at SIG" .. name .. ", too", function()
        local child = stage:start("ringlink sandbox --json")
        local told = children.wait_until(child:about("the sandbox is up"), function()
          return json.decode(child:output():match("^[^\n]+\n"))
        end)
        child:signal(name)
        assert.equal(0, (child:wait()))
        assert.is_false(shell.succeeds("test -e " .. told.prefix))
      end)
    end

    it("refuses a port that is none", function()
      local refused = stage:json { "sandbox", "--port", "0" }
      assert.same({ 2, "invalid_request" }, { refused.status, refused.values[1].error.code })
    end)
  end)
end)
