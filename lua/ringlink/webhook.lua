--- Ring's webhooks: verified, stored once, acted on, handed to the hooks (contract 9).
--
-- Invariants: nothing is believed before the signature over the raw body is; an event is stored
-- before it is acted on, and done only when every hook has run, or when they failed for a week;
-- acting on one twice changes nothing.

local check = require "ringlink.check"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local json = require "ringlink.json"
local sealed = require "ringlink.sealed"

local M = {}

local KEEP_MS = 7 * 24 * 3600 * 1000
local LEASE_MS = 60000
local WAIT = ("try again; should whoever is at it have died, in %d s at the latest"):format(LEASE_MS / 1000)
local PAUSE_MS = 60000                 -- after a failure, doubled for each further one
local PAUSE_MS_MAX = 3600000
local BODY_BYTES_MAX = 1024 * 1024     -- what can be sealed

---@class ringlink.Event
---@field id string          meta.request_id
---@field type string
---@field sub_type string?
---@field account_id string?
---@field time_ms integer?   meta.time
---@field meta table         as sent
---@field data table         as sent

-- Reading -------------------------------------------------------------------------------------

local function days_from_civil(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local year_of_era = year - era * 400
  local day_of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  local day_of_era = year_of_era * 365 + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100) + day_of_year
  return era * 146097 + day_of_era - 719468
end

local function zone_ms(zone)
  if zone == "Z" then return 0 end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
  if not sign then return nil end
  local ms = (tonumber(hours) * 60 + tonumber(minutes)) * 60000
  return sign == "-" and -ms or ms
end

-- ISO 8601 with any fraction; nil for anything else.
local function iso_ms(text)
  if type(text) ~= "string" then return nil end
  local year, month, day, hour, minute, second, fraction, zone =
    text:match("^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)(%.?%d*)(.+)$")
  local offset = zone and zone_ms(zone)
  if not offset then return nil end
  local days = days_from_civil(tonumber(year), tonumber(month), tonumber(day))
  local seconds = ((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second)
  return math.floor((seconds + (tonumber("0" .. fraction) or 0)) * 1000) - offset
end

local function text_or_nil(value)
  return type(value) == "string" and value ~= "" and value or nil
end

local function read(body)
  local decoded = json.decode_table(body)
  if not decoded then
    return errors.fail("invalid_request", { stage = "webhook", detail = "the body is not JSON" })
  end
  local meta = type(decoded.meta) == "table" and decoded.meta or {}
  local data = type(decoded.data) == "table" and decoded.data or {}
  return {
    id = text_or_nil(meta.request_id) or text_or_nil(data.id) or core.hex(core.sha256(body)),
    type = text_or_nil(data.type) or "unknown",
    sub_type = text_or_nil(data.subType),
    account_id = check.account_id(meta.account_id) and meta.account_id or nil,
    time_ms = iso_ms(meta.time), meta = meta, data = data,
  }
end

--- Verifies a webhook's signature over the raw body and reads it. Never raises, whatever the input.
---@param client ringlink.Client
---@param body any
---@param signature any the X-Signature header
---@return ringlink.Event?
---@return ringlink.Error?
function M.verify(client, body, signature)
  if not client.options.hmac_key:verify(body, signature) then
    return errors.fail("signature", { stage = "webhook" })
  end
  if #body > BODY_BYTES_MAX then
    return errors.fail("invalid_request", { stage = "webhook",
      detail = ("the body has %d bytes, %d bytes are allowed"):format(#body, BODY_BYTES_MAX) })
  end
  return read(body)
end

-- Acting --------------------------------------------------------------------------------------

local function older_than(event, row)
  return event.time_ms == nil or row.ring_date_ms == nil or row.ring_date_ms <= event.time_ms
end

local function unlink(client, event, notes)
  for _, entry in ipairs(grants.of_account(client, event.account_id)) do
    if entry.row.state ~= "unlinked" and older_than(event, entry.row) then
      local row, err = grants.apply(client, notes, entry.key, "unlink", { known = entry.row })
      if not row then return nil, err end
      notes[#notes + 1] = { "unlinked", client:handle(entry.key, row) }
      notes[#notes + 1] = { "audit", { what = "unlinked", account = event.account_id,
        user = client.vault:open(entry.key, "user", row.user_sealed), at_ms = row.updated_ms } }
    end
  end
  return true
end

-- Ring sends this only after a POST that worked: it settles one whose answer was lost, unless it
-- speaks of an earlier link of the same account.
local function settles(client, event, row)
  if row.state ~= "confirming" or not grants.has(row, "post_maybe") then return false end
  local since_ms = row.claim_ms - client.options.clock_skew_s * 1000
  return event.time_ms ~= nil and event.time_ms >= since_ms
end

local function settle(client, event, notes)
  for _, entry in ipairs(grants.of_account(client, event.account_id)) do
    if settles(client, event, entry.row) then
      local row, err = grants.apply(client, notes, entry.key, "settled",
        { changes = { status = "awaiting" }, known = entry.row })
      if not row then return nil, err end
      notes[#notes + 1] = { "awaiting", client:link_of(entry.key, row) }
    end
  end
  return true
end

local ACTIONS = { app_integration_removed = unlink, app_integration_added = settle }

local function act(client, event)
  local action = event.account_id and ACTIONS[event.type]
  if not action then return true end
  local notes = {}
  local done, err = action(client, event, notes)
  flight.tell(client, notes)
  return done, err
end

local function tell_hooks(client, event)
  local account = event.account_id and client:account(event.account_id) or nil
  local by_type = client.hooks:tell("webhook:" .. event.type, event, account)
  local by_all = client.hooks:tell("webhook", event, account)
  return by_type or by_all
end

local function is_forgotten(client, event)
  return event.account_id ~= nil
    and client.store:get(grants.tombstone_key(client, event.account_id)) ~= nil
end

local function may_be_tried_again(client, stored)
  return client.clock.now_ms() - stored.received_ms < KEEP_MS
end

local function put_off(client, stored, owner)
  local pause_ms = math.min(PAUSE_MS * 2 ^ stored.attempts, PAUSE_MS_MAX)
  local last_ms = stored.received_ms + KEEP_MS
  local not_before_ms = math.min(client.clock.now_ms() + pause_ms, last_ms)
  client.store:event_release(stored.id, owner, math.floor(not_before_ms))
end

-- Acts on an event that `owner` has taken. What keeps failing is given up in the end.
local function process(client, stored, owner)
  local event, err = read(client.vault:open(sealed.event_place(client, stored.id), "body", stored.body))
  if event and not is_forgotten(client, event) then
    local acted, problem = act(client, event)
    err = not acted and problem or tell_hooks(client, event)
  end
  if err and err.retryable and may_be_tried_again(client, stored) then
    put_off(client, stored, owner)
    return nil, err
  end
  if err then
    client.log("error", "a webhook could not be acted on", { error = err.code, stage = err.stage })
  end
  client.store:event_done(stored.id)
  return "processed"
end

local function next_owner(client)
  client.event_owners = client.event_owners + 1
  return client:owner() .. "/" .. client.event_owners
end

local function store_event(client, event, body)
  local data_id = text_or_nil(event.data.id)
  return client.store:event_add({
    id = event.id, account = event.account_id, received_ms = client.clock.now_ms(),
    alias = data_id and table.concat({ event.account_id or "", event.type, data_id }, "\0") or nil,
    body = client.vault:seal(sealed.event_place(client, event.id), "body", body),
  })
end

--- Verifies a webhook and stores it; nothing is acted on yet.
---@param client ringlink.Client
---@param body any raw
---@param signature any
---@return "new"|"pending"|"done"|"forgotten"|nil state done: acted on before; forgotten: nothing is kept
---@return string|ringlink.Error id for `act_on`
function M.accept(client, body, signature)
  local event, err = M.verify(client, body, signature)
  if not event then return nil, err end
  if event.time_ms and client.clock.now_ms() - event.time_ms > KEEP_MS then
    return errors.fail("event_too_old", { stage = "webhook" })
  end
  if is_forgotten(client, event) then return "forgotten", event.id end
  return store_event(client, event, body)
end

--- Acts on a stored event.
---@param client ringlink.Client
---@param id string
---@return "processed"?
---@return ringlink.Error? err `in_progress` when somebody else is at it, or it is done
function M.act_on(client, id)
  local owner = next_owner(client)
  local taken = client.store:event_take(owner, 1, id, LEASE_MS)[1]
  if not taken then return errors.fail("in_progress", { stage = "webhook", cure = WAIT }) end
  return process(client, taken, owner)
end

--- Verifies, stores and acts on a webhook, once however often it is delivered.
---@param client ringlink.Client
---@param body any raw
---@param signature any
---@return "processed"|"duplicate"|nil
---@return ringlink.Error? err retryable: answer 5xx, so that Ring delivers it again
function M.receive(client, body, signature)
  local state, id = M.accept(client, body, signature)
  if not state then return nil, id end
  if state == "forgotten" then return "processed" end
  if state == "done" then return "duplicate" end
  return M.act_on(client, id)
end

local STATUS = { signature = 401, event_too_old = 200, invalid_request = 200 }

--- The HTTP status that tells Ring what to do about a webhook that was refused: what it shall deliver
--- again is 5xx.
---@param err ringlink.Error
---@return integer
function M.status_of(err)
  return STATUS[err.code] or (err.retryable and 503 or 500)
end

-- An event that cannot be opened stays as it is, and taken for a while, so that others get their turn.
local function process_if_readable(client, stored, owner)
  local ok, done = pcall(process, client, stored, owner)
  if ok then return done end
  if not errors.is_unreadable(done) then error(done, 0) end
  client.log("error", "a stored webhook cannot be opened", { error = done.code })
end

--- Acts on stored events that nobody has finished.
---@param client ringlink.Client
---@param limit integer
---@return integer done
---@return integer unfinished above 0 while any waits to be tried (again)
function M.finish(client, limit)
  local owner, done = next_owner(client), 0
  local taken, next_due_ms = client.store:event_take(owner, limit, nil, LEASE_MS)
  for _, stored in ipairs(taken) do
    if process_if_readable(client, stored, owner) then done = done + 1 end
  end
  return done, #taken - done + (next_due_ms and 1 or 0)
end

return M
