--- The contract of the store port, as tests that any store must pass.
--
--   require("support.store_contract")("memory", function(clock) return memory.new(clock) end)
--
-- `open(clock)` returns an empty store on a clock of support.offline; the contract closes it.

local assert = require "luassert"
local busted = require "busted"
local events = require "support.store_contract_events"
local offline = require "support.offline"

local describe, it, before_each, after_each = busted.describe, busted.it, busted.before_each, busted.after_each
local WEEK_MS = 7 * 24 * 3600 * 1000

local function keys_of(list)
  local keys = {}
  for i, entry in ipairs(list) do keys[i] = entry.key end
  return keys
end

local function sorted(list)
  table.sort(list)
  return list
end

return function(name, open)
  describe("store " .. name, function()
    local store, clock

    before_each(function()
      clock = offline.clock()
      store = open(clock)
    end)
    after_each(function() store:close() end)

    local function insert(key, row) return assert(store:put_if(key, row or {}, 0)) end

    describe("rows", function()
      it("are absent at first", function()
        assert.is_nil((store:get("k")))
        assert.is_nil((select(2, store:get("k"))))
      end)

      it("come back as they were put, with their version", function()
        local row = { state = "unclaimed", count = 3, ratio = 0.5, flag = false, text = "a\0b\255" }
        local version = insert("k", row)
        local found, found_version = store:get("k")
        assert.same(row, found)
        assert.equal(version, found_version)
      end)

      it("are nobody's live table", function()
        local row = { count = 1 }
        insert("k", row)
        row.count = 2
        store:get("k").count = 3
        store:find({})[1].row.count = 4
        assert.equal(1, store:get("k").count)
      end)

      it("are replaced as a whole", function()
        local version = insert("k", { a = 1, b = 2 })
        assert(store:put_if("k", { b = 3 }, version))
        assert.same({ b = 3 }, (store:get("k")))
      end)

      for _, column in ipairs({ "kind", "state", "user", "account" }) do
        it("may change in nothing but " .. column, function()
          local row = { kind = "grant", state = "completed", user = "u", account = "a", due_ms = 10, n = 1 }
          local version = insert("k", row)
          for _, value in ipairs({ "another", "one more", false }) do
            row[column] = value or nil
            version = assert(store:put_if("k", row, version))
            assert.same(row, (store:get("k")))
            if value and column ~= "kind" then
              assert.same({ "k" }, keys_of(store:find({ [column] = value })))
            end
          end
        end)
      end
    end)

    describe("put_if", function()
      local function conflicts(key, version)
        local before = { store:get(key) }
        local written, problem = store:put_if(key, { late = true }, version)
        assert.is_nil(written)
        assert.equal("conflict", problem)
        assert.same(before, { store:get(key) })
      end

      it("inserts at version 0, once", function()
        insert("k", { a = 1 })
        conflicts("k", 0)
      end)

      it("gives a new version with every write", function()
        local first = insert("k")
        local second = assert(store:put_if("k", {}, first))
        assert.not_equal(first, second)
        assert.equal(second, (select(2, store:get("k"))))
      end)

      it("refuses a version that was replaced", function()
        local first = insert("k", { a = 1 })
        assert(store:put_if("k", { a = 2 }, first))
        conflicts("k", first)
      end)

      it("updates nothing that is not there", function()
        conflicts("k", 1)
        assert.same({}, store:find({}))
      end)

      it("lets one of two writers through", function()
        insert("k", { n = 0 })
        local _, seen = store:get("k")
        assert(store:put_if("k", { n = 1 }, seen))
        conflicts("k", seen)
        assert.equal(1, store:get("k").n)
      end)
    end)

    describe("delete", function()
      it("removes a row and says whether it was there", function()
        insert("k")
        assert.is_true(store:delete("k"))
        assert.is_false(store:delete("k"))
        assert.is_nil((store:get("k")))
      end)

      it("leaves the others", function()
        insert("a")
        insert("b")
        store:delete("a")
        assert.same({ "b" }, keys_of(store:find({})))
      end)

      it("of a version leaves a row that changed since then", function()
        local version = insert("k", { a = 1 })
        local later = assert(store:put_if("k", { a = 2 }, version))
        assert.is_false(store:delete("k", version))
        assert.same({ { a = 2 }, later }, { store:get("k") })
        assert.is_true(store:delete("k", later))
        assert.is_false(store:delete("k", later))
        assert.is_nil((store:get("k")))
      end)

      it("of a version that fails tells nobody that the row went", function()
        local version = insert("k", { state = "unclaimed" })
        local seen = store:unclaimed(0).change
        store:delete("k", version + 1)
        assert.same({ rows = {}, gone = {}, change = seen }, store:unclaimed(seen))
        assert.same({ "k" }, keys_of(store:find({ state = "unclaimed" })))
      end)

      it("makes room for a new row", function()
        local version = insert("k", { a = 1 })
        store:delete("k")
        assert.is_nil((store:put_if("k", {}, version)))
        insert("k", { a = 2 })
        assert.equal(2, store:get("k").a)
      end)
    end)

    describe("find", function()
      before_each(function()
        insert("c", { state = "completed", user = "u1", account = "a1" })
        insert("a", { state = "unclaimed", account = "a1" })
        insert("d", { state = "completed", user = "u2", account = "a2" })
        insert("b", { state = "completed", user = "u1", account = "a2" })
      end)

      for what, case in pairs({
        ["everything"] = { {}, "abcd" }, ["a state"] = { { state = "completed" }, "bcd" },
        ["a user"] = { { user = "u1" }, "bc" }, ["an account"] = { { account = "a1" }, "ac" },
        ["a state of an account"] = { { account = "a1", state = "completed" }, "c" },
        ["a user of an account"] = { { account = "a2", user = "u2" }, "d" },
        ["an unknown state"] = { { state = "nowhere" }, "" }, ["an unknown user"] = { { user = "u9" }, "" },
        ["an unknown account"] = { { account = "a9" }, "" },
        ["at most so many"] = { { limit = 2 }, "ab" }, ["what comes after a key"] = { { after = "b" }, "cd" },
        ["after a key that is gone"] = { { after = "bb" }, "cd" }, ["after the last"] = { { after = "d" }, "" },
        ["a page of a state"] = { { state = "completed", after = "b", limit = 1 }, "c" },
      }) do
        it("gives " .. what .. " in the order of the keys", function()
          assert.equal(case[2], table.concat(keys_of(store:find(case[1]))))
        end)
      end

      it("gives rows and versions as get does", function()
        local entry = store:find({ user = "u2" })[1]
        local row, version = store:get("d")
        assert.same({ row, version }, { entry.row, entry.version })
      end)

      it("follows a row whose account, user and state change", function()
        local _, version = store:get("a")
        assert(store:put_if("a", { state = "completed", user = "u2", account = "a2" }, version))
        assert.same({ "c" }, keys_of(store:find({ account = "a1" })))
        assert.same({ "a", "b", "d" }, keys_of(store:find({ account = "a2" })))
        assert.same({ "a", "d" }, keys_of(store:find({ user = "u2" })))
        assert.same({}, store:find({ state = "unclaimed" }))
      end)

      it("forgets what was deleted", function()
        store:delete("c")
        assert.same({ "a" }, keys_of(store:find({ account = "a1" })))
        assert.same({ "b" }, keys_of(store:find({ user = "u1" })))
        assert.same({ "b", "d" }, keys_of(store:find({ state = "completed" })))
      end)
    end)

    describe("due", function()
      it("gives rows whose time has come, the longest overdue first", function()
        insert("a", { due_ms = 300 })
        insert("b", { due_ms = 100 })
        insert("c", { due_ms = 301 })
        insert("d", { due_ms = 200 })
        local list, next_ms = store:due(300, 10)
        assert.same({ "b", "d", "a" }, keys_of(list))
        assert.equal(301, next_ms)
      end)

      it("leaves out rows that are never due", function()
        insert("a", {})
        local list, next_ms = store:due(2 ^ 50, 10)
        assert.same({}, list)
        assert.is_nil(next_ms)
      end)

      it("knows of nothing later when all are due", function()
        insert("a", { due_ms = 1 })
        assert.is_nil((select(2, store:due(1, 10))))
      end)

      it("gives the first so many, and says that more are due now", function()
        for i = 1, 3 do insert("k" .. i, { due_ms = i }) end
        insert("later", { due_ms = 900 })
        local list, next_ms = store:due(500, 2)
        assert.same({ "k1", "k2" }, keys_of(list))
        assert.equal(500, next_ms)
      end)

      it("goes on after a place, whether a row is still there or not", function()
        for key, due_ms in pairs({ a = 10, d = 10, b = 10, c = 9, e = 11, f = 600 }) do
          insert(key, { due_ms = due_ms })
        end
        local function after(due_ms, key, limit)
          local list, next_ms = store:due(500, limit or 10, { due_ms = due_ms, key = key })
          return table.concat(keys_of(list)) .. " " .. tostring(next_ms)
        end
        assert.equal("cabde 600", after(0, "z"))
        assert.equal("bde 600", after(10, "a"))
        assert.equal("de 600", after(10, "bb"))
        assert.equal("e 600", after(10, "d"))
        assert.equal(" 600", after(11, "e"))
        assert.equal("b 500", after(10, "a", 1))
        assert.equal("bde 600", after(10, "a", 3))
      end)

      it("forgets the time of a row that changed or went", function()
        local version = insert("a", { due_ms = 1 })
        insert("b", { due_ms = 2 })
        assert(store:put_if("a", { due_ms = 50 }, version))
        store:delete("b")
        local list, next_ms = store:due(10, 10)
        assert.same({}, list)
        assert.equal(50, next_ms)
      end)
    end)

    describe("unclaimed", function()
      it("tells deletions until they are a day old", function()
        insert("a", { state = "unclaimed" })
        store:delete("a")
        store:prune(clock.now_ms())
        assert.same({ "a" }, store:unclaimed(0).gone)
        clock.advance(24 * 3600 * 1000 + 1)
        store:prune(clock.now_ms())
        assert.same({}, store:unclaimed(0).gone)
      end)

      it("gives all unclaimed rows, the latest change first", function()
        insert("a", { state = "unclaimed" })
        insert("b", { state = "completed" })
        insert("c", { state = "unclaimed" })
        assert.same({ "c", "a" }, keys_of(store:unclaimed(0).rows))
      end)

      it("gives nothing when nothing changed", function()
        insert("a", { state = "unclaimed" })
        local seen = store:unclaimed(0).change
        local delta = store:unclaimed(seen)
        assert.same({ rows = {}, gone = {}, change = seen }, delta)
      end)

      it("gives what came since", function()
        insert("a", { state = "unclaimed" })
        local seen = store:unclaimed(0).change
        insert("b", { state = "unclaimed" })
        local delta = store:unclaimed(seen)
        assert.same({ "b" }, keys_of(delta.rows))
        assert.same({}, delta.gone)
        assert.truthy(delta.change > seen)
      end)

      it("names rows that are unclaimed no more, and deleted ones", function()
        local version = insert("a", { state = "unclaimed" })
        insert("b", { state = "unclaimed" })
        local seen = store:unclaimed(0).change
        assert(store:put_if("a", { state = "matched" }, version))
        store:delete("b")
        local delta = store:unclaimed(seen)
        assert.same({}, delta.rows)
        assert.same({ "a", "b" }, sorted(delta.gone))
      end)

      it("gives a row that came back as unclaimed, not as gone", function()
        local version = insert("a", { state = "unclaimed" })
        local seen = store:unclaimed(0).change
        version = assert(store:put_if("a", { state = "matched" }, version))
        assert(store:put_if("a", { state = "unclaimed" }, version))
        store:delete("a")
        insert("a", { state = "unclaimed" })
        local delta = store:unclaimed(seen)
        assert.same({ "a" }, keys_of(delta.rows))
        assert.same({}, delta.gone)
      end)
    end)

    describe("leases", function()
      it("belong to one owner", function()
        assert.is_true((store:lease("k", "one", 1000)))
        local taken, remaining_ms = store:lease("k", "two", 1000)
        assert.is_false(taken)
        assert.equal(1000, remaining_ms)
        assert.is_true((store:lease("other", "two", 1000)))
      end)

      it("end by the clock", function()
        store:lease("k", "one", 1000)
        clock.advance(999)
        assert.equal(1, (select(2, store:lease("k", "two", 1000))))
        clock.advance(1)
        assert.is_true((store:lease("k", "two", 1000)))
        assert.is_false((store:lease("k", "one", 1000)))
      end)

      it("do not depend on the time of day", function()
        store:lease("k", "one", 1000)
        clock.wall = clock.wall + 3600 * 1000
        assert.is_false((store:lease("k", "two", 1000)))
      end)

      it("are prolonged by their owner", function()
        store:lease("k", "one", 1000)
        clock.advance(900)
        assert.is_true((store:lease("k", "one", 1000)))
        clock.advance(900)
        assert.is_false((store:lease("k", "two", 1000)))
      end)

      it("are given back by their owner", function()
        store:lease("k", "one", 1000)
        store:release("k", "one")
        assert.is_true((store:lease("k", "two", 1000)))
      end)

      it("are given back by nobody else", function()
        store:lease("k", "one", 1000)
        store:release("k", "two")
        store:release("unknown", "two")
        assert.is_false((store:lease("k", "two", 1000)))
      end)
    end)

    describe("remember", function()
      it("is true once, until its time is over", function()
        assert.is_true(store:remember("nonce", "n", clock.wall + 1000))
        assert.is_false(store:remember("nonce", "n", clock.wall + 1000))
        clock.advance(999)
        assert.is_false(store:remember("nonce", "n", clock.wall + 1000))
        clock.advance(1)
        assert.is_true(store:remember("nonce", "n", clock.wall + 1000))
        assert.is_false(store:remember("nonce", "n", clock.wall + 1000))
      end)

      it("keeps kinds and ids apart", function()
        store:remember("nonce", "n", clock.wall + 1000)
        assert.is_true(store:remember("code", "n", clock.wall + 1000))
        assert.is_true(store:remember("nonce", "m", clock.wall + 1000))
      end)
    end)

    describe("housekeeping", function()
      it("counts rows by state and pending events, when it can", function()
        if not store.tally then return end
        assert.same({ states = {}, pending = 0 }, store:tally())
        for i = 1, 3 do insert("k" .. i, { state = i < 3 and "completed" or "relink" }) end
        insert("k4")
        store:event_add({ id = "e1", received_ms = clock.now_ms(), body = "x" })
        store:event_add({ id = "e2", received_ms = clock.now_ms(), body = "x" })
        store:event_done("e2")
        assert.same({ states = { completed = 2, relink = 1 }, pending = 1 }, store:tally())
      end)

      it("prunes what is remembered no longer, and counts it", function()
        store:remember("nonce", "a", clock.wall + 1000)
        store:remember("nonce", "b", clock.wall + 2000)
        assert.equal(0, store:prune(clock.wall))
        assert.equal(1, store:prune(clock.wall + 1000))
        assert.is_false(store:remember("nonce", "b", clock.wall + 2000))
      end)

      it("never prunes a row", function()
        insert("k", { due_ms = 1 })
        store:prune(clock.wall + 10 * WEEK_MS)
        assert.truthy((store:get("k")))
      end)

      it("has a stamp", function()
        assert.equal("table", type(store:stamp()))
      end)

      it("may be closed twice", function()
        store:close()
        assert.is_true((pcall(store.close, store)))
      end)
    end)
  end)

  events(name, open)
end
