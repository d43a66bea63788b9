-- The ready scripts, by `ringlink run` against the strict Ring: what they do, what they do when they are killed
-- in the middle, and what they say to bad input.

local children = require "support.child"
local cli = require "support.cli"
local core = require "ringlink.core"
local json = require "ringlink.json"
local planted = require "support.planted"
local readme = require "support.readme"
local scripts = require "support.scripts"
local shell = require "support.shell"
local swapped = require "support.swapped"
local terminal = require "support.terminal"

local LONG_MS = 600000
local DEADLINE_MS = "3000"           -- its leases last twice as long and 15 s

describe("the ready script #network #ownstore", function()
  local w, stage, earlier

  cli.with_ring(function(ring, fresh)
    w, stage, earlier = ring, fresh, scripts.earlier(ring)
  end)

  local function run(name, words, input)
    words = scripts.words(name, (table.unpack or unpack)(words or {}))
    words.input = input
    local done = stage:run(words)
    assert.is_nil(planted.find(done.said), done.said)
    return done
  end

  local function runs(status, name, words, input)
    local done = run(name, words, input)
    assert.equal(status, done.status, done.said)
    return done.out, done.err
  end

  local function says(text, said) assert.truthy(said:find(text, 1, true), said) end

  -- A client of the same store, in the past.
  local function past_client(ago_ms)
    local clock = { now_ms = function() return core.now_ms() - ago_ms end, monotonic_ms = core.monotonic_ms,
      sleep = function(seconds) core.sleep_ms(math.ceil(seconds * 1000)) end }
    return w:client { store = "sqlite:" .. stage:path("ringlink.db"), store_key = planted.store_key(1), clock = clock }
  end

  -- Installs the app and links it by `ringlink`; the account's id.
  local function linked(user)
    local install = w:install()
    runs(0, "link_account", {}, json.encode { code = install.code, nonce = install.nonce, time = install.time,
      user = user or "7" })
    return install.account
  end

  local function states()
    local list = {}
    for _, info in ipairs(stage:json({ "accounts" }).values) do
      if info.id then list[info.id] = info.state end         -- none: its token was refused at once
    end
    return list
  end

  describe("link_account", function()
    it("exchanges a code and links what the user came back with", function()
      local install = w:install()
      assert.equal(install.account .. "\tunclaimed\n", (runs(0, "link_account", {},
        json.encode { code = install.code })))
      stage:write("redirect.txt", json.encode { nonce = install.nonce, time = install.time, user = "7",
        identifier = "user@partner.example.com" })
      for _ = 1, 2 do
        local out, err = runs(0, "link_account", { "--input", "redirect.txt" })
        assert.same({ install.account .. "\tcompleted\n", "" }, { out, err })
      end
      assert.same({ 1, 1, "completed" }, { w:count("token"), w:count("confirm"), w:status(install.account) })
    end)

    it("refuses what is no JSON, and another user's", function()
      says("no JSON object", select(2, runs(2, "link_account", {}, "nonce=x")))
      says("Usage: ringlink run link_account.lua", select(2, runs(2, "link_account", { "--nonsense" })))
      local account = linked("7")
      local again = w:sign_in_again(account)
      says("already_linked", select(2, runs(1, "link_account", {},
        json.encode { nonce = again.nonce, time = again.time, user = "8" })))
    end)
  end)

  describe("migrate", function()
    local file

    local function write(lines)
      local texts = {}
      for i, line in ipairs(lines) do texts[i] = type(line) == "table" and json.encode(line) or line end
      file = stage:write("tokens.jsonl", table.concat(texts, "\n") .. "\n")
      shell.run("chmod 600 " .. file)
    end

    local function linked_lines(count)
      local lines = {}
      for i = 1, count do lines[i] = earlier:linked(tostring(i)) end
      return lines
    end

    -- Every account is there with tokens that work, and none was refreshed twice.
    local function assert_all_here(lines)
      local now = states()
      for _, line in ipairs(lines) do
        assert.equal("completed", now[line.account])
        assert.equal(0, stage:run({ "request", "GET", "/v1/users/me", "--account", line.account }).status)
      end
      local processed = 0
      for _, call in ipairs(w:journal("refresh")) do
        if call.processed then processed = processed + 1 end
        assert.is_not_equal(400, call.result, "a refresh token was sent twice")
      end
      assert.equal(#lines, processed)
    end

    it("takes over every account, once", function()
      local lines = linked_lines(5)
      write(lines)
      for _ = 1, 2 do
        local out = runs(0, "migrate", { "tokens.jsonl" })
        says("completed\t5\n", out)
        says("failed\t0\n", out)
        says("these tokens are dead now", out)
      end
      assert_all_here(lines)
      assert.equal(5, w:count("confirm"))                   -- the earlier code's
    end)

    local HELD = { refresh = { drop = "before" }, me = { after = true }, devices = { after = true },
      complete = { after = true } }

    -- One line is held at each of the calls that taking it over needs.
    local function hold()
      local seen = {}
      for call, fault in pairs(HELD) do
        seen[call], fault.call, fault.delay_ms = w:count(call), call, LONG_MS
        w:fault(fault)
      end
      return function()
        for call, count in pairs(seen) do
          if w:count(call) == count then return false end
        end
        return true
      end
    end

    it("killed in the middle loses nothing, and does nothing twice when it is run again", function()
      local lines = linked_lines(6)
      write(lines)
      stage:set { RINGLINK_DEADLINE_MS = DEADLINE_MS }
      local are_held = hold()
      local child = stage:start("ringlink run " .. scripts.words("migrate")[2] .. " tokens.jsonl --lanes 4")
      children.wait_until(child:about("four calls at Ring"), function() return are_held() or child:status() end)
      assert.is_nil(child:status(), child:output())
      child:signal("KILL")
      child:wait()
      says("completed\t6\n", (runs(0, "migrate", { "tokens.jsonl" })))     -- when the dead one's leases have run out
      assert_all_here(lines)
    end)

    it("tells of each bad line what to do, and takes over the others", function()
      local dead, good, waiting = earlier:linked("1"), earlier:linked("2"), earlier:unclaimed("3")
      assert(earlier.client:account(dead.account):refresh { force = true })
      write { dead, "no JSON", { user = "9" }, good, waiting, "" }
      local out = runs(1, "migrate", { "tokens.jsonl" })
      says("line 1: relink_required while refresh: ", out)
      says("line 2: it is no JSON object\n", out)
      says("line 3: invalid_request: ", out)
      says("completed\t1\n", out)
      says("unclaimed\t1\n", out)
      says("failed\t3\n", out)
      assert.equal("completed", states()[good.account])
    end)

    it("stops when token after token is refused", function()
      local lines = linked_lines(8)
      for _, line in ipairs(lines) do assert(earlier.client:account(line.account):refresh { force = true }) end
      write(lines)
      says("stopped at line ", (runs(1, "migrate", { "tokens.jsonl", "--lanes", "1" })))
      local relink = 0
      for _, info in ipairs(stage:json({ "accounts" }).values) do
        if info.state == "relink" then relink = relink + 1 end
      end
      assert.is_true(relink < 8)
    end)

    it("refuses a file that others can read, or that is not there", function()
      write(linked_lines(1))
      shell.run("chmod 640 " .. file)
      says("chmod 600 tokens.jsonl", select(2, runs(2, "migrate", { "tokens.jsonl" })))
      says("cannot be read", select(2, runs(2, "migrate", { "none.jsonl" })))
      shell.run("chmod 600 " .. file)
      shell.run(("cp %s %s.theirs && chmod 644 %s.theirs"):format(file, file, file))
      local script, say = assert(loadfile("lua/ringlink/scripts/migrate.lua")), io.stderr
      rawset(io, "stderr", { write = function() end })
      local _, status = swapped.during("before", file, file .. ".theirs", function() return script({}, { file }) end)
      rawset(io, "stderr", say)
      assert.equal(2, status)
      says("Usage: ringlink run migrate.lua", select(2, runs(2, "migrate")))
      assert.equal(0, w:count("refresh"))
    end)
  end)

  describe("nightly_refresh", function()
    local function linked_days_ago(days)
      local client = past_client(days * 24 * 3600 * 1000)
      local install = w:install({ time_offset_ms = -days * 24 * 3600 * 1000 })
      assert(client:exchange(install.code))
      w:fault { call = "confirm", status = 200, body = "raw", raw = '{"status":"awaiting"}' }
      w:fault { call = "complete", status = 200, body = "raw", raw = '{"status":"completed"}' }
      assert(client:link { nonce = install.nonce, time = install.time, user = "7" })
      client:close()
      return install.account
    end

    it("refreshes what is due, and says so", function()
      linked("6")
      linked_days_ago(3)
      local out = runs(0, "nightly_refresh")
      says("2 linked accounts, 1 refreshed, 0 failed; the oldest token is 0.0 days old", out)
      assert.equal(1, w:count("refresh"))
      assert.equal("", (runs(0, "nightly_refresh", { "--quiet" })))
    end)

    it("names those that must link again, with 4", function()
      local account = linked_days_ago(3)
      assert(w.ring:control("expire", { account = account, tokens = "refresh" }))
      local out = runs(4, "nightly_refresh", { "--quiet" })
      says("must link again:\t" .. account .. "\t7\n", out)
      local report = assert(json.decode((runs(4, "nightly_refresh", { "--json" }))))
      assert.same({ { account = account, user = "7" } }, report.relink)
      assert.equal(0, report.accounts)
    end)

    it("names those that could not be refreshed, with 3", function()
      local account = linked_days_ago(3)
      w:fault { call = "refresh", status = 400, title = "invalid_client", count = "always" }
      local out = runs(3, "nightly_refresh", { "--quiet" })
      says("not refreshed for 3 days:\t" .. account .. "\t7\n", out)
    end)

    it("refuses an unknown option", function()
      says("Usage: ringlink run nightly_refresh.lua", select(2, runs(2, "nightly_refresh", { "--nonsense" })))
    end)
  end)

  describe("mirror_motion", function()
    local NOW = os.date("!%Y-%m-%dT%H:%M:%SZ")
    local TABLE = "motion-" .. NOW:sub(1, 10) .. ".jsonl"

    local function webhook(id, type)
      local body = json.encode { meta = { version = "1.1", time = NOW, request_id = id, account_id = "ring-1" },
        data = { id = "d-" .. id, type = type or "motion_detected", subType = "human",
          attributes = { source = "door", source_type = "devices", timestamp = 1760000000000 } } }
      stage:write("body.json", body)
      return { "webhook", "--signature", core.hmac_key({ planted.hmac_key }):sign(body), "--process",
        "--input", "body.json", "--hooks", scripts.words("mirror_motion")[2] }
    end

    local function rows(path)
      local list = {}
      for line in stage:read(path):gmatch("[^\n]+") do list[#list + 1] = json.decode(line) or line end
      return list
    end

    it("writes each motion once, and nothing else", function()
      for _, id in ipairs { "r-1", "r-2", "r-1" } do assert.equal(0, stage:run(webhook(id)).status) end
      assert.equal(0, stage:run(webhook("r-3", "button_press")).status)
      local all = rows(TABLE)
      assert.same({ 2, "r-1", "r-2" }, { #all, all[1].id, all[2].id })
      assert.same({ "ring-1", "door", "human", 1760000000000 },
        { all[1].account, all[1].device, all[1].kind, all[1].seen_ms })
    end)

    it("looks first: a hook may run twice for one event", function()
      stage:write("both.lua", ("local client = ...\nassert(loadfile(%q))(client)\n"
        .. "client:on('webhook:motion_detected', function() error('too late') end)\n"):format(
        scripts.words("mirror_motion")[2]))
      local words = webhook("r-1")
      local by_both = { (table.unpack or unpack)(words) }
      by_both[#by_both] = "both.lua"
      assert.equal(5, stage:run(by_both).status)
      assert.equal(0, stage:run(words).status)
      assert.equal(1, #rows(TABLE))
    end)

    it("writes what could not be written before, when it is run", function()
      stage:set { MOTION_TABLE = stage:path("full") }
      local past = past_client(120000)
      past:on("webhook:motion_detected", function() error("the disk is full") end)
      local words = webhook("r-1")
      assert.equal("hook_failed", select(2, past:webhook(stage:read("body.json"), words[3])).code)
      past:close()
      shell.run("mkdir " .. stage:path("full"))
      assert.equal("1 events written\n", (runs(0, "mirror_motion")))
      assert.equal("r-1", rows("full/" .. TABLE)[1].id)
      assert.equal("0 events written\n", (runs(0, "mirror_motion")))
    end)

    it("keeps an event whose row cannot be written, and goes on after half a line", function()
      stage:set { MOTION_TABLE = stage:path("none") }
      local words = webhook("r-1")
      assert.equal(5, stage:run(words).status)
      stage:set { MOTION_TABLE = stage:path(".") }
      stage:write(TABLE, '{"id":"r-0"}\n{"id":"r-1","acc')
      assert.equal(0, stage:run(words).status)
      local all = rows(TABLE)
      assert.same({ 3, "r-0", '{"id":"r-1","acc', "r-1" }, { #all, all[1].id, all[2], all[3].id })
    end)
  end)

  describe("forget", function()
    it("pauses at Ring, shows what it held, and wipes it", function()
      local account = linked("7")
      local out = runs(0, "forget", { account, "--yes" })
      assert.equal(account, json.decode(out:match("^[^\n]+")).account.id)
      says("1 forgotten; the app itself goes", out)
      assert.same({}, states())
      assert.equal("awaiting", w:status(account))
    end)

    it("forgets all of a user's, and nobody else's", function()
      local first, second, other = linked("7"), linked("7"), linked("8")
      says("2 forgotten", (runs(0, "forget", { "--user", "7", "--yes" })))
      assert.same({ [other] = "completed" }, states())
      assert.same({ "awaiting", "awaiting", "completed" }, { w:status(first), w:status(second), w:status(other) })
      says("0 forgotten", (runs(0, "forget", { "--user", "7", "--yes" })))
    end)

    it("asks at a terminal, and elsewhere not at all", function()
      local account = linked("7")
      says("say --yes", select(2, runs(2, "forget", { account })))
      local screen = terminal.open(stage)
      screen:line("clear; ringlink run " .. scripts.words("forget")[2] .. " " .. account)
      screen:wait_for("Forget 1 for good%? %(yes/no%)\n$")
      screen:line("no")
      screen:wait_for("no\nready>\n$")
      assert.equal("completed", states()[account])
      screen:line("clear; ringlink run " .. scripts.words("forget")[2] .. " " .. account)
      screen:wait_for("Forget 1 for good%? %(yes/no%)\n$")
      screen:line("yes")
      screen:wait_for("\n1 forgotten; ")
      assert.same({}, states())
    end)

    it("wipes nothing while Ring cannot be told, unless it need not be", function()
      local account = linked("7")
      w:fault { call = "update", status = 403, count = "always" }
      runs(1, "forget", { account, "--yes" })
      assert.equal("completed", states()[account])
      says("1 forgotten", (runs(0, "forget", { account, "--yes", "--offline" })))
      assert.same({}, states())
    end)

    it("refuses what names nobody, or both, or who is not here", function()
      says("name an account, or a user", select(2, runs(2, "forget", { "--yes" })))
      says("Usage: ringlink run forget.lua", select(2, runs(2, "forget", { "ring-1", "--user", "7" })))
      says("not_found", select(2, runs(1, "forget", { "ring-1", "--yes" })))
    end)
  end)

  it("lines of the README run as they stand", function()
    local waiting = w:install()
    stage:write("redirect.txt", json.encode { code = waiting.code, nonce = waiting.nonce, time = waiting.time,
      user = "7" })
    stage:write("tokens.jsonl", json.encode(earlier:linked("8")) .. "\n")
    shell.run("chmod 600 " .. stage:path("tokens.jsonl"))
    stage:set { LUA_PATH = package.path }
    local block = readme.text():match("\n## Ready scripts\n.-```sh\n(.-)```")
    local done = stage:shell("set -e\n" .. block)
    assert.equal(0, done.status, done.said)
    for _, text in ipairs { waiting.account .. "\tcompleted\n", "completed\t1\n", "0 events written\n",
      "1 forgotten; " } do says(text, done.out) end
  end)
end)
