--- The store port over an SQLite file: rows outlive the process, several processes share them.
--
-- Invariants: what a method has returned is durable. A method that cannot do its work raises an
-- error object that names the file and says what to do; "conflict" is an answer, not an error. The
-- file is opened at first use and, by C, once more after a fork.
-- Leases end by the machine's boot clock, which all its processes share and which no clock step
-- moves; a lease of another boot is void.

local codec = require "ringlink.store.codec"
local core = require "ringlink.core"
local direct = require "ringlink.store.direct"
local errors = require "ringlink.errors"

local M = {}

local EVENT_LEASE_MS = 60000
local SHOWN_BYTES_MAX = 200
local COLUMNS = { kind = true, state = true, user = true, account = true }
local ROW_COLUMNS = { kind = true, state = true, user = true, account = true, due_ms = true }
local EVENT_COLUMNS = { id = true, alias = true, account = true, received_ms = true, state = true,
  owner = true, until_ms = true, attempts = true }
local WHOLE_FILE = { "api_url", "oauth_url", "environment" }   -- the same for all who share it

---@class ringlink.SqliteStore
---@field path string
---@field client_id string whose rows these are
local Store = {}
Store.__index = Store

-- A test's clock moves leases too; the machine's own is read where all processes see the same.
local function boot_clock(clock)
  if clock.boottime_ms then return clock.boottime_ms end
  return clock.monotonic_ms == core.monotonic_ms and core.boottime_ms or clock.monotonic_ms
end

--- A store in a file, which is made when there is none; its folder must exist. Nothing is opened
--- yet.
---@param options { path: string, client_id: string, clock: table?, busy_ms: integer? }
---@return ringlink.SqliteStore
function M.new(options)
  local clock = options.clock or { now_ms = core.now_ms, monotonic_ms = core.monotonic_ms }
  return setmetatable({ path = options.path, client_id = options.client_id, clock = clock,
    boot_ms = boot_clock(clock), busy_ms = options.busy_ms, carrier = direct, closed = false }, Store)
end

--- Whether a value is such a store.
---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Store
end

--- Says who carries the jobs to the file; before the first use.
---@param carrier table open, run, scrub and close, as ringlink.store.direct has them; only run may
--- wait
function Store:carry_by(carrier)
  self.carrier = carrier
end

-- Talking to C ----------------------------------------------------------------------------------

local function raise(self, code, detail, more)
  more = more or {}
  more.stage, more.message = "store", ("%s: %s"):format(self.path, detail)
  errors.new(code, more):raise()
end

-- Opening fails in ways that do not pass by themselves, but for another process's lock.
local function open(self)
  if self.closed then errors.new("closed", { stage = "store" }):raise() end
  local db, code, detail = self.carrier.open({ path = self.path, client_id = self.client_id,
    busy_ms = self.busy_ms })
  if not db then raise(self, code, detail, { retryable = code == "store_busy" or code == "no_memory" }) end
  local boot
  boot, code, detail = core.boot_id()
  if not boot then
    self.carrier.close(db)
    raise(self, "store_error", detail, { cause = code, retryable = false })
  end
  self.db, self.boot = db, boot
  return db
end

local function check(self, result)
  if not result.error then return result end
  local detail = result.detail
  if result.sqlite_code ~= 0 then detail = ("%s (SQLite %d)"):format(detail, result.sqlite_code) end
  raise(self, result.error, detail)
end

local function ask(self, job)
  return check(self, self.carrier.run(self.db or open(self), job))
end

local function with_boot_time(self, job)
  if not self.db then open(self) end
  job.boot, job.boot_ms = self.boot, math.floor(self.boot_ms())
  return job
end

local function now_ms(self)
  return math.floor(self.clock.now_ms())
end

-- Rows and events as tables ----------------------------------------------------------------------

local function misfit(problem)
  errors.misuse("store: " .. problem)
end

local function encode(fields, columns)
  local data, problem = codec.encode(fields, columns)
  return data or misfit(problem)
end

local function decode(self, entry)
  local fields = codec.decode(entry.data)
  if not fields then raise(self, "store_corrupt", "a row cannot be read; restore a backup") end
  return fields
end

local function text_column(row, name)
  local value = row[name]
  if value ~= nil and type(value) ~= "string" then misfit(name .. " must be text") end
  return value
end

local function put_job(key, row, version)
  local job = { op = "put_if", key = key, version = version, data = encode(row, ROW_COLUMNS) }
  for name in pairs(COLUMNS) do job[name] = text_column(row, name) end
  if row.due_ms ~= nil then
    if type(row.due_ms) ~= "number" then misfit("due_ms must be a number") end
    job.due_ms = math.ceil(row.due_ms)
  end
  return job
end

local function row_of(self, entry)
  local row = decode(self, entry)
  for name in pairs(ROW_COLUMNS) do row[name] = entry[name] end
  return row
end

local function listed(self, entry)
  return { key = entry.key, row = row_of(self, entry), version = entry.version }
end

local function listing(self, entries)
  local list = {}
  for i, entry in ipairs(entries) do list[i] = listed(self, entry) end
  return list
end

local function event_of(self, entry)
  local event = decode(self, entry)
  event.id, event.alias, event.account = entry.key, entry.alias, entry.account
  event.received_ms, event.state, event.attempts = entry.received_ms, entry.state, entry.attempts
  return event
end

-- The port ---------------------------------------------------------------------------------------

--- A row and its version.
---@param key string
---@return table? row
---@return integer? version
function Store:get(key)
  local entry = ask(self, { op = "get", key = key }).entries[1]
  if entry then return row_of(self, entry), entry.version end
end

--- Writes a row if it still has the version that was read; version 0 inserts. A version never comes
--- twice, not even for a key that was deleted.
---@param key string
---@param row table flat; `due_ms` is kept in whole milliseconds
---@param version integer
---@return integer? version the new one
---@return "conflict"?
function Store:put_if(key, row, version)
  local result = ask(self, put_job(key, row, version))
  if result.yes then return result.value end
  return nil, "conflict"
end

--- Removes a row and overwrites it in the file.
---@param key string
---@param version integer? only if it still has this one
---@return boolean removed
function Store:delete(key, version)
  return ask(self, { op = "delete", key = key, version = version, now_ms = now_ms(self) }).yes
end

--- Rows by state, user (its tag) and account, in the order of their keys.
---@param query { state: string?, user: string?, account: string?, after: string?, limit: integer? }
---@return { key: string, row: table, version: integer }[]
function Store:find(query)
  return listing(self, ask(self, { op = "find", state = query.state, user = query.user,
    account = query.account, after = query.after, limit = query.limit }).entries)
end

--- Rows whose `due_ms` has come, the longest overdue first. Costs what is due, not what is stored.
---@param at_ms integer
---@param limit integer
---@param after { due_ms: integer, key: string }? only rows that come after this place
---@return { key: string, row: table, version: integer }[] due
---@return integer? next_due_ms when the earliest of the others is due
function Store:due(at_ms, limit, after)
  local result = ask(self, { op = "due", now_ms = math.floor(at_ms), limit = limit,
    due_ms = after and after.due_ms, after = after and after.key })
  return listing(self, result.entries), result.value
end

--- What changed among unclaimed rows since a change number: rows that are unclaimed now, newest
--- first, and keys that no longer are. Deletions are told for a day.
---@param after_change integer 0 for everything
---@return { rows: { key: string, row: table }[], gone: string[], change: integer }
function Store:unclaimed(after_change)
  local result = ask(self, { op = "unclaimed", change = after_change })
  local rows, gone, told = {}, {}, {}
  for _, entry in ipairs(result.entries) do
    if entry.data then
      rows[#rows + 1] = listed(self, entry)
    elseif not told[entry.key] then
      gone[#gone + 1], told[entry.key] = entry.key, true
    end
  end
  return { rows = rows, gone = gone, change = result.value }
end

--- Takes or prolongs a lease.
---@param key string
---@param owner string
---@param ttl_ms integer
---@return boolean taken
---@return integer? remaining_ms of the other owner's lease
function Store:lease(key, owner, ttl_ms)
  local result = ask(self, with_boot_time(self,
    { op = "lease", key = key, owner = owner, ttl_ms = math.ceil(ttl_ms) }))
  return result.yes, result.value
end

--- Gives a lease back; somebody else's stays.
---@param key string
---@param owner string
function Store:release(key, owner)
  ask(self, { op = "release", key = key, owner = owner })
end

--- Remembers an id for a time.
---@param kind "code"|"nonce"|"event"
---@param id string
---@param until_ms integer wall clock
---@return boolean is_new
function Store:remember(kind, id, until_ms)
  return ask(self, { op = "remember", kind = kind, key = id, now_ms = now_ms(self),
    until_ms = math.ceil(until_ms) }).yes
end

--- Stores an event as it was received, once.
---@param event { id: string, alias: string?, account: string?, received_ms: integer, body: any }
---@return "new"|"pending"|"done" state of what is stored under this id or alias
---@return string id under which it is stored
function Store:event_add(event)
  local result = ask(self, { op = "event_add", key = event.id, alias = event.alias,
    account = event.account, received_ms = math.floor(event.received_ms),
    data = encode(event, EVENT_COLUMNS) })
  if result.yes then return "new", event.id end
  return result.entries[1].state, result.entries[1].key
end

--- Takes pending events to work on; others do not get them meanwhile. Events that were put back are
--- taken once their time has come, or at once by their id.
---@param owner string
---@param limit integer
---@param id string? only this one
---@param ttl_ms integer? how long they are ours
---@return table[] events those that wait longest first; `attempts` says how often each was put back
---@return integer? next_due_ms when the next of the others may be taken, by the wall clock
function Store:event_take(owner, limit, id, ttl_ms)
  local result = ask(self, with_boot_time(self, { op = "event_take", owner = owner, limit = limit,
    key = id, now_ms = now_ms(self), ttl_ms = math.ceil(ttl_ms or EVENT_LEASE_MS) }))
  local events = {}
  for i, entry in ipairs(result.entries) do events[i] = event_of(self, entry) end
  return events, result.value
end

--- Puts an event back for a later attempt and counts this one.
---@param id string
---@param owner string
---@param not_before_ms integer? wall clock; at once without
function Store:event_release(id, owner, not_before_ms)
  ask(self, { op = "event_release", key = id, owner = owner,
    due_ms = not_before_ms and math.ceil(not_before_ms) })
end

--- Events that are not done yet, in the order of their ids, taken or not.
---@param after string? the id after which to go on
---@param limit integer
---@return { id: string, body: any }[]
function Store:event_pending(after, limit)
  local events = {}
  for i, entry in ipairs(ask(self, { op = "event_pending", after = after, limit = limit }).entries) do
    events[i] = event_of(self, entry)
  end
  return events
end

--- Puts another body into an event that is not done and still has the one that was read.
---@param id string
---@param was any
---@param body any
---@return boolean replaced
function Store:event_replace(id, was, body)
  return ask(self, { op = "event_replace", key = id, was = encode({ body = was }),
    data = encode({ body = body }) }).yes
end

--- Marks an event as done; its body is dropped, its id stays for 7 days.
---@param id string
function Store:event_done(id)
  ask(self, { op = "event_done", key = id })
end

--- Drops every event of an account; the ids stay. What was deleted before goes out of the
--- write-ahead log too, if nobody is reading it just now.
---@param account string
function Store:event_forget(account)
  ask(self, { op = "event_forget", account = account })
  if self.db then self.carrier.scrub(self.db) end      -- else it was closed meanwhile
end

--- How many rows are in each state, and how many events are pending. Reads an entry of an index for
--- each row, so keep the answer for a while.
---@return { states: table<string, integer>, pending: integer }
function Store:tally()
  local result, states = ask(self, { op = "tally" }), {}
  for _, entry in ipairs(result.entries) do states[entry.state] = entry.count end
  return { states = states, pending = result.value }
end

--- How the thread that carries the jobs is doing, where one does.
---@return { started: integer, queued: integer, at_work: integer, done: integer }?
function Store:stats()
  return self.db and self.carrier.stats and self.carrier.stats(self.db) or nil
end

--- Drops what has outlived its time: remembered ids and events that are done.
---@param at_ms integer
---@return integer pruned
function Store:prune(at_ms)
  return ask(self, with_boot_time(self, { op = "prune", now_ms = math.floor(at_ms) })).value
end

-- Whose store this is ----------------------------------------------------------------------------

local function shown(value)
  return (value:gsub("%c", " "):sub(1, SHOWN_BYTES_MAX))
end

-- Not even the write-ahead log that came with it is moved into a file that is not ours.
local function refuse_stranger(self, name, there, wanted)
  ask(self, { op = "leave" })
  raise(self, "store_belongs_elsewhere", ("its %s is %s, this client's is %s; open the right store")
    :format(name, shown(there), shown(wanted)))
end

-- What stands under a name now; `data` when nothing stood there before.
local function keep_meta(self, name, data, kind)
  local entry = ask(self, { op = data and "meta_add" or "meta_get", kind = kind, key = name, data = data }).entries[1]
  return entry and entry.data or data
end

-- One after the other, and none after one that is somebody else's: of several processes that stamp a
-- new file at the same time one gets to the end.
local function shared_stamp(self, wanted)
  local stamp = {}
  for _, name in ipairs(WHOLE_FILE) do
    stamp[name] = keep_meta(self, name, wanted[name], "file")
    if wanted[name] and stamp[name] ~= wanted[name] then
      refuse_stranger(self, name, stamp[name], wanted[name])
    end
  end
  return stamp
end

--- Whose store this is. With `wanted`, a store that belongs to nobody yet is stamped with it; one
--- that is stamped otherwise raises `store_belongs_elsewhere`. The tag key is the
--- client_id's: the first that is given stays, and is the one returned.
---@param wanted { api_url: string, oauth_url: string, environment: string, tag_key: string? }?
---@return { api_url: string?, oauth_url: string?, environment: string?, client_id: string, tag_key: string? }
function Store:stamp(wanted)
  wanted = wanted or {}
  local stamp = shared_stamp(self, wanted)
  stamp.client_id, stamp.tag_key = self.client_id, keep_meta(self, "tag_key", wanted.tag_key)
  return stamp
end

--- Replaces the tag key's sealed form by another one of the same key.
---@param was string as `stamp` gave it
---@param now string
---@return boolean replaced false when another process was first
function Store:restamp(was, now)
  return ask(self, { op = "meta_swap", key = "tag_key", was = was, data = now }).yes
end

--- Closes the file. Later calls raise `closed`.
function Store:close()
  local db = self.db
  self.closed, self.db = true, nil
  if db then self.carrier.close(db) end
end

return M
