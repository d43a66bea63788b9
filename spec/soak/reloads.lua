-- The site is told to reload again and again while a crowd is at it: no request fails, every link is as it
-- should be, and whatever a reload replaced is gone. SEED chooses what visitors do and when reloads come.

local agreement = require "soak.agreement"
local child = require "support.child"
local core = require "ringlink.core"
local note = require "support.note"
local process = require "ringlink.sandbox.process"
local sites = require "soak.site"

local SEED = assert(tonumber(os.getenv("SEED")), "SEED is the number that chooses what happens when")
local RELOADS = tonumber(os.getenv("RELOADS")) or 50
local WORKERS, CROWD = 3, 10
local ANSWERS_MIN, ANSWERS_MORE = 30, 200      -- between two reloads
local AT_ONCE = 0.15                           -- so many come right after the one before
local LEAVES_MS, MOST = 1000, 0.95             -- after the last request; the rest may be the machine's doing
local LEAVES_MS_MAX = 10000
local MASTER_KB_MAX = 2048                     -- that the master may grow by in the second half

describe("reloaded again and again #network", function()
  local site

  setup(function() site = sites.start { seed = SEED, workers = WORKERS, reloads = true } end)
  teardown(function() site:remove() end)

  local old, gone_ms = {}, {}                  -- workers that were told to go, and when each was gone

  local function watch()
    for pid in pairs(old) do
      if not gone_ms[pid] and not process.alive(pid) then gone_ms[pid] = core.now_ms() end
    end
  end

  local function new_workers()
    local count = 0
    for _, pid in ipairs(site:workers()) do count = count + (old[pid] and 0 or 1) end
    return count
  end

  local function reload()
    local now_ms = core.now_ms()
    for _, pid in ipairs(site:workers()) do old[pid] = old[pid] or now_ms end
    site.server:signal("HUP")
    if site.throw() < AT_ONCE then return end
    local enough = site.traffic.answers + ANSWERS_MIN + math.floor(site.throw() * ANSWERS_MORE)
    site:run(function()
      watch()
      return new_workers() == WORKERS and site.traffic.answers >= enough
    end)
  end

  local function all_gone()
    watch()
    for pid in pairs(old) do
      if not gone_ms[pid] then return false end
    end
    return new_workers() == WORKERS
  end

  -- How long each old worker stayed after its last request, in order.
  local function stays()
    local last_ms, list = {}, {}
    local log = assert(process.read(site.server.directory .. "/logs/ends.log"))
    for pid, seconds in log:gmatch("(%d+) ([%d.]+)\n") do last_ms[pid] = tonumber(seconds) * 1000 end
    for pid, told_ms in pairs(old) do
      list[#list + 1] = math.max(0, gone_ms[pid] - math.max(told_ms, last_ms[pid] or 0))
    end
    table.sort(list)
    return list
  end

  local master = {}                            -- what it held before, in the middle and in the end

  local function weigh_master()
    local open_files = site:open_files(site.server.pid)
    master[#master + 1] = { kb = site:status(site.server.pid, "VmRSS"), files = open_files.sockets + open_files.others }
  end

  it("answers every request, " .. RELOADS .. " times", function()
    site:crowd(CROWD)
    local warm = site.traffic.answers + ANSWERS_MORE
    site:run(function() return site.traffic.answers >= warm end)
    weigh_master()
    for i = 1, RELOADS do
      reload()
      if i == math.floor(RELOADS / 2) then weigh_master() end
    end
    note(("%d answers during %d reloads, the slowest after %d ms; %d requests met a connection that was closed"):format(
      site.traffic.answers, RELOADS, site.traffic.slowest_ms, site.traffic.repeated))
    site:calm()
    child.wait_until("the end of the old workers", all_gone)
  end)

  it("is left by its old workers within a second of their last request", function()
    local list = stays()
    assert.is_true(#list >= RELOADS)
    local function at(part) return list[math.max(1, math.ceil(#list * part))] end
    note(("%d workers left %d ms (median), %d ms (95 of 100), %d ms (the last) after their last request"):format(#list,
      at(0.5), at(0.95), at(1)))
    assert.is_true(at(MOST) <= LEAVES_MS, at(MOST) .. " ms")
    assert.is_true(at(1) <= LEAVES_MS_MAX, at(1) .. " ms")
  end)

  it("has a master that holds no more than before", function()
    weigh_master()
    local first, middle, last = master[1], master[2], master[3]
    note(("the master: %d files before, %d in the end; %d kB before, %d in the middle, %d in the end"):format(
      first.files, last.files, first.kb, middle.kb, last.kb))
    assert.equal(first.files, last.files)
    assert.is_true(last.kb - middle.kb <= MASTER_KB_MAX)
  end)

  it("has every account as Ring has it", function()
    local counts = agreement.check(site)
    note(("%d completed, %d unclaimed, %d paused, %d forgotten, %d removed at Ring"):format(counts.completed or 0,
      counts.unclaimed or 0, counts.paused or 0, counts.forgotten or 0, counts.unlinked or 0))
    assert.is_true(counts.completed > 0)
  end)

  it("ends in good order, with no file left and no complaint", function()
    site:stop()
  end)
end)
