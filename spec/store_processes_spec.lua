-- Several processes with one SQLite file: none loses what another wrote, and one that is killed holds
-- nobody up for longer than its lease.

local child = require "support.child"
local core = require "ringlink.core"
local stores = require "support.stores"

local HOUR_MS = 3600 * 1000
local SCRIPT = "spec/support/store_child.lua"

describe("processes at an SQLite store at once", function()
  after_each(function()
    child.stop_all()
    stores.remove_all()
  end)

  local function start_all(mode, path, names, count)
    local children = {}
    for i, name in ipairs(names) do children[i] = child.start(SCRIPT, { mode, path, name, count }) end
    return children
  end

  local function said_by(children)
    local said = {}
    for i, process in ipairs(children) do
      local status, output = process:wait()
      assert.equal(0, status, output)
      said[i] = output:gsub("%s+$", "")
    end
    return said
  end

  it("lose no write of each other's", function()
    local path = stores.new_path()
    local store = stores.sqlite(path)
    store:put_if("sum", { n = 0 }, 0)
    said_by(start_all("count", path, { "a", "b", "c", "d" }, 25))
    assert.equal(100, store:get("sum").n)
    local delta, versions = store:unclaimed(0), {}
    assert.equal(100, #delta.rows)
    for _, entry in ipairs(delta.rows) do
      assert.is_nil(versions[entry.version])
      versions[entry.version] = true
    end
    store:close()
  end)

  it("may all make the file", function()
    for _ = 1, 3 do
      local path = stores.new_path()
      assert.same({ "opened", "opened", "opened", "opened" },
        said_by(start_all("open", path, { "a", "b", "c", "d" }, 0)))
    end
  end)

  it("get one new id between them", function()
    local said = said_by(start_all("remember", stores.new_path(), { "a", "b", "c" }, HOUR_MS))
    table.sort(said)
    assert.same({ "known", "known", "new" }, said)
  end)

  it("share events out", function()
    local path = stores.new_path()
    local store = stores.sqlite(path)
    for i = 1, 40 do store:event_add({ id = "e" .. i, received_ms = i, body = "b" }) end
    local taken, count = {}, 0
    for _, line in ipairs(said_by(start_all("take", path, { "a", "b", "c" }, 0))) do
      for id in line:gmatch("e%d+") do
        assert.is_nil(taken[id])
        taken[id], count = true, count + 1
      end
    end
    assert.equal(40, count)
    store:close()
  end)

  it("wait for a killed owner's lease no longer than it lasts", function()
    local path, ttl_ms = stores.new_path(), 1500
    local owner = child.start(SCRIPT, { "lease", path, "owner", ttl_ms })
    owner:wait_for("taken")
    local store = stores.sqlite(path)
    local taken, remaining_ms = store:lease("l", "heir", 1000)
    assert.is_false(taken)
    assert.truthy(remaining_ms > 0 and remaining_ms <= ttl_ms)
    owner:signal("KILL")
    core.sleep_ms(remaining_ms + 1)
    assert.is_true((store:lease("l", "heir", 1000)))
    store:close()
  end)

  it("that are killed lose nothing they said was stored", function()
    local path = stores.new_path()
    for round = 1, 3 do
      local writer = child.start(SCRIPT, { "put", path, "r" .. round, 100000 })
      writer:wait_for("stored " .. 10 * round)
      writer:signal("KILL")
      local _, said = writer:wait()
      local store = stores.sqlite(path)
      for i in said:gmatch("stored (%d+)\n") do
        local row = store:get(("r%d/%06d"):format(round, i))
        assert.equal(tonumber(i), row and row.i)
      end
      store:close()
    end
  end)
end)
