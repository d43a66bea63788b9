-- `make demo` as its user sees it: what it prints, what it keeps to itself, what it leaves behind;
-- and the partner's backend as a stranger meets it.

local core = require "ringlink.core"
local cjson = require "cjson"
local http = require "demo.http"
local partner = require "demo.partner"
local redact = require "demo.redact"
local shell = require "support.shell"
local world = require "support.world"

local INTERPRETER = os.getenv("RINGLINK_LUA") or (rawget(_G, "jit") and "luajit" or "lua5.4")
local SECRET_BYTES_MIN = 20 -- no word the demo prints is that long and has a digit in it

--- What a shell reads to put the variables into its environment.
local function exports(variables)
  local lines = { "unset RINGLINK_DEMO_REAL" }
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
    assert.truthy(demo.said:find("\n +before +status=completed  confirmed  d%*%*%*r@partner%.example%.com"), demo.said)
    assert.truthy(demo.said:find("\n +after +status=unlinked  no integration  tokens revoked\n"), demo.said)
    assert.truthy(demo.said:find("\n +partner +state=unlinked\n"), demo.said)
  end)

  it("shows each step of the journey in its order", function()
    local at = 1
    for _, step in ipairs { "Ring → partner +POST +/ring/[^\n]-token%-exchange +200 code=",
      "POST +/oauth/token +200 code=", "GET +/v1/users/me +200", "GET +/ring/account%-link%?… +303 nonce=",
      "POST +/sign%-in +303", "POST +/connect +303", "hook +matched",
      "POST +/v1/accounts/me/app%-integrations +200 nonce=",
      "hook +configure", "PATCH +/v1/accounts/me/app%-integrations +200", "hook +completed", "GET +/v1/devices +200",
      "POST +/oauth/token +200 refresh=", "GET +/v1/devices +401", "POST +/oauth/token +200 refresh=",
      "GET +/v1/devices +200", "motion_detected/human", "hook +unlinked" } do
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

  it("leaves nothing when its reader goes away", function()
    local place = shell.make_directory()
    shell.run("TMPDIR=" .. place .. " " .. INTERPRETER .. " spec/demo/run.lua 2>/dev/null | head -n 1")
    shell.run("(for i in $(seq 100); do test -z \"$(ls " .. place .. ")\" && exit 0; sleep 0.1; done; exit 1)")
    shell.remove_directory(place)
  end)
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
    assert.truthy(demo.said:find("FAILED: expected the exchange to work, not exchange_refused"), demo.said)
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

describe("the partner's backend #network #ownstore", function()
  local w, backend, browser
  setup(function()
    w = world.start()
    backend = partner.start()
    backend:open(w.ring)
  end)
  teardown(function()
    backend:stop()
    w:stop()
  end)
  before_each(function()
    w:reset()
    browser = http.open(backend.origin)
  end)
  after_each(function() browser:close() end)

  local function arrive(install)
    return browser:send("GET", ("/ring/account-link?nonce=%s&time=%s"):format(install.nonce, install.time))
  end

  local function sign_in(install)
    arrive(install)
    local form = http.form_of(browser:send("GET", "/sign-in").body)
    form.fields.email, form.fields.password = backend.user.email, backend.user.password
    return browser:send("POST", "/sign-in", { form = form.fields })
  end

  it("takes the code as JSON too, and answers 400 without one", function()
    local install = w:install()
    local answer = browser:send("POST", backend.token_exchange_path, { body = cjson.encode { code = install.code },
      headers = { "Content-Type: application/json" } })
    assert.equal(200, answer.status)
    assert.equal('{"status":"ok"}', answer.body)
    assert.equal(400, browser:send("POST", backend.token_exchange_path, { body = "" }).status)
    assert.equal(1, w:count("token"))
  end)

  it("has no Token Exchange URL that can be guessed", function()
    assert.equal(404, browser:send("POST", "/ring/token-exchange", { form = { code = "abc" } }).status)
    assert.truthy(backend.token_exchange_path:find("/%x+/") and #backend.token_exchange_path > 32)
  end)

  it("drops the redirect's query, and keeps nonce and time from the page", function()
    local install = w:install()
    local answer = arrive(install)
    assert.equal(303, answer.status)
    assert.equal("/sign-in", answer.headers.location)
    assert.truthy(answer.headers["set-cookie"]:find("HttpOnly; SameSite=Lax", 1, true))
    local page = browser:send("GET", "/sign-in").body
    assert.falsy(page:find(install.nonce, 1, true) or page:find(install.time, 1, true))
  end)

  it("refuses a redirect that is old or incomplete before anybody signs in", function()
    local old = ("%d"):format(core.now_ms() - 601000)
    assert.equal(410, arrive({ nonce = ("a"):rep(43), time = old }).status)
    assert.equal(400, arrive({ nonce = "a%20b", time = old }).status)
    assert.equal(400, browser:send("GET", "/ring/account-link").status)
  end)

  it("forbids caching, framing, foreign resources and Referers on every page", function()
    local headers = browser:send("GET", "/sign-in").headers
    assert.equal("no-store", headers["cache-control"])
    assert.equal("no-referrer", headers["referrer-policy"])
    assert.truthy(headers["content-security-policy"]:find("default-src 'none'", 1, true))
    assert.truthy(headers["content-security-policy"]:find("frame-ancestors 'none'", 1, true))
  end)

  it("answers a wrong password with the form again, escaped", function()
    arrive(w:install())
    local form = http.form_of(browser:send("GET", "/sign-in").body)
    form.fields.email, form.fields.password = '"><script>', "wrong"
    local answer = browser:send("POST", "/sign-in", { form = form.fields })
    assert.equal(401, answer.status)
    assert.truthy(answer.body:find('role="alert"', 1, true))
    assert.falsy(answer.body:find("<script", 1, true))
    assert.equal('"><script>', http.form_of(answer.body).fields.email)
  end)

  it("links by a POST with its own token only, never by a GET", function()
    local install = w:install()
    browser:send("POST", backend.token_exchange_path, { form = { code = install.code } })
    assert.equal("/connect", sign_in(install).headers.location)
    local page = browser:send("GET", "/connect")
    assert.equal(403, browser:send("POST", "/connect", { form = { csrf = "forged" } }).status)
    assert.equal(0, w:count("confirm"))
    local answer = browser:send("POST", "/connect", { form = http.form_of(page.body).fields })
    assert.equal("/linked", answer.headers.location)
    assert.equal("completed", w:state().integrations[1].status)
  end)

  it("sends strangers to the sign-in", function()
    assert.equal("/sign-in", browser:send("GET", "/connect").headers.location)
    assert.equal(400, browser:send("POST", "/connect", { form = { csrf = "x" } }).status)
    assert.equal("/sign-in", browser:send("GET", "/linked").headers.location)
  end)

  it("answers 401 to a webhook that Ring did not sign", function()
    local answer = browser:send("POST", "/ring/webhook", { body = "{}", headers = { "X-Signature: sha256=00" } })
    assert.equal(401, answer.status)
    assert.equal(401, browser:send("POST", "/ring/webhook", { body = "{}" }).status)
  end)

  it("keeps its control from strangers", function()
    assert.equal(401, browser:send("POST", "/demo/story", { body = "{}" }).status)
    assert.equal(401, browser:send("POST", "/demo/story", { body = "{}", headers = { "X-Demo-Token: guess" } }).status)
  end)
end)
