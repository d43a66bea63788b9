-- Inside somebody else's event loop: cqueues, libuv, and whatever has three functions.

local contract = require "support.host_contract"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local external = require "ringlink.runtime.external"
local hosts = require "support.hosts"
local offline = require "support.offline"
local readme = require "support.readme"
local ringlink = require "ringlink"

for _, name in ipairs { "cqueues", "luv", "table_of_three" } do
  describe("in the event loop of " .. hosts[name].name, function()
    contract.waits(hosts[name])
  end)
end

describe("an event loop's table", function()
  it("has one board and one runtime, for all its clients", function()
    local host = { wait_fd = print, sleep = print, spawn = print }
    local one = ringlink.new(offline.options { runtime = host })
    local other = ringlink.new(offline.options { runtime = host })
    assert.equal(one.runtime, other.runtime)
    assert.not_equal(one.runtime, external.new { wait_fd = print, sleep = print, spawn = print })
    assert.equal("external", one.runtime.name)
  end)

  it("is let go of with its clients", function()
    local seen = setmetatable({}, { __mode = "k" })
    local host = { wait_fd = print, sleep = print, spawn = function(fn) coroutine.wrap(fn)() end }
    seen[external.new(host)] = true
    host = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(seen))
  end)

  it("without `running` refuses nobody but tells foreign coroutines by it", function()
    local answer
    local host = { wait_fd = print, sleep = print, spawn = print, running = function() return answer end }
    local rt = external.new(host)
    local function check() return coroutine.wrap(function() return pcall(rt.check_may_wait) end)() end
    answer = true
    assert.is_true((check()))
    for _, no in ipairs { "in the loop", "outside" } do
      answer = no == "in the loop" and false or nil
      local ok, problem = check()
      assert.is_false(ok)
      assert.is_true(errors.is(problem))
      assert.equal("foreign_coroutine", problem.code)
    end
    rt.check_may_wait()                -- the main program, where no loop turns
    answer = false
    assert.is_false((pcall(rt.check_may_wait)))
  end)
end)

describe("a transport in an event loop", function()
  local make = core.transport_worker
  after_each(function() core.transport_worker = make end)

  --- A transport whose answers come when the test says so.
  local function scripted()
    local transport = { open = {}, done = {}, last = 0 }
    core.transport_worker = function(_, wake)
      transport.wake = wake
      return transport
    end
    function transport:start()
      self.last = self.last + 1
      self.open[#self.open + 1] = self.last
      return self.last
    end
    function transport:take()
      local ticket = table.remove(self.done)
      if ticket then return ticket, { status = 200 } end
    end
    function transport:answer_all()
      self.done, self.open = self.open, {}
      self.wake:signal()
    end
    function transport.close() end
    return transport
  end

  it("is given 512 requests at a time, and the others as there is room", function()
    local host, transport, came, order, answered, peak = hosts.cqueues, scripted(), {}, {}, 0, 0
    host.run(function(functions)
      local rt = external.new(functions)
      assert(rt.open_transport({}))
      for i = 1, 600 do
        host.spawn(function()
          came[#came + 1] = i
          rt.admit(transport)
          order[#order + 1] = i
          rt.await(transport, transport:start())
          answered = answered + 1
        end)
      end
      while answered < 600 do
        host.sleep(0.005)
        peak = math.max(peak, #transport.open)
        transport:answer_all()
      end
      rt.drop_transport(transport)
    end)
    assert.equal(512, peak)
    local rank = {}
    for at, i in ipairs(came) do rank[i] = math.ceil(at / 512) end
    for at, i in ipairs(order) do assert.equal(math.ceil(at / 512), rank[i]) end
  end)
end)

-- luaevent loses a block whenever it is loaded.
describe("the README's event loop #leaky", function()
  it("runs", function()
    local said, clients = {}, {}
    local code = assert(readme.between(readme.text(), "loop"):match("```lua\n(.-)```"))
    local fake = { new = function(options)
      clients[1] = ringlink.new(options)
      offline.grant(clients[1], {})
      return clients[1]
    end }
    local environment = setmetatable({ ringlink = fake, options = offline.options(),
      print = function(text) said[#said + 1] = text end }, { __index = _G })
    local set = rawget(_G, "setfenv")                  -- LuaJIT's way
    local run = assert(load(code, "README", "t", environment))
    if set then set(run, environment) end
    run()
    assert.same({ "completed" }, said)
    assert.is_true(clients[1].closed)
  end)
end)
