--- The store port over plain tables: for tests, demos, and processes whose links may die with them.
--
-- It keeps the whole contract of the port (compare-and-set, change numbers, leases, remembered ids,
-- events) and loses everything at exit. Rows are copied in and out, so that nobody holds a live one.
-- Nothing here yields; what a persistent store would do on another thread happens at once.

local M = {}

local REMOVAL_KEEP_MS = 24 * 3600 * 1000
local EVENT_KEEP_MS = 7 * 24 * 3600 * 1000       -- contract 9: remembered, or tried, for 7 days

local INDEXED = { "account", "user", "state" }    -- the one that narrows most comes first

---@class ringlink.MemoryStore
local Store = {}
Store.__index = Store

--- A new, empty store.
---@param clock { now_ms: fun(): integer, monotonic_ms: fun(): integer }
---@return ringlink.MemoryStore
function M.new(clock)
  return setmetatable({
    clock = clock,
    rows = {},          -- key -> { row, version, change }
    removed = {},       -- key -> { change, at_ms } of its deletion
    indexes = { account = {}, user = {}, state = {} },     -- column -> value -> set of keys
    change = 0,
    leases = {},        -- key -> { owner, until_ms }
    remembered = {},    -- kind NUL id -> until_ms
    events = {},        -- id -> event with state, number, attempts, not_before_ms, owner
    event_order = {},   -- ids, oldest first
    events_seen = 0,
    aliases = {},       -- alias -> id
  }, Store)
end

local function copy(row)
  local out = {}
  for name, value in pairs(row) do out[name] = value end
  return out
end

local function next_change(self)
  self.change = self.change + 1
  return self.change
end

local function index(self, key, row, present)
  for _, column in ipairs(INDEXED) do
    local value, by_value = row[column], self.indexes[column]
    if value ~= nil then
      local keys = by_value[value] or {}
      keys[key] = present
      by_value[value] = next(keys) and keys or nil
    end
  end
end

--- A row and its version.
---@param key string
---@return table? row
---@return integer? version
function Store:get(key)
  local entry = self.rows[key]
  if entry then return copy(entry.row), entry.version end
end

--- Writes a row if it still has the version that was read; version 0 inserts.
---@param key string
---@param row table flat
---@param version integer
---@return integer? version the new one
---@return "conflict"?
function Store:put_if(key, row, version)
  local entry = self.rows[key]
  local present = entry and entry.version or 0
  if present ~= version then return nil, "conflict" end
  if entry then index(self, key, entry.row, nil) end
  self.rows[key] = { row = copy(row), version = version + 1, change = next_change(self) }
  self.removed[key] = nil
  index(self, key, row, true)
  return version + 1
end

--- Removes a row.
---@param key string
---@param version integer? only if it still has this one
---@return boolean removed
function Store:delete(key, version)
  local entry = self.rows[key]
  if not entry or (version and entry.version ~= version) then return false end
  index(self, key, entry.row, nil)
  self.rows[key] = nil
  self.removed[key] = { change = next_change(self), at_ms = self.clock.now_ms() }
  return true
end

local function matches(row, query)
  return (query.state == nil or row.state == query.state)
    and (query.user == nil or row.user == query.user)
    and (query.account == nil or row.account == query.account)
end

local function narrowest(self, query)
  for _, column in ipairs(INDEXED) do
    if query[column] ~= nil then return self.indexes[column][query[column]] or {} end
  end
  return self.rows
end

local function candidates(self, query)
  local keys = {}
  for key in pairs(narrowest(self, query)) do
    if (query.after == nil or key > query.after) and matches(self.rows[key].row, query) then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  return keys
end

local function listing(self, keys, limit)
  local list = {}
  for i = 1, math.min(#keys, limit or #keys) do
    local entry = self.rows[keys[i]]
    list[i] = { key = keys[i], row = copy(entry.row), version = entry.version }
  end
  return list
end

--- Rows by state, user (its tag) and account, in the order of their keys.
---@param query { state: string?, user: string?, account: string?, after: string?, limit: integer? }
---@return { key: string, row: table, version: integer }[]
function Store:find(query)
  return listing(self, candidates(self, query), query.limit)
end

local function comes_before(due_ms, key, other_due_ms, other_key)
  if due_ms ~= other_due_ms then return due_ms < other_due_ms end
  return key < other_key
end

--- Rows whose `due_ms` has come, the longest overdue first.
---@param now_ms integer
---@param limit integer
---@param after { due_ms: integer, key: string }? only rows that come after this place
---@return { key: string, row: table, version: integer }[] due
---@return integer? next_due_ms when the earliest of the others is due
function Store:due(now_ms, limit, after)
  local keys, later = {}, nil
  for key, entry in pairs(self.rows) do
    local due_ms = entry.row.due_ms
    if due_ms and due_ms > now_ms then
      later = math.min(due_ms, later or due_ms)
    elseif due_ms and (after == nil or comes_before(after.due_ms, after.key, due_ms, key)) then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, function(a, b)
    return comes_before(self.rows[a].row.due_ms, a, self.rows[b].row.due_ms, b)
  end)
  if #keys > limit then later = now_ms end
  return listing(self, keys, limit), later
end

--- What changed among unclaimed rows since a change number: rows that are unclaimed now, newest
--- first, and keys that no longer are. Deletions are told for a day.
---@param after_change integer 0 for everything
---@return { rows: { key: string, row: table }[], gone: string[], change: integer }
function Store:unclaimed(after_change)
  local changed, gone = {}, {}
  for key, entry in pairs(self.rows) do
    if entry.change > after_change then
      if entry.row.state == "unclaimed" then changed[#changed + 1] = key else gone[#gone + 1] = key end
    end
  end
  for key, removal in pairs(self.removed) do
    if removal.change > after_change then gone[#gone + 1] = key end
  end
  table.sort(changed, function(a, b) return self.rows[a].change > self.rows[b].change end)
  return { rows = listing(self, changed), gone = gone, change = self.change }
end

--- Takes or prolongs a lease.
---@param key string
---@param owner string
---@param ttl_ms integer
---@return boolean taken
---@return integer? remaining_ms of the other owner's lease
function Store:lease(key, owner, ttl_ms)
  local now = self.clock.monotonic_ms()
  local lease = self.leases[key]
  if lease and lease.owner ~= owner and lease.until_ms > now then
    return false, lease.until_ms - now
  end
  self.leases[key] = { owner = owner, until_ms = now + ttl_ms }
  return true
end

--- Gives a lease back; somebody else's stays.
---@param key string
---@param owner string
function Store:release(key, owner)
  local lease = self.leases[key]
  if lease and lease.owner == owner then self.leases[key] = nil end
end

--- Remembers an id for a time.
---@param kind "code"|"nonce"|"event"
---@param id string
---@param until_ms integer wall clock
---@return boolean is_new
function Store:remember(kind, id, until_ms)
  local name = kind .. "\0" .. id
  local known = self.remembered[name]
  if known and known > self.clock.now_ms() then return false end
  self.remembered[name] = until_ms
  return true
end

--- Stores an event as it was received, once.
---@param event { id: string, alias: string?, account: string?, received_ms: integer, body: any }
---@return "new"|"pending"|"done" state of what is stored under this id or alias
---@return string id under which it is stored
function Store:event_add(event)
  local id = self.events[event.id] and event.id or self.aliases[event.alias or ""]
  if id then return self.events[id].state, id end
  local stored = copy(event)
  self.events_seen = self.events_seen + 1
  stored.state, stored.number, stored.attempts = "pending", self.events_seen, 0
  self.events[event.id] = stored
  self.event_order[#self.event_order + 1] = event.id
  if event.alias then self.aliases[event.alias] = event.id end
  return "new", event.id
end

-- How long until an owner may take a pending event; by its id one need not wait for its time.
local function wait_ms(self, event, owner, by_id)
  local leased = event.owner ~= nil and event.owner ~= owner
  local wait = leased and event.until_ms - self.clock.monotonic_ms() or 0
  if event.not_before_ms and not by_id then
    wait = math.max(wait, event.not_before_ms - self.clock.now_ms())
  end
  return math.max(wait, 0)
end

local function waits_longer(a, b)
  local left, right = a.not_before_ms or a.received_ms, b.not_before_ms or b.received_ms
  if left ~= right then return left < right end
  return a.number < b.number
end

-- Pending events that an owner may take now, and how long until the next of the others.
local function takable(self, owner, id)
  local list, least = {}, nil
  for _, candidate in ipairs(id and { id } or self.event_order) do
    local event = self.events[candidate]
    if event and event.state == "pending" then
      local wait = wait_ms(self, event, owner, id ~= nil)
      if wait == 0 then
        list[#list + 1] = event
      elseif least == nil or wait < least then
        least = wait
      end
    end
  end
  table.sort(list, waits_longer)
  return list, least
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
  local list, wait = takable(self, owner, id)
  if #list > limit then wait = 0 end
  local until_ms, taken = self.clock.monotonic_ms() + (ttl_ms or 60000), {}
  for i = 1, math.min(#list, limit) do
    list[i].owner, list[i].until_ms = owner, until_ms
    taken[i] = copy(list[i])
  end
  return taken, wait and self.clock.now_ms() + wait
end

--- Puts an event back for a later attempt and counts this one.
---@param id string
---@param owner string
---@param not_before_ms integer? wall clock; at once without
function Store:event_release(id, owner, not_before_ms)
  local event = self.events[id]
  if not (event and event.owner == owner) then return end
  event.owner, event.until_ms = nil, nil
  event.attempts, event.not_before_ms = event.attempts + 1, not_before_ms
end

--- Events that are not done yet, in the order of their ids, taken or not.
---@param after string? the id after which to go on
---@param limit integer
---@return { id: string, body: any }[]
function Store:event_pending(after, limit)
  local ids = {}
  for id, event in pairs(self.events) do
    if event.state == "pending" and (after == nil or id > after) then ids[#ids + 1] = id end
  end
  table.sort(ids)
  local list = {}
  for i = 1, math.min(#ids, limit) do list[i] = { id = ids[i], body = self.events[ids[i]].body } end
  return list
end

--- Puts another body into an event that is not done and still has the one that was read.
---@param id string
---@param was any
---@param body any
---@return boolean replaced
function Store:event_replace(id, was, body)
  local event = self.events[id]
  if not event or event.state ~= "pending" or event.body ~= was then return false end
  event.body = body
  return true
end

--- Marks an event as done; its body is dropped, its id stays for 7 days.
---@param id string
function Store:event_done(id)
  local event = self.events[id]
  if event then event.state, event.body, event.owner = "done", nil, nil end
end

local function forget(self, event)
  if event.alias then self.aliases[event.alias] = nil end
  event.state, event.body, event.account, event.alias = "done", nil, nil, nil
end

--- Drops every event of an account; the ids stay.
---@param account string
function Store:event_forget(account)
  for _, event in pairs(self.events) do
    if event.account == account then forget(self, event) end
  end
end

local function prune_events(self, before_ms)
  local kept, pruned = {}, 0
  for _, id in ipairs(self.event_order) do
    local event = self.events[id]
    if event.received_ms < before_ms then
      self.events[id] = nil
      if event.alias then self.aliases[event.alias] = nil end
      pruned = pruned + 1
    else
      kept[#kept + 1] = id
    end
  end
  self.event_order = kept
  return pruned
end

local function size(set)
  local count = 0
  for _ in pairs(set) do count = count + 1 end
  return count
end

--- How many rows are in each state, and how many events are pending.
---@return { states: table<string, integer>, pending: integer }
function Store:tally()
  local states, pending = {}, 0
  for state, keys in pairs(self.indexes.state) do states[state] = size(keys) end
  for _, event in pairs(self.events) do pending = pending + (event.state == "pending" and 1 or 0) end
  return { states = states, pending = pending }
end

--- Drops what has outlived its time: remembered ids and events, done or not.
---@param now_ms integer
---@return integer pruned
function Store:prune(now_ms)
  local pruned = prune_events(self, now_ms - EVENT_KEEP_MS)
  for key, removal in pairs(self.removed) do
    if removal.at_ms < now_ms - REMOVAL_KEEP_MS then self.removed[key] = nil end
  end
  for name, until_ms in pairs(self.remembered) do
    if until_ms <= now_ms then
      self.remembered[name] = nil
      pruned = pruned + 1
    end
  end
  return pruned
end

--- Whose store this is; a store in memory belongs to whoever made it.
---@return table
function Store:stamp() -- luacheck: ignore 212
  return {}
end

--- Forgets everything.
function Store:close()
  self.rows, self.events, self.event_order = {}, {}, {}
  self.indexes = { account = {}, user = {}, state = {} }
  self.aliases, self.remembered, self.leases, self.removed = {}, {}, {}, {}
end

return M
