-- The loop runtime on a virtual clock and scripted transports: nothing here waits for real.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local loop = require "ringlink.runtime.loop"
local offline = require "support.offline"
local ringlink = require "ringlink"

local unpack = table.unpack or unpack

describe("loop", function()
  local now_ms, held, order
  local real = {}

  setup(function()
    for _, name in ipairs({ "monotonic_ms", "sleep_ms", "hold_signals", "release_signals" }) do
      real[name] = core[name]
    end
  end)

  before_each(function()
    now_ms, held, order = 1000, 0, {}
    core.monotonic_ms = function() return now_ms end
    core.sleep_ms = function(ms) now_ms = now_ms + ms end
    core.hold_signals = function() held = held + 1 end
    core.release_signals = function() held = held - 1 end
  end)

  after_each(function()
    for name, fn in pairs(real) do core[name] = fn end
  end)

  it("refuses what cannot be run or waited for, at the caller's line", function()
    for _, call in ipairs({ "run", "spawn" }) do
      assert.equal(("ringlink: %s: needs a function, not a nil"):format(call),
        offline.misuse(function() ringlink[call]() end))
    end
    for _, seconds in ipairs({ "", false, -1, 0 / 0, math.huge }) do
      assert.equal("ringlink: sleep: needs a number of seconds, 0 or more",
        offline.misuse(function() ringlink.sleep(seconds or nil) end))
    end
  end)

  local function note(name) order[#order + 1] = name end

  --- A transport whose tickets complete at given times: { [ticket] = at_ms }.
  local function scripted(completions)
    local transport = { ready = {}, polls = 0 }
    function transport:poll(ms)
      self.polls = self.polls + 1
      local next_ms = now_ms + ms
      for _, at_ms in pairs(completions) do next_ms = math.min(next_ms, math.max(at_ms, now_ms)) end
      now_ms = next_ms
      for ticket, at_ms in pairs(completions) do
        if at_ms <= now_ms then
          completions[ticket] = nil
          table.insert(self.ready, { ticket, { status = 200, ticket = ticket } })
        end
      end
    end
    function transport:take()
      local done = table.remove(self.ready, 1)
      if done then return unpack(done) end
    end
    return transport
  end

  --- A transport that fails the test's thread the first time it is polled, as a signal would.
  local function interrupting()
    local transport = scripted({ [1] = 1010 })
    local poll = transport.poll
    function transport:poll(ms)
      self.poll = poll
      error("interrupted", 0)
      return ms
    end
    return transport
  end

  --- What a function raises in a coroutine that the loop did not start.
  local function raised_in_coroutine(fn)
    local ok, raised = coroutine.resume(coroutine.create(fn))
    assert.is_false(ok)
    return raised
  end

  --- A table that holds on to nothing, and how much of it somebody else still holds.
  local function watched() return setmetatable({}, { __mode = "k" }) end

  local function still_held(list)
    collectgarbage()
    collectgarbage()
    local count = 0
    for _ in pairs(list) do count = count + 1 end
    return count
  end

  describe("run", function()
    it("hands over arguments and results, nil among them", function()
      local results = { n = 0 }
      local function pack(...) results = { n = select("#", ...), ... } end
      pack(ringlink.run(function(...) return select("#", ...), ... end, nil, "b", nil))
      assert.same({ n = 4, 3, nil, "b", nil }, results)
    end)

    it("waits for every task", function()
      ringlink.run(function()
        ringlink.spawn(function()
          ringlink.sleep(5)
          ringlink.spawn(function()
            ringlink.sleep(5)
            note("grandchild")
          end)
        end)
      end)
      assert.same({ "grandchild" }, order)
      assert.equal(11000, now_ms)
    end)

    it("raises what the function raised, with where it was", function()
      local ok, message = pcall(ringlink.run, function() error("broken") end)
      assert.is_false(ok)
      assert.truthy(message:find("loop_spec.lua:%d+: broken"))
      assert.truthy(message:find("stack traceback", 1, true))
    end)

    it("raises an error object as it is", function()
      local err = errors.new("closed")
      local ok, raised = pcall(ringlink.run, function() err:raise() end)
      assert.is_false(ok)
      assert.equal(err, raised)
    end)

    it("waits for the other tasks before it raises", function()
      pcall(ringlink.run, function()
        ringlink.spawn(function() ringlink.sleep(1); note("other") end)
        error("broken")
      end)
      assert.same({ "other" }, order)
    end)

    it("raises what a task raised that nobody joined, once", function()
      local ok, message = pcall(ringlink.run, function()
        ringlink.spawn(function() error("unseen") end)
        return "done"
      end)
      assert.is_false(ok)
      assert.truthy(message:find("loop_spec.lua:%d+: unseen"))
      assert.equal("fine", ringlink.run(function() return "fine" end))
    end)

    it("leaves the failure of a task to whoever joined it", function()
      local caught = ringlink.run(function()
        local task = ringlink.spawn(function() error("seen") end)
        return select(2, pcall(loop.join, task))
      end)
      assert.truthy(caught:find("seen", 1, true))
    end)

    it("raises what a task raised before it", function()
      ringlink.spawn(function() error("early") end)
      ringlink.sleep(1)
      local ok, message = pcall(ringlink.run, function() return "done" end)
      assert.is_false(ok)
      assert.truthy(message:find("early", 1, true))
      assert.equal("fine", ringlink.run(function() return "fine" end))
    end)

    it("raises nothing that somebody took before it", function()
      local early = ringlink.spawn(function() error("early") end)
      ringlink.sleep(1)
      pcall(loop.join, early)
      pcall(loop.join, loop.critical(function() error("taken") end))
      assert.equal("fine", ringlink.run(function() return "fine" end))
    end)

    it("does not let a task wait for itself", function()
      local ok, message = pcall(ringlink.run, function()
        local me
        me = ringlink.spawn(function() loop.join(me) end)
        loop.join(me)
      end)
      assert.is_false(ok)
      assert.truthy(message:find("cannot wait for itself", 1, true))
    end)

    it("within a task is a call", function()
      local result = ringlink.run(function()
        return ringlink.run(function() ringlink.sleep(1); return "inner" end)
      end)
      assert.equal("inner", result)
    end)
  end)

  describe("spawn", function()
    it("lets the caller go on first", function()
      ringlink.run(function()
        ringlink.spawn(note, "task")
        note("caller")
      end)
      assert.same({ "caller", "task" }, order)
    end)

    it("starts tasks in their order", function()
      ringlink.run(function()
        for i = 1, 5 do ringlink.spawn(note, i) end
      end)
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("hands over arguments, nil among them", function()
      local task = ringlink.spawn(function(...) return select("#", ...) end, nil, nil)
      assert.equal(2, loop.join(task))
    end)
  end)

  describe("join", function()
    it("returns what the task returned, as often as it is asked", function()
      local task = ringlink.spawn(function() return "a", nil, "c" end)
      for _ = 1, 2 do
        local a, b, c = loop.join(task)
        assert.same({ "a", "c" }, { a, c })
        assert.is_nil(b)
      end
    end)

    it("wakes everybody who waits, in their order", function()
      ringlink.run(function()
        local task = ringlink.spawn(function() ringlink.sleep(1) end)
        for i = 1, 3 do
          ringlink.spawn(function() loop.join(task); note(i) end)
        end
      end)
      assert.same({ 1, 2, 3 }, order)
    end)

    it("raises what the task raised, in each of its waiters", function()
      ringlink.run(function()
        local task = ringlink.spawn(function() error("broken", 0) end)
        for i = 1, 2 do
          ringlink.spawn(function()
            local ok, message = pcall(loop.join, task)
            if not ok and message:find("broken", 1, true) then note(i) end
          end)
        end
      end)
      assert.same({ 1, 2 }, order)
    end)
  end)

  describe("sleep", function()
    it("wakes tasks by their time, not by their order", function()
      ringlink.run(function()
        for _, seconds in ipairs({ 3, 1, 2, 0.5 }) do
          ringlink.spawn(function() ringlink.sleep(seconds); note(seconds) end)
        end
      end)
      assert.same({ 0.5, 1, 2, 3 }, order)
      assert.equal(4000, now_ms)
    end)

    it("wakes those of one time in the order they went to sleep", function()
      ringlink.run(function()
        for i = 1, 4 do
          ringlink.spawn(function() ringlink.sleep(1); note(i) end)
        end
      end)
      assert.same({ 1, 2, 3, 4 }, order)
    end)

    it("lets tasks run while the main program sleeps, and ends in time", function()
      local task = ringlink.spawn(function() ringlink.sleep(1); note("task"); ringlink.sleep(100) end)
      ringlink.sleep(2)
      assert.same({ "task" }, order)
      assert.equal(3000, now_ms)
      loop.join(task)
    end)

    it("of no time ends at once", function()
      ringlink.sleep(0)
      assert.equal(1000, now_ms)
    end)

    it("is never shorter than asked", function()
      ringlink.sleep(0.0001)
      assert.equal(1001, now_ms)
    end)
  end)

  describe("await", function()
    it("brings each ticket to whoever waits for it", function()
      local transport = scripted({ [1] = 1300, [2] = 1100, [3] = 1200 })
      ringlink.run(function()
        for ticket = 1, 3 do
          ringlink.spawn(function() note(loop.await(transport, ticket).ticket) end)
        end
      end)
      assert.same({ 2, 3, 1 }, order)
    end)

    it("serves several transports at once", function()
      local one, two = scripted({ [1] = 1300 }), scripted({ [1] = 1100 })
      ringlink.run(function()
        ringlink.spawn(function() loop.await(one, 1); note("one") end)
        ringlink.spawn(function() loop.await(two, 1); note("two") end)
      end)
      assert.same({ "two", "one" }, order)
    end)

    it("lets sleepers wake in between", function()
      local transport = scripted({ [1] = 5000 })
      ringlink.run(function()
        ringlink.spawn(function() loop.await(transport, 1); note("answer") end)
        ringlink.spawn(function() ringlink.sleep(1); note("sleeper") end)
      end)
      assert.same({ "sleeper", "answer" }, order)
    end)

    it("works without any task", function()
      assert.equal(7, loop.await(scripted({ [7] = 1500 }), 7).ticket)
    end)

    it("does not mind completions that nobody waits for", function()
      assert.equal(2, loop.await(scripted({ [1] = 1100, [2] = 1200 }), 2).ticket)
    end)

    it("is for 512 at a time; the others are let in in their order, as there is room", function()
      local completions, open, peak, order_in = {}, 0, 0, true
      local transport, last = scripted(completions), 0
      ringlink.run(function()
        for i = 1, 1300 do
          ringlink.spawn(function()
            loop.admit(transport)
            order_in, last = order_in and i == last + 1, i
            open = open + 1
            peak = math.max(peak, open)
            completions[i] = now_ms + 10 + i % 7
            loop.await(transport, i)
            open = open - 1
          end)
        end
      end)
      assert.equal(512, peak)
      assert.is_true(order_in)
      assert.equal(1300, last)
    end)

    it("lets those in who wait for room in a transport that is forgotten", function()
      local transport, let_in = scripted({}), 0
      ringlink.run(function()
        for i = 1, 600 do
          ringlink.spawn(function()
            loop.admit(transport)
            let_in = let_in + 1
            loop.await(transport, i)
          end)
        end
        ringlink.sleep(1)
        assert.equal(512, let_in)
        loop.forget(transport)
        ringlink.sleep(1)
        assert.equal(600, let_in)
        loop.forget(transport)
      end)
    end)

    it("ends as cancelled when the transport is forgotten", function()
      local transport = scripted({})
      local result = ringlink.run(function()
        ringlink.spawn(function() ringlink.sleep(1); loop.forget(transport) end)
        return loop.await(transport, 1)
      end)
      assert.same({ error = "cancelled", sent = true }, result)
    end)
  end)

  describe("what is over", function()
    it("is let go of, task and coroutine", function()
      local seen = watched()
      for _ = 1, 5 do
        ringlink.run(function()
          seen[coroutine.running()] = true
          seen[ringlink.spawn(function() ringlink.sleep(1) end)] = true
        end)
        seen[loop.critical(function() end)] = true
      end
      ringlink.run(function() end)
      assert.equal(0, still_held(seen))
    end)

    it("is let go of when it failed and was joined", function()
      local seen = watched()
      for _ = 1, 5 do
        local task = ringlink.spawn(function() error("broken") end)
        seen[task] = true
        pcall(loop.join, task)
      end
      assert.equal(0, still_held(seen))
    end)

    it("is kept for the next run only so often when it failed and nobody joined it", function()
      local seen = watched()
      for i = 1, 100 do seen[ringlink.spawn(function() error("broken " .. i, 0) end)] = true end
      ringlink.sleep(1)
      assert.equal(16, still_held(seen))
      local _, message = pcall(ringlink.run, function() end)
      assert.truthy(message:find("broken 1", 1, true), message)
      assert.equal(0, still_held(seen))
    end)

    it("is let go of, a transport with its last ticket", function()
      local seen = watched()
      for _ = 1, 5 do
        local transport = scripted({ [1] = now_ms + 10, [2] = now_ms + 20 })
        seen[transport] = true
        ringlink.run(function()
          for ticket = 1, 2 do ringlink.spawn(loop.await, transport, ticket) end
        end)
      end
      assert.equal(0, still_held(seen))
    end)
  end)

  describe("a critical section", function()
    local function holding(fn)
      return loop.critical(function()
        loop.hold()
        return fn()
      end)
    end

    it("holds signals when it says so, to its end", function()
      local task = loop.critical(function()
        note(held)
        ringlink.sleep(1)
        loop.hold()
        loop.hold()
        note(held)
        ringlink.sleep(1)
        note(held)
      end)
      assert.equal(0, held)
      loop.join(task)
      assert.same({ 0, 1, 1 }, order)
      assert.equal(0, held)
    end)

    it("holds none while it waits for its turn; the loop lets them go", function()
      local task = loop.critical(function()
        loop.hold()
        loop.release()
        note(held)
        ringlink.sleep(1)
        note(held)
        loop.hold()
        loop.release()
        loop.hold()
        ringlink.sleep(1)
        note(held)
      end)
      loop.join(task)
      assert.same({ 1, 0, 1 }, order)
      assert.equal(0, held)
    end)

    it("holds them until the last one is over", function()
      local one = holding(function() ringlink.sleep(1) end)
      local two = holding(function() ringlink.sleep(2) end)
      loop.join(one)
      assert.equal(1, held)
      loop.join(two)
      assert.equal(0, held)
    end)

    it("lets them go when it raises", function()
      pcall(loop.join, holding(function() error("broken") end))
      assert.equal(0, held)
    end)

    it("ends although whoever waited was interrupted", function()
      local transport = interrupting()
      local task = holding(function()
        loop.await(transport, 1)
        note("stored")
      end)
      assert.has_error(function() loop.join(task) end, "interrupted")
      assert.same({}, order)
      assert.equal(1, held)
      ringlink.run(function() end)
      assert.same({ "stored" }, order)
      assert.equal(0, held)
    end)

    it("goes on when the run that waits for it is interrupted, and the others end", function()
      local transport = interrupting()
      assert.has_error(function()
        ringlink.run(function()
          ringlink.spawn(function() note(select(2, pcall(ringlink.sleep, 60)).code) end)
          loop.join(loop.critical(function()
            loop.await(transport, 1)
            note("stored")
          end))
        end)
      end, "interrupted")
      assert.same({ "cancelled" }, order)
      ringlink.run(function() end)
      assert.same({ "cancelled", "stored" }, order)
    end)

    it("is over when the signal that it held back comes: that ends the wait, and the next is held too", function()
      core.release_signals = function()
        held = held - 1
        if held == 0 and #order == 1 then error("interrupted!", 0) end
      end
      local task = holding(function()
        note(held)
        return "pair"
      end)
      assert.has_error(function() ringlink.run(loop.join, task) end, "interrupted!")
      assert.equal("pair", loop.join(task))
      ringlink.run(function()
        ringlink.spawn(function() ringlink.sleep(1); note("waited for") end)
        loop.join(holding(function() note(held) end))
      end)
      assert.same({ 1, 1, "waited for" }, order)
      assert.equal(0, held)
    end)

    it("ends although the task that waited for it raised meanwhile", function()
      ringlink.run(function()
        local section = loop.critical(function() ringlink.sleep(2); note("stored") end)
        local waiter = ringlink.spawn(function() ringlink.sleep(1); error("gone") end)
        pcall(loop.join, waiter)
        note("waiter is gone")
        assert.is_false(section.done)
      end)
      assert.same({ "waiter is gone", "stored" }, order)
    end)
  end)

  describe("a foreign coroutine", function()
    it("cannot wait for a task, a ticket or a time", function()
      local task = ringlink.spawn(function() end)
      for _, wait in ipairs({
        function() loop.join(task) end, function() loop.await(scripted({}), 1) end, function() ringlink.sleep(1) end,
      }) do
        local raised = raised_in_coroutine(wait)
        assert.is_true(errors.is(raised), tostring(raised))
        assert.equal("foreign_coroutine", raised.code)
      end
      loop.join(task)
    end)

    it("cannot wait within a task either", function()
      ringlink.run(function()
        assert.equal("foreign_coroutine", raised_in_coroutine(function() ringlink.sleep(1) end).code)
      end)
    end)

    it("may take the result of a task that is over", function()
      local task = ringlink.spawn(function() return "result" end)
      loop.join(task)
      assert.equal("result", coroutine.wrap(function() return loop.join(task) end)())
    end)

    it("may wait when everything may stop meanwhile", function()
      local task = ringlink.spawn(function() ringlink.sleep(1); return "result" end)
      assert.equal("result", coroutine.wrap(function() return loop.join(task, true) end)())
      coroutine.wrap(function() loop.sleep(1, true) end)()
      assert.equal(3000, now_ms)
    end)

    it("starts no critical section, and holds no signals", function()
      local client = offline.client()
      local raised = raised_in_coroutine(function() client:exchange("a-code") end)
      assert.equal("foreign_coroutine", raised.code)
      assert.equal(0, held)
      offline.assert_silent(client)
    end)

    it("may use a client that blocks, repeats and all", function()
      local client = ringlink.new(offline.options({ runtime = "blocking", max_attempts = 3 }))
      local account = client:account("ring-1")
      offline.grant(client, { account = "ring-1" })
      for _, call in ipairs({
        function() return client:exchange("a-code") end, function() return account:get("/v1/devices") end,
      }) do
        local result, err = coroutine.wrap(call)()
        assert.is_nil(result)
        assert.same({ "connect", 3 }, { err.code, err.attempts })
      end
      assert.equal(0, held)
      client:close()
    end)
  end)
end)
