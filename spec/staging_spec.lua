-- A copy of the production store that staging opens would rotate every token behind production's back. It
-- is refused before anything is sent, and not a byte of the copy changes; production goes on.

local planted = require "support.planted"
local shell = require "support.shell"
local stores = require "support.stores"
local world = require "support.world"

local ELSEWHERE = { environment = "staging", api_url = "https://api.staging.example",
  oauth_url = "https://oauth.staging.example" }

describe("a production store copied to staging #network #ownstore", function()
  local w, production, account, install, path, copy

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    path, copy = stores.new_path(), stores.new_path()
    production = w:quick_client { store = "sqlite:" .. path, store_key = planted.store_key(1) }
    account = w:linked(production).account
    install = select(2, w:unclaimed(production))
  end)
  after_each(function()
    w:reset()
    stores.remove_all()
  end)

  --- As it lies on the disk while production has it open, with its write-ahead log; or closed, alone.
  local function take_copy()
    for name in pairs(stores.written(path)) do
      shell.run(("cp %s %s"):format(shell.quote(path:match("^.*/") .. name), shell.quote(copy:match("^.*/"))))
    end
    return stores.written(copy)
  end

  local function staging(name)
    return w:quick_client { store = "sqlite:" .. copy, store_key = planted.store_key(1), [name] = ELSEWHERE[name] }
  end

  local function calls(client)
    local there, q = client:account(account.id), w.redirect_of(install)
    return {
      function() return there:state() end,
      function() return there:access_token() end,
      function() return there:refresh { force = true } end,
      function() return there:get("/v1/devices") end,
      function() return there:forget() end,
      function() return client:exchange(w:install().code) end,
      function() return client:link(q) end,
      function() return client:work() end,
      function() return client:reseal() end,
      function() return client:forget_user("user-1") end,
    }
  end

  local function assert_refused(name)
    local before, sent = take_copy(), #w:journal()
    local client = staging(name)
    for _, call in ipairs(calls(client)) do
      local value, err = call()
      assert.is_nil(value)
      assert.equal("store_belongs_elsewhere", err.code)
      assert.is_false(err.retryable)
      for _, part in ipairs { copy, name, ELSEWHERE[name], production.options[name] } do
        assert.truthy(err.message:find(part, 1, true), err.message)
      end
    end
    assert.same(before, stores.written(copy))
    client:close()
    assert.same(before, stores.written(copy))
    assert.equal(sent, #w:journal())
  end

  for name in pairs(ELSEWHERE) do
    it(("is refused for its %s, taken while production was closed"):format(name), function()
      production:close()
      assert_refused(name)
    end)

    it(("is refused for its %s, taken with its write-ahead log"):format(name), function()
      assert.is_truthy(stores.written(path)["ringlink.db-wal"])
      assert_refused(name)
      assert.equal(2, #assert(account:get("/v1/devices")).data)
      assert.is_true(account:refresh { force = true })
    end)
  end

  it("opens for whoever says that it is production", function()
    take_copy()
    local client = w:quick_client { store = "sqlite:" .. copy, store_key = planted.store_key(1) }
    assert.equal("completed", client:account(account.id):state())
  end)
end)
