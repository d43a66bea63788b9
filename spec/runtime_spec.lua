-- A client's runtime: all its waiting goes through it, and where nothing can be waited for it says so.

local answers = require "support.answers"
local disks = require "support.disk"
local errors = require "ringlink.errors"
local offline = require "support.offline"
local planted = require "support.planted"
local ringlink = require "ringlink"
local runtime = require "ringlink.runtime"
local stores = require "support.stores"

local NAMES = { auto = "auto", loop = "loop", blocking = "blocking" }
local FUNCTIONS = { "open_transport", "drop_transport", "await", "spawn", "critical", "join", "sleep",
  "check_may_wait", "limiter" }
local POLLS_MAX = 100
local CARRIER = { "open", "run", "scrub", "close" }

--- A transport that never answers, and that nobody may wait for in vain.
local function silent()
  local transport = { closed = 0, polls = 0 }
  function transport:poll()
    self.polls = self.polls + 1
    assert(self.polls < POLLS_MAX, "nobody was told")
  end
  function transport.take() end
  function transport:close() self.closed = self.closed + 1 end
  return transport
end

--- What a function raises, or "nothing", in a coroutine that nobody knows.
local function raised_elsewhere(fn, ...)
  local ok, problem = coroutine.resume(coroutine.create(fn), ...)
  if ok then return "nothing" end
  return errors.is(problem) and problem.code or problem
end

describe("runtime", function()
  teardown(stores.remove_all)

  for option, name in pairs(NAMES) do
    it(("%s is %s and has everything"):format(option, name), function()
      local rt = runtime.new(option)
      assert.equal(name, rt.name)
      for _, one in ipairs(FUNCTIONS) do assert.equal("function", type(rt[one]), one) end
      for _, one in ipairs(CARRIER) do assert.equal("function", type(rt.store[one]), one) end
    end)
  end

  for _, name in ipairs({ "loop", "blocking" }) do
    describe(name, function()
      local rt
      before_each(function() rt = runtime.new(name) end)

      it("hands over what tasks and sections return and raise", function()
        for _, start in ipairs({ rt.spawn, rt.critical }) do
          assert.same({ 1, 2 }, { rt.join(start(function(...) return ... end, 1, 2)) })
          local ok, problem = pcall(rt.join, start(function() error("broken", 0) end))
          assert.is_false(ok)
          assert.truthy(tostring(problem):find("broken", 1, true))
        end
      end)

      it("opens transports, and tells whoever waits when it drops one", function()
        local opened = assert(rt.open_transport({ allow_http_loopback = true }))
        assert.equal("table", type(opened:stats()))
        rt.drop_transport(opened)
        assert.is_nil((opened:start({ method = "GET", url = offline.nobody })))
        local transport = silent()
        local result = ringlink.run(function()
          local task = rt.spawn(rt.await, transport, 1)
          rt.spawn(rt.drop_transport, transport)
          return rt.join(task)
        end)
        assert.same({ error = "cancelled", sent = true }, result)
        assert.equal(1, transport.closed)
      end)

      it("says what is wrong with a transport's options", function()
        local none, code = rt.open_transport({ proxy = "gopher://x" })
        assert.is_nil(none)
        assert.equal("string", type(code))
      end)

      it("limits by a rate", function()
        local limiter = rt.limiter({ per_s = 1, burst = 1 })
        assert.equal(0, limiter:take(1000))
        assert.equal(1000, limiter:take(1000))
      end)
    end)
  end

  describe("in somebody else's coroutine", function()
    it("lets a loop's client wait for nothing, and says so before anything begins", function()
      local rt = runtime.new("loop")
      local task = rt.spawn(function() end)
      assert.equal("foreign_coroutine", raised_elsewhere(rt.check_may_wait))
      assert.equal("foreign_coroutine", raised_elsewhere(rt.sleep, 60))
      assert.equal("foreign_coroutine", raised_elsewhere(rt.join, task))
      assert.equal("foreign_coroutine", raised_elsewhere(rt.await, silent(), 1))
      rt.join(task)
    end)

    it("lets a blocking client wait", function()
      local rt = runtime.new("blocking")
      local task = rt.spawn(function() rt.sleep(0.001) end)
      assert.equal("nothing", raised_elsewhere(rt.check_may_wait))
      assert.equal("nothing", raised_elsewhere(rt.sleep, 0.001))
      assert.equal("nothing", raised_elsewhere(rt.join, task))
    end)
  end)

  describe("of a client", function()
    it("is one of its own", function()
      local one, other = offline.client(), offline.client()
      assert.not_equal(one.runtime, other.runtime)
      assert.equal("auto", one.runtime.name)
    end)

    it("sleeps for it, unless its clock does", function()
      local client = ringlink.new(offline.options({ runtime = "blocking" }))
      assert.equal(client.runtime.sleep, client.clock.sleep)
      client = ringlink.new(offline.options({ clock = os.time }))
      assert.equal(client.runtime.sleep, client.clock.sleep)
      local clock = offline.clock()
      local sleep = clock.sleep
      assert.equal(sleep, offline.client({ clock = clock }).clock.sleep)
    end)

    it("opens and drops its transport", function()
      local client = offline.client()
      local opened, dropped, transport = 0, 0, silent()
      client.runtime.open_transport = function(config)
        opened = opened + 1
        assert.is_true(config.allow_http_loopback)
        return transport
      end
      client.runtime.drop_transport = function(one)
        dropped = dropped + 1
        assert.equal(transport, one)
      end
      assert.equal(transport, client:open_transport())
      assert.equal(transport, client:open_transport())
      client:drop_transport(transport)
      client:drop_transport(transport)
      assert.same({ 1, 1 }, { opened, dropped })
      client.runtime.open_transport = function() return nil, "invalid_option", "it is empty" end
      local none, err = client:open_transport()
      assert.is_nil(none)
      assert.equal("invalid_option", err.code)
    end)

    it("sends nothing where no answer can be waited for", function()
      local client = offline.client()
      offline.grant(client, {})
      local account = client:account("ring-1")
      assert.equal("foreign_coroutine", raised_elsewhere(account.get, account, "/v1/devices"))
      offline.assert_silent(client)
      assert.equal("connect", select(2, account:get("/v1/devices")).code)
    end)

    it("runs its critical sections", function()
      local client = offline.client()
      local ring, sections = answers.serve(client), 0
      local critical = client.runtime.critical
      client.runtime.critical = function(...)
        sections = sections + 1
        return critical(...)
      end
      assert(client:exchange("a-code"))
      assert.same({ "token", "me" }, ring.calls)
      assert.equal(2, sections)
    end)

    it("carries the jobs of its SQLite file", function()
      local client = offline.client({ store = "sqlite:" .. stores.new_path(), store_key = planted.store_key(1) })
      local carried = {}
      for _, name in ipairs(CARRIER) do
        local fn = client.runtime.store[name]
        client.runtime.store[name] = function(...)
          carried[name] = (carried[name] or 0) + 1
          return fn(...)
        end
      end
      offline.grant(client, {})
      assert.is_true(client:account("ring-1"):forget())
      client:close()
      assert.equal(1, carried.open)
      assert.is_true(carried.run > 5)
      assert.is_true(carried.scrub > 0)
      assert.equal(1, carried.close)
    end)

    it("has no part in a store of the partner's own", function()
      local asked = 0
      local own = disks.new():store({ carry_by = function() asked = asked + 1 end })
      local client = offline.client({ store = own, store_key = planted.store_key(1) })
      offline.grant(client, {})
      assert.equal("completed", client:account("ring-1"):state())
      assert.equal(0, asked)
    end)
  end)
end)
