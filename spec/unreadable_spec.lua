-- Due rows that cannot be opened: they stay as they are, and however many they are, those behind them
-- get their turn, what is remembered stays small, and `work` is not called in a circle for them.

local answers = require "support.answers"
local disks = require "support.disk"
local offline = require "support.offline"

local DAY_MS = 86400 * 1000
local HOUR_MS = 3600 * 1000
local REMEMBERED = 1024
local LIMIT = 100
local MANY = 2500
local CALLS_MAX = 2 * MANY / LIMIT

describe("due rows that cannot be opened", function()
  local disk, client, clock, ring, lines

  before_each(function()
    disk, lines = disks.new(), 0
    clock = disk.clock
    client = disk:client(disks.key(1), { log = function(level) if level == "error" then lines = lines + 1 end end })
    ring = answers.serve(client)
  end)

  local function put(key, row)
    local _, version = disk:row(key)
    assert(disk.memory:put_if(key, row, version or 0))
  end

  --- So many whose fields were sealed for another row; their due times repeat.
  local function plant(count)
    local key = offline.grant(client, { account = "elsewhere", state = "unclaimed" })
    local row = disk:row(key)
    disk.memory:delete(key)
    row.account = nil
    for i = 1, count do
      row.due_ms = clock.now_ms() + math.floor(i / 7)
      put(("%s/%05d"):format(key, i), row)
    end
    return key
  end

  local function grant(account) return offline.grant(client, { account = account, state = "unclaimed" }) end

  local function remembered()
    local count = 0
    for _ in pairs(client.unreadable.versions) do count = count + 1 end
    return count
  end

  --- Works until there is nothing to do at once; what was refreshed.
  local function work_off()
    local refreshed = 0
    for _ = 1, CALLS_MAX do
      local report = assert(client:work({ limit = LIMIT }))
      refreshed = refreshed + report.refreshed
      assert.truthy(remembered() <= REMEMBERED + 2 * LIMIT, tostring(remembered()))
      if report.next_due_s > 0 then return refreshed end
    end
    error("work always wants to be called again at once")
  end

  for name, count in pairs({ few = 10, ["as many as are remembered"] = REMEMBERED, many = MANY }) do
    it(name .. ": those behind them are refreshed, and they are left as they are", function()
      local first = plant(count)
      local before = disk:snapshot().rows
      for i = 1, 3 do grant("ring-" .. i) end
      clock.advance(DAY_MS)
      assert.equal(3, work_off())
      assert.equal(3, ring:count("refresh"))
      for key, entry in pairs(disk:snapshot().rows) do
        if key:find(first, 1, true) then assert.same(before[key], entry) end
      end
    end)

    it(name .. ": each is tried once, whatever else is due later", function()
      plant(count)
      clock.advance(DAY_MS)
      assert.equal(0, work_off())
      assert.equal(count, lines)
      local key = grant("ring-1")
      for _ = 1, 3 do
        assert.truthy(assert(client:work()).next_due_s > 0)
        clock.advance(60000)
      end
      assert.equal(count, lines)
      clock.advance(disk:row(key).due_ms - clock.now_ms())
      client.unreadable.again_ms = client.unreadable.again_ms and math.huge
      assert.equal(1, assert(client:work()).refreshed)
      assert.equal(count, lines)
    end)
  end

  it("many: one that has become readable is refreshed within the hour", function()
    local good = disk:row(grant("ring-1"))
    local key = plant(MANY) .. "/00003"
    clock.advance(DAY_MS)
    put(client.options.client_id .. "/grant/" .. good.id, good)
    local due_ms = disk:row(key).due_ms
    assert.equal(1, work_off())
    local healed = disk:row(key)
    healed.access = client.vault:seal(key, "access", "an-access-token")
    healed.refresh = client.vault:seal(key, "refresh", "a-refresh-token")
    healed.fingerprint, healed.due_ms = client.vault:tag("refresh", "a-refresh-token"), due_ms
    put(key, healed)
    clock.advance(HOUR_MS)
    assert.equal(1, work_off())
    assert.equal(MANY * 2 - 1, lines)
  end)

  it("many links under way: each is tried once too", function()
    local key = offline.grant(client, { account = "ring-1", state = "matched", conducted = true })
    local row = disk:row(key)
    for i = 1, MANY do put(("%s/%05d"):format(key, i), row) end
    disk.memory:delete(key)
    local hooks = 0
    client:on("before_confirm", function() hooks = hooks + 1 end)
    clock.advance(60000)
    assert.equal(0, work_off())
    assert.equal(MANY, lines)
    assert(client:work())
    assert.same({ MANY, 0 }, { lines, hooks })
  end)
end)
