-- Two processes with different store keys on one SQLite file: the one that lacks a key says so, sends
-- nothing and leaves every row as it is to the byte; the one that has it goes on. And a newer key that has
-- reached only some of them.

local disks = require "support.disk"
local shell = require "support.shell"
local stores = require "support.stores"
local world = require "support.world"

local DAY_MS = 24 * 3600 * 1000
local K1, K2 = disks.key(1), disks.key(2)

describe("two processes on one file #network #ownstore", function()
  local w, directory, path, clock

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    directory = shell.make_directory()
    path, clock = directory .. "/ringlink.db", nil
  end)
  after_each(function()
    w:reset()
    shell.remove_directory(directory)
  end)

  --- A process with these keys; all have one clock.
  local function process(keys)
    local client, first = w:quick_client { store = "sqlite:" .. path, store_key = keys, clock = clock }
    clock = clock or first
    return client
  end

  local function rows() return stores.raw_rows(path, world.client_id) end

  --- All that a process may be asked for about an account, and for new ones.
  local function calls(client, id, install)
    local account = client:account(id)
    local q = w.redirect_of(install)
    return {
      access_token = function() return account:access_token() end,
      refresh = function() return account:refresh { force = true } end,
      request = function() return account:get("/v1/devices") end,
      me = function() return account:me() end,
      info = function() return account:info() end,
      export = function() return account:export() end,
      update = function() return client:update(account, { account_identifier = "x@partner.example.com" }) end,
      exchange = function() return client:exchange(install.code) end,
      match = function() return client:match { nonce = q.nonce, time = q.time } end,
      link = function() return client:link(q) end,
    }
  end

  local function assert_refused(name, call)
    local before, sent = rows(), #w:journal()
    local value, err = call()
    assert.is_nil(value, name)
    assert.equal("store_key", err.code, name)
    assert.is_false(err.retryable, name)
    assert.same(before, rows(), name)
    assert.equal(sent, #w:journal(), name)
    return err
  end

  local function assert_works(client, id)
    local account = client:account(id)
    assert.equal(2, #assert(account:get("/v1/devices")).data)
    assert.is_true(account:refresh { force = true })
    assert.equal("user-1", assert(account:info()).user)
  end

  it("of which one has another key: store_key to every call, nothing sent or written", function()
    local right, wrong = process(K1), process(K2)
    local account = w:linked(right).account
    local install = select(2, w:unclaimed(right))
    for name, call in pairs(calls(wrong, account.id, install)) do assert_refused(name, call) end
    for _, name in ipairs { "work", "reseal" } do
      assert_refused(name, function() return wrong[name](wrong) end)
    end
    assert.equal("completed", assert(right:link(w.redirect_of(install, "user-2"))).status)
    assert_works(right, account.id)
    assert.equal(0, assert(right:work()).refreshed)
  end)

  it("of which one is without a key it needs: its message names both keys and no bytes of them", function()
    local right = process(K1)
    local account = w:linked(right).account
    local err = assert_refused("access_token", function() return process(K2):account(account.id):access_token() end)
    local id1, id2 = right.vault.keys:ids()[1], process(K2).vault.keys:ids()[1]
    assert.truthy(err.message:find(("was sealed by key %s; store_key holds %s"):format(id1, id2), 1, true),
      err.message)
  end)

  describe("with a newer key only one of them has yet", function()
    local old, young, older_account, newer_account

    before_each(function()
      old = process(K1)
      older_account = w:linked(old).account
      young = process { K2, K1 }
      newer_account = w:linked(young).account
    end)

    it("serve all of what both can open, each", function()
      assert_works(young, older_account.id)
      assert_works(young, newer_account.id)
    end)

    it("leave as they are what one of them cannot open, which goes on with the rest", function()
      for _, name in ipairs { "access_token", "refresh", "request", "me", "info", "export", "update" } do
        assert_refused(name, calls(old, newer_account.id, w:install())[name])
      end
      assert_works(old, older_account.id)
      assert_works(young, newer_account.id)
    end)

    it("find what they seal anew taken from the older one, and given back by nobody", function()
      assert_works(young, older_account.id)                -- its row is the newer key's now
      assert_refused("access_token", function() return old:account(older_account.id):access_token() end)
      assert.equal("completed", old:account(older_account.id):state())
    end)

    it("have the daily work done by the one that can", function()
      w:pass_time(clock, DAY_MS)
      local before = rows()[newer_account.key]
      assert.equal(1, assert(old:work()).refreshed)        -- the older account
      assert.same(before, rows()[newer_account.key])
      assert.is_true(assert(old:work()).next_due_s > 0)
      assert.equal(1, assert(young:work()).refreshed)
      assert.equal(2, w:count("refresh"))
    end)

    it("let the older one in again once it has both, in any order", function()
      old:close()
      assert_refused("a restart without the newer key",
        function() return process(K1):account(older_account.id):state() end)
      for _, keys in ipairs { { K1, K2 }, { K2, K1 } } do
        local again = process(keys)
        assert_works(again, older_account.id)
        assert_works(again, newer_account.id)
      end
    end)
  end)

  it("lose nobody when the newer key is known to all before it seals", function()
    local old = process(K1)
    local account = w:linked(old).account
    local second = process { K1, K2 }                       -- both know it, the older one seals
    assert_works(second, account.id)
    assert_works(old, account.id)
    assert_works(process(K1), account.id)                   -- a restart with the older one only, too
    old:close()
    local third = process { K2, K1 }                        -- now it seals
    assert_works(third, account.id)
    assert_works(second, account.id)
    assert_works(process { K1, K2 }, account.id)
    assert(third:reseal())
    second:close()
    assert_works(process(K2), account.id)
  end)
end)
