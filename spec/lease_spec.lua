-- The lease of a critical section: short, so that a dead process does not keep the others waiting, and
-- kept as long as the section goes on, whatever it waits for.

local answers = require "support.answers"
local clocks = require "support.clock"
local errors = require "ringlink.errors"
local offline = require "support.offline"
local ringlink = require "ringlink"

local DEADLINE_MS = 60000
local LEASE_MS = 2 * DEADLINE_MS + 15000

describe("the lease of a section", function()
  local client, clock, ring, account, key

  local function start(options)
    client = offline.client(options)
    clock, ring = client.clock, answers.serve(client)
    key = offline.grant(client, { state = "awaiting", expires_ms = clock.now_ms() + 400 * 1000 })
    account = client:account("ring-1")
  end

  before_each(function() start() end)

  local function left_ms(name)
    local lease = client.store.leases[name .. "/" .. key]
    return lease and lease.until_ms - clock.monotonic_ms()
  end

  --- A call takes almost all the time it has; what is left of the leases when it begins.
  local function slow(list, said)
    return function(n)
      for _, name in ipairs({ "integrate", "refresh" }) do list[#list + 1] = left_ms(name) end
      clock.advance(DEADLINE_MS - 1000)
      return said and said(n)
    end
  end

  it("lasts for a call and what follows it", function()
    local left
    ring.on.complete = function() left = left_ms("integrate") end
    assert(client:complete(account))
    assert.equal(LEASE_MS, left)
  end)

  it("is written once when all goes well", function()
    local count, lease = 0, client.store.lease
    client.store.lease = function(...)
      count = count + 1
      return lease(...)
    end
    assert(client:complete(account))
    assert.equal(1, count)
  end)

  it("is kept through calls that take long, and through a refresh among them", function()
    local left = {}
    ring.on.complete = slow(left, function(n) return n == 1 and answers.refusal(401) or nil end)
    ring.on.refresh = slow(left)
    assert.equal("completed", assert(client:complete(account)).status)
    assert.same({ "complete", "refresh", "complete" }, ring.calls)
    assert.equal(4, #left)
    for _, ms in ipairs(left) do assert.truthy(ms >= 2 * DEADLINE_MS, tostring(ms)) end
  end)

  it("is kept while a refresh within waits for another process", function()
    clock.advance(400 * 1000)
    client.store:lease("refresh/" .. key, "another", LEASE_MS)
    local least, sleep = LEASE_MS, clock.sleep
    clock.sleep = function(seconds)
      sleep(seconds)
      least = math.min(least, left_ms("integrate"))
    end
    assert.equal("completed", assert(client:complete(account)).status)
    assert.truthy(least >= 2 * DEADLINE_MS, tostring(least))
  end)

  it("is kept while it joins a refresh that waits for another process", function()
    start({ clock = clocks.new() })
    clock.advance(400 * 1000)
    client.store:lease("refresh/" .. key, "another", LEASE_MS)
    local least, sleep, refreshed, completed = LEASE_MS, clock.sleep, nil, nil
    clock.sleep = function(seconds)
      sleep(seconds)
      least = math.min(least, left_ms("integrate") or LEASE_MS)
    end
    ringlink.run(function()
      ringlink.spawn(function() refreshed = account:refresh({ force = true }) end)
      answers.wait_until("the refresh", function() return next(client.flights) end)
      completed = assert(client:complete(account)).status
    end)
    assert.same({ true, "completed", 1 }, { refreshed, completed, ring:count("refresh") })
    assert.truthy(least >= 2 * DEADLINE_MS, tostring(least))
  end)

  it("that the store does not prolong ends nothing", function()
    key = offline.grant(client, { account = "ring-2", state = "confirming" })
    clock.advance(11 * 60000)
    ring.on.update = function()                        -- the first call that settles a lost POST
      clock.advance(10000)
      client.store.lease = function() errors.new("store_error"):raise() end
    end
    ring.on.devices = function() client.store.lease = nil end       -- the second
    assert.equal(1, assert(client:work()).resumed)
    assert.same({ "update", "devices" }, ring.calls)
    assert.equal("awaiting", client:account("ring-2"):state())
  end)
end)
