--- Grants: the rows that hold a pair of tokens and the link it is on its way to.
--
-- Invariants: every write compares the version that was read; the flow fields (state, base, resume,
-- flags, time_ms, code_ms) change only through the core's link machine; tokens, code, nonce, user
-- and identifier are sealed. Which grant is an account's current one is derived, never stored, so it
-- cannot disagree with the rows.
-- A row that was read or written here may be handed to `update` and `apply` as known: they begin with it
-- instead of reading it again. Should it be stale, the write finds another version, and a refusal is not
-- believed before the row was read again; so nobody who waits in between has to care.
-- What a partner must hear of is written together with it: the column `owed` names the hook until it
-- was told, and a row that owes one is due. So the process that finds out may die in between.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local sealed = require "ringlink.sealed"

local M = {}

local CONFLICTS_MAX = 16
local TERMINAL_KEEP_MS = 30 * 24 * 3600 * 1000
local REFRESH_SPREAD = 0.1               -- daily refreshes are spread over the last tenth

--- Put into `changes` to take a column away.
M.NONE = {}

-- The hook that a row owes which has come to such an end.
local OWED = { relink = "relink_required", failed = "failed", unlinked = "unlinked" }

--- The key of a grant's row.
---@param client ringlink.Client
---@param id string
---@return string
function M.key(client, id)
  return client.options.client_id .. "/grant/" .. id
end

--- The key of the row that maps a code to its grant.
---@param client ringlink.Client
---@param code string
---@return string
function M.code_key(client, code)
  return client.options.client_id .. "/code/" .. client.vault:tag("code", code)
end

--- The key of what is left of a forgotten account: a keyed hash and a time.
---@param client ringlink.Client
---@param account_id string
---@return string
function M.tombstone_key(client, account_id)
  return client.options.client_id .. "/gone/" .. client.vault:tag("account", account_id)
end

-- When a row needs attention ------------------------------------------------------------------

local function refresh_due(client, row)
  local interval_ms = client.options.refresh_interval_s * 1000
  return (row.refreshed_ms or row.created_ms) + interval_ms * (1 - REFRESH_SPREAD * row.spread)
end

-- Steps may be left after the PATCH as before it; one that waits is asked again when it said.
local function linked_due(client, row)
  if row.conducted then return row.updated_ms + client.options.deadline_ms end
  return math.min(refresh_due(client, row), row.ask_again_ms or math.huge)
end

local DUE = {
  exchanging = function(client, row) return row.created_ms + client.options.deadline_ms end,
  identifying = function(client, row) return row.updated_ms + client.options.deadline_ms end,
  unclaimed = function(client, row)
    return math.min(refresh_due(client, row), row.created_ms + client.options.unclaimed_max_age_s * 1000)
  end,
  matched = function(client, row) return row.updated_ms + client.options.deadline_ms end,
  confirming = function(client, row) return row.updated_ms + client.options.deadline_ms end,
  awaiting = linked_due,
  completed = linked_due,
  relink = function(client, row)          -- one that was never anybody's is dropped in the end
    if row.user or row.linked_ms then return nil end
    return row.created_ms + client.options.unclaimed_max_age_s * 1000
  end,
  failed = function(_, row) return row.updated_ms + TERMINAL_KEEP_MS end,
  superseded = function(_, row) return row.updated_ms + TERMINAL_KEEP_MS end,
  unlinked = function(_, row) return row.updated_ms + TERMINAL_KEEP_MS end,
}

-- Whoever found out what is owed is given the time to tell it.
local function due_ms(client, row)
  local due = DUE[row.state](client, row)
  if row.owed then due = math.min(due or math.huge, row.updated_ms + client.options.deadline_ms) end
  return due and math.floor(math.max(due, row.not_before_ms or 0))
end

--- Whether a grant's link carries a flag of the link machine.
---@param row table
---@param flag string a name in core.link_flags
---@return boolean
function M.has(row, flag)
  return math.floor(row.flags / core.link_flags[flag]) % 2 == 1
end

-- What is known of a row ------------------------------------------------------------------------

-- row -> its version in the store, for as long as somebody has the row.
local versions = setmetatable({}, { __mode = "k" })

local function note(row, version)
  versions[row] = version
  return row
end

local function copy_of(row)
  local copy = {}
  for name, value in pairs(row) do copy[name] = value end
  return copy
end

-- Reading and writing -------------------------------------------------------------------------

local function store_failed(problem)
  if errors.is(problem) then return nil, problem end
  return errors.fail("store_error", { cause = problem, detail = errors.describe(problem) })
end

--- A new grant, unless its key is taken.
---@param client ringlink.Client
---@param key string
---@param row table
---@return table|false|nil row as it is stored now; false when another one was first
---@return ringlink.Error?
function M.insert(client, key, row)
  local now = client.clock.now_ms()
  row.kind, row.client_id = "grant", client.options.client_id
  row.created_ms, row.updated_ms = now, now
  row.spread = client:random_unit()
  row.due_ms = due_ms(client, row)
  local version, problem = client.store:put_if(key, row, 0)
  if version then return note(row, version) end
  if problem == "conflict" then return false end
  return store_failed(problem)
end

--- Reads a grant.
---@param client ringlink.Client
---@param key string
---@return table? row
---@return any version_or_error
function M.load(client, key)
  local row, version = client.store:get(key)
  if row then return note(row, version), version end
  if version ~= nil then return store_failed(version) end
  return errors.fail("not_found", { detail = "this grant is not stored (any more)" })
end

--- Grants by state, user (its tag) or account.
---@param client ringlink.Client
---@param query table as of the store's `find`
---@return { key: string, row: table }[]
function M.find(client, query)
  local list = client.store:find(query)
  for _, entry in ipairs(list) do note(entry.row, entry.version) end
  return list
end

local function merge(row, changes)
  for name, value in pairs(changes) do
    if value == M.NONE then row[name] = nil else row[name] = value end
  end
end

local function put_all(target, source)
  for name, value in pairs(source) do target[name] = value end
end

local function write(client, key, row, changes, version)
  merge(row, changes)
  row.updated_ms = client.clock.now_ms()
  row.due_ms = due_ms(client, row)
  sealed.renew(client.vault, key, row)
  return client.store:put_if(key, row, version)
end

-- What is known stays as it is, for whoever has it.
local function begin_with(client, key, known)
  if known then return copy_of(known), versions[known] end
  return M.load(client, key)
end

--- Changes a grant by compare-and-set, reading again after a conflict. Fields that an older store
--- key sealed are sealed anew on the way.
---@param client ringlink.Client
---@param key string
---@param change fun(row: table): table?, ringlink.Error? the columns to write, or nil to leave it
---@param known table? the row as it was read or written here: saves reading it
---@return table? row as it stands now
---@return ringlink.Error?
function M.update(client, key, change, known)
  known = known and versions[known] and known
  for _ = 1, CONFLICTS_MAX do
    local row, version = begin_with(client, key, known)
    if not row then return nil, version end
    local changes, err = change(row)
    if changes then
      local written, problem = write(client, key, row, changes, version)
      if written then return note(row, written) end
      if problem ~= "conflict" then return store_failed(problem) end
    elseif not known then
      return nil, err
    end
    known = nil
  end
  return errors.fail("store_busy", { detail = "the row changed again and again" })
end

local WIPED = { access = M.NONE, refresh = M.NONE, fingerprint = M.NONE, intent = M.NONE,
  intent_ms = M.NONE, intent_owner = M.NONE, code = M.NONE, nonce = M.NONE }
local WIPING = { failed = true, superseded = true, unlinked = true }
local SETTLED = { completed = true, unclaimed = true }

local function transition(client, row, event, arg)
  local link, code = core.link_apply(row, event, client.clock.now_ms(), arg)
  if not link then
    return errors.fail(code, { detail = ("%s in state %s"):format(event, row.state) })
  end
  local sound, broken = core.link_check(link)
  assert(sound, broken)
  link.base, link.resume = link.base or M.NONE, link.resume or M.NONE
  if link.state ~= row.state then
    link.put_offs, link.not_before_ms = M.NONE, M.NONE
    link.owed = OWED[link.state] or M.NONE
  end
  if WIPING[link.state] then put_all(link, WIPED) end
  if SETTLED[link.state] then link.nonce = M.NONE end
  return link
end

--- Takes a grant through one transition of the link machine and stores it; the transition is noted
--- for the hooks.
---@param client ringlink.Client
---@param notes table what hooks are to be told, once the section is over
---@param key string
---@param event string|fun(row: table): string? one of core.link_events; nil leaves the flow as it is
---@param more { arg: any, changes: table|(fun(row: table): table)|nil,
--- guard: (fun(row: table): boolean?, ringlink.Error?)?, known: table? }? `known` as of `update`
---@return table? row
---@return ringlink.Error?
function M.apply(client, notes, key, event, more)
  more = more or {}
  local from
  local row, err = M.update(client, key, function(row)
    if more.guard then
      local ok, refusal = more.guard(row)
      if not ok then return nil, refusal end
    end
    from = row.state
    local name = event
    if type(event) == "function" then name = event(row) end
    local changes, failure = {}, nil
    if name then changes, failure = transition(client, row, name, more.arg) end
    if not changes then return nil, failure end
    local also = more.changes or {}
    put_all(changes, type(also) == "function" and also(row) or also)
    return changes
  end, more.known)
  if not row then return nil, err end
  if from ~= row.state then
    notes[#notes + 1] = { "transition", client:handle(key, row), from, row.state,
      owing = row.owed and { key = key, hook = row.owed, known = row } or nil }
  end
  return row
end

--- A guard for `apply`: the row is still the claim that somebody was asked about. What they said of it says
--- nothing about another one's, or the next one of theirs.
---@param before table the row as it was then
---@return fun(row: table): boolean?, ringlink.Error?
function M.same_claim(before)
  return function(row)
    if row.state == before.state and row.user == before.user and row.nonce_tag == before.nonce_tag then
      return true
    end
    return errors.fail("invalid_transition", { stage = "link",
      detail = "somebody else took the link elsewhere meanwhile" })
  end
end

--- The hooks have heard what a row owed them. A store that does not take it lets them hear it again.
---@param client ringlink.Client
---@param owing { key: string, hook: string, known: table? } `known` as of `update`
function M.settle(client, owing)
  errors.catch(M.update, client, owing.key, function(row)
    return row.owed == owing.hook and { owed = M.NONE, not_before_ms = M.NONE } or nil
  end, owing.known)
end

--- Takes it upon the caller to tell what a row owes; for a while nobody else does.
---@param client ringlink.Client
---@param key string
---@return table? row nil when there is nothing (any more) to tell
function M.take_owed(client, key)
  return M.update(client, key, function(row)
    local now = client.clock.now_ms()
    if not row.owed or (row.not_before_ms or 0) > now then return nil end
    return { not_before_ms = now + client.options.deadline_ms }
  end)
end

--- Whether the daily refresh of a row is overdue, whatever else is to be done with it.
---@param client ringlink.Client
---@param row table
---@return boolean
function M.is_refresh_due(client, row)
  return refresh_due(client, row) <= client.clock.now_ms()
end

--- Whether a linked row has partner's steps to be taken on: left by a process, or asked again by now.
---@param client ringlink.Client
---@param row table
---@return boolean
function M.has_steps_due(client, row)
  if row.state ~= "awaiting" and row.state ~= "completed" then return false end
  return row.conducted or (row.ask_again_ms or math.huge) <= client.clock.now_ms()
end

-- How rows end --------------------------------------------------------------------------------

-- Of what Ring says only these words are kept in the clear.
local KEPT_TITLES = { invalid_grant = true, ["Not Found"] = true }

--- The columns that keep what a grant fails with, so that whoever asks again hears it again.
---@param code string
---@param stage string
---@param cause ringlink.Error? Ring's answer, if it was one
---@return table changes
function M.failure_columns(code, stage, cause)
  return { failure = code, failure_stage = stage, failure_status = cause and cause.status,
    failure_title = cause and KEPT_TITLES[cause.title] and cause.title or nil }
end

local DEAD_CODE = "the code was used before, is over a minute old or another app's; the user must remove and "
  .. "reconnect the app in the Ring app"
local DEAD_CODE_INVITED = "the code was used before, is over ten minutes old or another app's, or code_verifier or "
  .. "redirect_uri is not the one it was made with; begin again with authorize_url"

-- What to do where more is known than the list of errors says.
local function cure_of(row)
  if row.failure ~= "exchange_refused" or row.failure_title ~= "invalid_grant" then return nil end
  return row.invited and DEAD_CODE_INVITED or DEAD_CODE
end

-- What Ring said, as far as it is kept: rows of earlier versions have no status and no stage.
local function said_of(row)
  return row.failure_status and errors.said(row.failure_status, row.failure_title)
end

-- An exchange that failed without an answer of Ring's was not made any more.
local function lateness_of(row)
  return row.failure_stage == "exchange" and not row.failure_status and "the code's time had passed" or nil
end

local function is_outcome_unknown(code)
  return code:find("_outcome_unknown$") and true or nil
end

local function relink_problem(row)
  local code = row.relink_code or "relink_required"
  return errors.new(code, { stage = "refresh", ambiguous = is_outcome_unknown(code) })
end

--- The error that a row has come to its end with, as far as it is kept.
---@param row table
---@param cause ringlink.Error? what Ring answered, while it is known
---@return ringlink.Error?
function M.problem_of(row, cause)
  if row.state == "relink" then return relink_problem(row) end
  if not row.failure then return nil end
  return errors.new(row.failure, {
    stage = row.failure_stage or row.account and "link" or "exchange",
    status = row.failure_status, title = row.failure_title, attempts = cause and cause.attempts, cause = cause,
    said = cause and cause.said or said_of(row), detail = lateness_of(row),
    cure = cure_of(row), ambiguous = is_outcome_unknown(row.failure),
  })
end

--- Keeps a grant out of `work` for a while after a failure.
---@param client ringlink.Client
---@param key string
---@param wait_ms integer
function M.postpone(client, key, wait_ms)
  local until_ms = math.floor(client.clock.now_ms() + wait_ms)
  return M.update(client, key, function(row)
    return { not_before_ms = until_ms, put_offs = (row.put_offs or 0) + 1 }
  end)
end

-- An account's grants -------------------------------------------------------------------------

local function newer(a, b)
  if a.row.created_ms ~= b.row.created_ms then return a.row.created_ms > b.row.created_ms end
  return a.key > b.key
end

--- All grants of an account, newest first.
---@param client ringlink.Client
---@param account_id string? nil has no grants
---@return { key: string, row: table }[]
function M.of_account(client, account_id)
  if account_id == nil then return {} end
  local list = M.find(client, { account = account_id })
  table.sort(list, newer)
  return list
end

local LIVE = { matched = true, confirming = true, awaiting = true, completed = true, relink = true }

--- Whether a grant has been linked and still is.
---@param row table
---@return boolean
function M.is_current(row)
  return row.linked_ms ~= nil and LIVE[row.state] == true
end

--- Whether a grant belongs to a link of some partner user, begun or done.
---@param row table
---@return boolean
function M.is_held(row)
  return row.user ~= nil and LIVE[row.state] == true
end

local function first(list, wanted)
  for _, entry in ipairs(list) do
    if wanted(entry.row) then return entry end
  end
end

--- The grant that speaks for an account: the current one, or the newest when none is. One whose
--- tokens Ring refuses gives way to a newer one that is on its way.
---@param list { key: string, row: table }[] newest first
---@return { key: string, row: table }?
function M.representative(list)
  local working = first(list, function(row) return M.is_current(row) and row.state ~= "relink" end)
  if working then return working end
  local refused = first(list, M.is_current)
  if not refused then return list[1] end
  return first(list, function(row) return M.is_held(row) and row.state ~= "relink" end) or refused
end

--- The tag under which a partner user's grants are found.
---@param client ringlink.Client
---@param user string
---@return string
function M.user_tag(client, user)
  return client.vault:tag("user", user)
end

return M
