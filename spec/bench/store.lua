--- The store with many accounts, against SQLite alone doing the same: see bare_sqlite.c for what the
--- baseline is, ours.lua for what ringlink does.
---
--- Every figure is taken with all the accounts, and those that must not grow with them with a few, too.

local accounts = require "bench.accounts"
local pairs_of = require "bench.pair"
local shell = require "support.shell"
local world = require "support.world"

local M = {}

local ACCOUNTS_MAX = 1000000
local FEW = 1000
local LINKED = 100                     -- accounts that the sandbox knows
local LANES = 8                        -- refreshes that a pass of `work` has under way at once
local STORED = 20000                   -- accounts that both sides store
local SLICES = 10                      -- of them: both take turns
local FILLING_TASKS = 512
local ACCOUNT_BYTES_MAX = 4096
local ROUNDS = 5
-- How often something is done in a round, when there are as many accounts at least.
local READS, USERS, IDLE_PASSES, OPENINGS = 10000, 5000, 2000, 100
local WRITES = { { 1, 200 }, { 16, 800 }, { 64, 3200 }, { 256, 6400 } }     -- tasks, writes

-- Filling -------------------------------------------------------------------------------------

local function link(ours, ring, count)
  for i = 1, count do
    local install = ring:install()
    ours:ask("link", i, install.code, install.nonce, install.time)
  end
end

-- Calls fn with a directory in memory that has room for so many accounts; without one, with this one.
local function in_memory(directory, total, fn)
  local found, bytes = pcall(shell.run, "df --output=avail --block-size=1 /dev/shm | tail -n 1")
  if not found or tonumber(bytes) < total * ACCOUNT_BYTES_MAX then return fn(directory) end
  local quick = shell.run("mktemp -d -p /dev/shm"):gsub("%s", "")
  local ok, problem = pcall(fn, quick)
  shell.remove_directory(quick)
  if not ok then error(problem, 0) end
end

local function copy(from, to)
  shell.run(("cp %s %s && sync %s"):format(shell.quote(from), shell.quote(to), shell.quote(to)))
end

-- Random keys make SQLite write some pages for every account, twice: a million would keep a disk busy
-- for minutes. So most are stored where there is no disk, and both sides go on from the same file.
local function lay_ground(report, place, directory, ring, total)
  in_memory(directory, total, function(quick)
    local ours = pairs_of.start_ours(quick .. "/ground", directory, ring.ring)
    link(ours, ring, LINKED)
    local took_s = ours:ask("fill", 1, total, FILLING_TASKS).took_s
    report:note(("%d accounts were stored in %s within %.1f s"):format(total, quick, took_s))
    ours:ask("close")
    ours:stop()
    copy(quick .. "/ground", place .. ".ours")
    copy(quick .. "/ground", place .. ".bare")
    shell.run("rm " .. shell.quote(quick .. "/ground"))
  end)
end

-- The last ones are stored by both, in turns, and in the transactions that ringlink made of them.
local function store_more(pair, first, count)
  local sum = { ours = 0, bare = 0 }
  for slice = 1, SLICES do
    local from, to = math.floor(count * (slice - 1) / SLICES), math.floor(count * slice / SLICES)
    local ours = pair.ours:ask("fill", first + from, to - from, FILLING_TASKS)
    local bare = pair.bare:ask("copy", pair.place .. ".ours", to - from, math.floor(ours.jobs / ours.batches + 0.5))
    sum.ours, sum.bare = sum.ours + ours.took_s / count, sum.bare + bare.took_s / count
  end
  return sum
end

local function bytes_of(path)
  return tonumber(shell.run("stat -c %s " .. shell.quote(path)))
end

local function make(report, directory, ring, total)
  local place = ("%s/%d"):format(directory, total)
  local count = math.min(STORED, math.ceil(total / 2))
  lay_ground(report, place, directory, ring, total - count)
  local pair = pairs_of.start(place, directory, ring.ring)
  local store = { place = place, total = total, stored = store_more(pair, total - count + 1, count),
    plain_bytes = pair.ours:ask("plain").bytes * total }
  pair:stop()
  store.bytes = bytes_of(place .. ".ours")
  return store
end

-- Reading -------------------------------------------------------------------------------------

local function times(most, store)
  return math.min(most, store.total)
end

-- What ringlink does in each of these is noted by a process of its own: keeping it takes memory.
local function keep_logs(store, directory, ring)
  local logs = { read = directory .. "/read", users = directory .. "/users", open = directory .. "/open" }
  local pair = pairs_of.start(store.place, directory, ring.ring)
  pair:keep(logs.open, "open")
  pair:keep(logs.read, "read", times(READS, store), 1, store.total)
  pair:keep(logs.users, "users", times(USERS, store), 1, store.total)
  pair:stop()
  return logs
end

local function open_both(pair, store, logs)
  local count, bare_s = times(OPENINGS, store), 0
  for _ = 1, count do
    pair.bare:ask("close")
    bare_s = bare_s + pair.bare:ask("open", store.place .. ".bare").took_s + pair:replay(logs.open).took_s
  end
  return { ours = pair.ours:ask("open", count).took_s / count, bare = bare_s / count }
end

local function select_all(pair, log, count, ...)
  local answer = pair.bare:ask("select", log, ...)
  assert(answer.selects == count, "reading a token is no longer one SELECT")
  return answer.took_s / count
end

local function read_both(pair, store, logs)
  local count = times(READS, store)
  return {
    ours = pair.ours:ask("read", count, 1, store.total).took_s / count,
    bare = pair:replay(logs.read).took_s / count,
    select = select_all(pair, logs.read, count),
    opened = select_all(pair, logs.read, count, accounts.TOKEN_BYTES),
  }
end

local function users_both(pair, store, logs)
  local count = times(USERS, store)
  return { ours = pair.ours:ask("users", count, 1, store.total).took_s / count,
    bare = pair:replay(logs.users).took_s / count }
end

local function idle_both(pair, store)
  local count = times(IDLE_PASSES, store)
  return { ours = pair:keep(pair.log, "work", count, LINKED).took_s / count,
    bare = pair:replay().took_s / count }
end

local function use(store, directory, ring)
  local logs = keep_logs(store, directory, ring)
  local pair = pairs_of.start(store.place, directory, ring.ring)
  store.opened = pair:memory()
  store.read = pairs_of.rounds(ROUNDS, function() return read_both(pair, store, logs) end)
  store.users = pairs_of.rounds(ROUNDS, function() return users_both(pair, store, logs) end)
  store.used = pair:memory()
  pair:stop()
  pair = pairs_of.start(store.place, directory, ring.ring)
  store.idle = pairs_of.rounds(ROUNDS, function() return idle_both(pair, store) end)
  store.open = pairs_of.rounds(ROUNDS, function() return open_both(pair, store, logs) end)
  pair:stop()
end

-- Working -------------------------------------------------------------------------------------

local function work_round(pair)
  pair:keep(pair.log, "overdue", LINKED)
  pair:replay()
  local ours = pair:keep(pair.log, "work", 1, LINKED)
  assert(ours.refreshed == LINKED, "not all that was due was refreshed")
  return { ours = ours.took_s, bare = pair:replay().took_s, requests = pair.ours:ask("refresh", LANES).took_s }
end

local function work(store, directory, ring)
  local pair = pairs_of.start(store.place, directory, ring.ring)
  for _ = 1, LINKED do pair.ours:ask("loose", ring:install().code) end
  store.work = pairs_of.rounds(ROUNDS, function() return work_round(pair) end)
  pair:stop()
end

-- Writing -------------------------------------------------------------------------------------

local function write_round(pair, store, tasks, count, seed)
  local ours = pair:keep(pair.log, "write", tasks, count, seed, store.total)
  return { ours = ours.took_s / count, bare = pair:replay().took_s / count }
end

local function write(store, directory, ring)
  local pair = pairs_of.start(store.place, directory, ring.ring)
  store.writes = {}
  for i, spec in ipairs(WRITES) do
    store.writes[i] = pairs_of.rounds(ROUNDS, function(round)
      return write_round(pair, store, spec[1], times(spec[2], store), i * ROUNDS + round)
    end)
    store.writes[i].tasks = spec[1]
  end
  pair:stop()
end

-- The report ----------------------------------------------------------------------------------

local SAME = "SQLite alone, the same statements"

local function tell_size(report, store)
  report:section("disk and memory")
  report:line("the file", store.bytes, "bytes", store.sums.data_bytes, "the rows, sealed and encoded")
  report:line("the file", store.bytes, "bytes", store.plain_bytes, "what is in them, in the clear")
  report:line("memory once open", store.opened.ours.now, "bytes", store.opened.bare.now, SAME)
  report:line("memory after use, at most", store.used.ours.most, "bytes", store.used.bare.most, SAME)
end

local function tell_times(report, store)
  report:section("time")
  report:line("storing an account", store.stored.ours, "s", store.stored.bare, SAME)
  report:line("opening", store.open.ours, "s", store.open.bare, SAME)
  report:line("access_token(), fresh", store.read.ours, "s", store.read.bare, SAME)
  report:line("access_token(), fresh", store.read.ours, "s", store.read.select, "the SELECT, no transaction")
  report:line("access_token(), fresh", store.read.ours, "s", store.read.opened, "the SELECT and an AES-GCM opening")
  report:line("a user's accounts", store.users.ours, "s", store.users.bare, SAME)
  report:line("work, nothing due", store.idle.ours, "s", store.idle.bare, SAME)
  report:line(("work, %d due"):format(LINKED), store.work.ours, "s", store.work.bare, SAME)
  report:line(("work, %d due"):format(LINKED), store.work.ours, "s", store.work.requests, "the same requests, no store")
  report:line(("work, %d due"):format(LINKED), store.work.ours, "s", store.work.bare + store.work.requests,
    "both of these")
end

local function tell_writes(report, store)
  local alone = store.writes[1].bare
  report:section("a row read and changed, by tasks at the same time")
  for _, took in ipairs(store.writes) do
    local name = took.tasks .. (took.tasks == 1 and " task" or " tasks")
    report:line(name, took.ours, "s", took.bare, SAME .. " and commits")
    if took.tasks > 1 then report:line(name, took.ours, "s", alone, "SQLite alone, a commit each") end
  end
end

-- Reading from a larger tree takes SQLite longer, too.
local function tell_growth(report, many, few)
  report:section(("how much more %d accounts take than %d"):format(many.total, few.total))
  local function line(name, of)
    report:line(name, of(many, "ours") / of(few, "ours"), "times", of(many, "bare") / of(few, "bare"),
      "the same of SQLite alone")
  end
  line("memory once open", function(store, whose) return store.opened[whose].now end)
  line("memory after use, at most", function(store, whose) return store.used[whose].most end)
  line("opening", function(store, whose) return store.open[whose] end)
  line("access_token(), fresh", function(store, whose) return store.read[whose] end)
  line("a user's accounts", function(store, whose) return store.users[whose] end)
  line("work, nothing due", function(store, whose) return store.idle[whose] end)
end

local function measure(report, directory, ring, total)
  local few = make(report, directory, ring, math.min(FEW, math.ceil(total / 10)))
  local many = make(report, directory, ring, total)
  use(few, directory, ring)
  use(many, directory, ring)
  work(many, directory, ring)
  write(many, directory, ring)
  pairs_of.compare(few.place, directory)
  many.sums = pairs_of.compare(many.place, directory)
  return many, few
end

--- Measures and reports.
function M.run(report, settings)
  local ring = world.start()
  assert(ring.ring:control("limits", { off = true }))
  local ok, many, few = pcall(measure, report, settings.directory, ring, settings.accounts or ACCOUNTS_MAX)
  ring:stop()
  if not ok then error(many, 0) end
  tell_size(report, many)
  tell_times(report, many)
  tell_writes(report, many)
  tell_growth(report, many, few)
end

return M
