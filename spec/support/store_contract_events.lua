--- The part of the store port's contract that is about webhook events; support.store_contract runs it.

local assert = require "luassert"
local busted = require "busted"
local offline = require "support.offline"

local describe, it, before_each, after_each = busted.describe, busted.it, busted.before_each, busted.after_each
local WEEK_MS = 7 * 24 * 3600 * 1000

local function ids_of(list)
  local ids = {}
  for i, event in ipairs(list) do ids[i] = event.id end
  return ids
end

return function(name, open)
  describe("events in store " .. name, function()
    local store, clock

    before_each(function()
      clock = offline.clock()
      store = open(clock)
    end)
    after_each(function() store:close() end)

    local function event(id, more)
      local fields = { id = id, account = "ring-1", received_ms = clock.now_ms(), body = "body of " .. id }
      for field, value in pairs(more or {}) do fields[field] = value end
      return fields
    end

    it("are new, then pending, then done", function()
      local function state() return (store:event_add(event("e1"))) end
      assert.equal("new", state())
      assert.equal("pending", state())
      store:event_done("e1")
      assert.equal("done", state())
    end)

    it("are found by an alias under their first id", function()
      store:event_add(event("e1", { alias = "x" }))
      assert.same({ "pending", "e1" }, { store:event_add(event("e2", { alias = "x" })) })
      assert.same({ "new", "e3" }, { store:event_add(event("e3", { alias = "y" })) })
      assert.same({ "new", "e4" }, { store:event_add(event("e4")) })
      assert.same({ "new", "e5" }, { store:event_add(event("e5")) })
      assert.same({ "e1", "e3", "e4", "e5" }, ids_of(store:event_take("one", 10)))
    end)

    it("are taken with all they came with, the oldest first", function()
      for i = 1, 3 do store:event_add(event("e" .. (4 - i))) end
      local taken = store:event_take("one", 2)
      assert.same({ "e3", "e2" }, ids_of(taken))
      assert.same({ "body of e3", "ring-1" }, { taken[1].body, taken[1].account })
      assert.same({ "e1" }, ids_of(store:event_take("two", 2)))
    end)

    it("are taken by their id", function()
      store:event_add(event("e1"))
      store:event_add(event("e2"))
      assert.same({ "e2" }, ids_of(store:event_take("one", 1, "e2")))
      assert.same({}, store:event_take("one", 1, "unknown"))
    end)

    it("are not taken twice at once", function()
      store:event_add(event("e1"))
      store:event_take("one", 1, "e1", 1000)
      assert.same({}, store:event_take("two", 1, "e1", 1000))
      clock.advance(1000)
      assert.same({ "e1" }, ids_of(store:event_take("two", 1, "e1", 1000)))
      assert.same({}, store:event_take("one", 1, "e1", 1000))
    end)

    it("can be put back by whoever has them", function()
      store:event_add(event("e1"))
      store:event_take("one", 1)
      store:event_release("e1", "two")
      assert.same({}, store:event_take("two", 1))
      store:event_release("e1", "one")
      assert.same({ "e1" }, ids_of(store:event_take("two", 1)))
    end)

    it("wait until the time at which they were put back to be tried again", function()
      store:event_add(event("e1"))
      store:event_take("one", 1)
      store:event_release("e1", "one", clock.now_ms() + 60000)
      clock.advance(59999)
      assert.same({}, store:event_take("two", 1))
      clock.advance(1)
      assert.same({ "e1" }, ids_of(store:event_take("two", 1)))
    end)

    it("do not wait for whoever asks by their id", function()
      store:event_add(event("e1"))
      store:event_take("one", 1)
      store:event_release("e1", "one", clock.now_ms() + 60000)
      assert.same({ "e1" }, ids_of(store:event_take("two", 1, "e1")))
    end)

    it("tell how often they were put back", function()
      store:event_add(event("e1"))
      for i = 0, 3 do
        assert.equal(i, store:event_take("one", 1, "e1")[1].attempts)
        store:event_release("e1", "one", clock.now_ms() + 60000)
        store:event_release("e1", "another", clock.now_ms() + 60000)
      end
    end)

    it("that were put back come after those that wait longer", function()
      for _, id in ipairs({ "e1", "e2", "e3" }) do store:event_add(event(id)) end
      for _, id in ipairs({ "e1", "e2" }) do store:event_take("one", 1, id) end
      store:event_release("e1", "one", clock.now_ms() + 2000)
      store:event_release("e2", "one", clock.now_ms() + 1000)
      clock.advance(1500)
      store:event_add(event("e4"))
      clock.advance(1000)
      assert.same({ "e3", "e2" }, ids_of(store:event_take("two", 2)))
      assert.same({ "e4", "e1" }, ids_of(store:event_take("three", 2)))
    end)

    it("tell when the next of the others is due", function()
      local function due_in_ms(owner, limit)
        local due_ms = select(2, store:event_take(owner, limit, nil, 5000))
        return due_ms and due_ms - clock.now_ms()
      end
      assert.is_nil(due_in_ms("one", 10))
      for i = 1, 3 do store:event_add(event("e" .. i)) end
      assert.equal(0, due_in_ms("one", 2))
      assert.equal(5000, due_in_ms("two", 1))
      for i = 1, 2 do store:event_release("e" .. i, "one", clock.now_ms() + 1000 * (3 - i)) end
      assert.equal(1000, due_in_ms("three", 10))
      for i = 1, 3 do store:event_done("e" .. i) end
      assert.is_nil(due_in_ms("three", 10))
    end)

    it("are not taken when they are done", function()
      store:event_add(event("e1"))
      store:event_done("e1")
      store:event_release("e1", "one")
      assert.same({}, store:event_take("one", 10))
    end)

    it("do not mind ids that are unknown", function()
      store:event_done("unknown")
      store:event_release("unknown", "one")
      store:event_forget("unknown")
      assert.same({}, store:event_take("one", 10))
    end)

    it("that are not done are listed by their ids, taken or not, page by page", function()
      for _, id in ipairs({ "e3", "e1", "e2", "e4" }) do store:event_add(event(id)) end
      store:event_take("one", 1, "e1")
      store:event_done("e4")
      local page = store:event_pending(nil, 2)
      assert.same({ "e1", "e2" }, ids_of(page))
      assert.equal(event("e1").body, page[1].body)
      assert.same({ "e3" }, ids_of(store:event_pending("e2", 2)))
    end)

    it("get another body while they have the one that was read", function()
      store:event_add(event("e1"))
      local was = event("e1").body
      assert.is_false(store:event_replace("e1", "other", "new"))
      assert.is_true(store:event_replace("e1", was, "new"))
      assert.is_false(store:event_replace("e1", was, "newer"))
      assert.equal("new", store:event_take("one", 1, "e1")[1].body)
      store:event_done("e1")
      assert.is_false(store:event_replace("e1", "new", "late"))
      assert.is_false(store:event_replace("unknown", "new", "late"))
    end)

    it("of a forgotten account are done, the others wait on", function()
      store:event_add(event("e1"))
      store:event_add(event("e2", { account = "ring-2" }))
      store:event_forget("ring-1")
      assert.equal("done", (store:event_add(event("e1"))))
      assert.same({ "e2" }, ids_of(store:event_take("one", 10)))
    end)

    it("of a forgotten account leave no alias, which would name it", function()
      store:event_add(event("e1", { alias = "ring-1/motion/1" }))
      store:event_forget("ring-1")
      assert.equal("new", (store:event_add(event("e2", { alias = "ring-1/motion/1" }))))
    end)

    it("prunes events that were done a week ago, alias and all", function()
      store:event_add(event("e1", { alias = "x" }))
      store:event_done("e1")
      assert.equal(0, store:prune(clock.wall + WEEK_MS))
      assert.equal("done", (store:event_add(event("e1"))))
      assert.equal(1, store:prune(clock.wall + WEEK_MS + 1))
      assert.equal("new", (store:event_add(event("e2", { alias = "x" }))))
      assert.equal("new", (store:event_add(event("e1"))))
    end)

    it("prunes events that waited for a week in vain, and no earlier", function()
      store:event_add(event("e1", { alias = "x" }))
      assert.equal(0, store:prune(clock.wall + WEEK_MS))
      assert.same({ "e1" }, ids_of(store:event_take("one", 10)))
      store:event_release("e1", "one", clock.wall + WEEK_MS)
      assert.equal(1, store:prune(clock.wall + WEEK_MS + 1))
      assert.same({}, store:event_take("one", 1, "e1"))
      assert.equal("new", (store:event_add(event("e2", { alias = "x" }))))
    end)
  end)
end
