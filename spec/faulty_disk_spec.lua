-- A disk that is full, or does not take a write, at each statement of exchange, link and refresh: the error
-- names the file and says what to do; the pair that Ring handed out is kept; and once the disk is well again
-- the same calls go through, with nothing used up and nothing sent that need not be.

local errors = require "ringlink.errors"
local faulty_disk = require "support.faulty_disk"
local planted = require "support.planted"
local stores = require "support.stores"
local world = require "support.world"

local WRITES = { "put_if", "delete", "lease", "release", "remember" }

local SAYS = {
  full = "the disk is full; nothing of this was stored, free some space",
  io = "the disk could not be read or written; nothing of this was stored, check the disk and try again",
}

describe("a failing disk #network #ownstore", function()
  local w, disk, client, path, install

  setup(function()
    w = world.start { limits = { per_s = false } }
    disk = faulty_disk.load()
    disk.use(true)
  end)
  teardown(function()
    disk.use(false)
    w:stop()
  end)
  after_each(function()
    disk.heal()
    w:reset()
    stores.remove_all()
  end)

  --- Calls `before(name)` ahead of everything that writes to the store.
  local function watch(before)
    for _, name in ipairs(WRITES) do
      local method = client.store[name]
      client.store[name] = function(...)
        before(name)
        return method(...)
      end
    end
  end

  local function begin()
    w:reset()
    path = stores.new_path()
    client = w:quick_client { store = "sqlite:" .. path, store_key = planted.store_key(1) }
    install = w:install()
    assert.equal("not_found", select(2, client:account("nobody"):state()).code)      -- it is open now
  end

  --- The steps of a journey; each is repeated until it has worked.
  local function steps()
    local account
    return {
      function()
        local exchanged, err = client:exchange(install.code)
        account = exchanged or account
        return exchanged, err
      end,
      function() return client:link(w.redirect_of(install)) end,
      function() return account:refresh { force = true } end,
    }, function() return account end
  end

  --- How many writes a journey makes on a disk that is well.
  local function count_writes()
    local count = 0
    begin()
    watch(function() count = count + 1 end)
    for _, step in ipairs((steps())) do assert(step()) end
    return count
  end

  local function assert_told(err, how)
    assert.is_true(errors.is(err), tostring(err))
    assert.equal("store_error", err.code)
    assert.is_true(err.retryable)
    assert.truthy(err.message:find(path, 1, true), err.message)
    assert.truthy(err.message:find(SAYS[how], 1, true), err.message)
  end

  --- Goes through a journey on a disk that fails from write n on, until a call has failed by it. Returns
  --- how many calls failed.
  local function journey(n, how, for_ever)
    local count, failures = 0, 0
    watch(function()
      count = count + 1
      if count == n then disk.fail(how, for_ever) end
    end)
    local list, account = steps()
    for _, step in ipairs(list) do
      local done, err = step()
      if not done then
        failures = failures + 1
        assert_told(err, how)
        disk.heal()
        assert(step())
      end
    end
    disk.heal()                                   -- a lease that was not given back was no call's failure
    return failures, account()
  end

  local function assert_all_is_well(account)
    assert.equal("completed", account:state())
    assert.equal("completed", w:status(account.id))
    assert.equal(2, #assert(account:get("/v1/devices")).data)
    assert.equal("user-1", assert(account:info()).user)
    assert.is_nil(next(client.unsaved))
  end

  --- Each code and each refresh token reached Ring once, and none was refused.
  local function assert_used_once()
    local seen = {}
    for _, row in ipairs(w:journal()) do
      local used = (row.call == "token" or row.call == "refresh") and (row.code or row.refresh_token)
      if used then
        assert.is_nil(seen[used])
        assert.equal(200, row.status)
        seen[used] = true
      end
    end
  end

  --- What the store holds is what Ring gave last, for whoever opens it next.
  local function assert_stored(account)
    local token = account:access_token():reveal()
    client:close()
    client = w:quick_client { store = "sqlite:" .. path, store_key = planted.store_key(1), clock = client.clock }
    assert.equal(token, assert(client:account(account.id):access_token()):reveal())
    assert.is_true(client:account(account.id):refresh { force = true })
  end

  for _, case in ipairs {
    { "full", true, "that is full until it is tidied" },
    { "io", true, "that takes no write until it is mended" },
    { "io", false, "that loses one write" },
  } do
    local how, for_ever, name = case[1], case[2], case[3]
    it(name .. ", at any statement of a journey, costs no token and no link", function()
      local writes, failed = count_writes(), 0
      assert.is_true(writes > 20)
      for n = 1, writes do
        begin()
        local failures, account = journey(n, how, for_ever)
        failed = failed + failures
        assert.is_true(failures <= 1)
        assert_all_is_well(account)
        assert_used_once()
        assert_stored(account)
      end
      assert.is_true(failed > writes / 2, failed .. " of " .. writes)
    end)
  end
end)
