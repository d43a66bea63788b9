--- What others may try by way of a user's browser, and what must not be left in it: frames, forms and pictures of
--- other sites, pages fetched ahead, tabs, the back button, cookies; and the keyboard alone.

local assert = require "luassert"
local child = require "support.child"
local resty_server = require "support.resty_server"

local TAB, ENTER, SPACE = "\238\128\132", "\238\128\135", " "

return function(stage)
  local it = stage.it

  -- A page of another site: the same nginx by another name, which the certificate knows too.
  local function hostile(name, text)
    local host = "https://localhost:" .. stage.server.at.port
    stage:expect("^" .. host:gsub("%p", "%%%0"))
    return host .. stage:put(name, "<!doctype html><title>elsewhere</title>" .. text)
  end

  local function question()
    return "Connect Ring to " .. require("ringlink").mask(stage.user) .. "?"
  end

  local function connect(account)
    stage.me:press("Connect")
    stage.me:sees("Ring is connected", 200)
    assert.equal("completed", stage:state_of(account))
  end

  it("keeps nothing of Ring's redirect in its address, its history or a Referer", function()
    local installed = stage:install()
    stage.me:new_tab()                                 -- with a history of its own
    stage:arrive(stage.me, installed.url)
    for _, document in ipairs(stage.me.traffic:read().documents) do
      assert.falsy(document.url:find("nonce", 1, true) and document.status ~= 303, document.url)
    end
    assert.truthy(stage.me:url():find("/ring/link%?attempt=%x+$"))
    for _, entry in ipairs(stage.me.driver:cdp("Page.getNavigationHistory").entries) do
      assert.falsy(entry.url:find("nonce", 1, true), entry.url)
    end
    connect(installed.account)
  end)

  it("gets cookies that scripts and other hosts do not get", function()
    stage:arrive(stage.me, stage:install().url)
    local seen = {}
    for _, cookie in ipairs(stage.me:cookies()) do
      seen[cookie.name:match("^__Host%-%a+")] = true
      assert.is_true(cookie.httpOnly and cookie.secure, cookie.name)
      assert.equal("/", cookie.path)
      assert.equal("127.0.0.1", cookie.domain)
      assert.truthy(cookie.sameSite == "Lax" or cookie.sameSite == "Strict", cookie.name)
    end
    assert.same({ ["__Host-ringlink"] = true, ["__Host-session"] = true, ["__Host-check"] = true }, seen)
    assert.equal("", stage.me.driver:run("return document.cookie"))
  end)

  it("does not gather cookies of attempts that were left", function()
    for _ = 1, 11 do
      stage.me:go(stage:install().url)
      stage.me:sees("Sign in", 200)
    end
    local count = 0
    for _, cookie in ipairs(stage.me:cookies()) do
      if cookie.name:find("^__Host%-ringlink") then count = count + 1 end
    end
    assert.truthy(count <= 9, count)
  end)

  it("shows no page of ours in a frame of anybody's", function()
    stage:expect("[Ff]rame")
    stage:expect("a cookie was refused: UserPreferences")          -- one from a frame of another site
    stage:arrive(stage.me, stage:install().url)
    for _, path in ipairs { "/ring/home", stage.me:url():match("/ring/.*"), "/sign-in" } do
      for _, host in ipairs { stage.server.origin, "" } do
        local frame = ("<h1>frame</h1><iframe src='%s'></iframe>"):format(stage.server.origin .. path)
        stage.me:go(host == "" and hostile("frame.html", frame) or host .. stage:put("frame.html", frame))
        stage.me.driver:call("POST", "/frame", { id = 0 })
        local inside = stage.me.driver:run("return location.href + document.body.innerText")
        stage.me.driver:call("POST", "/frame", '{"id":null}')
        assert.truthy(inside:find("chrome-error", 1, true), inside)
        assert.falsy(inside:find("Ring", 1, true), inside)
      end
    end
  end)

  it("links nothing by a form of another site, be its fields right", function()
    local installed = stage:install()
    stage:arrive(stage.me, installed.url)
    local here = stage.me:url()
    local csrf = stage.me.driver:run("return document.querySelector('[name=csrf]').value")
    stage.me:go(hostile("post.html", ([[<form method=post action="%s/ring/link"><input name=attempt value="%s">
      <input name=csrf value="%s"><button>Win</button></form>]]):format(stage.server.origin,
      here:match("attempt=(%x+)"), csrf)))
    stage.me:press("Win")
    stage.me:sees("This link belongs to another browser", 409)     -- its cookie did not come along
    assert.equal(0, stage.w:count("confirm"))
    stage.me:go(here)
    connect(installed.account)
  end)

  it("disconnects nothing by a form of another site", function()
    local installed = stage:install()
    stage:arrive(stage.me, installed.url)
    connect(installed.account)
    stage.me:go(stage.server.origin .. "/ring/home")
    local csrf = stage.me.driver:run("return document.querySelector('[name=csrf]').value")
    stage.me:go(hostile("post.html", ([[<form method=post action="%s/ring/home"><input name=do value=forget_now>
      <input name=csrf value="%s"><button>Win</button></form>]]):format(stage.server.origin, csrf)))
    stage.me:press("Win")
    stage.me:sees("Sign in", 200)
    assert.equal("completed", stage:state_of(installed.account))
  end)

  it("is not signed in as somebody else by another site", function()
    local other = stage.server:new_user()
    stage.me:go(hostile("sign_in.html", ([[<form method=post action="%s/sign-in"><input name=email value="%s">
      <input name=password value="%s"><input name=check value=x><button>Win</button></form>]]):format(
      stage.server.origin, other, resty_server.password)))
    stage.me:press("Win")
    stage.me:sees("Sign in", 200)
    for _, cookie in ipairs(stage.me:cookies()) do assert.falsy(cookie.name:find("session", 1, true)) end
  end)

  it("gives a page that opened ours no hold on it", function()
    local url = stage:install().url
    stage.me:go(hostile("open.html", ("<button onclick=\"window.open('%s')\">Open</button>"):format(url)))
    stage.me:tap("Open")
    stage.me:to_new_window()
    stage.me:sees("Sign in", 200)
    assert.is_true(stage.me.driver:run("return window.opener === null"))
  end)

  it("is not kept from linking by a picture, a frame or a script that fetched the address before", function()
    stage:expect(".")                                  -- whatever the browser thinks of such a page
    local installed = stage:install()
    local address = installed.url:gsub("&", "&amp;")
    stage.me:go(hostile("picture.html", ("<img src='%s'><iframe src='%s'></iframe><script src='%s'></script>"
      .. "<h1>seen</h1>"):format(address, address, address)))
    stage.me:sees("seen")
    assert.same({}, stage.me:cookies())
    stage:arrive(stage.me, installed.url)
    connect(installed.account)
  end)

  it("may fetch the address ahead, which neither links nor spoils it", function()
    local installed = stage:install()
    local address = installed.url:gsub("&", "&amp;")
    stage.me:go(stage.server.origin .. stage:put("ahead.html", ("<!doctype html><title>ahead</title>"
      .. "<link rel=prefetch href='%s'><h1>ahead</h1><a href='%s'>Go on</a>"):format(address, address)))
    child.wait_until("the prefetch", function()
      for _, request in ipairs(stage.me.traffic:read().requests) do
        if request.url:find("nonce", 1, true) then return request.headers["sec-purpose"] end
      end
    end)
    assert.same({}, stage.me:cookies())
    stage.me:press("Go on")
    stage:sign_in(stage.me)
    stage.me:sees(question(), 200)
    connect(installed.account)
  end)

  it("shows nothing of a user who has signed out, when somebody presses Back", function()
    local installed = stage:install()
    stage:arrive(stage.me, installed.url)
    connect(installed.account)
    stage.me:press("Continue")
    stage.me:sees("Ring and Demo Partner", 200)
    stage.me:go(stage.server.origin .. "/sign-out")
    stage.me:sees("Sign in", 200)
    for _ = 1, 2 do
      stage.me:back()
      stage.me:sees("Sign in")
      assert.falsy(stage.me:text():find("@partner", 1, true))
    end
  end)

  it("links once when Connect is pressed twice", function()
    local installed = stage:install()
    stage:arrive(stage.me, installed.url)
    stage.me.driver:run("const form = document.querySelector('form'); form.submit(); form.submit()")
    stage.me:sees("Ring is connected", 200)
    assert.equal("completed", stage:state_of(installed.account))
    assert.equal(1, stage.w:count("confirm"))
  end)

  it("can have the sign-in open in two tabs", function()
    stage.me:go(stage:install().url)
    stage.me:sees("Sign in", 200)
    stage.me:new_tab()
    stage.me:go(stage.server.origin .. "/sign-in")
    stage.me:sees("Sign in", 200)
    stage.me:other_tab()
    stage:sign_in(stage.me)
    stage.me:sees(question(), 200)
  end)

  -- What has the focus: its name, and whether that can be seen.
  local function focused()
    local driver = stage.me.driver
    local element = driver:active()
    assert.is_true(driver:run("const s = getComputedStyle(document.activeElement);"
      .. "return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2"), "the focus cannot be seen")
    return driver:call("GET", element .. "/computedlabel")
  end

  it("needs nothing but keys", function()
    local me, installed = stage.me, stage:install()
    local function tab_to(...)
      for _, name in ipairs { ... } do
        me:keys(TAB)
        assert.equal(name, focused())
      end
    end
    me:go(installed.url)
    me:sees("Sign in", 200)
    tab_to("E-mail")
    me:keys(stage.user)
    tab_to("Password")
    me:keys(resty_server.password .. ENTER)
    me:sees(question(), 200)
    tab_to("Use another account", "Connect")
    me:keys(SPACE)
    me:sees("Ring is connected", 200)
    tab_to("Continue")
    me:keys(ENTER)
    me:sees("Ring and Demo Partner", 200)
    tab_to("Pause", "Disconnect")
    me:keys(ENTER)
    me:sees("Disconnect Ring?", 200)
    tab_to("Yes, disconnect", "Keep it")
    me:keys(ENTER)
    me:sees("Ring and Demo Partner", 200)
    assert.equal("completed", stage:state_of(installed.account))
  end)
end
