--- An account: a lazy handle by which a Ring user's calls are made.
--
-- A handle holds no token and no state, only ids: every call reads the store, so a handle may be
-- kept for as long as one likes.

local check = require "ringlink.check"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local face = require "ringlink.face"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local integration = require "ringlink.integration"
local request = require "ringlink.request"
local ring = require "ringlink.ring"
local steps = require "ringlink.steps"
local tokens = require "ringlink.tokens"

local M = {}

local CONFLICTS_MAX = 16

---@class ringlink.Account
---@field id string?  Ring's Account ID: stable, opaque; nil until users/me has answered
local Account = {}
Account.__index = Account
Account.__name = "ringlink.account"

--- A handle. Without `key` it means the account's current grant, at each call anew.
---@param client ringlink.Client
---@param fields { id: string?, key: string?, user: string?, problem: ringlink.Error? }
---@return ringlink.Account
function M.new(client, fields)
  return setmetatable({ client = client, id = fields.id, key = fields.key, user = fields.user,
    problem = fields.problem }, Account)
end

--- Whether a value is such a handle.
---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Account
end

--- Whether this handle may use a grant: with a user, only theirs.
---@param row table
---@return boolean
function Account:may_use(row)
  return self.user == nil or row.user == grants.user_tag(self.client, self.user)
end

local function own_grant(self)
  local row = self.client.store:get(self.key)
  return row and { key = self.key, row = row }
end

--- The grant behind the handle.
---@return { key: string, row: table }? entry
---@return ringlink.Error?
function Account:grant()
  if self.client.closed then return errors.fail("closed") end
  if self.problem then return nil, self.problem end
  local entry
  if self.id then
    entry = grants.representative(grants.of_account(self.client, self.id))
  elseif self.key then
    entry = own_grant(self)
  end
  if entry and self:may_use(entry.row) then return entry end
  return errors.fail("not_found", { detail = "no such account here, or not this user's" })
end

--- The state of the current grant, or of the newest when none is.
---@return string? state
---@return ringlink.Error?
function Account:state()
  local entry, err = self:grant()
  if not entry then return nil, err end
  return entry.row.state
end

--- What is known of the link, without any secret.
---@return table? info state, scope, user, account_identifier, status, times in ms, pending,
--- paused, flow, waiting_for, results
---@return ringlink.Error?
function Account:info()
  local entry, err = self:grant()
  if not entry then return nil, err end
  local row, client = entry.row, self.client
  local newest = self.id and grants.of_account(client, self.id)[1]
  local pending = newest and newest.key ~= entry.key and newest.row.state or nil
  return {
    id = row.account, state = row.state, status = row.status, scope = row.scope,
    user = client.vault:open(entry.key, "user", row.user_sealed),
    account_identifier = client:identifier_of(entry.key, row),
    created_ms = row.created_ms, updated_ms = row.updated_ms, linked_ms = row.linked_ms,
    refreshed_ms = row.refreshed_ms, access_expires_ms = row.access_expires_ms,
    refresh_failures = row.refresh_failures or 0, updated_at = row.updated_at, pending = pending,
    paused = row.paused, flow = row.flow, waiting_for = row.stopped,
    results = row.flow and steps.results(client, entry.key, row) or nil,
  }
end

--- A usable access token, refreshed when it is time; `tostring` masks it.
---@return userdata? secret `:reveal()` gives the text
---@return ringlink.Error?
function Account:access_token()
  local entry, err = self:grant()
  if not entry then return nil, err end
  return tokens.access(self.client, entry.key, entry.row)
end

--- Refreshes the tokens if it is time, or now when forced. Forcing also tries an account once more
--- that waits to be linked again.
---@param options { force: boolean? }?
---@return true?
---@return ringlink.Error?
function Account:refresh(options)
  local force = check.options("refresh", options, { "force" }).force
  local entry, err = self:grant()
  if not entry then return nil, err end
  local refresh = force and tokens.refresh or tokens.access
  local done, failure = refresh(self.client, entry.key, entry.row)
  if not done then return nil, failure end
  return true
end

--- Makes a call in the user's name.
---@param spec ringlink.Request
---@return ringlink.Answer?
---@return ringlink.Error?
function Account:request(spec)
  local entry, err = self:grant()
  if not entry then return nil, err end
  return request.send(self.client, entry.key, spec, entry.row)
end

--- GETs a path and returns the decoded answer.
---@param path string|(string|number)[]
---@param query table<string, string|number|boolean>?
---@return any body
---@return ringlink.Error?
function Account:get(path, query)
  local response, err = self:request({ path = path, query = query })
  if not response then return nil, err end
  if response.json == nil then
    return errors.fail("bad_response", { stage = "request", status = response.status,
      detail = "the answer is not JSON" })
  end
  return response.json
end

--- Iterates over the pages of a listing, following `links.next`; raises the error object.
---@param path string|(string|number)[]
---@param query table<string, string|number|boolean>?
---@return fun(): table?
function Account:pages(path, query)
  return request.pages(self, path, query)
end

--- GET /v1/users/me: the Ring user's own data. A 403 here means a refused token (contract 5).
---@return table? data id and attributes
---@return ringlink.Error?
function Account:me()
  local entry, err = self:grant()
  if not entry then return nil, err end
  return tokens.me(self.client, entry.key, entry.row)
end

--- All that is held about this account, grant by grant, without any secret.
---@return table?
---@return ringlink.Error?
function Account:export()
  local info, err = self:info()
  if not info then return nil, err end
  local list = {}
  for i, entry in ipairs(self.id and grants.of_account(self.client, self.id) or {}) do
    list[i] = { state = entry.row.state, created_ms = entry.row.created_ms,
      linked_ms = entry.row.linked_ms, scope = entry.row.scope }
  end
  return { account = info, grants = list }
end

-- Forgetting ----------------------------------------------------------------------------------

-- Several may forget at once; the last word stays.
local function leave_tombstone(client, account_id)
  local key = grants.tombstone_key(client, account_id)
  local now = client.clock.now_ms()
  local row = { kind = "gone", state = "gone", client_id = client.options.client_id,
    created_ms = now, due_ms = now + client.options.unclaimed_max_age_s * 1000 }
  for _ = 1, CONFLICTS_MAX do
    local stone, version = client.store:get(key)
    if stone and stone.created_ms >= now then return true end
    if client.store:put_if(key, row, version or 0) then return true end
  end
  return errors.fail("store_busy", { stage = "forget" })
end

local CLAIMED = { matched = true, confirming = true }

-- A claim on a grant that is another user's until it is confirmed.
local function is_lent(row)
  return CLAIMED[row.state] ~= nil and row.prior_user ~= nil and row.prior_user ~= row.user
end

local function somebody_elses(list, user)
  if user == nil then return false end
  for _, entry in ipairs(list) do
    local owner = entry.row.user
    if owner ~= nil and (owner ~= user or is_lent(entry.row)) then return true end
  end
  return false
end

local function end_claim(row)
  return grants.has(row, "post_maybe") and "unsettled" or "release"
end

-- What was lent goes back to whose it was.
local function drop(client, entry)
  if not is_lent(entry.row) then return client.store:delete(entry.key) end
  local notes = {}
  local row, err = grants.apply(client, notes, entry.key, end_claim,
    { changes = integration.end_of_claim(entry.row), known = entry.row })
  flight.tell(client, notes)
  return row, err
end

-- Whether anything was there to go: of several who forget at once, one finds it.
local function wipe_grants(client, list, shared, user)
  local gone = false
  for _, entry in ipairs(list) do
    local dropped, problem = false, nil
    if not shared then
      dropped = client.store:delete(entry.key)
    elseif entry.row.user == user then
      dropped, problem = drop(client, entry)
    end
    if problem then return nil, problem end
    gone = dropped and true or gone
  end
  return gone
end

--- Wipes what is held about an account. With a user: when another partner user has a part in it, only
--- this one's grants go, and the account lives on.
---@param client ringlink.Client
---@param account_id string
---@param user string? the tag of a user
---@return true?
---@return ringlink.Error?
function M.wipe(client, account_id, user)
  local list = grants.of_account(client, account_id)
  local shared = somebody_elses(list, user)
  if not shared then
    local stone, refusal = leave_tombstone(client, account_id)
    if not stone then return nil, refusal end
    client.store:event_forget(account_id)
  end
  local gone, problem = wipe_grants(client, list, shared, user)
  if problem then return nil, problem end
  -- Once more: events that came meanwhile, and what was deleted goes out of the store's files now.
  if not shared then client.store:event_forget(account_id) end
  if gone then
    client.hooks:tell("audit", { what = "forgotten", account = core.mask(account_id),
      at_ms = client.clock.now_ms() })
  end
  return true
end

local KNOWN_TO_RING = { awaiting = true, completed = true, relink = true }
local AS_GOOD_AS_PAUSED = { not_found = true, invalid_transition = true, unlinked = true,
  relink_required = true, refresh_outcome_unknown = true }

local function pause_at_ring(client, entry)
  if not KNOWN_TO_RING[entry.row.state] then return true end
  local paused, err = tokens.authorized(client, entry.key, function(access)
    return ring.patch(client, access, { status = "awaiting" }, "forget")
  end, { known = entry.row })
  if paused or AS_GOOD_AS_PAUSED[err.code] then return true end
  return nil, err
end

--- Wipes what is held about the account: tokens, identifiers, events. A keyed hash of its id stays
--- so that nothing in flight brings it back.
---@param options { notify: boolean? }? notify: first set Ring's status to `awaiting`
---@return true?
---@return ringlink.Error?
function Account:forget(options)
  local notify = check.options("forget", options, { "notify" }).notify
  local entry, err = self:grant()
  if not entry then return nil, err end
  local client, account_id = self.client, entry.row.account
  if notify then
    local told, problem = pause_at_ring(client, entry)
    if not told then return nil, problem end
  end
  if account_id == nil then
    client.store:delete(entry.key)
    return true
  end
  return M.wipe(client, account_id, self.user and entry.row.user)
end

function Account:__tostring()
  return ("ringlink.account(%s)"):format(self.id or "not identified yet")
end

local RETURNING = { "state", "info", "access_token", "refresh", "request", "get", "me", "export",
  "forget" }
face.cover(Account, RETURNING)
face.check_self(Account, "account", RETURNING)
face.check_self(Account, "account", { "pages" })

return M
