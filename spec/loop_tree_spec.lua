-- Tasks as a tree: a run waits for what was spawned in it, and what one failure means for the others.
-- On a virtual clock; nothing here waits for real.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local offline = require "support.offline"
local ringlink = require "ringlink"

local function pack(...) return { n = select("#", ...), ... } end

describe("tasks as a tree", function()
  local now_ms, order
  local real = {}

  setup(function()
    for _, name in ipairs({ "monotonic_ms", "sleep_ms" }) do real[name] = core[name] end
  end)
  before_each(function()
    now_ms, order = 1000, {}
    core.monotonic_ms = function() return now_ms end
    core.sleep_ms = function(ms) now_ms = now_ms + ms end
  end)
  after_each(function()
    for name, fn in pairs(real) do core[name] = fn end
  end)

  local function note(name) order[#order + 1] = name end

  --- Spawns a task that notes its name after a time.
  local function later(seconds, name)
    return ringlink.spawn(function() ringlink.sleep(seconds); note(name) end)
  end

  local function failing(seconds, message)
    return ringlink.spawn(function() ringlink.sleep(seconds); error(message, 0) end)
  end

  --- What a run raises, without its tracebacks.
  local function raised(...)
    local ok, problem = pcall(ringlink.run, ...)
    assert.is_false(ok)
    return errors.is(problem) and problem.code or tostring(problem):match("^[^\n]*")
  end

  describe("run", function()
    it("refuses what it does not know, at the caller's line", function()
      local function nothing() end
      assert.equal("ringlink: run: unknown option on_eror; known is on_error",
        offline.misuse(function() ringlink.run({ on_eror = "cancel" }, nothing) end))
      assert.equal("ringlink: run: on_error must be one of: finish, cancel, collect",
        offline.misuse(function() ringlink.run({ on_error = "ignore" }, nothing) end))
      assert.equal("ringlink: run: needs a function, not a nil",
        offline.misuse(function() ringlink.run({ on_error = "cancel" }) end))
      assert.equal("ringlink: join: needs a task, as spawn returns it",
        offline.misuse(function() ringlink.join({}) end))
    end)

    it("within a task waits for its own, and for nobody else's", function()
      ringlink.run(function()
        later(9, "of the outer run")
        local result = ringlink.run(function()
          later(5, "of the inner run")
          ringlink.spawn(function() ringlink.spawn(function() later(2, "its grandchild") end) end)
          return "inner"
        end)
        note(result)
        assert.equal(6000, now_ms)
      end)
      assert.same({ "its grandchild", "of the inner run", "inner", "of the outer run" }, order)
    end)

    it("within a task raises what failed in it, and the outer one goes on", function()
      ringlink.run(function()
        assert.equal("broken", raised(function() failing(1, "broken") end))
        later(1, "after it")
      end)
      assert.same({ "after it" }, order)
    end)

    it("in a coroutine of somebody else's raises before anything begins", function()
      local ok, problem = coroutine.resume(coroutine.create(function()
        ringlink.run(function() note("begun") end)
      end))
      assert.is_false(ok)
      assert.equal("foreign_coroutine", problem.code)
      assert.same({}, order)
    end)

    it("hands over arguments and results with options too", function()
      assert.same({ n = 3, "a", nil, "c" },
        pack(ringlink.run({ on_error = "cancel" }, function(...) return ... end, "a", nil, "c")))
    end)
  end)

  describe("by itself", function()
    it("lets the others go on and raises the first failure in the end", function()
      assert.equal("first", raised(function()
        failing(2, "second")
        failing(1, "first")
        later(3, "other")
      end))
      assert.same({ "other" }, order)
    end)

    it("raises what the function raised before what others did", function()
      assert.equal("own", raised(function()
        failing(1, "a child's")
        ringlink.sleep(2)
        error("own", 0)
      end))
    end)
  end)

  describe("on_error = cancel", function()
    local CANCEL = { on_error = "cancel" }

    it("ends the others' waits and raises the failure", function()
      assert.equal("broken", raised(CANCEL, function()
        later(60, "never")
        failing(1, "broken")
        ringlink.sleep(60)
        note("never either")
      end))
      assert.same({}, order)
      assert.equal(2000, now_ms)
    end)

    it("lets each tidy up: its waits raise `cancelled`, every one", function()
      raised(CANCEL, function()
        ringlink.spawn(function()
          for _ = 1, 2 do note(select(2, pcall(ringlink.sleep, 60)).code) end
          error("is not told any more")
        end)
        failing(1, "broken")
      end)
      assert.same({ "cancelled", "cancelled" }, order)
      assert.equal(2000, now_ms)
    end)

    it("does not even begin what has not begun", function()
      assert.equal("broken", raised(CANCEL, function()
        ringlink.spawn(error, "broken", 0)
        ringlink.spawn(note, "begun")
      end))
      assert.same({}, order)
    end)

    it("reaches what they spawned, and the runs within them", function()
      raised(CANCEL, function()
        ringlink.spawn(function() later(60, "grandchild") end)
        ringlink.spawn(function()
          ringlink.run(function() later(60, "of an inner run") end)
        end)
        failing(1, "broken")
      end)
      assert.same({}, order)
      assert.equal(2000, now_ms)
    end)

    it("stays within the run that asked for it", function()
      ringlink.run(function()
        later(9, "of the outer run")
        assert.equal("broken", raised(CANCEL, function()
          later(60, "never")
          failing(1, "broken")
        end))
        assert.equal(2000, now_ms)
      end)
      assert.same({ "of the outer run" }, order)
    end)

    it("is what the function's own failure does, too", function()
      assert.equal("own", raised(CANCEL, function()
        later(60, "never")
        ringlink.sleep(1)
        error("own", 0)
      end))
      assert.same({}, order)
      assert.equal(2000, now_ms)
    end)

    it("is nothing that a failure which somebody waits for does", function()
      ringlink.run(CANCEL, function()
        later(5, "other")
        local ok, problem = pcall(ringlink.join, failing(1, "broken"))
        assert.is_false(ok)
        note(problem:match("^[^\n]*"))
      end)
      assert.same({ "broken", "other" }, order)
    end)

    it("leaves a critical section alone", function()
      local loop = require "ringlink.runtime.loop"
      assert.equal("broken", raised(CANCEL, function()
        ringlink.spawn(function()
          loop.join(loop.critical(function() ringlink.sleep(5); note("stored") end))
          note("never")
        end)
        failing(1, "broken")
      end))
      assert.same({ "stored" }, order)
    end)

    it("holds on to nothing of what it ended", function()
      local seen = setmetatable({}, { __mode = "k" })
      raised(CANCEL, function()
        for _ = 1, 5 do
          seen[ringlink.spawn(function()
            seen[coroutine.running()] = true
            ringlink.sleep(3600)
          end)] = true
        end
        failing(1, "broken")
      end)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(seen))
    end)
  end)

  describe("on_error = collect", function()
    local COLLECT = { on_error = "collect" }

    it("raises nothing and returns the failures before the results", function()
      local failures, a, b, c = ringlink.run(COLLECT, function()
        failing(2, "second")
        failing(1, "first")
        later(3, "other")
        return "a", nil, "c"
      end)
      assert.same({ "first", "second" }, { failures[1].error:match("^[^\n]*"), failures[2].error:match("^[^\n]*") })
      assert.equal(2, #failures)
      assert.same({ "a", "c" }, { a, c })
      assert.is_nil(b)
      assert.same({ "other" }, order)
    end)

    it("has the function's own failure among them", function()
      local err = errors.new("closed")
      local failures = pack(ringlink.run(COLLECT, function() err:raise() end))
      assert.equal(1, failures.n)
      assert.equal(err, failures[1][1].error)
    end)

    it("keeps them all, and is an empty list when there are none", function()
      local failures = ringlink.run(COLLECT, function()
        for i = 1, 40 do failing(i, "broken") end
      end)
      assert.equal(40, #failures)
      assert.same({}, ringlink.run(COLLECT, function() end))
    end)

    it("says of each where it was spawned", function()
      local failures = ringlink.run(COLLECT, function()
        ringlink.spawn(function() errors.new("closed"):raise() end)
      end)
      assert.truthy(failures[1].spawned:find("^spawned at [^\n]*loop_tree_spec.lua:%d+"), failures[1].spawned)
    end)
  end)

  describe("a failure", function()
    local function here() return debug.getinfo(2, "l").currentline end

    it("says where it was, where it was spawned, and by what", function()
      local inner, outer
      local _, message = pcall(ringlink.run, function()
        local function spawn_it()
          inner = here() + 1
          ringlink.spawn(function() error("broken") end)
        end
        outer = here() + 1
        ringlink.spawn(spawn_it)
      end)
      assert.truthy(message:find(("loop_tree_spec.lua:%d: broken\nstack traceback:\n"):format(inner)), message)
      assert.truthy(message:find(("\nspawned at [^\n]*loop_tree_spec.lua:%d"):format(inner)), message)
      assert.truthy(message:find(("\n\tby a task spawned at [^\n]*loop_tree_spec.lua:%d"):format(outer)), message)
    end)

    it("names who called whoever spawned it", function()
      local from
      local function start() ringlink.spawn(error, "broken") end
      local _, message = pcall(ringlink.run, function()
        from = here() + 1
        start()
        return nil
      end)
      assert.truthy(message:find(("called at [^\n]*loop_tree_spec.lua:%d"):format(from)), message)
    end)

    it("tells of some generations only", function()
      local function again(depth)
        if depth == 0 then error("broken") end
        ringlink.spawn(again, depth - 1)
      end
      local _, message = pcall(ringlink.run, again, 100)
      local _, count = message:gsub("spawned at ", "")
      assert.is_true(count >= 1 and count <= 8, message)
    end)
  end)

  it("thousands of them sleep and wake by their time", function()
    local woken, last, count = true, 0, 0
    ringlink.run(function()
      for i = 1, 3000 do
        local seconds = (i * 7919) % 3001
        ringlink.spawn(function()
          ringlink.sleep(seconds)
          woken, last, count = woken and last <= seconds, seconds, count + 1
        end)
      end
    end)
    assert.is_true(woken)
    assert.equal(3000, count)
  end)
end)
