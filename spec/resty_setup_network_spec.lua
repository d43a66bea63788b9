--- ringlink.resty as a part of nginx: who reads the keys, who does the work, what is shared, what a
--- reload or a dead worker leaves, and what partners may change.

local browser = require "support.browser"
local child = require "support.child"
local core = require "ringlink.core"
local deliveries = require "support.deliveries"
local offline = require "support.offline"
local process = require "ringlink.sandbox.process"
local resty_server = require "support.resty_server"
local shared_clock = require "support.shared_clock"
local shell = require "support.shell"
local world = require "support.world"

local HOUR_MS = 3600000

describe("ringlink.resty in nginx #network", function()
  local w, server, tab
  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function() w:reset() end)
  after_each(function()
    browser.close_all()
    if server then server:stop() end
    server = nil
  end)

  local function start(options)
    options = options or {}
    options.change = options.change or {}
    table.insert(options.change, { "rate=20r/m", "rate=1000r/s" })
    server = resty_server.start(w.ring, options)
    tab = browser.new(server)
  end

  local function metrics()
    return tab:get(server.admin .. "/metrics").body
  end

  local function metric(name)
    return tonumber(metrics():match("\n" .. name .. " (%d+)"))
  end

  local function leaders(n)
    child.wait_until(n .. " leader", function() return metric('ringlink_background_leaders{app="default"}') == n end)
  end

  local function exchange(install)
    assert.equal(200, tab:post(server.exchange_url, { code = install.code }).status)
    child.wait_until("the exchange", function() return w:count("me") > 0 and w:count("token") > 0 end)
  end

  local function arrive(install)
    local page = tab:follow(tab:get("/ring/link?nonce=" .. install.nonce .. "&time=" .. install.time))
    page = tab:submit(page, { email = server:new_user(), password = resty_server.password })
    return tab:follow(page)
  end

  local function link()
    local install = w:install()
    exchange(install)
    local page
    child.wait_until("the link", function()
      page = arrive(install)
      return tab:submit(page).status == 303
    end)
    return install
  end

  local function heading(page) return page.body:match("<h1>(.-)</h1>") end

  local function refused(options)
    local ok, problem = pcall(start, options)
    assert.is_false(ok, "nginx has started")
    return tostring(problem)
  end

  -- Starting ------------------------------------------------------------------------------------

  it("reads keys that only root may read, for workers who may not", function()
    if not resty_server.is_root then return pending("needs root") end
    start { user = "www-data" }
    assert.equal("600", (shell.run("stat -c %a " .. server.directory .. "/client_secret"):gsub("%s", "")))
    link()                                       -- a worker that serves has taken its name
    local owner = shell.run("stat -c %U /proc/" .. server:workers()[1]):gsub("%s", "")
    assert.equal("www-data", owner)
    assert.equal("completed", w:state().integrations[1].status)
    assert.equal("www-data", (shell.run("stat -c %U " .. server.directory .. "/store/ringlink.db"):gsub("%s", "")))
  end)

  it("opens nothing before it is needed, and nothing at all when a configuration is only tested", function()
    start { change = { { '.start()', '.start { background = false }' } } }
    shell.run("nginx -t -p " .. server.directory .. "/ -c nginx.conf")
    assert.equal("", shell.run("ls -A " .. server.directory .. "/store"))
    exchange(w:install())
    assert.truthy(shell.run("ls -A " .. server.directory .. "/store"):find("ringlink.db", 1, true))
  end)

  it("does not start with a mistake in its options, and says which", function()
    assert.truthy(refused({ setup = 'runtine = "ngx",' }):find("did you mean runtime", 1, true))
    assert.truthy(refused({ workers = 2, change = { { '"sqlite:', '"memory", environment = "' },
      { "store_key     =", "user_agent =" } } }):find("one worker's own and nginx has 2", 1, true))
    assert.truthy(refused({ init = 'require("ringlink.resty").setup { apps = { ["a b"] = {} } }' })
      :find("an app's name must be text", 1, true))
  end)

  it("names what is missing when setup was never called", function()
    start { locations = 'location = /bare { content_by_lua_block { require("ringlink.resty").client("nobody") } }' }
    assert.equal(500, tab:get("/bare").status)
    assert.truthy(server:log():find('there is no app "nobody"; known are default', 1, true))
  end)

  it("works with blocking calls too, one at a time", function()
    start { setup = 'runtime = "blocking",' }
    link()
    assert.equal("completed", w:state().integrations[1].status)
    leaders(1)
  end)

  it("works without a shared dictionary, each worker by itself", function()
    start { change = { { "lua_shared_dict ringlink 4m;", "" } } }
    link()
    assert.equal("completed", w:state().integrations[1].status)
    assert.truthy(metrics():find("ringlink_links_total", 1, true))
  end)

  -- The background work -------------------------------------------------------------------------

  local function at_shared_clock(more)
    local options = { workers = 3, setup = "clock = require('support.shared_clock').at(ngx.config.prefix())," }
    for name, value in pairs(more or {}) do options[name] = value end
    start(options)
  end

  it("does the background work in one worker of all, and in another when that one dies", function()
    at_shared_clock()
    link()
    leaders(1)
    for _ = 1, 3 do                                        -- whoever leads is among them
      shell.run("kill -KILL " .. server:workers()[1])
      child.wait_until("a new worker", function() return #server:workers() == 3 end)
    end
    shared_clock.advance(server.directory, 24 * HOUR_MS + 61000)
    child.wait_until("the daily refresh", function() return w:count("refresh") > 0 end)
    assert.equal(1, w:count("refresh"))
  end)

  it("hands the work over when nginx is reloaded, and fails no request meanwhile", function()
    at_shared_clock()
    link()
    leaders(1)
    local old = server:workers()
    server:signal("HUP")
    for _ = 1, 20 do                                       -- by HTTP/2 an old worker may drop a new connection
      local page = tab:get("/sign-in", { args = { "--http1.1" } })
      assert.equal(200, page.status, page.body)
    end
    for _, pid in ipairs(old) do
      child.wait_until("an old worker's end", function() return not process.alive(pid) end)
    end
    shared_clock.advance(server.directory, 24 * HOUR_MS + 1000)
    child.wait_until("the daily refresh", function() return w:count("refresh") == 1 end)
  end)

  it("leaves the work out when told so", function()
    start { change = { { '.start() }', '.start { background = false } }' } } }
    link()
    assert.equal(0, metric('ringlink_background_leaders{app="default"}'))
    assert.equal(1, metric('ringlink_links_total{app="default",outcome="completed"}'))
  end)

  it("drops tickets that nobody used", function()
    at_shared_clock { workers = 1 }
    local install = w:install()
    tab:get("/ring/link?nonce=" .. install.nonce .. "&time=" .. install.time)
    leaders(1)
    local db = server.directory .. "/store/ringlink.db"
    local function tickets()
      local opened = core.store_sqlite { path = db, client_id = world.client_id }
      local entries = opened:run({ { op = "find", state = "ticket" } })[1].entries
      opened:close()
      return #entries
    end
    assert.equal(1, tickets())
    shared_clock.advance(server.directory, 600001)
    child.wait_until("the ticket to go", function() return tickets() == 0 end)
  end)

  -- Limits --------------------------------------------------------------------------------------

  it("lets a flood of junk codes through to Ring only so often, whichever worker it meets", function()
    start { workers = 2 }
    local input = server.directory .. "/input"
    shell.write(input, ('url = "%s?[1-300]"\n'):format(server.exchange_url))
    local said = shell.run(("curl -q -s --noproxy '*' --cacert %s -Z --parallel-max 20 -X POST -d 'code=junk' "
      .. "-o /dev/null -w '%%{http_code}\\n' -K %s"):format(server.ca_file, input))
    local statuses = {}
    for status in said:gmatch("%d+") do statuses[status] = (statuses[status] or 0) + 1 end
    local refusals = (statuses["429"] or 0) + (statuses["503"] or 0)      -- too often; too many at once
    assert.equal(300, statuses["200"] + refusals)
    assert.is_true(statuses["429"] > 0 and refusals >= 100, said)         -- 100 in 10 s, and two of these at most
    assert.equal(1, w:count("token"))
  end)

  -- Webhooks ------------------------------------------------------------------------------------

  local signer = offline.client { hmac_key = world.hmac_key }

  local function send(kind)
    local body, signature = deliveries.sign(signer,
      deliveries.event(signer, kind, { account = "ring-1", time_ms = core.now_ms() }))
    return tab:post("/ring/webhook", body, { headers = { "X-Signature: " .. signature } }).status
  end

  it("answers a webhook although its hooks hang", function()
    start { init = [[
      require("ringlink.resty").client():on("webhook", function(event)
        ngx.sleep(event.type == "button_press" and 600 or 0)
        ngx.shared.sessions:incr("heard", 1, 0)
      end)]], locations = 'location = /heard { content_by_lua_block { ngx.say(ngx.shared.sessions:get("heard")) } }' }
    assert.equal(200, send("button_press"))
    assert.equal(200, send("motion_detected"))
    child.wait_until("the other one's hook", function() return tab:get("/heard").body:find("^1") end)
  end)

  it("runs hooks that failed again until they succeed", function()
    at_shared_clock { workers = 1, init = [[
      require("ringlink.resty").client():on("webhook", function()
        assert(ngx.shared.sessions:incr("tries", 1, 0) == 3, "the partner's side is down")
      end)]], locations = 'location = /tries { content_by_lua_block { ngx.say(ngx.shared.sessions:get("tries")) } }' }
    assert.equal(200, send("motion_detected"))
    local function tried(n)
      child.wait_until("try " .. n, function() return tonumber(tab:get("/tries").body:match("%d+")) == n end)
    end
    tried(1)
    shared_clock.advance(server.directory, 61000)
    tried(2)
    shared_clock.advance(server.directory, 121000)
    tried(3)
    shared_clock.advance(server.directory, 24 * HOUR_MS)
    local before = tab:get("/tries").body
    assert.equal(200, send("button_press"))                -- another one, so that there was time for more
    child.wait_until("its hook", function() return tab:get("/tries").body ~= before end)
    assert.equal(4, tonumber(tab:get("/tries").body:match("%d+")))
  end)

  -- What partners change ------------------------------------------------------------------------

  local LINK = 'require("ringlink.resty").account_link { authenticate = %s, pages = { confirm = %s }, label = "L" }'

  local function location(path, authenticate, confirm)
    return ("location %s { content_by_lua_block { %s } }"):format(path,
      LINK:format(authenticate, confirm or "nil"))
  end

  it("shows partners' pages, and its own when those or the sign-in break", function()
    local me = 'function() return { id = "1", identifier = "<b>" } end'
    start { locations = location("= /own", me, 'function(view) return "mine for " .. view.html_escape(view.name) end')
      .. location("= /hole", me, 'function() error("a hole") end')
      .. location("= /broken", 'function() error("no database") end')
      .. location("= /away", 'function() return nil, "https://evil.example/" end')
      .. location("/any/", me) }
    local n = 0
    local function visit(path)
      n = n + 1
      local q = offline.redirect(signer, "ring-" .. n, core.now_ms())
      return tab:follow(tab:get(path .. "?nonce=" .. q.nonce .. "&time=" .. q.time))
    end
    local page = visit("/own")
    assert.equal("mine for confirm", (page.body:gsub("%s+$", "")))
    assert.truthy(page.headers["content-security-policy"]:find("style-src 'self'", 1, true))
    assert.truthy(heading(visit("/hole")):find("Connect Ring to", 1, true))
    for _, path in ipairs { "/broken", "/away" } do
      page = visit(path)
      assert.equal(500, page.status)
      assert.equal("Something went wrong here", heading(page))
      assert.is_nil(page.headers.location)
    end
    assert.truthy(server:log():find("no database", 1, true) and server:log():find("a hole", 1, true))
    assert.falsy(server:log():find("nonce=", 1, true) and server:log():find(offline.hmac_key, 1, true))

    local q = offline.redirect(signer, "ring-x", core.now_ms())
    local evil = tab:get("/any/%0d%0aX-Evil:%20yes?nonce=" .. q.nonce .. "&time=" .. q.time)
    assert.is_nil(evil.headers["x-evil"])
    assert.truthy(evil.headers.location:find("^/any/%%0D%%0AX%-Evil:%%20yes%?attempt="))
  end)

  it("serves several apps, each with its own client", function()
    local function app(name)
      return ('%s = { client_id = "id-%s", client_secret = "s", hmac_key = "k", store = "memory", '
        .. 'exchange_secret = %q }'):format(name, name, (name:rep(16)))
    end
    start { init = ('require("ringlink.resty").setup { apps = { %s, %s } }'):format(app("a"), app("b")),
      locations = 'location = /which { content_by_lua_block { '
        .. 'ngx.print(require("ringlink.resty").client("b").options.client_id) } }'
        .. 'location /b/ { content_by_lua_block { require("ringlink.resty").token_exchange { app = "b" } } }',
      change = { { ".client():on", '.client("a"):on' }, { ".token_exchange()", '.token_exchange { app = "a" }' },
        { ".status()", '.status { app = "b" }' } } }
    assert.equal("id-b", (tab:get("/which").body:gsub("%s+$", "")))
    assert.equal(404, tab:post("/b/" .. ("a"):rep(16), { code = "x y" }).status)
    assert.equal(400, tab:post("/b/" .. ("b"):rep(16), { code = "x y" }).status)
    assert.equal(400, tab:post("/ring/token/" .. ("a"):rep(16), { code = "x y" }).status)
    assert.truthy(heading(tab:get(server.admin .. "/status")):find("ringlink: b", 1, true))
    assert.truthy(metrics():find('{app="a",outcome="invalid_request"} 1', 1, true))
    assert.truthy(metrics():find('{app="b",outcome="invalid_request"} 1', 1, true))
  end)

  it("answers what came of a code when asked to wait for it", function()
    start { change = { { ".token_exchange()", '.token_exchange { ack = "after" }' } } }
    local install = w:install()
    assert.equal(400, tab:post(server.exchange_url, { code = "junk" }).status)
    assert.equal(200, tab:post(server.exchange_url, { code = install.code }).status)
    assert.equal(1, w:count("me"))
  end)

  it("keeps the cookies that the partner's sign-in sets", function()
    start { locations = location("= /own",
      'function() ngx.header["Set-Cookie"] = "theirs=1"; return { id = "1" } end') }
    local q = offline.redirect(signer, "ring-1", core.now_ms())
    local page = tab:follow(tab:get("/own?nonce=" .. q.nonce .. "&time=" .. q.time))
    assert.same({ "theirs=1" }, page.cookies)
  end)
end)
