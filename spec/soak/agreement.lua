--- What must be true of a site's accounts once it is calm: Ring, the store and the visitors say the same.
--
--   local counts = agreement.check(site)  -- by state; raises at what is not true
--
-- What was put off in trouble is done within minutes: until then differences are no failure. And tokens are
-- renewed all the time: store and Ring are read one after the other, and of thousands of accounts some get a new
-- pair in between, each time others. So all the states have to agree at one time, of the pairs each at some time.

local child = require "support.child"
local core = require "ringlink.core"
local killing = require "support.killing"
local partner = require "support.partner"

local PATIENCE_MS, TURN_MS = 180000, 500
local SHOWN = 5

local M = {}

-- What the visitors wanted, as Ring and as the store have it.
local AT_RING = { completed = "completed", unclaimed = "pending", paused = "awaiting", forgotten = "awaiting",
  unlinked = "unlinked" }
local IN_STORE = { completed = "completed", unclaimed = "unclaimed", paused = "awaiting", unlinked = "unlinked" }

local function at_ring(site)
  local by_account = {}
  for _, integration in ipairs(site.w:state().integrations) do
    assert(not by_account[integration.account], "a code gave two grants")
    by_account[integration.account] = integration
  end
  return by_account
end

local function revealed(token)
  return type(token) == "userdata" and token:reveal() or token
end

-- Rows of junk codes never learn an account.
local function in_store(client)
  local by_account = {}
  for account in client:accounts() do
    local grant = assert(account:grant())
    local id = grant.row.account
    assert(id or grant.row.state == "failed", "a grant without an account is " .. grant.row.state)
    if id then
      assert(not by_account[id], "an account has two grants")
      local refresh = grant.row.refresh and client.vault:open(grant.key, "refresh", grant.row.refresh)
      by_account[id] = { state = grant.row.state, refresh = refresh and partner.fingerprint(revealed(refresh)) }
    end
  end
  return by_account
end

-- Notes the accounts whose tokens are the same here and there.
local function note_pairs(agreed, ours, rings)
  for id, row in pairs(ours) do
    agreed[id] = agreed[id] or row.refresh ~= nil and rings[id] ~= nil and row.refresh == rings[id].refresh_token
  end
end

-- What is wrong with one account, if anything; `agreed` tells whether its tokens were the same once.
local function problem_of(account, rings, ours, agreed)
  local state, wanted = ours and ours.state, account.wanted
  if not rings then return "Ring has no grant" end
  if rings.status ~= AT_RING[wanted] then return "at Ring it is " .. rings.status end
  if state ~= IN_STORE[wanted] then return "in the store it is " .. tostring(state) end
  if IN_STORE[wanted] and wanted ~= "unlinked" and not agreed then
    return "the store has another refresh token than Ring"
  end
end

local function differences(site, client, agreed)
  local ours, rings, list, known = in_store(client), at_ring(site), {}, {}
  note_pairs(agreed, ours, rings)
  for _, account in ipairs(site.accounts) do
    known[account.id] = true
    local problem = problem_of(account, rings[account.id], ours[account.id], agreed[account.id])
    if problem then list[#list + 1] = ("wanted %s, but %s"):format(account.wanted, problem) end
  end
  for id in pairs(ours) do
    if not known[id] then list[#list + 1] = "the store has an account of nobody's" end
  end
  return list
end

local function wait_for_agreement(site, client, patience_ms)
  local give_up_ms, agreed, found = core.monotonic_ms() + patience_ms, {}, nil
  repeat
    if found then core.sleep_ms(TURN_MS) end
    found = differences(site, client, agreed)
  until #found == 0 or core.monotonic_ms() > give_up_ms
  assert(#found == 0, ("%d accounts are not as they should be:\n%s"):format(#found,
    table.concat(found, "\n", 1, math.min(#found, SHOWN))))
end

-- Ring loses no answer here, so a code and a refresh token are looked at once.
local function check_uses(site)
  for _, use in pairs(killing.uses(site.journal)) do
    local said = table.concat(use, " ")
    assert(said == "200" or said == "400", "a code or a refresh token was answered " .. said)
  end
end

local function check_webhooks(site)
  for _, webhook in ipairs(site.w:state().webhooks) do
    local first = webhook.attempts[1]
    assert(first and first.status == 200, ("a webhook of Ring's was answered %s"):format(
      first and (first.status or first.error) or "never"))
  end
end

--- Raises at what is not true; returns how many accounts there are of each kind.
---@param site soak.Site
---@param patience_ms integer? how long it may take
---@return table<string, integer>
function M.check(site, patience_ms)
  local client = site:client()
  local ok, problem = pcall(wait_for_agreement, site, client, patience_ms or PATIENCE_MS)
  client:close()
  if not ok then error(problem, 0) end
  child.wait_until("Ring's webhooks are delivered", function() return site.w.ring:control("deliver", {}).done end)
  check_uses(site)
  check_webhooks(site)
  local counts = {}
  for _, account in ipairs(site.accounts) do counts[account.wanted] = (counts[account.wanted] or 0) + 1 end
  return counts
end

return M
