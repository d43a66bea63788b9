-- No token, code, nonce, secret or key in anything a partner could write down, however much fails.

local core = require "ringlink.core"
local json = require "ringlink.json"
local ringlink = require "ringlink"
local search = require "support.search"
local shell = require "support.shell"
local world = require "support.world"

local HOOKS = { "exchanged", "matched", "before_confirm", "awaiting", "configure", "before_complete", "completed",
  "failed", "transition", "token_rotated", "refresh_failed", "relink_required", "unlinked", "webhook",
  "request", "response", "audit" }
local SEALED = { "access", "refresh", "code", "nonce" }

describe("secrets #network", function()
  local w, client, secrets, said, errors

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)

  local function plant(text)
    secrets[text] = true
    return text
  end

  -- Notes every secret that comes into the store.
  local function watch_store()
    local put_if = client.store.put_if
    client.store.put_if = function(self, key, row, version)
      for _, name in ipairs(SEALED) do
        if row[name] then plant(client.vault:open(key, name, row[name])) end
      end
      return put_if(self, key, row, version)
    end
  end

  local function listen()
    for _, name in ipairs(HOOKS) do
      client:on(name, function(...)
        for i = 1, select("#", ...) do
          local value = select(i, ...)
          said[#said + 1] = { hook = name, text = tostring(value) }
          local flat = type(value) == "table" and getmetatable(value) == nil
          if flat or (getmetatable(value) or {}).__name == "ringlink.error" then
            said[#said + 1] = { hook = name, fields = value }
          end
        end
        if name == "transition" then error("a hook that fails, too") end
      end)
    end
  end

  before_each(function()
    w:reset()
    secrets, said, errors = {}, {}, {}
    client = w:quick_client()
    plant(world.client_secret)
    plant(world.hmac_key)
    watch_store()
    listen()
  end)

  local function fails(what, ...)
    local value, err = ...
    assert.is_nil(value, what)
    assert.is_table(err, what)
    errors[#errors + 1] = err
    return err
  end

  local function raises(what, fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok, what)
    errors[#errors + 1] = err
  end

  local function install(options)
    local one = w:install(options)
    plant(one.code)
    plant(one.nonce)
    return one
  end

  local function echo(call, status, text, count)
    w:fault { call = call, status = status, title = "invalid_grant", count = count,
      detail = "you sent " .. text .. " and code=" .. text .. "&x" }
  end

  local function linked(user)
    local one = install()
    assert(client:exchange(one.code))
    return assert(client:link(w.redirect_of(one, user))).account, one
  end

  local function assert_silent()
    local count = 0
    local places = { log = w.log, hooks = said, errors = errors, metrics = client:metrics(), client = client,
      journal = w:journal(), state = w:state(), nginx = shell.read(w.ring.prefix .. "/error.log") }
    for secret in pairs(secrets) do
      count = count + 1
      for name, place in pairs(places) do
        local found = search.find(place, secret)
        assert.is_nil(found, ("a secret shows in %s: %s"):format(name, tostring(found)))
      end
    end
    for _, err in ipairs(errors) do
      if type(err) == "table" then assert.is_string(err .. "") end
    end
    return count
  end

  it("stay out of sight on the good way", function()
    local account = linked("user-1")
    assert.is_true(account:refresh { force = true })
    assert(account:get("/v1/devices"))
    assert.is_true(#w.log > 0 and #said > 0)
    assert.is_true(assert_silent() >= 7)
  end)

  it("stay out of sight when codes and exchanges fail", function()
    local one = install()
    fails("malformed", client:exchange(plant("a code with spaces 0123456789")))
    fails("unknown", client:exchange(plant("no-such-code-0123456789abcdef")))
    echo("token", 400, one.code)
    fails("echoed", client:exchange(one.code))
    local two = install()
    echo("token", 500, world.client_secret, 5)
    fails("trouble", client:exchange(two.code))
    local three = install()
    w:fault { call = "token", status = 400, body = "raw", raw = "<html>" .. three.code .. "</html>" }
    fails("html", client:exchange(three.code))
    local four = install()
    w:fault { call = "token", drop = "after" }
    fails("lost", client:exchange(four.code))
    w:fault { call = "me", status = 200, body = "raw", raw = '{"data":{"id":7}}' }
    fails("identify", client:exchange(install().code))
    assert_silent()
  end)

  it("stay out of sight when links fail", function()
    local one = install()
    assert(client:exchange(one.code))
    fails("malformed nonce", client:link(w.redirect_of({ nonce = one.nonce .. "=", time = one.time })))
    fails("wrong nonce", client:link(w.redirect_of({ nonce = plant(("n"):rep(20) .. ("0"):rep(23)), time = one.time })))
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce", detail = "the nonce " .. one.nonce }
    fails("refused", client:link(w.redirect_of(one)))
    fails("used", client:link(w.redirect_of(one)))
    local two = w:sign_in_again(one.account)
    plant(two.nonce)
    w:fault { call = "confirm", drop = "after" }
    w:fault { call = "devices", status = 500, count = 5 }
    fails("unsettled", client:link(w.redirect_of(two)))
    local three = install()
    assert(client:exchange(three.code))
    local off = client:on("configure", function() return false, "not today" end)
    fails("configure", client:link(w.redirect_of(three)))
    off()
    w:fault { call = "complete", status = 500, detail = three.code, count = 5 }
    fails("complete", client:complete(client:account(three.account)))
    assert_silent()
  end)

  it("stay out of sight when tokens fail", function()
    local account = linked("user-1")
    local access = plant(assert(account:access_token()):reveal())
    local refresh = client.vault:open(account.key, "refresh", client.store:get(account.key).refresh)
    echo("refresh", 401, refresh)
    fails("echoed", account:refresh { force = true })
    w:fault { call = "refresh", status = 403, body = "html" }
    fails("html", account:refresh { force = true })
    w:fault { call = "refresh", status = 200, body = "raw", count = 2,
      raw = json.encode { access_token = "", refresh_token = refresh, error_description = access } }
    fails("unusable", account:refresh { force = true })
    w:fault { call = "devices", status = 401, title = "Invalid Client", detail = "Bearer " .. access, count = 2 }
    fails("unauthorized", account:get("/v1/devices"))
    w:fault { call = "devices", status = 500, detail = access, title = access, count = 5 }
    fails("trouble", account:get("/v1/devices"))
    assert(w.ring:control("unlink", { account = account.id, webhook = false }))
    fails("relink", account:get("/v1/devices"))
    assert_silent()
  end)

  it("stay out of sight when requests go wrong", function()
    local account = linked("user-1")
    local access = plant(assert(account:access_token()):reveal())
    fails("header", account:request { path = "/v1", headers = { Authorization = "Bearer " .. access } })
    fails("path", account:request { path = "/v1/devices\n" .. access })
    fails("query", account:request { path = "/v1/nowhere", query = { token = access } })
    w:fault { call = "devices", body = "raw", raw = "not JSON " .. access }
    fails("body", account:get("/v1/devices"))
    raises("pages", function() account:pages("/v1/nowhere?x=" .. access)() end)
    assert_silent()
  end)

  it("in a pre-signed address stay out of sight", function()
    local account = linked("user-1")
    local device = assert(account:get("/v1/devices")).data[1]
    local path = "/v1/devices/" .. ringlink.encode(device.id) .. "/media/image/download"
    local answer = assert(account:request { method = "POST", path = path })
    plant(answer.headers.location:match("/media/(.+)$"))
    w:fault { call = "image", status = 303, headers = { Location = answer.headers.location } }
    assert.equal(200, assert(account:request { method = "POST", path = path, follow = true }).status)
    w:fault { call = "image", status = 303, headers = { Location = answer.headers.location .. "x" } }
    fails("presigned", account:request { method = "POST", path = path, follow = true })
    assert_silent()
  end)

  it("stay out of sight when webhooks fail", function()
    local account = linked("user-1")
    local body = json.encode { meta = { request_id = "r", account_id = account.id },
      data = { type = "motion_detected" } }
    local signature = core.hmac_key({ world.hmac_key }):sign(body)
    plant(signature:match("=(.+)$"))
    fails("altered", client:webhook(body .. " ", signature))
    fails("no signature", client:webhook(body, nil))
    fails("half", client:webhook(body, signature:sub(1, 40)))
    client:on("webhook", function() error("failing") end)
    fails("hook", client:webhook(body, signature))
    assert_silent()
  end)

  it("stay out of sight when options are wrong", function()
    raises("line break", w.client, w, { client_secret = "wrong\nsecret-0123456789" })
    plant("secret-0123456789")
    raises("as a number", w.client, w, { hmac_key = 12345678901234 })
    plant("12345678901234")
    raises("unknown", w.client, w, { client_secrets = plant("misplaced-secret-0123456789") })
    raises("in a URL", w.client, w, { api_url = "https://me:" .. plant("url-secret-0123456789") .. "@127.0.0.1" })
    assert_silent()
  end)

  it("show nothing when they are printed", function()
    local account, one = linked("user-1")
    local second = install()
    assert(client:exchange(second.code))
    local claim = assert(client:match { nonce = second.nonce, time = second.time })
    local link = assert(client:link(w.redirect_of(one, "user-1")))
    for _, value in ipairs { client, account, claim, link, client.options.hmac_key, client.options.client_secret[1],
      assert(account:access_token()), client.store:get(account.key).refresh } do
      said[#said + 1] = tostring(value)
    end
    assert_silent()
  end)
end)
