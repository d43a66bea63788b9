--- From an authorization code to an unclaimed account (contract 3 and 5).
--
-- Invariants: a code is sent by one grant only, however often and wherever it is delivered; the pair
-- is durable before users/me is asked; what a crash leaves behind is finished by calling `resume`.

local check = require "ringlink.check"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local pair = require "ringlink.pair"
local ring = require "ringlink.ring"
local tokens = require "ringlink.tokens"

local M = {}

local CODE_LIFE_MS = 60000                      -- contract 3
local CODE_LIFE_INVITED_MS = 600000             -- contract 11: partner-initiated, with PKCE
local CODE_KEEP_MS = 24 * 3600 * 1000
local GRANT_ID_BYTES = 16

local function code_life_ms(row)
  return row.code_verifier and CODE_LIFE_INVITED_MS or CODE_LIFE_MS
end

-- Admission: one grant for one code -------------------------------------------------------------

-- The row that maps it, and whether it was there before: one's own grant cannot be.
local function code_row_for(client, code)
  local key = grants.code_key(client, code)
  local known = client.store:get(key)
  if known then return known, true end
  local now = client.clock.now_ms()
  local row = { kind = "code", state = "code", client_id = client.options.client_id,
    grant = core.hex(core.random(GRANT_ID_BYTES)), created_ms = now, due_ms = now + CODE_KEEP_MS }
  if client.store:put_if(key, row, 0) then return row, false end
  known = client.store:get(key)
  if known then return known, true end
  return errors.fail("store_busy", { stage = "exchange" })
end

local function admit(client, code, options)
  local code_row, is_known = code_row_for(client, code)
  if not code_row then return nil, is_known end
  local id = code_row.grant
  local key = grants.key(client, id)
  if is_known and client.store:get(key) then return key end
  if client.clock.now_ms() - code_row.created_ms > CODE_LIFE_MS then
    return errors.fail("exchange_refused", { stage = "exchange", detail = "the code was used before",
      cure = "the user must remove and reconnect the app in the Ring app" })
  end
  local row, err = grants.insert(client, key, {
    id = id, state = "exchanging", flags = 0, time_ms = 0, code_ms = client.clock.now_ms(),
    code = client.vault:seal(key, "code", code),
    code_verifier = client.vault:seal(key, "code_verifier", options.code_verifier),
    redirect_uri = options.redirect_uri, invited = options.code_verifier ~= nil or nil,
  })
  if err then return nil, err end
  return key, nil, row or nil
end

-- The token call ------------------------------------------------------------------------------

local function refuse(client, notes, key, code, cause)
  local row, problem = grants.apply(client, notes, key, "exchange_refused",
    { changes = grants.failure_columns(code, "exchange", cause) })
  if not row then return nil, problem end
  local err = grants.problem_of(row, cause)
  notes[#notes + 1] = { "failed", client:handle(key, row), err }
  return nil, err
end

local function form_of(client, key, row)
  return { grant_type = "authorization_code", code = client.vault:open(key, "code", row.code),
    code_verifier = client.vault:open(key, "code_verifier", row.code_verifier),
    redirect_uri = row.redirect_uri }
end

-- The code is unused as far as one knows: whoever comes again within its life may still get the pair.
local function unfinished(client, key, life_ms, err)
  if not err.ambiguous then
    local row, problem = grants.update(client, key, function() return { sent_ms = grants.NONE } end)
    if not row then return nil, problem end
  end
  if err.title ~= "invalid_client" then return nil, err end
  err.retryable = true
  return nil, errors.advise(err, ("check client_id and client_secret, then exchange the same code again "
    .. "within its %d s"):format(life_ms / 1000))
end

-- A store may have written the pair although it said that it could not.
local function commit(client, notes, key, columns, sent, ring_date_ms)
  columns.ring_date_ms = ring_date_ms
  columns.code, columns.code_verifier, columns.sent_ms = grants.NONE, grants.NONE, grants.NONE
  local function event(row)
    return row.fingerprint ~= columns.fingerprint and "exchanged" or nil
  end
  return grants.apply(client, notes, key, event, { changes = columns, known = sent })
end

local function exchange_section(client, notes, key)
  local row, err = pair.load(client, notes, key)
  if not row then return nil, err end
  if row.state ~= "exchanging" then return row end
  local in_doubt = row.sent_ms ~= nil
  local left_ms = row.code_ms + code_life_ms(row) - client.clock.now_ms()
  if left_ms <= 0 then
    return refuse(client, notes, key, in_doubt and "exchange_outcome_unknown" or "exchange_refused")
  end
  local form = form_of(client, key, row)           -- before anything is written
  row, err = grants.update(client, key, function() return { sent_ms = client.clock.now_ms() } end, row)
  if not row then return nil, err end
  local answer, cause = ring.token(client, form, { stage = "exchange",
    need_refresh = true,
    deadline_ms = client.clock.monotonic_ms() + math.min(left_ms, client.options.deadline_ms) })
  if answer then
    return pair.save(client, notes, key, { received = answer, write = commit, row, answer.ring_date_ms })
  end
  cause.ambiguous = cause.ambiguous or in_doubt or nil
  if cause.title ~= "invalid_grant" then return unfinished(client, key, code_life_ms(row), cause) end
  return refuse(client, notes, key, cause.ambiguous and "exchange_outcome_unknown" or "exchange_refused", cause)
end

-- Whose tokens these are ----------------------------------------------------------------------

-- A forgotten account stays forgotten for what was in flight; a new install starts afresh.
local function pass_tombstone(client, row, account_id)
  local key = grants.tombstone_key(client, account_id)
  local stone = client.store:get(key)
  if stone == nil then return true end
  if stone.created_ms >= row.created_ms then return false end
  client.store:delete(key)
  return true
end

local function identify_section(client, notes, key)
  local row, err = grants.load(client, key)
  if not row then return nil, err end
  if row.state ~= "identifying" then return row end
  local me, cause = tokens.me(client, key, row)
  if not me then
    if cause.code == "not_found" and cause.status == 404 then
      local failed = grants.apply(client, notes, key, "identify_refused",
        { changes = grants.failure_columns("not_found", "identify", cause) })
      if failed then notes[#notes + 1] = { "failed", client:handle(key, failed), cause } end
    end
    return nil, cause
  end
  local account_id, problem = check.account_id(me.id)
  if not account_id then
    return errors.fail("bad_response", { stage = "identify", cause = problem,
      detail = "data.id is no usable account id" })
  end
  if not pass_tombstone(client, row, account_id) then
    client.store:delete(key)
    return errors.fail("not_found", { stage = "identify", detail = "the account was forgotten" })
  end
  row, err = grants.apply(client, notes, key, "identified",
    { changes = { account = account_id }, known = row })
  if row then notes[#notes + 1] = { "exchanged", client:handle(key, row) } end
  return row, err
end

-- What others call ----------------------------------------------------------------------------

local SECTIONS = {
  exchanging = { "exchange/", exchange_section },
  identifying = { "identify/", identify_section },
}

--- Takes a grant on to `unclaimed`, from wherever it stands.
---@param client ringlink.Client
---@param key string
---@param known table? the row, read or written here just now
---@return ringlink.Account?
---@return ringlink.Error?
function M.resume(client, key, known)
  local row, err = known, nil
  if not row then row, err = grants.load(client, key) end
  while row and SECTIONS[row.state] do
    local prefix, section = SECTIONS[row.state][1], SECTIONS[row.state][2]
    row, err = flight.run(client, prefix .. key, section, key)
  end
  if not row then return nil, err end
  if row.failure then return nil, grants.problem_of(row) end
  return client:handle(key, row)
end

local function read_options(options)
  options = options or {}
  local given, err = check.arguments("exchange", options, { "code_verifier", "redirect_uri" })
  if not given then return nil, err end
  for _, name in ipairs({ "code_verifier", "redirect_uri" }) do
    if given[name] ~= nil then
      local value, problem = check.code(given[name], name)
      if not value then return nil, problem end
    end
  end
  return given
end

--- Stores an authorization code, unless it was delivered before, and sends nothing: from then on
--- `resume` finishes the exchange, here or in another process.
---@param client ringlink.Client
---@param code any from the wire
---@param options { code_verifier: string?, redirect_uri: string? }?
---@return string? key of the grant
---@return ringlink.Error?
---@return table? row of a grant that is new
function M.accept(client, code, options)
  local checked, err = check.code(code)
  if not checked then return nil, err end
  local given, problem = read_options(options)
  if not given then return nil, problem end
  return admit(client, checked, given)
end

--- Exchanges an authorization code and asks whose account it is.
---@param client ringlink.Client
---@param code any from the wire
---@param options { code_verifier: string?, redirect_uri: string? }?
---@return ringlink.Account?
---@return ringlink.Error?
function M.exchange(client, code, options)
  local key, err, row = M.accept(client, code, options)
  if not key then return nil, err end
  return M.resume(client, key, row)
end

return M
