-- A crowd at the site for MINUTES (ten): everything it is there for, Ring in trouble now and then. No request
-- fails, every link is as it should be, and the workers hold nothing more in the end than in the middle.
-- SEED chooses what visitors do and which calls meet a fault.
--
-- How it is told that nothing leaks: five times, after each fifth of the time, the crowd leaves, connections
-- end, and each worker is weighed: open files, threads, Lua's heap after a full collection, the bytes that C
-- holds. What is kept to be quick fills up in the first parts; from the third weighing to the last allowed is
-- what one byte a request would be, and something for what depends on what was asked last: in C SQLite's
-- pages, up to 2 MB of a growing file. (What is lost to the last byte the suite nginx-asan tells.)

local agreement = require "soak.agreement"
local core = require "ringlink.core"
local note = require "support.note"
local sites = require "soak.site"

local SEED = assert(tonumber(os.getenv("SEED")), "SEED is the number that chooses what happens")
local MINUTES = tonumber(os.getenv("MINUTES")) or 10
local WORKERS, CROWD = 3, 12
local USERS_A_MINUTE = 2000                    -- 330 to 470 link on a machine with two busy processors
local PARTS = { 0.2, 0.4, 0.6, 0.8, 1 }
local MIDDLE, LAST = 3, 5                      -- of the weighings
local LUA_BYTES, C_BYTES = 256 * 1024, 1024 * 1024
local SETTLE_MS = 3000                          -- of idleness, before a worker is weighed
local THREADS = 3                              -- nginx's own, one for calls to Ring, one for the store
local SOCKETS_MORE = 8                         -- connections to Ring that are kept: a few more or less

-- What Ring is in trouble with, each for so many of all calls. No answer is lost after its work was done.
local FAULTS = {
  { delay_ms = 150, rate = 0.03 },
  { status = 503, rate = 0.01 },
  { status = 500, rate = 0.005 },
  { status = 502, body = "html", rate = 0.005 },
  { status = 429, retry_after = 1, rate = 0.005 },
  { drop = "before", rate = 0.004 },
}

describe("ten minutes of everything #network", function()
  local site

  setup(function()
    site = sites.start { seed = SEED, workers = WORKERS, users = math.ceil(USERS_A_MINUTE * MINUTES),
      http2 = false }                          -- a drop takes no other call along
    site.faults = true
    for i, fault in ipairs(FAULTS) do
      local copy = { call = "*", count = "always", seed = SEED + i }
      for name, value in pairs(fault) do copy[name] = value end
      site.w:fault(copy)
    end
  end)
  teardown(function() site:remove() end)

  local begun_ms, answers, slowest_ms = nil, 0, 0
  local weighings = {}                         -- by part: pid -> what it holds; and after how many answers

  local function go_on_until(part)
    site:crowd(CROWD)
    site:run(function() return core.monotonic_ms() - begun_ms >= part * MINUTES * 60000 end)
    answers, slowest_ms = answers + site.traffic.answers, math.max(slowest_ms, site.traffic.slowest_ms)
    site:calm()
    local settled_ms = core.monotonic_ms() + SETTLE_MS
    site:run(function() return core.monotonic_ms() >= settled_ms end)
  end

  local function weigh()
    local held = site:weigh()
    for pid, weight in pairs(held) do
      weight.open_files, weight.threads = site:open_files(pid), site:status(pid, "Threads")
      weight.rss_kb = site:status(pid, "VmRSS")
    end
    weighings[#weighings + 1] = { answers = answers, held = held }
  end

  it("answers every request as it should", function()
    begun_ms = core.monotonic_ms()
    for _, part in ipairs(PARTS) do
      go_on_until(part)
      weigh()
    end
    note(("%d answers in %g minutes, the slowest after %d ms; %d of Ring's %d calls met a fault, and %d times a page "
      .. "said to try again"):format(answers, MINUTES, slowest_ms, site.faulty, site.read,
      site.counts["asked to try again"] or 0))
    assert.is_true(site.faulty > 0)
  end)

  it("keeps its workers", function()
    for pid in pairs(weighings[1].held) do assert.is_table(weighings[LAST].held[pid]) end
  end)

  it("leaks no file, socket, thread or timer", function()
    for pid, weight in pairs(weighings[LAST].held) do
      local before = weighings[MIDDLE].held[pid]
      assert.equal(before.open_files.others, weight.open_files.others)
      assert.is_true(weight.open_files.sockets <= before.open_files.sockets + SOCKETS_MORE)
      assert.equal(THREADS, weight.threads)
      assert.equal(before.timers, weight.timers)
    end
  end)

  -- One figure of a worker through all weighings, in kB.
  local function course(pid, figure, unit)
    local list = {}
    for i, weighing in ipairs(weighings) do list[i] = ("%.0f"):format(weighing.held[pid][figure] / unit) end
    return table.concat(list, " ")
  end

  it("leaks no byte", function()
    local middle, last = weighings[MIDDLE], weighings[LAST]
    local more = last.answers - middle.answers
    for pid, weight in pairs(last.held) do
      note(("a worker holds, kB: Lua %s; C %s; resident %s"):format(course(pid, "lua_bytes", 1024),
        course(pid, "c_bytes", 1024), course(pid, "rss_kb", 1)))
      assert.is_true(weight.lua_bytes - middle.held[pid].lua_bytes <= LUA_BYTES + more, "Lua's heap grows")
      assert.is_true(weight.c_bytes - middle.held[pid].c_bytes <= C_BYTES + more, "C's heap grows")
    end
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
