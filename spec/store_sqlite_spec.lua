-- The SQLite store beyond the port's contract: what is on disk, whose it is, and what happens when the
-- file is not what it should be. store_spec.lua has the contract, store_processes_spec.lua several
-- processes at once; spec/core/test_store.c makes memory, disk and forks fail.

local child = require "support.child"
local codec = require "ringlink.store.codec"
local core = require "ringlink.core"
local direct = require "ringlink.store.direct"
local errors = require "ringlink.errors"
local offline = require "support.offline"
local shell = require "support.shell"
local stores = require "support.stores"

local HOUR_MS = 3600 * 1000
local SCRIPT = "spec/support/store_child.lua"

--- The error object that a call raises.
local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "nothing was raised")
  assert(errors.is(err), tostring(err))
  return err
end

local function mentions(text, part)
  assert.truthy(text:find(part, 1, true), ("%q does not mention %q"):format(text, part))
end

--- A file with some rows in it, closed.
local function filled(more)
  local path = stores.new_path()
  local store = stores.sqlite(path, more)
  for i = 1, 100 do
    store:put_if(("k%03d"):format(i), { state = "unclaimed", account = "ring-" .. i, text = ("x"):rep(200) }, 0)
  end
  store:close()
  return path
end

--- Changes bytes of a file; positions count from 0, as in SQLite's description of its format.
local function patch(path, at, bytes)
  local text = shell.read(path)
  shell.write(path, text:sub(1, at) .. bytes .. text:sub(at + #bytes + 1))
end

describe("an SQLite store", function()
  after_each(function()
    child.stop_all()
    stores.remove_all()
  end)

  describe("on disk", function()
    it("opens nothing before it is used", function()
      local path = stores.new_path()
      local store = stores.sqlite(path)
      assert.same({}, stores.files_beside(path))
      store:close()
      assert.same({}, stores.files_beside(path))
    end)

    it("is its owner's only, with all files beside it", function()
      local path = stores.new_path()
      local store = stores.sqlite(path)
      store:put_if("k", {}, 0)
      local count = 0
      for name in pairs(stores.files_beside(path)) do
        assert.equal("600\n", shell.run("stat -c %a " .. shell.quote(path:match("^.*/") .. name)))
        count = count + 1
      end
      assert.equal(3, count)
      store:close()
    end)

    it("leaves one file when it is closed", function()
      local path = filled()
      local count = 0
      for _ in pairs(stores.files_beside(path)) do count = count + 1 end
      assert.equal(1, count)
    end)

    it("keeps everything for whoever opens it next", function()
      local path, clock = stores.new_path(), offline.clock()
      local store = stores.sqlite(path, { clock = clock })
      local version = store:put_if("k", { state = "unclaimed", due_ms = 5, n = 1 }, 0)
      store:lease("l", "one", 1000)
      store:remember("nonce", "n", clock.wall + HOUR_MS)
      store:event_add({ id = "e", account = "ring-1", received_ms = clock.wall, body = "b\0" })
      local change = store:unclaimed(0).change
      store:close()
      store = stores.sqlite(path, { clock = clock })
      assert.same({ { state = "unclaimed", due_ms = 5, n = 1 }, version }, { store:get("k") })
      assert.same({ false, 1000 }, { store:lease("l", "two", 1000) })
      assert.is_false(store:remember("nonce", "n", clock.wall + HOUR_MS))
      assert.equal("b\0", store:event_take("one", 1)[1].body)
      assert.equal(change, store:unclaimed(0).change)
      store:close()
    end)

    it("takes any name for that of a file", function()
      local directory = stores.new_directory()
      for _, name in ipairs({ "file:x?mode=memory", "%41.db", "a b'c.db", "\195\169.db" }) do
        local store = stores.sqlite(directory .. "/" .. name)
        store:put_if("k", {}, 0)
        store:close()
        assert.truthy(shell.read(directory .. "/" .. name):find("^SQLite format 3"))
      end
    end)

    it("refuses a database that only lives in memory, and says what to use", function()
      local err = raised(function() stores.sqlite(":memory:"):get("k") end)
      assert.equal("invalid_option", err.code)
      mentions(err.message, 'the store "memory"')
    end)

    it("overwrites what is deleted", function()
      local path = stores.new_path()
      local store = stores.sqlite(path)
      store:put_if("k", { secret = "planted-row" }, 0)
      store:event_add({ id = "e", account = "ring-1", received_ms = 1, body = "planted-event" })
      store:delete("k")
      store:event_forget("ring-1")
      for name, bytes in pairs(stores.files_beside(path)) do
        assert.is_nil(bytes:find("planted-row", 1, true), name)
        assert.is_nil(bytes:find("planted-event", 1, true), name)
        assert.is_nil(bytes:find("ring-1", 1, true), name)
      end
      store:close()
    end)

    it("raises closed when it is used after it was closed", function()
      local store = stores.sqlite(stores.new_path())
      store:close()
      assert.equal("closed", raised(store.get, store, "k").code)
    end)
  end)

  describe("rows", function()
    local store

    before_each(function() store = stores.sqlite(stores.new_path()) end)
    after_each(function() store:close() end)

    it("never have a version twice, not even when they were deleted", function()
      local first = store:put_if("k", { n = 1 }, 0)
      store:delete("k")
      store:put_if("k", { n = 2 }, 0)
      assert.same({ nil, "conflict" }, { store:put_if("k", { n = 3 }, first) })
    end)

    it("may have bytes of any kind in their columns", function()
      local row = { kind = "a\0b", state = "\255", user = "", account = "\195" }
      store:put_if("k\0\255", row, 0)
      assert.same(row, (store:get("k\0\255")))
      assert.equal(1, #store:find({ account = "\195", user = "", state = "\255" }))
    end)

    it("are told as gone only when they were unclaimed", function()
      local seen = store:unclaimed(0).change
      store:put_if("never", { state = "exchanging" }, 0)
      local version = store:put_if("once", { state = "unclaimed" }, 0)
      store:put_if("once", { state = "matched" }, version)
      local delta = store:unclaimed(math.max(seen, 1))
      assert.same({ "once" }, delta.gone)
      assert.same({}, delta.rows)
    end)

    for what, row in pairs({ ["a table"] = { x = {} }, ["a secret"] = { x = core.secret("planted") },
      ["a number as state"] = { state = 1 }, ["text as a time"] = { due_ms = "1" } }) do
      it("refuses " .. what .. " as a mistake of the program", function()
        local ok, message = pcall(store.put_if, store, "k", row, 0)
        assert.is_false(ok)
        mentions(tostring(message), "ringlink: store: ")
        assert.is_nil((store:get("k")))
      end)
    end

    it("tell of data that is none of ours", function()
      store:put_if("k", {}, 0)
      store.db:run({ { op = "put_if", key = "k", version = select(2, store:get("k")), data = "junk" } })
      local err = raised(store.get, store, "k")
      assert.equal("store_corrupt", err.code)
      mentions(err.message, store.path)
    end)
  end)

  describe("a batch", function()
    local db

    before_each(function()
      db = assert(core.store_sqlite({ path = stores.new_path(), client_id = "app" }))
    end)
    after_each(function() db:close() end)

    local function put(key, version)
      return { op = "put_if", key = key, version = version or 0, data = codec.encode({}) }
    end

    it("answers each job in turn, and each sees what the former did", function()
      local results = db:run({ put("a"), put("a"), { op = "get", key = "a" }, { op = "get", key = "b" } })
      assert.same({ true, false, false, false },
        { results[1].yes, results[2].yes, results[3].yes, results[4].yes })
      assert.equal(results[1].value, results[3].entries[1].version)
      assert.same({}, results[4].entries)
    end)

    it("goes on after a job that failed", function()
      local results = db:run({ put("a"), { op = "put_if", key = "b", version = 0 }, put("c") })
      assert.equal("invalid_request", results[2].error)
      assert.equal("string", type(results[2].detail))
      assert.equal(2, #db:run({ { op = "find" } })[1].entries)
    end)

    it("may be empty", function() assert.same({}, db:run({})) end)

    it("raises for what is no job", function()
      for _, job in ipairs({ 1, {}, { op = "drop" }, { op = 1 }, { op = "get", key = 1 },
        { op = "due", now_ms = 0.5, limit = 1 }, { op = "due", now_ms = "1" } }) do
        assert.is_false((pcall(db.run, db, { job })))
        assert.is_false((pcall(db.check, db, job)))
      end
      assert.is_false((pcall(db.check, db)))
      local many = {}
      for i = 1, 257 do many[i] = put("k" .. i) end
      assert.is_false((pcall(db.run, db, many)))
      assert.is_false((pcall(db.run, db)))
    end)

    it("has jobs that can be checked without being done", function()
      assert.equal(0, select("#", db:check(put("a"))))
      assert.same({}, db:run({ { op = "get", key = "a" } })[1].entries)
    end)

    it("answers closed after close", function()
      db:close()
      db:close()
      local results, code = db:run({ put("a") })
      assert.same({ nil, "closed" }, { results, code })
      assert.is_false(db:scrub())
    end)

    it("raises for options that are missing or wrong", function()
      for _, options in ipairs({ {}, { path = 1 }, { path = "a\0b", client_id = "app" },
        { path = "/nowhere/x", client_id = "app", busy_ms = -1 } }) do
        assert.is_false((pcall(core.store_sqlite, options)))
      end
      assert.same({ nil, "invalid_option" }, { (core.store_sqlite({ path = "x" })),
        (select(2, core.store_sqlite({ path = "x" }))) })
    end)
  end)

  describe("two client_ids in one file", function()
    local path, one, two, clock

    before_each(function()
      path, clock = stores.new_path(), offline.clock()
      one = stores.sqlite(path, { client_id = "app-1", clock = clock })
      two = stores.sqlite(path, { client_id = "app-2", clock = clock })
    end)
    after_each(function()
      one:close()
      two:close()
    end)

    it("see their own rows only", function()
      assert(one:put_if("k", { state = "unclaimed", user = "u", account = "a", due_ms = 1, whose = 1 }, 0))
      assert.is_nil((two:get("k")))
      for _, query in ipairs({ {}, { state = "unclaimed" }, { user = "u" }, { account = "a" } }) do
        assert.same({}, two:find(query))
        assert.equal(1, #one:find(query))
      end
      assert.same({}, (two:due(10, 10)))
      assert.same({ rows = {}, gone = {}, change = 0 }, two:unclaimed(0))
      assert.is_false(two:delete("k"))
      assert(two:put_if("k", { whose = 2 }, 0))
      assert.same({ 1, 2 }, { one:get("k").whose, two:get("k").whose })
    end)

    it("have leases, ids and events of their own", function()
      assert.is_true((one:lease("l", "x", 1000)))
      assert.is_true((two:lease("l", "y", 1000)))
      assert.is_true(one:remember("nonce", "n", clock.wall + 1000))
      assert.is_true(two:remember("nonce", "n", clock.wall + 1000))
      local event = { id = "e", alias = "x", account = "a", received_ms = clock.wall, body = "b" }
      assert.equal("new", (one:event_add(event)))
      assert.equal("new", (two:event_add(event)))
      two:event_forget("a")
      assert.equal(1, #one:event_take("x", 10))
      clock.advance(HOUR_MS)
      assert.equal(1, one:prune(clock.wall))
      assert.equal(1, two:prune(clock.wall))
    end)

    it("are stamped alike but for their tag keys", function()
      local wanted = { api_url = "https://api", oauth_url = "https://oauth", environment = "production" }
      wanted.tag_key = "first"
      assert.equal("first", one:stamp(wanted).tag_key)
      wanted.tag_key = "second"
      assert.equal("second", two:stamp(wanted).tag_key)
      assert.same({ "app-1", "first" }, { one:stamp().client_id, one:stamp().tag_key })
    end)
  end)

  describe("its stamp", function()
    local path, store
    local WANTED = { api_url = "https://api.example", oauth_url = "https://oauth.example",
      environment = "production", tag_key = "sealed\0one", client_id = stores.client_id }

    local function wanted(more)
      local fields = {}
      for name, value in pairs(WANTED) do fields[name] = value end
      for name, value in pairs(more or {}) do fields[name] = value end
      return fields
    end

    before_each(function()
      path = stores.new_path()
      store = stores.sqlite(path)
    end)
    after_each(function() store:close() end)

    it("is empty until it is set, and stays as it was set first", function()
      assert.same({ client_id = stores.client_id }, store:stamp())
      assert.same(WANTED, store:stamp(WANTED))
      assert.same(WANTED, store:stamp(wanted({ tag_key = "another" })))
      store:close()
      store = stores.sqlite(path)
      assert.same(WANTED, store:stamp())
    end)

    it("is one's, when another gives one at the same time", function()
      local other, turn, err = stores.sqlite(path), nil, nil
      store:carry_by(setmetatable({ run = function(db, job)
        if job.key == turn then
          turn = nil
          err = raised(other.stamp, other, wanted({ api_url = "https://api.staging.example",
            oauth_url = "https://oauth.staging.example", environment = "staging" }))
        end
        return direct.run(db, job)
      end }, { __index = direct }))
      turn = "oauth_url"
      assert.same(WANTED, store:stamp(WANTED))
      assert.equal("store_belongs_elsewhere", err.code)
      assert.same(WANTED, store:stamp())
      other:close()
    end)

    it("gives the tag key up only to whoever names it", function()
      store:stamp(WANTED)
      assert.is_false(store:restamp("not that", "x"))
      assert.is_true(store:restamp("sealed\0one", "x"))
      assert.is_false(store:restamp("sealed\0one", "y"))
      assert.same(wanted({ tag_key = "x" }), store:stamp(WANTED))
    end)

    for _, name in ipairs({ "api_url", "oauth_url", "environment" }) do
      it("refuses another " .. name .. ", names both, and nothing is written", function()
        store:stamp(WANTED)
        store:close()
        local before = shell.read(path)
        local other = stores.sqlite(path, { client_id = "another-app" })
        local err = raised(other.stamp, other, wanted({ [name] = "https://elsewhere.staging.example" }))
        assert.equal("store_belongs_elsewhere", err.code)
        for _, part in ipairs({ path, name, WANTED[name], "https://elsewhere.staging.example" }) do
          mentions(err.message, part)
        end
        other:close()
        assert.equal(before, shell.read(path))
      end)
    end
  end)

  describe("a file that is not as it should be", function()
    --- Every call fails with this code, and the file stays as it is to the byte.
    local function refused(path, code, part)
      local before = shell.read(path)
      for _ = 1, 2 do
        local store = stores.sqlite(path)
        for _, call in ipairs({ function() store:get("k001") end, function() store:put_if("new", {}, 0) end }) do
          local err = raised(call)
          assert.equal(code, err.code)
          assert.is_false(err.retryable)
          mentions(err.message, path)
          mentions(err.message, part)
        end
        store:close()
      end
      assert.equal(before, shell.read(path))
    end

    it("may be no database", function()
      local path = stores.new_path()
      shell.write(path, ("this is somebody's diary. "):rep(1000))
      refused(path, "store_corrupt", "no SQLite database")
      shell.write(path, "short")
      refused(path, "store_corrupt", "no SQLite database")
      assert.same({ ["ringlink.db"] = "short" }, stores.files_beside(path))
    end)

    it("may be cut short", function()
      local path = filled()
      local whole = shell.read(path)
      for _, length in ipairs({ 99, 100, 4095, 4096, 5000, #whole - 4096, #whole - 1 }) do
        shell.write(path, whole:sub(1, length))
        refused(path, "store_corrupt", "restore a backup")
      end
    end)

    it("may be damaged in its schema", function()
      local path = filled()
      patch(path, 100, ("\255"):rep(200))
      refused(path, "store_corrupt", "restore a backup")
    end)

    it("may be of a newer ringlink", function()
      local path = filled()
      patch(path, 60, "\0\0\0\99")
      refused(path, "store_error", "newer version of ringlink")
      local count = 0
      for _ in pairs(stores.files_beside(path)) do count = count + 1 end
      assert.equal(1, count)
    end)

    it("may be another program's", function()
      local path = filled()
      patch(path, 68, "abcd")
      refused(path, "store_error", "another program")
      patch(path, 60, "\0\0\0\0\0\0\0\0\0\0\0\0")
      refused(path, "store_error", "another program")
    end)

    it("may be damaged where nobody has looked yet: then everything stops", function()
      local path = filled()
      local size = #shell.read(path)
      for at = 4096 * 2, size - 4096, 4096 do patch(path, at, ("\255"):rep(4096)) end
      local before = shell.read(path)
      local store = stores.sqlite(path)
      assert.equal("store_corrupt", raised(store.find, store, {}).code)
      assert.equal("store_corrupt", raised(store.lease, store, "l", "one", 1000).code)
      store:close()
      assert.equal(before, shell.read(path))
    end)

    it("may be a folder, or lack one", function()
      local directory = stores.new_directory()
      local err = raised(function() stores.sqlite(directory):get("k") end)
      assert.same({ "store_error", false }, { err.code, err.retryable })
      mentions(err.message, "is a folder")
      err = raised(function() stores.sqlite(directory .. "/none/x.db"):get("k") end)
      assert.same({ "store_error", false }, { err.code, err.retryable })
      mentions(err.message, "folder does not exist")
      err = raised(function() stores.sqlite("/dev/null"):get("k") end)
      mentions(err.message, "no ordinary file")
    end)

    it("may be moved away while it is open", function()
      local path = stores.new_path()
      local store = stores.sqlite(path)
      local version = store:put_if("k", { n = 1 }, 0)
      shell.run(("mv %s %s.old"):format(shell.quote(path), shell.quote(path)))
      local err = raised(store.put_if, store, "k", { n = 2 }, version)
      assert.equal("store_error", err.code)
      mentions(err.message, "moved, removed or replaced")
      store:close()
    end)

    -- The superuser may write everywhere, so a process without that power looks.
    it("may be read-only", function()
      local prefix = ""
      if shell.run("id -u"):match("^0") then
        prefix = "setpriv --bounding-set -dac_override,-dac_read_search"
      end
      local path = filled()
      local before = shell.read(path)
      for _, folder_mode in ipairs({ "0555", "0755" }) do
        shell.run(("chmod %s %s && chmod 0444 %s"):format(folder_mode, shell.quote(path:match("^(.*)/")),
          shell.quote(path)))
        local script = child.start(SCRIPT, { "open", path, "x" }, prefix)
        local _, said = script:wait()
        mentions(said, "store_error")
        mentions(said, path)
        mentions(said, "cannot be written")
      end
      assert.equal(before, shell.read(path))
    end)
  end)

  describe("leases", function()
    it("of another boot are void", function()
      local path, clock = stores.new_path(), offline.clock()
      local before, after = stores.sqlite(path, { clock = clock }), stores.sqlite(path, { clock = clock })
      before:get("k")
      before.boot = "5b21fbd4-0000-4000-8000-000000000000"
      assert.is_true((before:lease("l", "one", HOUR_MS)))
      before:event_add({ id = "e", received_ms = 1, body = "b" })
      assert.equal(1, #before:event_take("one", 1, nil, HOUR_MS))
      assert.is_true((after:lease("l", "two", HOUR_MS)))
      assert.equal(1, #after:event_take("two", 1, nil, HOUR_MS))
      assert.is_false((after:lease("l", "three", HOUR_MS)))
      before:close()
      after:close()
    end)

    it("run by the machine's boot clock when the clock is the machine's", function()
      local store = stores.sqlite(stores.new_path())
      assert.equal(core.boottime_ms, store.boot_ms)
      assert.truthy(core.boottime_ms() >= core.monotonic_ms())
      assert.truthy(core.boot_id():match("^%x+%-%x+%-%x+%-%x+%-%x+$"))
      store:close()
    end)

    it("that are over go when the store is pruned", function()
      local clock = offline.clock()
      local store = stores.sqlite(stores.new_path(), { clock = clock })
      store:lease("over", "one", 10)
      store:lease("held", "one", HOUR_MS)
      clock.advance(10)
      store:prune(clock.wall)
      assert.is_false((store:lease("held", "two", 1)))
      assert.is_true((store:lease("over", "two", 1)))
      store:close()
    end)
  end)
end)
