-- Group commit: what the tasks of a process want from an SQLite file at the same time is one
-- transaction. The files are real; how many transactions there were stands in the write-ahead log.

local codec = require "ringlink.store.codec"
local core = require "ringlink.core"
local direct = require "ringlink.store.direct"
local loop = require "ringlink.runtime.loop"
local offline = require "support.offline"
local planted = require "support.planted"
local ringlink = require "ringlink"
local runtime = require "ringlink.runtime"
local stores = require "support.stores"
local wal = require "support.wal"
local world = require "support.world"

local MANY = 50
local BATCH_COUNT_MAX = 256
local TURNS_MAX = 100
local LONG_S = 60

--- The results of a function in each of so many tasks that begin at once; a failure is its result.
local function in_tasks(count, fn)
  local results = {}
  ringlink.run(function()
    for i = 1, count do
      ringlink.spawn(function() results[i] = { pcall(fn, i) } end)
    end
  end)
  return results
end

local function put(key, version)
  return { op = "put_if", key = key, version = version or 0, data = codec.encode({}) }
end

local function get(key) return { op = "get", key = key } end

describe("group commit", function()
  local path, db, carrier

  before_each(function()
    carrier, path = runtime.new("loop").store, stores.new_path()
    db = assert(carrier.open({ path = path, client_id = "app" }))
  end)

  after_each(function()
    carrier.close(db)
    stores.remove_all()
  end)

  --- How many transactions a function makes.
  local function commits_of(fn)
    local before = wal.commits(path)
    fn()
    return wal.commits(path) - before
  end

  local function is_stored(key) return #direct.run(db, get(key)).entries == 1 end

  local function assert_stored(count, prefix)
    for i = 1, count do assert.is_true(is_stored((prefix or "k") .. i), i) end
  end

  describe("of tasks", function()
    it("is one transaction for what they write at the same time", function()
      local results
      assert.equal(1, commits_of(function()
        results = in_tasks(MANY, function(i) return carrier.run(db, put("k" .. i)) end)
      end))
      for i = 1, MANY do assert.is_true(results[i][2].yes) end
      assert_stored(MANY)
    end)

    it("is one for each step of theirs, however many they are", function()
      assert.equal(3, commits_of(function()
        in_tasks(MANY, function(i)
          for step = 1, 3 do assert(carrier.run(db, put(("k%d/%d"):format(i, step))).yes) end
        end)
      end))
    end)

    it("is of 256 jobs at most", function()
      assert.equal(2, commits_of(function()
        in_tasks(BATCH_COUNT_MAX + 1, function(i) assert(carrier.run(db, put("k" .. i)).yes) end)
      end))
      assert_stored(BATCH_COUNT_MAX + 1)
    end)

    it("is each file's own", function()
      local other_path = stores.new_path()
      local other = assert(carrier.open({ path = other_path, client_id = "app" }))
      local before = wal.commits(other_path)
      assert.equal(1, commits_of(function()
        in_tasks(MANY, function(i) assert(carrier.run(i % 2 == 0 and db or other, put("k" .. i)).yes) end)
      end))
      assert.equal(1, wal.commits(other_path) - before)
      carrier.close(other)
    end)

    it("lets each see what the ones before it did", function()
      local results = in_tasks(3, function(i) return carrier.run(db, i == 2 and put("k") or get("k")) end)
      assert.same({ 0, 1 }, { #results[1][2].entries, #results[3][2].entries })
    end)

    it("is done before anybody waits for anything else", function()
      local order = {}
      pcall(ringlink.run, { on_error = "cancel" }, function()
        ringlink.spawn(function()
          ringlink.sleep(LONG_S)
          order[#order + 1] = "slept"
        end)
        carrier.run(db, put("k"))
        order[#order + 1] = "stored"
        error("the other one need not wait any more")
      end)
      assert.same({ "stored" }, order)
    end)

    it("waits for tasks that can go on, but not for ever", function()
      local stored, turns = false, 0
      local function go_on()
        turns = turns + 1
        if not stored and turns < TURNS_MAX then ringlink.spawn(go_on) end
      end
      assert.equal(1, commits_of(function()
        ringlink.run(function()
          ringlink.spawn(go_on)
          ringlink.spawn(function() carrier.run(db, put("later")) end)
          carrier.run(db, put("k"))
          stored = true
        end)
      end))
      assert.is_true(turns > 2 and turns < TURNS_MAX, turns)
    end)
  end)

  describe("with a job that", function()
    it("conflicts tells only whose it is", function()
      local results
      assert.equal(1, commits_of(function()
        results = in_tasks(MANY, function(i) return carrier.run(db, put(i <= 2 and "same" or "k" .. i)) end)
      end))
      local conflicts = 0
      for _, result in ipairs(results) do conflicts = conflicts + (result[2].yes and 0 or 1) end
      assert.equal(1, conflicts)
      for i = 3, MANY do assert.is_true(is_stored("k" .. i)) end
    end)

    it("fails takes nothing else with it", function()
      local results = in_tasks(5, function(i)
        return carrier.run(db, i == 3 and { op = "put_if", key = "k3", version = 0 } or put("k" .. i))
      end)
      assert.equal("invalid_request", results[3][2].error)
      for _, i in ipairs({ 1, 2, 4, 5 }) do assert.is_true(results[i][2].yes) end
    end)

    it("is none is raised where it was asked for", function()
      local results = in_tasks(5, function(i) return carrier.run(db, i == 3 and { op = "drop" } or put("k" .. i)) end)
      assert.is_false(results[3][1])
      assert.truthy(results[3][2]:find("op: unknown", 1, true), results[3][2])
      for _, i in ipairs({ 1, 2, 4, 5 }) do assert.is_true(results[i][2].yes) end
    end)
  end)

  describe("that cannot be done", function()
    it("is told to each, when the file was closed", function()
      local results = in_tasks(MANY, function(i)
        if i == MANY then return db:close() end
        return carrier.run(db, put("k" .. i))
      end)
      for i = 1, MANY - 1 do assert.same({ "closed", 0 }, { results[i][2].error, results[i][2].sqlite_code }) end
    end)

    it("is told to each, whatever is raised", function()
      local broken = { check = function() end, run = function() error("a mistake") end }
      local results = in_tasks(3, function() return carrier.run(broken, put("k")) end)
      for _, result in ipairs(results) do
        assert.equal("store_error", result[2].error)
        assert.truthy(result[2].detail:find("a mistake", 1, true))
      end
    end)
  end)

  describe("and a task that is cancelled", function()
    --- Runs a function as a task beside one that keeps the loop from idling, and interrupts the loop.
    local function interrupted(fn)
      local transport = { poll = function() error("interrupted", 0) end, take = function() end }
      assert.has_error(function()
        ringlink.run(function()
          ringlink.spawn(loop.await, transport, 1)
          ringlink.spawn(ringlink.spawn, function() end)        -- something is ready still
          fn()
        end)
      end, "interrupted")
      loop.forget(transport)
    end

    it("leaves its job behind, which is done", function()
      local result
      interrupted(function() result = { pcall(carrier.run, db, put("k")) } end)
      assert.is_false(result[1])
      assert.equal("cancelled", result[2].code)
      assert.is_true(is_stored("k"))
    end)

    it("may tidy up at once", function()
      interrupted(function()
        pcall(carrier.run, db, put("k"))
        assert(carrier.run(db, put("tidy")).yes)
      end)
      assert.is_true(is_stored("tidy"))
    end)

    it("takes nobody else's with it", function()
      local section
      interrupted(function()
        section = loop.critical(function() return carrier.run(db, put("section")) end)
        ringlink.spawn(carrier.run, db, put("task"))
        carrier.run(db, put("k"))
      end)
      assert.is_true(loop.join(section).yes)
      assert.is_true(is_stored("section"))
    end)
  end)

  describe("outside of tasks", function()
    it("is none: each is done at once", function()
      assert.equal(3, commits_of(function()
        for i = 1, 3 do assert.is_true(carrier.run(db, put("k" .. i)).yes) end
      end))
    end)

    it("is none in somebody else's coroutine, within a task too", function()
      local function at_once(key)
        return coroutine.wrap(function() return carrier.run(db, put(key)).yes end)()
      end
      assert.is_true(at_once("k1"))
      assert.is_true(ringlink.run(at_once, "k2"))
    end)

    for _, name in ipairs({ "loop", "blocking" }) do
      it("serves a client that is " .. name, function()
        local client = offline.client({ runtime = name, store = "sqlite:" .. stores.new_path(),
          store_key = planted.store_key(1) })
        offline.grant(client, {})
        local account = client:account("ring-1")
        assert.equal("completed", account:state())
        assert.equal("completed", coroutine.wrap(function() return account:state() end)())
        assert.equal("completed", ringlink.run(account.state, account))
        client:close()
      end)
    end
  end)

  describe("holds signals", function()
    local hold, release = core.hold_signals, core.release_signals
    after_each(function() core.hold_signals, core.release_signals = hold, release end)

    it("from the commit until everybody was told", function()
      local held, seen = 0, {}
      core.hold_signals = function() held = held + 1 end
      core.release_signals = function() held = held - 1 end
      local watched = { check = function() end, run = function(_, jobs)
        seen[#seen + 1] = held
        return db:run(jobs)
      end }
      in_tasks(2, function(i)
        carrier.run(watched, put("k" .. i))
        seen[#seen + 1] = held
      end)
      assert.same({ 1, 0, 0 }, seen)
    end)
  end)

  describe("when the file is closed", function()
    it("is done before", function()
      local results = in_tasks(MANY, function(i)
        if i == MANY then return carrier.close(db) end
        return carrier.run(db, put("k" .. i))
      end)
      for i = 1, MANY - 1 do assert.is_true(results[i][2].yes) end
      db = assert(carrier.open({ path = path, client_id = "app" }))
      assert_stored(MANY - 1)
    end)
  end)
end)

describe("group commit of links #network", function()
  local LINKS = 40
  local w

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function()
    w:stop()
    stores.remove_all()
  end)

  --- Counts a client's jobs and the transactions they went in.
  local function count_commits(client)
    local count, carrier = { jobs = 0, batches = 0 }, client.runtime.store
    local open = carrier.open
    carrier.open = function(config)
      local db = assert(open(config))
      return {
        run = function(_, jobs)
          count.jobs, count.batches = count.jobs + #jobs, count.batches + 1
          return db:run(jobs)
        end,
        check = function(_, job) db:check(job) end,
        close = function() db:close() end,
      }
    end
    return count
  end

  it("ends each of many in `completed`", function()
    local client = w:client { store = "sqlite:" .. stores.new_path(), store_key = planted.store_key(1),
      rate_limit_per_s = 10000, runtime = "loop" }
    local count, installs, states = count_commits(client), {}, {}
    for i = 1, LINKS do installs[i] = w:install() end
    ringlink.run(function()
      for i, install in ipairs(installs) do
        ringlink.spawn(function()
          assert(client:exchange(install.code))
          local link = assert(client:link(w.redirect_of(install, "user-" .. i)))
          states[i] = link.account:state()
        end)
      end
    end)
    for i, install in ipairs(installs) do
      assert.equal("completed", states[i])
      assert.equal("completed", w:status(install.account))
    end
    assert.is_true(count.batches < count.jobs / 2, ("%d jobs in %d batches"):format(count.jobs, count.batches))
  end)
end)
