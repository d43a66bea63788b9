-- `make demo` as its user sees it: what it prints, what it keeps to itself, what it leaves behind; and that
-- it fails, with the right words, whenever something of what it shows is broken.

local redact = require "demo.redact"
local shell = require "support.shell"
local world = require "support.world"

local INTERPRETER = os.getenv("RINGLINK_LUA") or (rawget(_G, "jit") and "luajit" or "lua5.4")
local SECRET_BYTES_MIN = 20 -- no word the demo prints is that long and has a digit in it

--- What a shell reads to put the variables into its environment.
local function exports(variables)
  local lines = { "unset RINGLINK_DEMO_REAL KEEP" }
  for name, value in pairs(variables) do lines[#lines + 1] = ("export %s=%s"):format(name, shell.quote(value)) end
  return table.concat(lines, "\n")
end

--- Plays the demo with its own directory for temporary files; `variables` is put into its environment.
--- What it removes is searched for secrets before.
local function play(variables, input)
  local place = shell.make_directory()
  local tmp = place .. "/tmp"
  shell.run("mkdir " .. tmp)
  variables.TMPDIR, variables.LUA_INIT = tmp, 'require("support.leaks").watch()'
  shell.write(place .. "/input", input or "")
  shell.write(place .. "/environment", exports(variables))
  local command = (". %s/environment; %s spec/demo/run.lua <%s/input 2>&1"):format(place, INTERPRETER, place)
  local pipe = assert(io.popen(command .. "; echo \" $?\"; ls " .. tmp
    .. "; grep -las " .. tmp .. " /proc/[0-9]*/cmdline | grep -v /self/ | xargs -r -n1 dirname"))
  local said, status, left = pipe:read("*a"):match("^(.*) (%d+)\n(.*)$")
  pipe:close()
  shell.remove_directory(place)
  return { said = said, status = tonumber(status), left = left }
end

local function looks_secret(word)
  return #word >= SECRET_BYTES_MIN and word:find("%d")
end

local function assert_no_word(said, is_secret)
  for word in said:gmatch("[%w%-_]+") do assert.falsy(is_secret(word), "printed: " .. word) end
end

local function assert_nothing_left(demo)
  -- grep itself and the shell that started it name the directory too, but are gone by now
  for line in demo.left:gmatch("[^\n]+") do
    assert.truthy(line:find("^/proc/%d+$"), "left behind: " .. line)
    assert.falsy(shell.succeeds("test -d " .. line), "still runs: " .. line)
  end
end

local function fields_of(said, pattern)
  local found = {}
  for value in said:gmatch(pattern) do found[#found + 1] = value end
  return found
end

describe("the demo against the sandbox #network #ownstore", function()
  local demo
  setup(function() demo = play({}) end)

  it("ends with 0", function()
    assert.equal(0, demo.status, demo.said)
  end)

  it("proves by the sandbox's own state that the link was completed and then unlinked", function()
    assert.truthy(demo.said:find("\n +before +status=completed  confirmed  d%*+r@partner%.example%.com"), demo.said)
    assert.truthy(demo.said:find("\n +after +status=unlinked  no integration  tokens revoked\n"), demo.said)
    assert.truthy(demo.said:find("\n +secrets +%d+ of this run, [^\n]* in %d+ files [^\n]*none is there"), demo.said)
  end)

  it("shows each step of the journey in its order", function()
    local at = 1
    for _, step in ipairs { "Ring → partner +POST +/ring/token/[^\n]- +200 code=",
      "POST +/oauth/token +200 code=", "GET +/v1/users/me +200", "GET +/ring/link%?… +303 nonce=",
      "POST +/sign%-in%?… +200 password=wrong", "POST +/sign%-in%?… +303 password=%*",
      "“Connect Ring to d%*%*%*r@partner%.example%.com%?”", "POST +/ring/link +303 csrf=",
      "POST +/v1/accounts/me/app%-integrations +200 nonce=", "PATCH +/v1/accounts/me/app%-integrations +–",
      "PATCH +/v1/accounts/me/app%-integrations +400", "“Ring is connected”", "200 app_integration_added",
      "nginx +has ended and was started anew", "“Connected”", "script → Ring +GET +/v1/devices +200",
      "script → Ring +POST +/oauth/token +200 refresh=", "POST +/ring/home +303 do=pause",
      "PATCH +/v1/accounts/me/app%-integrations +401", "partner → Ring +POST +/oauth/token +200 refresh=",
      "PATCH +/v1/accounts/me/app%-integrations +200", "“Paused”", "do=resume", "“Connected”",
      "200 motion_detected", "401 motion_detected", "status page +exchange_refused",
      "200 app_integration_removed", "“Ring is not connected”" } do
      local _, last = demo.said:find(step, at)
      assert.truthy(last, "missing, or too early: " .. step .. "\n" .. demo.said)
      at = last
    end
  end)

  it("makes the rotation visible: the refresh token given is the one used next, and never again", function()
    local given = fields_of(demo.said, "/oauth/token[^\n]-→[^\n]-refresh=(#%x+)")
    local used = fields_of(demo.said, "/oauth/token +200 refresh=(#%x+)")
    assert.equal(3, #given)
    assert.same({ given[1], given[2] }, used)
    assert.truthy(given[1] ~= given[2] and given[2] ~= given[3] and given[1] ~= given[3])
  end)

  it("prints no secret, and no colours where there is no terminal", function()
    assert_no_word(demo.said, looks_secret)
    assert.falsy(demo.said:find("\27", 1, true))
  end)

  it("leaves no process and no file", function()
    assert_nothing_left(demo)
  end)

  it("says what is wrong and ends with 1 when it cannot start", function()
    local broken = play({ RINGLINK_NGINX = "/nowhere/nginx" })
    assert.equal(1, broken.status)
    assert.truthy(broken.said:find("FAILED: .*nginx was not found"), broken.said)
    assert_nothing_left(broken)
  end)

  it("goes on for a person with a browser until that one presses Enter, with KEEP=1", function()
    local kept = play({ KEEP = "1" }, "\n")
    assert.equal(0, kept.status, kept.said)
    assert.truthy(kept.said:find("http://127%.0%.0%.1:%d+/#%x+\n"), kept.said)
    assert.truthy(kept.said:find("https://127%.0%.0%.1:%d+/ring/home\n"), kept.said)
    assert_nothing_left(kept)
  end)

  it("leaves nothing when its reader goes away", function()
    local place = shell.make_directory()
    shell.run("TMPDIR=" .. place .. " " .. INTERPRETER .. " spec/demo/run.lua 2>/dev/null | head -n 1")
    shell.run("(for i in $(seq 100); do test -z \"$(ls " .. place .. ")\" && exit 0; sleep 0.1; done; exit 1)")
    shell.remove_directory(place)
  end)
end)

describe("the demo of something broken #network #ownstore", function()
  local RESTY = "/ringlink/resty/"
  local EXAMPLE = RESTY .. "example/"

  --- Plays the demo with a copy of ringlink in which one place reads otherwise.
  local function play_with(file, what, with)
    local place = shell.make_directory()
    shell.run("cp -r lua " .. place)
    local text = shell.read(place .. "/lua" .. file)
    local from, to = text:find(what, 1, true)
    assert(from, file .. " has no " .. what)
    shell.write(place .. "/lua" .. file, text:sub(1, from - 1) .. with .. text:sub(to + 1))
    local demo = play({ LUA_PATH = ("%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(place, place, package.path) })
    shell.remove_directory(place)
    return demo
  end

  local BROKEN = {
    { "any password signs in", EXAMPLE .. "app.lua", 'knows(fields.email or "", fields.password or "")', "fields.email",
      "to say “This e%-mail and password do not belong together%.”" },
    { "cookies go over http too", EXAMPLE .. "app.lua", "Path=/; Secure; HttpOnly", "Path=/; HttpOnly",
      "the cookie __Host%-check to be Secure" },
    { "the redirect keeps the nonce", RESTY .. "account_link.lua", "reply.see(address_of(here, id))",
      'reply.see(address_of(here, id) .. "&nonce=" .. query.nonce)', "the query to be dropped" },
    { "the partner's configuration fails", EXAMPLE .. "nginx.conf", "return link.user ~= nil", 'return false, "no"',
      "the calls to Ring to be: confirm 200, complete lost, complete 400, not: confirm 200\n" },
    { "there is no webhook", EXAMPLE .. "nginx.conf", "location = /ring/webhook", "location = /ring/elsewhere",
      "the webhooks to be: [^\n]-, not: app_integration_added 404" },
    { "a restart forgets the links", EXAMPLE .. "nginx.conf", "/var/lib/ringlink/ringlink.db",
      '/var/lib/ringlink/" .. tostring({}):match("%x+$") .. ".db', "the page to say “Connected”" },
    { "the homepage's buttons do nothing", RESTY .. "homepage.lua",
      'client:update(account, { status = "awaiting" })', "true",
      "the calls to Ring to be: update 401, refresh 200, update 200, not: \n" },
    { "forged webhooks are accepted", "/ringlink/webhook.lua", "signature = 401", "signature = 200",
      "the webhooks to be: motion_detected 401, not: motion_detected 200" },
    { "queries are logged", EXAMPLE .. "nginx.conf", '"$request_method $uri"', '"$request"',
      "there is the nonce in access%.log" },
  }

  for _, case in ipairs(BROKEN) do
    it("fails when " .. case[1], function()
      local demo = play_with(case[2], case[3], case[4])
      assert.equal(1, demo.status, demo.said)
      assert.truthy((demo.said .. "\n"):find("FAILED: expected [^\n]-" .. case[5]), demo.said)
      assert_nothing_left(demo)
    end)
  end
end)

describe("the demo with real credentials #network #ownstore", function()
  local w
  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function() w:reset() end)

  local function settings()
    return { RINGLINK_DEMO_REAL = "1", RING_CLIENT_ID = w.ring.client_id, RING_CLIENT_SECRET = w.ring.client_secret,
      RING_HMAC_KEY = w.ring.hmac_key, RINGLINK_API_URL = w.ring.api_url, RINGLINK_OAUTH_URL = w.ring.oauth_url,
      RINGLINK_CA_FILE = w.ring.ca_file }
  end

  local function pasted(install)
    return ("%s\nhttps://partner.example.com/link?nonce=%s&time=%s\n"):format(install.code, install.nonce, install.time)
  end

  it("links with the pasted code and address, reads devices and refreshes", function()
    local install = w:install()
    local demo = play(settings(), pasted(install))
    assert.equal(0, demo.status, demo.said)
    assert.equal("completed", w:state().integrations[1].status)
    assert.equal(1, w:count("token"))
    assert.equal(1, w:count("refresh"))
    assert.equal(2, w:count("devices"))
    assert_nothing_left(demo)
  end)

  it("prints neither credentials nor code, nonce or tokens", function()
    local install = w:install()
    local demo = play(settings(), pasted(install))
    for _, secret in ipairs { w.ring.client_secret, w.ring.hmac_key, install.code, install.nonce, install.account } do
      assert.falsy(demo.said:find(secret, 1, true), demo.said)
    end
    local fingerprints, seen = {}, 0
    for _, row in ipairs(w:journal()) do
      for _, name in ipairs { "bearer", "refresh_token", "code", "nonce" } do
        if row[name] then fingerprints[row[name]], seen = true, seen + 1 end
      end
    end
    assert.truthy(seen > 5)
    assert_no_word(demo.said, function(word) return fingerprints[redact.fingerprint(word)] end)
  end)

  it("ends with 1 when Ring refuses the code, and names the refusal", function()
    local demo = play(settings(), "a-code-that-ring-never-gave\n")
    assert.equal(1, demo.status)
    assert.truthy(demo.said:find("FAILED: expected the exchange to work, not exchange_refused", 1, true), demo.said)
    assert_nothing_left(demo)
  end)

  it("names the credentials that are missing", function()
    local demo = play({ RINGLINK_DEMO_REAL = "1", RING_CLIENT_ID = "app", RING_CLIENT_SECRET = "", RING_HMAC_KEY = "" })
    assert.equal(1, demo.status)
    assert.truthy(demo.said:find("needs RING_CLIENT_SECRET, RING_HMAC_KEY in the environment", 1, true), demo.said)
  end)

  it("ends when nothing is pasted", function()
    local demo = play(settings(), "")
    assert.equal(1, demo.status)
    assert.truthy(demo.said:find("FAILED: nothing was pasted", 1, true), demo.said)
    assert_nothing_left(demo)
  end)
end)
