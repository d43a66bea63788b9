-- The shell command without a network: its config file, where settings come from, what it refuses, and what
-- it tells the shell.

local cli = require "support.cli"
local config = require "ringlink.cli.config"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local exit = require "ringlink.cli.exit"
local input = require "ringlink.cli.input"
local output = require "ringlink.cli.output"
local planted = require "support.planted"
local shell = require "support.shell"
local swapped = require "support.swapped"
local waiting = require "ringlink.cli.waiting"

local NONCE = "n0Nce" .. ("a"):rep(38)

describe("the config file", function()
  it("is lines of names and values", function()
    local found = assert(config.parse("# a comment\n\n store = sqlite:/a b/c.db \r\napi_url=https://a\n"))
    assert.same({ store = { values = { "sqlite:/a b/c.db" }, line = 3 },
      api_url = { values = { "https://a" }, line = 4 } }, found)
  end)

  it("names a secret several times, newest first", function()
    assert.same({ values = { "env:NEW", "env:OLD" }, line = 1 },
      config.parse("hmac_key = env:NEW\nhmac_key = env:OLD\n").hmac_key)
  end)

  for name, case in pairs {
    ["a line without ="] = { "store", "line 1 is not `name = value`" },
    ["an unknown name"] = { "\nstroe = memory", "line 2 sets stroe, which is unknown; did you mean store?" },
    ["what is no text"] = { "clock = 7", "line 1 sets clock, which is unknown" },
    ["no value"] = { "store =  ", "line 1 gives store no value" },
    ["a control character"] = { "store = a\tb", "line 1 gives store no value" },
    ["something twice"] = { "store = a\nstore = b", "line 2 sets store again (the first is line 1)" },
  } do
    it("refuses " .. name, function()
      local found, problem = config.parse(case[1])
      assert.is_nil(found)
      assert.equal(case[2], problem:sub(1, #case[2]))
    end)
  end

  it("shows nothing of a line that it refuses", function()
    local _, problem = config.parse("client_secret " .. planted.client_secret)
    assert.is_nil(planted.find(problem))
    _, problem = config.parse(("x"):rep(30) .. "0 = " .. planted.client_secret)
    assert.is_nil(planted.find(problem))
    assert.is_nil(problem:find(("x"):rep(30), 1, true))
  end)

  it("tells secrets from names of where they are", function()
    assert.is_true(config.is_secret("client_secret", "abc"))
    assert.is_false(config.is_secret("client_secret", "env:ABC"))
    assert.is_false(config.is_secret("store_key", "file:/a"))
    assert.is_false(config.is_secret("client_id", "abc"))
    assert.is_true(config.is_secret("proxy", "http://user:word@host:1"))
    assert.is_false(config.is_secret("proxy", "http://host:1/@"))
  end)
end)

describe("the exit status", function()
  it("is known for every error code, once", function()
    local listed = {}
    for _, entry in ipairs(errors.list) do
      assert.is_number(exit.of_code[entry.code], entry.code .. " has no exit status")
      listed[entry.code] = true
    end
    for code in pairs(exit.of_code) do assert.is_true(listed[code], code .. " is no error code") end
  end)

  it("is the documented one for each kind of trouble", function()
    for code, status in pairs { invalid_nonce = 1, exchange_refused = 1, invalid_request = 2, invalid_option = 2,
      timeout = 3, dns = 3, rate_limited = 3, relink_required = 4, unlinked = 4, store_error = 5, hook_failed = 5,
      cancelled = 130 } do
      assert.equal(status, exit.of(errors.new(code)), code)
    end
  end)

  it("of a refused refresh is another than of one that the network failed", function()
    assert.equal(1, exit.of(errors.new("refresh_failed", { status = 401 })))
    assert.equal(3, exit.of(errors.new("refresh_failed", { status = 503 })))
    assert.equal(3, exit.of(errors.new("refresh_failed")))
  end)

  it("says that it may work later only of what may", function()
    for code, lasting in pairs { tls = 2, ring_error = 1, bad_response = 1 } do
      assert.equal(3, exit.of(errors.new(code, { retryable = true })), code)
      assert.equal(lasting, exit.of(errors.new(code, { retryable = false })), code)
    end
    for _, entry in ipairs(errors.list) do
      local err = errors.new(entry.code)
      if not err.retryable then assert.not_equal(3, exit.of(err), entry.code) end
    end
  end)

  it("of a lost answer to any of Ring's three one-time calls is that the user must link again", function()
    for _, call in ipairs { "confirm", "exchange", "refresh" } do
      assert.equal(4, exit.of(errors.new(call .. "_outcome_unknown")))
    end
  end)

  it("of whatever else is raised is this machine's, but for Ctrl-C", function()
    assert.equal(5, exit.of("a.lua:1: no"))
    assert.equal(5, exit.of({}))
    assert.equal(130, exit.of("a.lua:1: interrupted!"))
    assert.equal(130, exit.of("a.lua:1: interrupted!\nstack traceback:\n\tx"))
    assert.equal(5, exit.of("a.lua:1: no\ninterrupted!"))
  end)
end)

describe("what is read", function()
  local out
  before_each(function() out = output.new({}) end)

  it("may be an address, its query, JSON, or the thing itself", function()
    local expected = { nonce = "n-_1", time = "5" }
    assert.same(expected, input.fields(out, "https://a/b?nonce=n-_1&time=5#x"))
    assert.same(expected, input.fields(out, "nonce=n%2D_1&time=5"))
    assert.same(expected, input.fields(out, '{"nonce":"n-_1","time":"5"}'))
    assert.is_nil(input.fields(out, "a-code="))
    assert.same({ code = "a=b" }, input.fields(out, "code=a%3Db"))
  end)

  it("is hidden wherever it would be told", function()
    input.fields(out, '{"code":"planted-code","nonce":"n+o(n)ce"}')
    assert.equal("a **** and **** and ****", out:hidden("a planted-code and n+o(n)ce and planted-code"))
  end)

  it("looks like a secret or not", function()
    for _, word in ipairs { NONCE, "--x=" .. NONCE, "sandbox-code-abc", "eyJhbGci.eyJzdWIi.xyz" } do
      assert.is_true(input.looks_secret(word), word)
    end
    for _, word in ipairs { "ava1.ring.account.4BDE002D17D57E80FA429B83", "/v1/devices", "7",
      "sha256=" .. ("ab"):rep(32), ("a"):rep(43), NONCE .. "x" } do
      assert.is_false(input.looks_secret(word), word)
    end
  end)
end)

describe("waiting for another process", function()
  local TRY_MS = 250
  local TEXT = "another process is at this link: waiting, %d s at most if it has died"
  local now_ms, refused_for, client, shown

  before_each(function()
    now_ms, refused_for, shown = 0, {}, {}
    client = { clock = { monotonic_ms = function() return now_ms end }, store = {
      lease = function(_, key)
        if refused_for[key] then return false, refused_for[key] - now_ms end
        return true
      end } }
    waiting.watch(client, { progress = function(_, text) shown[#shown + 1] = text end,
      clear = function() shown[#shown + 1] = "" end })
  end)

  local function try(key, count)
    local answer
    for _ = 1, count do
      answer = { client.store:lease(key, "me", 1000) }
      now_ms = now_ms + TRY_MS
    end
    return answer
  end

  it("is told after a moment, with how long it can last, until it is over", function()
    refused_for.a = 135000
    assert.same({ false, 134250 }, try("a", 4))
    assert.same({}, shown)
    try("a", 2)
    assert.same({ TEXT:format(134), TEXT:format(134) }, shown)
    refused_for.a = nil
    assert.same({ true }, try("a", 1))
    assert.equal("", shown[3])
    try("a", 1)
    assert.equal(3, #shown)
  end)

  it("is not told of what is free, of a short wait, or of refusals now and then", function()
    try("a", 9)
    refused_for.b = 5000
    try("b", 4)
    refused_for.b = nil
    try("b", 1)
    refused_for.c = 600000
    for _ = 1, 9 do
      try("c", 1)
      now_ms = now_ms + 4 * TRY_MS
    end
    assert.same({}, shown)
  end)

  it("for one goes on when another link is free", function()
    refused_for.a = 10000
    try("a", 4)
    try("b", 1)
    try("a", 1)
    assert.same({ TEXT:format(9) }, shown)
  end)
end)

describe("rows", function()
  it("are aligned, without spaces at the end", function()
    assert.same({ "a    bb  c", "ccc  d" }, output.align { { "a", "bb", "c" }, { "ccc", "d", "" } })
  end)
end)

describe("the command, without a network,", function()
  local stage

  before_each(function()
    stage = cli.stage { RING_CLIENT_ID = "app", RING_CLIENT_SECRET = planted.client_secret,
      RING_HMAC_KEY = planted.hmac_key, RINGLINK_STORE = "memory" }
  end)
  after_each(cli.stop_all)

  local function doctor(words)
    local all = { "doctor", "--offline" }
    for _, word in ipairs(words or {}) do all[#all + 1] = word end
    local done = stage:json(all)
    local sources, values = {}, {}
    for _, one in ipairs(done.values[1].settings) do
      sources[one.name], values[one.name] = one.source, one.value
    end
    return { status = done.status, said = done.said, sources = sources, values = values,
      findings = done.values[1].findings }
  end

  local function finding(done, level)
    for _, one in ipairs(done.findings) do
      if one.level == level then return one end
    end
  end

  it("takes flags before the environment before the config file", function()
    stage:write("config", "api_url = https://config.example\noauth_url = https://config.example\n"
      .. "environment = config\ntimeout_ms = 7\n")
    stage:set { RINGLINK_API_URL = "https://environment.example", RINGLINK_OAUTH_URL = "https://environment.example" }
    local done = doctor { "--config", "config", "--api-url", "https://flag.example" }
    assert.equal("https://flag.example", done.values.api_url)
    assert.equal("https://environment.example", done.values.oauth_url)
    assert.equal("config", done.values.environment)
    assert.equal("flag --api-url", done.sources.api_url)
    assert.equal("environment RINGLINK_OAUTH_URL", done.sources.oauth_url)
    assert.equal("config, line 3", done.sources.environment)
    assert.equal("default", done.sources.deadline_ms)
    assert.equal("not set", done.sources.proxy)
    assert.equal(0, done.status)
  end)

  it("finds its config file in the config home", function()
    shell.run("mkdir -p " .. stage:path(".config/ringlink") .. " " .. stage:path("xdg/ringlink"))
    stage:write(".config/ringlink/config", "environment = home\n")
    assert.equal("home", doctor().values.environment)
    stage:write("xdg/ringlink/config", "environment = xdg\n")
    stage:set { XDG_CONFIG_HOME = stage:path("xdg") }
    assert.equal("xdg", doctor().values.environment)
  end)

  it("shows of a secret only whether it is set", function()
    stage:write("config", "proxy = http://user:planted-code@127.0.0.1:1\n")
    shell.run("chmod 600 " .. stage:path("config"))
    local done = doctor { "--config", "config" }
    for _, name in ipairs { "client_secret", "hmac_key", "proxy" } do assert.equal("****", done.values[name]) end
    stage:set { OLD = planted.hmac_key }
    local told = doctor { "--hmac-key", "env:RING_HMAC_KEY", "--hmac-key", "env:OLD" }
    assert.equal("env:RING_HMAC_KEY, env:OLD", told.values.hmac_key)
    assert.is_nil(planted.find(done.said))
    assert.equal("app", done.values.client_id)
  end)

  local function refuses(pattern, words)
    local done = stage:run(words)
    assert.equal(2, done.status, done.said)
    assert.equal("", done.out)
    assert.truthy(done.err:find(pattern), done.err)
    assert.is_nil(planted.find(done.said))
    return done
  end

  it("refuses a config file with a secret that others can read", function()
    stage:write("config", "client_secret = " .. planted.client_secret .. "\n")
    shell.run("chmod 640 " .. stage:path("config"))
    refuses("holds a secret and is open to others %(mode 0640%): chmod 600", { "--config", "config", "accounts" })
    shell.run("chmod 600 " .. stage:path("config"))
    assert.equal(0, stage:run({ "--config", "config", "accounts" }).status)
  end)

  it("takes one without a secret that others can read, and none that others can write", function()
    stage:write("config", "client_secret = env:RING_CLIENT_SECRET\n")
    shell.run("chmod 644 " .. stage:path("config"))
    assert.equal(0, stage:run({ "--config", "config", "accounts" }).status)
    shell.run("chmod 664 " .. stage:path("config"))
    refuses("can be written by others %(mode 0664%): chmod go%-w", { "--config", "config", "accounts" })
  end)

  it("refuses a config file of another user", function()
    stage:write("config", "environment = x\n")
    if not shell.succeeds("chown 1 " .. stage:path("config")) then return pending("only root can give files away") end
    refuses("belongs to another user: chown", { "--config", "config", "accounts" })
  end)

  it("looks at the config file that it reads, should another take its place", function()
    local file = stage:write("config", "client_secret = " .. planted.client_secret .. "\n")
    shell.run("chmod 644 " .. file)
    local other = stage:write("config.good", "")
    shell.run("chmod 600 " .. other)
    local _, found, err = swapped.during("after", file, other, function() return config.read(file) end)
    assert.is_nil(found)
    assert.truthy(tostring(err):find("chmod 600", 1, true), tostring(err))
  end)

  it("refuses a config file that is not there, or says nonsense", function()
    refuses("nowhere cannot be read: No such file or directory: name one", { "--config", "nowhere", "accounts" })
    refuses("%. cannot be read: Is a directory: name one", { "--config", ".", "accounts" })
    stage:write("config", "timeout_ms = soon\n")
    refuses("timeout_ms must be a number %(config, line 1%)", { "--config", "config", "accounts" })
    stage:write("config", "allow_http_loopback = maybe\n")
    refuses("allow_http_loopback must be true or false", { "--config", "config", "accounts" })
    stage:write("config", "timeout_ms = 0\n")
    refuses("option timeout_ms must lie between 1 and 600000", { "--config", "config", "accounts" })
  end)

  it("names all that is not set, and how to set it", function()
    stage:set { RING_CLIENT_SECRET = false, RINGLINK_STORE = false }
    local done = refuses("not set: client_secret %(RING_CLIENT_SECRET, or client_secret in the config file%); "
      .. "store %(%-%-store, RINGLINK_STORE, or store in the config file%)", { "accounts" })
    assert.is_nil(done.err:find("invalid_option", 1, true))
    local told = doctor()
    assert.equal(2, told.status)
    assert.same({ check = "client_secret", level = "fail", says = "is not set",
      cure = "set it: RING_CLIENT_SECRET, or client_secret in the config file" }, finding(told, "fail"))
  end)

  it("tells of a config file that cannot be read, first, and of nothing that only follows from it", function()
    stage:set { RING_CLIENT_ID = false, RING_HMAC_KEY = false, RINGLINK_STORE = false }
    stage:write("malformed", "client_id = app\nstore memory\n")
    stage:write("open", "client_id = app\nhmac_key = a-key\n")
    shell.run("chmod 644 " .. stage:path("open"))
    for path, expected in pairs {
      nowhere = { "cannot be read: No such file or directory", "name one that can be, by --config" },
      malformed = { "line 2 is not `name = value`", "correct the config file" },
      open = { "holds a secret and is open to others (mode 0644)", "chmod 600 open" },
    } do
      local done = doctor { "--config", path }
      assert.equal(2, done.status)
      assert.same({ check = "settings", level = "fail", says = path .. " " .. expected[1], cure = expected[2] },
        done.findings[1])
      table.remove(done.findings, 1)
      assert.is_nil(finding(done, "fail"))
      for _, name in ipairs { "client_id", "store", "store_key", "timeout_ms" } do
        assert.same({ nil, "config file not read" }, { done.values[name], done.sources[name] })
      end
      assert.equal("environment RING_CLIENT_SECRET", done.sources.client_secret)
    end
  end)

  it("tells a mistake in a setting once", function()
    stage:set { RING_HMAC_KEY = "env:NOT_SET" }
    local told = {}
    for _, one in ipairs(doctor().findings) do
      if one.level == "fail" then told[#told + 1] = one.check end
    end
    assert.same({ "hmac_key" }, told)
  end)

  it("wants a store key for a store that stays", function()
    stage:set { RINGLINK_STORE = "sqlite:ringlink.db" }
    refuses("not set: store_key", { "accounts" })
  end)

  it("takes secrets from files and names of variables, also as a list", function()
    stage:write("hmac_key", planted.hmac_key .. "\n")
    shell.run("chmod 600 " .. stage:path("hmac_key"))
    stage:set { RING_HMAC_KEY = false, OLD = planted.hmac_key }
    local done = stage:run { "--hmac-key", "file:hmac_key", "--hmac-key", "env:OLD", "nonce", "--time", "1",
      "--account", "a" }
    assert.equal(require("ringlink").nonce(planted.hmac_key, "1", "a") .. "\n", done.out)
  end)

  for name, case in pairs {
    ["a client secret"] = { planted.client_secret, '--client-secret "$GIVEN" accounts' },
    ["an HMAC key"] = { planted.hmac_key, 'accounts --hmac-key="$GIVEN"' },
    ["a store key"] = { planted.store_key(1), '--store-key "$GIVEN" accounts' },
    ["a code"] = { "planted-code", 'exchange --code "$GIVEN"' },
    ["a code of the sandbox"] = { "sandbox-code-abcdef", 'exchange "$GIVEN"' },
    ["a nonce"] = { NONCE, 'link --nonce="$GIVEN"' },
    ["a nonce by itself"] = { NONCE, 'link --user 7 "$GIVEN"' },
    ["a nonce for a script"] = { NONCE, 'run script.lua "$GIVEN"' },
    ["a proxy's password"] = { "planted-code", '--proxy "http://user:$GIVEN@host" accounts' },
  } do
    it("refuses " .. name .. " as an argument, and says how to give it", function()
      stage:set { GIVEN = case[1] }
      local done = stage:shell("ringlink " .. case[2])
      assert.equal(2, done.status, done.said)
      assert.equal("", done.out)
      assert.truthy(done.err:find("is or holds a secret: .*`ps`"), done.err)
      assert.is_nil(done.said:find(case[1], 1, true))
    end)
  end

  it("explains a stray word where a code could be meant", function()
    refuses("too many arguments: codes, nonces and secrets are no arguments", { "exchange", "abc" })
  end)

  it("says where to look after a mistake", function()
    refuses("unknown option '%-%-usr'\n?.*: see `ringlink link %-%-help`", { "link", "--usr", "7" })
    refuses("unknown command 'lnik'", { "lnik" })
    refuses("a command is required: see `ringlink %-%-help`", {})
  end)

  it("tells a mistake as JSON, too", function()
    local done = stage:json { "link", "--usr", "7" }
    assert.equal(2, done.status)
    assert.equal("", done.err)
    assert.equal("invalid_request", done.values[1].error.code)
    assert.is_false(done.values[1].error.retryable)
  end)

  it("says its version, and helps", function()
    assert.equal("ringlink " .. core.version .. "\n", stage:run({ "--version" }).out)
    local help = stage:run({ "--help" })
    assert.equal(0, help.status)
    for _, command in ipairs(require("ringlink.cli.manual").commands) do
      assert.truthy(help.out:find("\n   " .. command.name .. " ", 1, true), command.name)
      local own = stage:run({ command.name, "--help" })
      assert.equal(0, own.status)
      assert.truthy(own.out:find("Examples:\n  " .. command.examples[1], 1, true), command.name)
    end
  end)

  it("masks what it is given, or lines that it reads", function()
    assert.equal("u***r@partner.example.com\n", stage:run({ "mask", "user@partner.example.com" }).out)
    assert.same({ { masked = "a***c@x" }, { masked = "d***f@y" } },
      stage:json({ "mask", input = "abc@x\ndef@y\n" }).values)
  end)

  it("refuses what is no time for a nonce", function()
    assert.equal(2, stage:run({ "nonce", "--time", "soon", "--account", "a" }).status)
  end)

  it("completes commands, options and states in bash", function()
    local function completed(words)
      return stage:shell([[source <(ringlink completion bash)
COMP_WORDS=(]] .. words .. [[); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _ringlink; echo "${COMPREPLY[*]}"]]).out
    end
    assert.equal("accounts\n", completed("ringlink acc"))
    assert.equal("--state\n", completed("ringlink accounts --sta"))
    assert.equal("completed\n", completed("ringlink accounts --state compl"))
    assert.equal("--watch\n", completed("ringlink work --w"))
    assert.equal("--config\n", completed("ringlink --conf"))
  end)
end)
