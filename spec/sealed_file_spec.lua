-- Clients of one SQLite file, one after the other and side by side: what one links the next can use,
-- with its key; the file itself shows no secret.

local deliveries = require "support.deliveries"
local disks = require "support.disk"
local offline = require "support.offline"
local shell = require "support.shell"
local world = require "support.world"

local K1, K2 = disks.key(1), disks.key(2)

--- Asserts that no file of a folder (database, log, journal) holds one of these texts.
local function assert_absent(folder, texts)
  local pipe = assert(io.popen(("ls '%s'"):format(folder)))
  local count = 0
  for name in pipe:lines() do
    count = count + 1
    local content = shell.read(folder .. "/" .. name)
    for what, text in pairs(texts) do
      assert.is_nil(content:find(text, 1, true), ("%s is in %s"):format(what, name))
    end
  end
  pipe:close()
  assert.truthy(count > 0)
end

describe("a file of sealed rows", function()
  local folder, client, clock

  local function open(keys, more)
    local options = { store = ("sqlite:%s/ringlink.db"):format(folder), store_key = keys or K1, clock = clock }
    for name, value in pairs(more or {}) do options[name] = value end
    return (offline.client(options))
  end

  before_each(function()
    folder, clock = shell.make_directory(), offline.clock()
    client = open()
  end)

  after_each(function()
    client:close()
    shell.remove_directory(folder)
  end)

  local function reopen(keys, more)
    client:close()
    client = open(keys, more)
  end

  it("is not made before it is needed", function()
    assert.is_nil((io.open(folder .. "/ringlink.db")))
    assert.equal("not_found", select(2, client:account("ring-1"):state()).code)
    assert.truthy(io.open(folder .. "/ringlink.db")):close()
  end)

  it("gives the next process tokens, users and tags", function()
    offline.grant(client, { state = "completed", user = "user-7" })
    local token = client:account("ring-1"):access_token():reveal()
    reopen()
    assert.equal(token, client:account("ring-1"):access_token():reveal())
    assert.equal("user-7", client:account("ring-1"):info().user)
    assert.equal("ring-1", client:accounts({ user = "user-7" })().id)
  end)

  it("opens for nobody with another key", function()
    offline.grant(client, { state = "completed" })
    reopen(K2)
    local _, err = client:account("ring-1"):access_token()
    assert.equal("store_key", err.code)
    assert.equal("store_key", select(2, client:work()).code)
    reopen(K1)
    assert.truthy(client:account("ring-1"):access_token())
  end)

  it("opens for nobody of another environment", function()
    offline.grant(client, { state = "completed" })
    reopen(K1, { environment = "staging" })
    local _, err = client:account("ring-1"):access_token()
    assert.equal("store_belongs_elsewhere", err.code)
    assert.truthy(tostring(err):find("staging", 1, true))
  end)

  it("comes under a newer key, with its tags as they were", function()
    for i = 1, 3 do offline.grant(client, { account = "ring-" .. i, user = "user-" .. i, state = "completed" }) end
    reopen({ K2, K1 })
    assert.equal(3, client:reseal())
    reopen(K2)
    for i = 1, 3 do
      assert.equal("ring-" .. i, client:accounts({ user = "user-" .. i })().id)
      assert.truthy(client:account("ring-" .. i):access_token())
    end
  end)

  it("is shared by processes of which one has the newer key only in part", function()
    offline.grant(client, { account = "ring-1", state = "completed" })
    local young = open({ K2, K1 })
    offline.grant(young, { account = "ring-2", state = "completed" })
    assert.truthy(young:account("ring-1"):access_token())
    assert.truthy(client:account("ring-1"):access_token())
    assert.equal("store_key", select(2, client:account("ring-2"):access_token()).code)
    assert.truthy(young:account("ring-2"):access_token())
    young:close()
  end)

  it("shows no text that was put in", function()
    for i, state in ipairs({ "exchanging", "matched", "confirming", "completed" }) do
      offline.grant(client, { account = "ring-" .. i, state = state, user = "user-planted-name" })
    end
    client:on("webhook", function() error("not yet") end)
    deliveries.send(client, deliveries.event(client, "motion_detected"))
    assert_absent(folder, { token = "planted-", user = "user-planted-name", body = "source_type",
      identifier = "u***r@partner", key = disks.key_bytes(1), store_key = K1 })
  end)
end)

describe("a file of sealed rows #network #ownstore", function()
  local w, folder

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    folder = shell.make_directory()
  end)
  after_each(function()
    w:reset()
    shell.remove_directory(folder)
  end)

  local function open(keys)
    return (w:quick_client({ store = ("sqlite:%s/ringlink.db"):format(folder), store_key = keys }))
  end

  it("carries a link from one process to the next, and shows nothing of it", function()
    local first = open(K1)
    local install = w:install()
    local account = assert(first:exchange(install.code))
    local pair = account:access_token():reveal()
    first:close()

    local second = open({ K2, K1 })
    local q = w.redirect_of(install, "user-planted-name", { account_identifier = "plain@partner.example.com",
      unmasked = true, from = "203.0.113.7" })
    local audits = {}
    second:on("audit", function(event) audits[#audits + 1] = event end)
    local link = assert(second:link(q))
    assert.same({ "completed", "plain@partner.example.com" }, { link.status, link.account_identifier })
    assert.same({ "user-planted-name", "203.0.113.7" }, { audits[1].user, audits[1].from })
    assert(link.account:refresh({ force = true }))
    local newer = link.account:access_token():reveal()
    assert(second:reseal())
    assert_absent(folder, { code = install.code, nonce = install.nonce, access = pair, newer = newer,
      user = "user-planted-name", identifier = "plain@partner", from = "203.0.113.7",
      client_secret = world.client_secret, hmac_key = world.hmac_key, key = K1 })
    second:close()

    local third = open(K2)
    assert.equal(newer, third:account(account.id):access_token():reveal())
    assert.truthy(third:account(account.id):get("/v1/devices"))
    assert.equal("plain@partner.example.com", third:account(account.id):info().account_identifier)
  end)
end)
