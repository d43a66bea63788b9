-- A client that was made before a fork: each of the processes that have it is somebody else to the
-- store, or leases would keep none of them out.

local core = require "ringlink.core"
local offline = require "support.offline"

local TTL_MS = 60000

describe("a client that was made before a fork", function()
  local client
  local process_id = core.process_id

  local function in_process(id) core.process_id = function() return id end end

  before_each(function() client = offline.client() end)
  after_each(function() core.process_id = process_id end)

  it("knows which process it is in", function()
    local stat = assert(io.open("/proc/self/stat"))
    local id = stat:read("*n")
    stat:close()
    assert.equal(id, process_id())
    assert.is_truthy(client:owner():find("%-" .. id .. "$"))
  end)

  it("is the same to the store for as long as it stays in one process", function()
    assert.equal(client:owner(), client:owner())
    assert.are_not.equal(client:owner(), offline.client():owner())
  end)

  it("has leases of its own in each process", function()
    in_process(7)
    assert.is_true(client.store:lease("refresh/key", client:owner(), TTL_MS))
    in_process(8)
    assert.is_false((client.store:lease("refresh/key", client:owner(), TTL_MS)))
    client.store:release("refresh/key", client:owner())
    in_process(7)
    assert.is_true(client.store:lease("refresh/key", client:owner(), TTL_MS))
  end)

  it("does not take the same event in two of them", function()
    local runs = 0
    client:on("webhook", function()
      runs = runs + 1
      if runs > 1 then return end
      in_process(8)
      client.event_owners = 0                    -- as it was when the process was forked
      assert.equal(0, assert(client:work()).events)
    end)
    in_process(7)
    client.store:event_add({ id = "event", received_ms = client.clock.now_ms(),
      body = client.vault:seal(client.options.client_id .. "/event/event", "body", '{"meta":{},"data":{}}') })
    assert.equal(1, assert(client:work()).events)
    assert.equal(1, runs)
  end)
end)
