-- Each command of the shell against the strict Ring: what it prints for people and machines, what it does,
-- and what it tells the shell.

local children = require "support.child"
local cli = require "support.cli"
local core = require "ringlink.core"
local json = require "ringlink.json"
local planted = require "support.planted"
local shell = require "support.shell"

describe("the command #network #ownstore", function()
  local w, stage

  cli.with_ring(function(ring, fresh) w, stage = ring, fresh end)

  local function fails(status, code, words)
    local done = stage:json(words)
    assert.equal(status, done.status, done.said)
    assert.equal(code, done.values[#done.values].error.code)
    assert.equal("", done.err)
    return done.values[#done.values].error
  end

  describe("exchange", function()
    it("takes a code from standard input, a file, the environment, or as JSON", function()
      local codes = assert(w.ring:control("codes", { count = 4 })).codes
      local function exchange(words)
        local done = stage:json(words)
        assert.equal(0, done.status, done.said)
        assert.equal("unclaimed", done.values[1].state)
        return done.values[1].account
      end
      local account = exchange { "exchange", input = codes[1] .. "\n" }
      stage:write("code.txt", codes[2] .. "\n")
      assert.equal(account, exchange { "exchange", "--input", "code.txt" })
      assert.equal(account, exchange { "exchange", input = json.encode { code = codes[3] } })
      stage:set { RINGLINK_CODE = codes[4] }
      assert.equal(account, exchange { "exchange" })
      assert.equal(4, w:count("token"))
    end)

    it("tells people in a line", function()
      local install = w:install()
      local done = stage:run { "exchange", input = install.code }
      assert.equal(install.account .. "  unclaimed\n", done.out)
      assert.equal("", done.err)
    end)

    it("is refused with 1 by Ring, and with 2 for what is no code", function()
      local words = { "exchange", input = "no-such-code" }
      local first = fails(1, "exchange_refused", words)
      assert.same({ "exchange", 400, "invalid_grant" }, { first.stage, first.status, first.title })
      local second = fails(1, "exchange_refused", words)
      assert.same({ "exchange", 400, "invalid_grant" }, { second.stage, second.status, second.title })
      assert.equal(1, w:count("token"))
      fails(2, "invalid_request", { "exchange", input = "no code" })
      fails(2, "invalid_request", { "exchange", input = "" })
    end)
  end)

  describe("link", function()
    it("takes the address that the browser was sent to", function()
      local install = stage:exchanged(w)
      local done = stage:json { "link", "--user", "7", "--identifier", "user@partner.example.com",
        input = cli.redirect_text(install) }
      assert.equal(0, done.status, done.said)
      done.values[1].updated_at = nil
      assert.same({ account = install.account, user = "7", status = "completed",
        account_identifier = "u***r@partner.example.com" }, done.values[1])
      assert.equal("completed", w:status(install.account))
    end)

    it("takes JSON, and does nothing twice", function()
      local install = stage:exchanged(w)
      local q = json.encode { nonce = install.nonce, time = install.time, user = "7" }
      for _ = 1, 2 do
        local done = stage:run { "link", input = q }
        assert.equal(install.account .. "  completed  7\n", done.out, done.err)
      end
      assert.equal(1, w:count("confirm"))
    end)

    it("asks the hooks of a file, and goes on after a refusal", function()
      local install = stage:exchanged(w)
      stage:write("hooks.lua", "local client = ...\nclient:on('configure', function(link)\n"
        .. "if not os.getenv('READY') then return nil, 'not ready' end\nend)\n")
      local words = { "link", "--user", "7", "--hooks", "hooks.lua", input = cli.redirect_text(install) }
      fails(5, "configure_failed", words)
      assert.equal("awaiting", w:status(install.account))
      stage:set { READY = "1" }
      assert.equal(0, stage:run(words).status)
      assert.equal("completed", w:status(install.account))
    end)

    it("is refused for an unknown nonce, and without a user", function()
      local install = stage:exchanged(w)
      fails(1, "no_unclaimed_match", { "link", "--user", "7",
        input = ("nonce=%s&time=%s"):format(("x"):rep(43), install.time) })
      local err = fails(2, "invalid_request", { "link", input = cli.redirect_text(install) })
      assert.truthy(err.message:find("say --user ID", 1, true))
    end)
  end)

  describe("accounts", function()
    it("lists what there is, by state and user", function()
      local account, unclaimed = stage:linked(w, "7"), stage:exchanged(w).account
      local done = stage:json { "accounts" }
      local states = {}
      for _, one in ipairs(done.values) do states[one.id] = one.state end
      assert.same({ [account] = "completed", [unclaimed] = "unclaimed" }, states)
      assert.equal(unclaimed, stage:json({ "accounts", "--state", "unclaimed" }).values[1].id)
      local of_user = stage:json { "accounts", "--user", "7" }
      assert.same({ 1, account, "7" }, { #of_user.values, of_user.values[1].id, of_user.values[1].user })
      assert.equal(account, stage:json({ "accounts", account }).values[1].id)
      assert.truthy(stage:run({ "accounts", "--state", "completed" }).out:find(
        "^" .. account:gsub("%.", "%%.") .. "  completed  7  u%*%*%*r@partner.example.com  %d+"))
    end)

    it("knows no others", function()
      fails(1, "not_found", { "accounts", "ava1.ring.account.UNKNOWN" })
      assert.equal("", stage:run({ "accounts" }).out)
      fails(2, "invalid_request", { "accounts", "--state", "complete" })
    end)
  end)

  describe("refresh", function()
    it("refreshes when it is time, or at once", function()
      local account = stage:linked(w)
      assert.equal(0, stage:run({ "refresh", account }).status)
      assert.equal(0, w:count("refresh"))
      local done = stage:json { "refresh", account, "--force" }
      assert.equal(account, done.values[1].account)
      assert.is_true(done.values[1].access_expires_ms > done.values[1].refreshed_ms)
      assert.equal(1, w:count("refresh"))
    end)

    it("ends with 4 once the user must link again", function()
      local account = stage:linked(w)
      assert(w.ring:control("unlink", { account = account, webhook = false }))
      fails(4, "relink_required", { "refresh", account, "--force" })
      fails(4, "relink_required", { "request", "GET", "/v1/devices", "--account", account })
    end)
  end)

  describe("request", function()
    local account
    before_each(function() account = stage:linked(w) end)

    it("prints the body as it came", function()
      local done = stage:run { "request", "GET", "/v1/devices", "--account", account, "--query", "include=status" }
      assert.equal(2, #assert(json.decode(done.out)).data)
      assert.equal("", done.err)
      assert.truthy(json.decode(done.out).included)
    end)

    it("prints status, headers and body for machines", function()
      local answer = stage:json({ "request", "GET", "/v1/users/me", "--account", account }).values[1]
      assert.same({ 200, account }, { answer.status, answer.body.data.id })
      assert.truthy(answer.headers["content-type"])
    end)

    it("writes a file that is whole or not there", function()
      local done = stage:run { "request", "GET", "/v1/devices", "--account", account, "--output", "devices.json" }
      assert.same({ 0, "" }, { done.status, done.said })
      assert.equal(2, #json.decode(stage:read("devices.json")).data)
      fails(5, "sink_failed", { "request", "GET", "/v1/devices", "--account", account, "--output", "no/where" })
      w:fault { call = "devices", body = "cut", count = "always" }
      fails(3, "network", { "--max-attempts", "1", "request", "GET", "/v1/devices", "--account", account,
        "--output", "cut.json" })
      assert.equal("devices.json", shell.run("ls -A " .. stage.directory .. " | grep json; true"):match("^(.-)%s*$"))
    end)

    it("sends a body and headers", function()
      local devices = json.decode(stage:run({ "request", "GET", "/v1/devices", "--account", account }).out).data
      local path = "/v1/devices/" .. devices[1].id .. "/media/image/download"
      local done = stage:json { "request", "POST", path, "--account", account, "--header",
        "Content-Type: application/json", "--data", "-", "--follow", input = "{}" }
      assert.equal(0, done.status, done.said)
      assert.is_true(#stage:run({ "request", "POST", path, "--account", account, "--follow" }).out > 0)
    end)

    it("fails as Ring says, and as the network does", function()
      fails(1, "forbidden", { "request", "GET", "/v1/nothing", "--account", account })
      fails(2, "invalid_request", { "request", "GET", "nothing", "--account", account })
      fails(2, "invalid_request", { "request", "GET", "/v1/devices", "--account", account, "--query", "x" })
      stage:set { RINGLINK_MAX_ATTEMPTS = "1" }
      w:fault { call = "devices", status = 503 }
      assert.equal(503, fails(3, "ring_error", { "request", "GET", "/v1/devices", "--account", account }).status)
      w:fault { call = "devices", status = 400 }
      assert.equal(400, fails(1, "ring_error", { "request", "GET", "/v1/devices", "--account", account }).status)
      w:fault { call = "devices", drop = "before" }
      fails(3, "network", { "request", "GET", "/v1/devices", "--account", account })
    end)
  end)

  describe("work", function()
    it("does what is due and says when to come back", function()
      stage:exchanged(w)
      local report = stage:json({ "work" }).values[1]
      assert.same({ 0, 0, 0 }, { report.refreshed, report.relink, report.events })
      assert.is_true(report.next_due_s > 0)
      assert.truthy(stage:run({ "work" }).out:find("^nothing was due; next in %d+ s\n$"))
      fails(2, "invalid_request", { "work", "--limit", "0" })
    end)

    it("finishes what another process left, with the hooks of a file", function()
      local install = stage:exchanged(w)
      stage:write("die.lua", "local client = ...\nclient:on('configure', function() os.execute('kill -9 $PPID') end)\n")
      stage:write("hooks.lua", "local client = ...\n"
        .. "client:on('configure', function() io.stderr:write('asked\\n') end)\n")
      stage:set { RINGLINK_DEADLINE_MS = "300" }
      local died = stage:run { "link", "--user", "7", "--hooks", "die.lua", input = cli.redirect_text(install) }
      assert.equal(128 + 9, died.status)
      assert.equal("awaiting", stage:json({ "accounts" }).values[1].state)
      local done
      children.wait_until("the link is due", function()
        done = stage:json { "work", "--hooks", "hooks.lua" }
        return done.values[1].resumed == 1
      end)
      assert.equal("asked\n", done.err)
      assert.equal("completed", w:status(install.account))
    end)
  end)

  describe("webhook", function()
    local body, signature, account

    before_each(function()
      account = stage:linked(w)
      body = json.encode { meta = { version = "1.1", time = os.date("!%Y-%m-%dT%H:%M:%SZ"), request_id = "r-1",
        account_id = account }, data = { id = "d-1", type = "motion_detected" } }
      signature = core.hmac_key({ planted.hmac_key }):sign(body)
      stage:write("body.json", body)
    end)

    it("is verified, and acted on once", function()
      local event = stage:json({ "webhook", "--signature", signature, input = body }).values[1]
      assert.same({ "verified", "motion_detected", account, "r-1" },
        { event.result, event.type, event.account, event.id })
      stage:write("hooks.lua", "local client = ...\nclient:on('webhook:motion_detected', function(event)\n"
        .. "io.stderr:write('moved ', event.id, '\\n') end)\n")
      local words = { "webhook", "--signature", signature, "--process", "--hooks", "hooks.lua", "--input", "body.json" }
      local done = stage:run(words)
      assert.same({ "processed  motion_detected  -  " .. account .. "\n", "moved r-1\n" }, { done.out, done.err })
      assert.same({ "duplicate  motion_detected  -  " .. account .. "\n", "" },
        { stage:run(words).out, stage:run(words).err })
    end)

    it("is refused when it is not signed so", function()
      fails(1, "signature", { "webhook", "--signature", signature, input = body .. " " })
      fails(1, "signature", { "webhook", "--signature", "sha256=00", input = body })
    end)
  end)

  describe("forget", function()
    it("wipes an account or a user's", function()
      local account, other = stage:linked(w, "7"), stage:linked(w, "8")
      stage:linked(w, "8")
      assert.equal("1 forgotten\n", stage:run({ "forget", account, "--notify", "--yes" }).out)
      assert.equal("awaiting", w:status(account))
      assert.same({ { forgotten = 2 } }, stage:json({ "forget", "--user", "8", "--yes" }).values)
      assert.equal("completed", w:status(other))               -- Ring is told only when asked to
      assert.equal("", stage:run({ "accounts" }).out)
    end)

    it("is sure first", function()
      local account = stage:linked(w)
      local err = fails(2, "invalid_request", { "forget", account })
      assert.truthy(err.message:find("say --yes", 1, true))
      fails(2, "invalid_request", { "forget", account, "--user", "7", "--yes" })
      fails(2, "invalid_request", { "forget", "--yes" })
      assert.equal("completed", stage:json({ "accounts", account }).values[1].state)
    end)
  end)

  it("reseal brings the store under a newer key", function()
    local account = stage:linked(w)
    stage:set { OLD_KEY = planted.store_key(1), NEW_KEY = planted.store_key(2) }
    local both = { "--store-key", "env:NEW_KEY", "--store-key", "env:OLD_KEY", "reseal" }
    assert.is_true(stage:json(both).values[1].resealed > 0)
    local only = stage:run { "--store-key", "env:NEW_KEY", "accounts", account }
    assert.equal(0, only.status, only.said)
    fails(5, "store_key", { "accounts", account })
  end)

  describe("run", function()
    it("gives a script a client inside the loop, and its arguments", function()
      local account = stage:linked(w)
      stage:write("script.lua", [[
local client, args, progress = ...
local ringlink = require "ringlink"
progress("working")
local first = ringlink.spawn(function() ringlink.sleep(0.01) print("task") end)
for account in client:accounts { state = "completed" } do print(account.id, #args, args[1], args[2]) end
]])
      local done = stage:run { "run", "script.lua", "--its-own", "option" }
      assert.equal(account .. "\t2\t--its-own\toption\ntask\n", done.out)
      assert.same({ 0, "" }, { done.status, done.err })
    end)

    it("ends as the script does", function()
      local function status_of(text)
        stage:write("script.lua", text)
        return stage:run({ "run", "script.lua" }).status
      end
      assert.equal(0, status_of("return true"))
      assert.equal(42, status_of("return 42"))
      assert.equal(1, status_of("local client = ...\nreturn client:account('nobody'):state()"))
      assert.equal(1, status_of("local client = ...\nassert(client:account('nobody'):state())"))
      assert.equal(5, status_of("return nil, 'no'"))
      assert.equal(5, status_of("error('no')"))
      assert.equal(5, status_of("error()"))
      assert.equal(5, status_of("this is no Lua"))
      stage:remove("script.lua")
      assert.equal(2, stage:run({ "run", "script.lua" }).status)
    end)

    it("shows where a script failed, and no secret", function()
      stage:linked(w)
      stage:write("script.lua", [[
local client = ...
local function inner(token) error("the token is " .. token) end
for account in client:accounts {} do inner(assert(account:access_token()):reveal()) end
]])
      local done = stage:run { "run", "script.lua" }
      assert.truthy(done.err:find("script.lua:2: the token is %*%*%*%*\nstack traceback:"), done.err)
      assert.truthy(done.err:find("script.lua:3: in main chunk", 1, true), done.err)
      assert.is_nil(planted.find(done.said))
    end)

    it("keeps secrets from the command line that `ps` shows, and from its children's", function()
      stage:write("script.lua", [[
local file = io.open("/proc/self/cmdline")
print((file:read("*a"):gsub("%z", " ")))
local pipe = io.popen("cat /proc/self/cmdline /proc/$PPID/cmdline")
print((pipe:read("*a"):gsub("%z", " ")))
]])
      local done = stage:run { "run", "script.lua" }
      assert.truthy(done.out:find("ringlink.lua run script.lua", 1, true))
      assert.is_nil(planted.find(done.out))
    end)
  end)

  describe("ended by SIGTERM", function()
    local function ended(line, call)
      w:fault { call = call, delay_ms = 700, after = true }
      local child = stage:start(line)
      children.wait_until(call .. " at Ring", function()
        local row = w:journal(call)[1]
        return row and row.processed
      end)
      child:signal("TERM")
      assert.equal(128 + 15, (child:wait()))
    end

    it("has stored what Ring did, and goes on with it", function()
      local install = stage:exchanged(w)
      stage:write("redirect.txt", cli.redirect_text(install))
      ended("ringlink link --user 7 --input redirect.txt", "confirm")
      assert.equal("awaiting", stage:json({ "accounts" }).values[1].state)
      assert.equal(0, stage:run({ "link", "--user", "7", "--input", "redirect.txt" }).status)
      assert.same({ 1, "completed" }, { w:count("confirm"), w:status(install.account) })
    end)

    it("has the tokens that Ring rotated", function()
      local account = stage:linked(w)
      ended("ringlink refresh --force " .. account, "refresh")
      assert.equal(0, stage:run({ "request", "GET", "/v1/devices", "--account", account }).status)
      assert.equal(1, w:count("refresh"))
      assert.equal(w:state().integrations[1].access_token, w:journal("devices")[1].bearer)
    end)
  end)

  describe("the exit status", function()
    it("is 5 when the store belongs elsewhere", function()
      stage:linked(w)
      stage:set { RINGLINK_ENVIRONMENT = "staging" }
      fails(5, "store_belongs_elsewhere", { "accounts" })
    end)

    it("is 3 when nobody listens, and 2 when nobody can be trusted", function()
      local account = stage:linked(w)
      stage:set { RINGLINK_MAX_ATTEMPTS = "1", RINGLINK_CA_FILE = false }
      fails(2, "tls", { "request", "GET", "/v1/devices", "--account", account })
      stage:set { RINGLINK_API_URL = "https://127.0.0.1:1", RINGLINK_OAUTH_URL = "https://127.0.0.1:1",
        RINGLINK_STORE = "sqlite:other.db" }
      fails(3, "connect", { "exchange", input = "a-code" })
    end)
  end)

  it("says what went wrong, and what to do, in a line without a secret", function()
    local done = stage:run { "exchange", input = "planted-code-0" }
    assert.truthy(done.err:find("^ringlink: exchange_refused while exchange: .* app's; the user must [^\n]*\n$"),
      done.err)
    assert.is_nil(planted.find(done.said))
    assert.equal("", done.out)
  end)

  it("--log tells what the library does", function()
    local install = w:install()
    local done = stage:run { "--log", "debug", "exchange", input = install.code }
    assert.truthy(done.err:find("\nringlink: debug: call .*stage=identify"), done.err)
    assert.is_nil(planted.find(done.said))
  end)
end)
