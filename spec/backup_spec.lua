-- A backup is put back after tokens were rotated: their old refresh tokens are dead at Ring. Each such
-- account is tried once and then waits to be linked again; all others go on. And a process that had seen
-- more than the store knows now still finds what is in it.

local disks = require "support.disk"
local offline = require "support.offline"
local planted = require "support.planted"
local shell = require "support.shell"
local stores = require "support.stores"
local world = require "support.world"

local LIFETIME_MS = 4 * 3600 * 1000
local DAY_MS = 24 * 3600 * 1000

describe("a backup that is put back #network #ownstore", function()
  local w, client, clock, path, rotated, untouched

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)

  local function open()
    local first
    client, first = w:quick_client { store = "sqlite:" .. path, store_key = planted.store_key(1), clock = clock }
    clock = clock or first
  end

  before_each(function()
    w:reset()
    path, clock = stores.new_path(), nil
    open()
    rotated, untouched = w:linked(client, "user-1").account.id, w:linked(client, "user-2").account.id
  end)
  after_each(function()
    w:reset()
    stores.remove_all()
  end)

  --- The store is copied while it is closed, something happens, and the copy is put back.
  local function put_back_after(change)
    client:close()
    local backup = shell.read(path)
    open()
    change()
    client:close()
    shell.write(path, backup)
    open()
  end

  local function rotate(id) assert.is_true(client:account(id):refresh { force = true }) end

  local function heard()
    local told = {}
    client:on("relink_required", function(account, err) told[#told + 1] = { id = account.id, err = err } end)
    return told
  end

  local function refusals()
    local count = 0
    for _, row in ipairs(w:journal("refresh")) do count = count + (row.status == 400 and 1 or 0) end
    return count
  end

  local function assert_works(id)
    assert.equal(2, #assert(client:account(id):get("/v1/devices")).data)
  end

  it("has the rotated account tried once, then it waits to be linked again; the hook says what to do", function()
    put_back_after(function() rotate(rotated) end)
    w:pass_time(clock, LIFETIME_MS)
    local told = heard()
    for _ = 1, 3 do
      local token, err = client:account(rotated):access_token()
      assert.is_nil(token)
      assert.equal("relink_required", err.code)
      assert.is_false(err.retryable)
    end
    assert.equal(1, refusals())
    assert.equal(1, #told)
    assert.equal(rotated, told[1].id)
    assert.truthy(told[1].err.message:find("ask the user to connect the app again", 1, true), told[1].err.message)
    assert.equal("relink", client:account(rotated):state())
    assert.equal("user-1", assert(client:account(rotated):info()).user)
  end)

  it("has work find out about it too, and tries it no more", function()
    put_back_after(function() rotate(rotated) end)
    local told = heard()
    for day = 1, 3 do
      w:pass_time(clock, DAY_MS)
      local report = assert(client:work())
      assert.same({ 1, day == 1 and 1 or 0 }, { report.refreshed, report.relink })
    end
    assert.equal(1, refusals())
    assert.equal(1, #told)
    assert_works(untouched)
  end)

  it("leaves all accounts that were not rotated as they were", function()
    put_back_after(function() rotate(rotated) end)
    assert_works(untouched)
    w:pass_time(clock, LIFETIME_MS)
    assert_works(untouched)
    assert.equal("completed", client:account(untouched):state())
  end)

  it("goes on with the pair it holds where Ring still takes it", function()
    assert(w.ring:control("variant", { old_refresh = "grace" }))
    put_back_after(function() rotate(rotated) end)
    rotate(rotated)
    assert_works(rotated)
    assert.equal(0, refusals())
  end)

  it("has the account linked again by a new install, and the old grant gives way", function()
    put_back_after(function() rotate(rotated) end)
    w:pass_time(clock, LIFETIME_MS)
    assert.is_nil((client:account(rotated):access_token()))
    local install = w:install { account = rotated }
    assert(client:exchange(install.code))
    assert.equal("completed", assert(client:link(w.redirect_of(install, "user-1"))).status)
    assert_works(rotated)
    assert.equal("completed", client:account(rotated):state())
  end)

  it("goes on with links that were half way, and finds accounts that came since by their code only", function()
    local waiting = select(2, w:unclaimed(client))
    local later
    put_back_after(function() later = select(2, w:unclaimed(client)) end)
    assert.equal("no_unclaimed_match", select(2, client:link(w.redirect_of(later, "user-3"))).code)
    assert.equal("completed", assert(client:link(w.redirect_of(waiting, "user-3"))).status)
    assert_works(waiting.account)
  end)

  it("does not reach a process that had the file open: it says so and sends nothing", function()
    local backup = shell.read(path)
    shell.run("mv " .. shell.quote(path) .. " " .. shell.quote(path .. ".old"))
    shell.write(path, backup)
    local sent = #w:journal()
    for _, call in ipairs {
      function() return client:account(rotated):refresh { force = true } end,
      function() return client:exchange(w:install().code) end,
      function() return client:work() end,
    } do
      local value, err = call()
      assert.is_nil(value)
      assert.equal("store_error", err.code)
      assert.truthy(err.message:find(path, 1, true), err.message)
      assert.truthy(err.message:find("moved, removed or replaced while it was open; restart", 1, true), err.message)
    end
    assert.equal(sent, #w:journal())
  end)
end)

-- A database server can be set back while its clients run.
describe("a store that is set back under a running process", function()
  local disk, client

  before_each(function()
    disk = disks.new()
    client = disk:client(disks.key(1))
  end)

  local function unclaimed(id)
    offline.grant(client, { account = id, state = "unclaimed" })
    disk.clock.advance(1000)
    return id
  end

  local function match(id)
    local found, err = client:match(offline.redirect(client, id))
    return found and found.account.id or err.code
  end

  --- Everything since `disk:keep()` is undone.
  local function set_back(change)
    local kept = disk:keep()
    change()
    disk:set_back(kept)
  end

  it("has it match what comes from then on, at change numbers it had seen before", function()
    unclaimed("ring-1")
    set_back(function()
      for i = 2, 9 do unclaimed("ring-" .. i) end
      assert.equal("ring-9", match("ring-9"))
    end)
    unclaimed("ring-10")
    assert.equal("ring-10", match("ring-10"))
    assert.equal("ring-1", match("ring-1"))
  end)

  it("has it forget what is not there any more", function()
    set_back(function()
      unclaimed("ring-1")
      assert.equal("ring-1", match("ring-1"))
    end)
    assert.equal("no_unclaimed_match", match("ring-1"))
    local key = unclaimed("ring-1") and client:accounts { state = "unclaimed" }().key
    assert.equal(key, assert(client:match(offline.redirect(client, "ring-1"))).account.key)
  end)

  it("has it link what was claimed since", function()
    unclaimed("ring-1")
    local q = offline.redirect(client, "ring-1")
    q.user = "user-1"
    set_back(function()
      assert(client:match(q and { nonce = q.nonce, time = q.time }))
      local claim = assert(client:match { nonce = q.nonce, time = q.time })
      assert.equal("connect", select(2, client:confirm(claim, { user = "user-1" })).code)
      assert.equal("confirming", client:account("ring-1"):state())
      assert.equal("no_unclaimed_match", match("ring-1"))
    end)
    assert.equal("ring-1", match("ring-1"))
  end)
end)
