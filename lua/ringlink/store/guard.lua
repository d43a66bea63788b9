--- Stands before a store that outlives the process: whose it is, and what its failures become.
--
-- Invariants: nothing is read or written before the store has said whom it belongs to and the vault
-- has its tag key; whatever the store below raises or returns as a problem is raised as an error
-- object, except `nil, "conflict"`, which is an answer. It opens nothing when it is made.
--
-- The stamp: `stamp(wanted)` keeps what it is given first and answers with what is kept ever after;
-- `restamp(was, now)` replaces the sealed form of its tag_key. A store that has not got both keeps
-- the same in a row.

local errors = require "ringlink.errors"

local M = {}

--- What a store must have.
M.PORT = { "get", "put_if", "delete", "find", "due", "unclaimed", "lease", "release", "remember",
  "event_add", "event_take", "event_release", "event_done", "event_forget", "event_pending",
  "event_replace", "prune", "close" }

local OWNERSHIP = { "api_url", "oauth_url", "client_id", "environment" }
local STAMP_FIELD = "tag_key"

---@class ringlink.GuardedStore
---@field inner table the store itself
---@field vault ringlink.SealedVault
---@field owner table<string, string> whose store it has to be
---@field opened boolean
local Guard = {}
Guard.__index = Guard

--- A store behind its guard. The vault is told the tag key at first use.
---@param inner table fills the port
---@param vault ringlink.SealedVault
---@param options table api_url, oauth_url, client_id, environment
---@return ringlink.GuardedStore
function M.new(inner, vault, options)
  local owner = {}
  for _, name in ipairs(OWNERSHIP) do owner[name] = options[name] end
  local self = setmetatable({ inner = inner, vault = vault, owner = owner, opened = false }, Guard)
  vault.fetch_tag_key = function() self:open() end
  return self
end

--- Which functions of the port a table lacks.
---@param store table
---@return string[]
function M.missing(store)
  local lacking = {}
  for _, name in ipairs(M.PORT) do
    if type(store[name]) ~= "function" then lacking[#lacking + 1] = name end
  end
  return lacking
end

-- Failures ------------------------------------------------------------------------------------

local function failure(name, problem)
  if errors.is(problem) or errors.is_interruption(problem) then return problem end
  return errors.new("store_error", { stage = "store", cause = problem,
    detail = name .. ": " .. errors.describe(problem) })
end

local function checked(name, ok, ...)
  if not ok then error(failure(name, (...)), 0) end
  local value, problem = ...
  if value == nil and problem ~= nil and problem ~= "conflict" then error(failure(name, problem), 0) end
  return ...
end

local function call(self, name, ...)
  return checked(name, pcall(self.inner[name], self.inner, ...))
end

-- Whose it is ---------------------------------------------------------------------------------

local function check_owner(self, stored)
  for _, name in ipairs(OWNERSHIP) do
    if stored[name] ~= nil and stored[name] ~= self.owner[name] then
      errors.new("store_belongs_elsewhere", { stage = "store",
        detail = ("its %s is %s, this client's is %s"):format(name, tostring(stored[name]),
          self.owner[name]) }):raise()
    end
  end
end

local function stamp_key(self)
  return self.owner.client_id .. "/stamp"
end

local function wanted_stamp(self, tag_key)
  local wanted = { [STAMP_FIELD] = tag_key }
  for name, value in pairs(self.owner) do wanted[name] = value end
  return wanted
end

local function row_of(stamp)
  local row = { kind = "stamp", state = "stamp" }
  for name, value in pairs(stamp) do row[name] = value end
  return row
end

local function keeps_stamps(store)
  return type(store.stamp) == "function" and type(store.restamp) == "function"
end

local function keep_in_row(self, wanted)
  local key = stamp_key(self)
  local row = call(self, "get", key)
  if row then return row end
  if call(self, "put_if", key, row_of(wanted), 0) then return wanted end
  return (call(self, "get", key)) or errors.new("store_busy", { stage = "store" }):raise()
end

local function keep_stamp(self, wanted)
  if keeps_stamps(self.inner) then return (call(self, "stamp", wanted)) end
  return keep_in_row(self, wanted)
end

local function replace_in_row(self, was, now)
  local key = stamp_key(self)
  local row, version = call(self, "get", key)
  if not row or row[STAMP_FIELD] ~= was then return end
  row[STAMP_FIELD] = now
  call(self, "put_if", key, row, version)
end

local function seal_tag_key(self, bytes)
  return self.vault:seal(stamp_key(self), STAMP_FIELD, bytes)
end

-- A newer store key came: what the tag key is sealed with follows.
local function renew_stamp(self, bytes, was)
  local now = seal_tag_key(self, bytes)
  if keeps_stamps(self.inner) then return call(self, "restamp", was, now) end
  replace_in_row(self, was, now)
end

--- Finds out whose store this is and gives the vault its tag key, unless that is done. Raises.
function Guard:open()
  if self.opened then return end
  local wanted = wanted_stamp(self, seal_tag_key(self, self.vault.new_tag_key()))
  local stored = keep_stamp(self, wanted)
  check_owner(self, stored)
  local sealed = stored[STAMP_FIELD]
  local bytes = self.vault:open(stamp_key(self), STAMP_FIELD, sealed)
  if not bytes then
    errors.new("store_corrupt", { stage = "store", detail = "its stamp lacks the tag key" }):raise()
  end
  self.vault:set_tag_key(bytes)
  self.opened = true
  if self.vault:is_stale(sealed) then renew_stamp(self, bytes, sealed) end
end

--- Looks at the stamp again: a process that writes with an older key may have sealed it since. Raises.
function Guard:renew()
  self.opened = false
  self:open()
end

-- The port ------------------------------------------------------------------------------------

for _, name in ipairs(M.PORT) do
  Guard[name] = function(self, ...)
    self:open()
    return call(self, name, ...)
  end
end

--- How many rows are in each state; nil when the store cannot say so.
---@return { states: table<string, integer>, pending: integer }?
function Guard:tally()
  if type(self.inner.tally) ~= "function" then return nil end
  self:open()
  return (call(self, "tally"))
end

--- How the thread that carries the jobs is doing; nil where there is none. Asks the store itself nothing.
---@return { started: integer, queued: integer, at_work: integer, done: integer }?
function Guard:stats()
  return type(self.inner.stats) == "function" and call(self, "stats") or nil
end

--- Closes the store; one that was never opened needs no stamp for that.
function Guard:close()
  return call(self, "close")
end

return M
