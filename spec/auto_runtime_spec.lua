-- The runtime `auto`, and what the adapters of event loops say of where they are called.

local cqueues = require "cqueues"
local errors = require "ringlink.errors"
local external = require "ringlink.runtime.external"
local hosts = require "support.hosts"
local offline = require "support.offline"
local planted = require "support.planted"
local ringlink = require "ringlink"
local runtime = require "ringlink.runtime"
local stores = require "support.stores"
local uv = require "support.libuv"

local function code_of(ok, problem)
  if ok then return "nothing" end
  return errors.is(problem) and problem.code or problem
end

local function raised(fn, ...) return code_of(pcall(fn, ...)) end
local function elsewhere(fn, ...) return code_of(coroutine.resume(coroutine.create(fn), ...)) end

--- Runs a function in a coroutine of cqueues, and whether another one could go on meanwhile.
local function in_cqueues(fn)
  local others = 0
  hosts.cqueues.run(function()
    local over = false
    hosts.cqueues.spawn(function()
      while not over do
        others = others + 1
        cqueues.sleep(0.001)
      end
    end)
    local ok, problem = pcall(fn)
    over = true
    if not ok then error(problem, 0) end
  end)
  return others > 2
end

describe("auto", function()
  teardown(stores.remove_all)

  local rt
  before_each(function() rt = runtime.new("auto") end)

  it("blocks the main program, and yields in a task of ringlink's", function()
    rt.sleep(0.001)
    assert.equal("done", rt.join(rt.critical(function() rt.sleep(0.001); return "done" end)))
    local order = {}
    ringlink.run(function()
      ringlink.spawn(function() order[#order + 1] = "other" end)
      rt.join(rt.critical(function() end))
      order[#order + 1] = "caller"
    end)
    assert.same({ "other", "caller" }, order)
  end)

  it("yields in a coroutine of cqueues", function()
    assert.is_true(in_cqueues(function()
      assert.equal("done", rt.join(rt.critical(function() rt.sleep(0.02); return "done" end)))
    end))
  end)

  it("is no reason to turn ringlink's loop inside of another one, which that would stop", function()
    in_cqueues(function()
      cqueues.sleep(0.01)
      assert.equal("foreign_coroutine", raised(ringlink.run, function() end))
    end)
  end)

  it("raises foreign_coroutine in anybody else's", function()
    assert.equal("foreign_coroutine", elsewhere(rt.sleep, 60))
    assert.equal("foreign_coroutine", elsewhere(rt.check_may_wait))
    in_cqueues(function()
      cqueues.sleep(0.01)
      assert.equal("foreign_coroutine", elsewhere(rt.check_may_wait))
      assert.equal("foreign_coroutine", elsewhere(rt.sleep, 60))
    end)
  end)

  it("ends in the main program what began in a loop that has ended", function()
    local task
    hosts.cqueues.run(function()
      hosts.cqueues.abandon(function()
        task = rt.critical(function()
          for _ = 1, 3 do rt.sleep(0.005) end
          return "stored"
        end)
        rt.join(task)
      end, function() return task ~= nil end)
    end)
    assert.equal("stored", rt.join(task))
  end)

  it("has one store for all, wherever it is asked", function()
    local client = offline.client { store = "sqlite:" .. stores.new_path(), store_key = planted.store_key(1) }
    offline.grant(client, {})
    in_cqueues(function()
      assert.equal("completed", client:account("ring-1"):state())
      assert.is_true(client:account("ring-1"):forget())
    end)
    assert.is_nil(client:account("ring-1"):state())
    ringlink.run(function() assert.is_nil(client:account("ring-1"):state()) end)
    client:close()
    assert.equal("closed", select(2, client:account("ring-1"):state()).code)
  end)

  it("says what is wrong with a transport and a file", function()
    for _, where in ipairs { pcall, in_cqueues } do
      where(function()
        local none, code = rt.open_transport { proxy = "gopher://x" }
        assert.is_nil(none)
        assert.equal("invalid_option", code)
      end)
    end
    local none, code = rt.store.open { path = "/does/not/exist/file", client_id = "app" }
    assert.is_nil(none)
    assert.equal("store_error", code)
  end)
end)

describe("an adapter", function()
  it("of cqueues goes on in the controller that it was given, whatever becomes of others", function()
    local done, inner_controller = false, nil
    hosts.cqueues.run(function(functions)
      local home = external.new(functions)
      inner_controller = cqueues.new()
      inner_controller:wrap(function()
        home.join(home.critical(function() home.sleep(0.02); done = true end))
      end)
      assert(inner_controller:step(0.001))
      home.sleep(0.05)
      hosts.cqueues.sleep(0.01)
    end)
    assert.is_true(done)
  end)

  it("of cqueues, without one, leaves a section to whoever waits next", function()
    local rt = runtime.new("cqueues")
    local task
    hosts.cqueues.run(function()
      hosts.cqueues.abandon(function()
        task = rt.critical(function() rt.sleep(0.02); return "stored" end)
        rt.join(task)
      end, function() return task ~= nil end)
    end)
    assert.equal("stored", rt.join(task))
  end)

  it("of cqueues, without one, lets a caller in another controller bring a section to its end", function()
    local rt = runtime.new("cqueues")
    hosts.cqueues.run(function()
      local task
      hosts.cqueues.abandon(function()
        task = rt.critical(function() rt.sleep(0.01); return "stored" end)
        rt.join(task)
      end, function() return task ~= nil end)
      assert.equal("stored", rt.join(task))
    end)
  end)

  it("of libuv refuses to wait in a callback, where nothing could be suspended", function()
    local rt, said = runtime.new("luv"), nil
    local timer = uv.new_timer()
    timer:start(0, 0, function()
      said = raised(rt.sleep, 60)
      timer:close()
    end)
    uv.run()
    assert.equal("foreign_coroutine", said)
  end)

  it("of libuv takes any coroutine, one that began before the loop did too", function()
    local rt, done = runtime.new("luv"), false
    coroutine.wrap(function() rt.sleep(0.01); done = true end)()
    assert.is_false(done)
    uv.run()
    assert.is_true(done)
  end)

  it("whose module is missing is named", function()
    local loaded, preload = package.loaded, package.preload
    local luv, adapter, opened = loaded.luv, loaded["ringlink.runtime.luv"], preload.luv
    loaded.luv, loaded["ringlink.runtime.luv"] = nil, nil
    preload.luv = function() error("module 'luv' not found") end
    local message = offline.misuse(function() ringlink.new(offline.options { runtime = "luv" }) end)
    loaded.luv, loaded["ringlink.runtime.luv"], preload.luv = luv, adapter, opened
    assert.truthy(message:find("option runtime is luv, but its module cannot be loaded", 1, true), message)
    assert.truthy(message:find("module 'luv' not found", 1, true), message)
  end)
end)
