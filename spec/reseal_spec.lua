-- Changing the store key: what is written is sealed anew, and `client:reseal` does the rest.

local deliveries = require "support.deliveries"
local disks = require "support.disk"
local grants = require "ringlink.grants"
local offline = require "support.offline"
local sealed = require "ringlink.sealed"

local K1, K2, K3 = disks.key(1), disks.key(2), disks.key(3)

describe("a newer store key", function()
  local disk, client

  before_each(function()
    disk = disks.new()
    client = disk:client(K1)
  end)

  local function reopen(keys)
    client:close()
    client = disk:client(keys)
  end

  local function is_stale(key) return sealed.is_stale(client.vault, disk:row(key)) end

  --- A link of every state, and events that wait. Returns how many rows hold something sealed.
  local function fill()
    local states = { "exchanging", "identifying", "unclaimed", "matched", "confirming", "awaiting", "completed",
      "relink" }
    for i, state in ipairs(states) do
      offline.grant(client, { account = "ring-" .. i, state = state, user = "user-" .. i })
    end
    local off = client:on("webhook", function() error("not yet") end)
    for i = 1, 3 do
      deliveries.send(client, deliveries.event(client, "motion_detected", { request_id = "r" .. i }))
    end
    off()
    return #states
  end

  local function opened()
    local all = {}
    for _, entry in ipairs(disk.memory:find({})) do
      for column, field in pairs(sealed.FIELDS) do
        if entry.row[column] then
          all[entry.key .. " " .. column] = client.vault:open(entry.key, field, entry.row[column])
        end
      end
    end
    return all
  end

  describe("seals a row anew", function()
    it("when it is written next, as a whole", function()
      local key = offline.grant(client, { state = "completed" })
      reopen({ K2, K1 })
      assert.is_true(is_stale(key))
      assert(grants.update(client, key, function() return { put_offs = 1 } end))
      assert.is_false(is_stale(key))
      reopen(K2)
      assert.truthy(client:account("ring-1"):access_token():reveal():find("planted-access-token", 1, true))
      assert.equal("user-1", client:account("ring-1"):info().user)
    end)

    it("and leaves a field that it cannot open, without failing the write", function()
      local key = offline.grant(client, { state = "completed" })
      local other = offline.grant(client, { account = "ring-2", state = "completed" })
      reopen({ K2, K1 })
      local foreign = disk:row(other).identifier
      disk:alter(key, { identifier = foreign })
      assert(grants.update(client, key, function() return { put_offs = 1 } end))
      assert.equal(foreign, disk:row(key).identifier)
      assert.is_true(client.vault.keys:is_newest(disk:row(key).access))
    end)

    it("not before: reading writes nothing but the stamp", function()
      local key = offline.grant(client, { state = "completed" })
      reopen({ K2, K1 })
      local before = disk:row(key)
      assert(client:account("ring-1"):access_token())
      assert.same(before, disk:row(key))
      assert.is_false(is_stale(offline.client_id .. "/stamp"))
    end)

    it("and changes no tag", function()
      offline.grant(client, { state = "completed", user = "user-7" })
      reopen({ K2, K1 })
      assert.truthy(client:accounts({ user = "user-7" })())
      reopen(K2)
      assert.truthy(client:accounts({ user = "user-7" })())
    end)
  end)

  describe("by client:reseal", function()
    it("seals everything anew, and changes nothing else", function()
      local count = fill()
      local texts = opened()
      reopen({ K2, K1 })
      assert.equal(count + 3, client:reseal())
      reopen(K2)
      assert.same(texts, opened())
      disk.clock.advance(60000)
      assert.equal(3, client:work({ limit = 100 }).events)
      assert.equal(0, client:reseal())
    end)

    it("tells how far it is", function()
      local count = fill()
      reopen({ K2, K1 })
      local told = {}
      client:reseal(function(done, total) told[#told + 1] = { done, total } end)
      assert.same({ 0, count }, told[1])
      assert.same({ count + 3, count + 3 }, told[#told])
      for i = 2, #told do assert.truthy(told[i][1] >= told[i - 1][1] and told[i][1] <= told[i][2]) end
    end)

    it("has nothing to do under one key, or in memory", function()
      fill()
      assert.equal(0, client:reseal())
      assert.equal(0, offline.client():reseal())
    end)

    it("goes through more rows than one page", function()
      for i = 1, 600 do offline.grant(client, { account = "ring-" .. i, state = "unclaimed" }) end
      reopen({ K2, K1 })
      local pages = 0
      assert.equal(600, client:reseal(function() pages = pages + 1 end))
      assert.truthy(pages > 3)
      assert.equal(0, client:reseal())
    end)

    it("keeps what it had done when it is interrupted, and goes on at the next call", function()
      for i = 1, 600 do offline.grant(client, { account = "ring-" .. i, state = "unclaimed" }) end
      reopen({ K2, K1 })
      local stop = { "stop" }
      local ok, raised = pcall(client.reseal, client, function(done) if done > 0 then error(stop) end end)
      assert.same({ false, true }, { ok, raised == stop })
      local rest = client:reseal()
      assert.truthy(rest > 0 and rest < 600)
      reopen(K2)
      assert.truthy(client:account("ring-1"):info())
    end)

    it("is stopped by a store that fails, as an error", function()
      fill()
      reopen({ K2, K1 })
      disk.failing = function(name) if name == "put_if" then error("disk full", 0) end end
      assert.equal("store_error", select(2, client:reseal()).code)
      disk.failing = nil
      assert.truthy(client:reseal() > 0)
    end)

    it("writes no row that another process changed meanwhile, but what is there then", function()
      local key = offline.grant(client, { state = "completed" })
      local other = disk:client({ K2, K1 })
      reopen({ K2, K1 })
      local changed
      disk.failing = function(name)
        if name ~= "put_if" or changed then return end
        changed = true
        assert(grants.update(other, key, function() return { put_offs = 7 } end))
      end
      assert(client:reseal())
      assert.equal(7, disk:row(key).put_offs)
      assert.is_false(is_stale(key))
    end)

    it("leaves what it cannot open, does the rest, and says so", function()
      local lost = offline.grant(client, { account = "ring-1", state = "completed" })
      reopen({ K2, K1 })
      offline.grant(client, { account = "ring-2", state = "completed" })
      reopen({ K3, K2 })
      local before = disk:row(lost)
      local done, err = client:reseal()
      assert.is_nil(done)
      assert.equal("store_key", err.code)
      assert.truthy(err.message:find("1 were left as they are, 1 sealed anew", 1, true))
      assert.truthy(err.cause.message:find(lost, 1, true))
      assert.same(before, disk:row(lost))
      reopen(K3)
      assert.truthy(client:account("ring-2"):access_token())
      assert.equal("store_key", select(2, client:account("ring-1"):access_token()).code)
    end)

    it("seals an event anew that somebody has taken, and one that waits to be tried again", function()
      fill()
      reopen({ K2, K1 })
      disk.memory:event_take("another process", 1, "r1", 60000)
      client:reseal()
      for _, event in ipairs(disk.memory:event_pending(nil, 10)) do
        assert.is_false(client.vault:is_stale(event.body))
      end
      assert.equal(0, #disk.memory:event_take("yet another", 10, "r1"))
    end)

    it("takes a function or nothing, of a client that is open", function()
      assert.truthy(offline.misuse(function() client:reseal(12) end):find("progress must be a function", 1, true))
      client:close()
      assert.equal("closed", select(2, client:reseal()).code)
    end)
  end)
end)
