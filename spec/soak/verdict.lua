--- What must be true after a storm has calmed: Ring's state and journal against what ringlink says.
--
--   local found = verdict.of(s)          -- raises at the first thing that is not true
--   found.lost, found.told, ...          -- for the record
--
-- A pair is lost when it is the newest that Ring handed out for a grant and no process ever stored it.

local assert = require "luassert"
local killing = require "support.killing"
local partner = require "support.partner"

local M = {}

-- The grants as ringlink has them: by account, and those whose account was never learned.
local function grants_here(s)
  local by_account, nameless = {}, {}
  for _, line in ipairs(killing.all_after(s.k:run("tell"), "grant")) do
    local account, state, code, use = line:match("^(%S+) (%S+) (%S+) (%S+)$")
    local grant = { state = state, code = code, works = use == "works", said = line }
    if account == "-" then
      table.insert(nameless, grant)
    else
      assert.is_nil(by_account[account], "two grants of one code: " .. line)
      by_account[account] = grant
    end
  end
  return by_account, nameless
end

local function grants_at_ring(s)
  local by_account = {}
  for _, integration in ipairs(s.w:state().integrations) do
    assert.is_nil(by_account[integration.account], "a code gave two grants")
    by_account[integration.account] = integration
  end
  return by_account
end

local LINKED = { completed = "completed", unclaimed = "pending" }

local function check_kept(here, there)
  assert.is_not_nil(here, "a pair was stored, and there is no grant")
  assert.equal("-", here.code, here.said)
  assert.is_true(here.works, here.said)
  assert.is_not_nil(LINKED[here.state], here.said)
  if here.state == "completed" then assert.equal("completed", there.status, here.said) end
end

local function check_lost_refresh(here)
  assert.equal("relink refresh_outcome_unknown", here.state .. " " .. here.code, here.said)
  assert.is_false(here.works, here.said)
end

-- Each install: kept, lost while it was refreshed, lost before its account was known, or never exchanged.
local function sort_installs(s, here, there)
  local found = { lost = {}, kept = 0, refreshes_lost = 0, lost_early = 0, never = 0 }
  for _, install in ipairs(s.installs) do
    local mine, rings = here[install.account], there[install.account]
    if not rings then
      assert.is_nil(mine)
      found.never = found.never + 1
    elseif s.stored[rings.refresh_token] then
      check_kept(mine, rings)
      found.kept = found.kept + 1
    else
      found.lost[install.account] = true
      if mine then check_lost_refresh(mine) end
      local name = mine and "refreshes_lost" or "lost_early"
      found[name] = found[name] + 1
    end
  end
  return found
end

-- Codes that were sent, but never to the end: Ring has looked at none of these calls.
local function codes_unheard(s, uses)
  local unheard = {}
  for _, row in ipairs(s.w:journal("token")) do
    if not uses[row.code] then unheard[row.code] = true end
  end
  local count = 0
  for _ in pairs(unheard) do count = count + 1 end
  return count
end

local NAMELESS = {
  ["failed exchange_refused"] = "too_late",
  ["failed exchange_outcome_unknown"] = "unknown",
  ["relink refresh_outcome_unknown"] = "refresh_unknown",      -- before users/me was answered
}

-- Grants that never learned their account: all that were lost early, and those that never were. That
-- the outcome is not known is then true only of a code that was sent and that Ring never looked at.
local function check_nameless(nameless, found, unheard)
  local count = { too_late = 0, unknown = 0, refresh_unknown = 0 }
  for _, grant in ipairs(nameless) do
    local kind = NAMELESS[grant.state .. " " .. grant.code]
    assert.is_not_nil(kind, grant.said)
    count[kind] = count[kind] + 1
  end
  found.exchanges_lost = found.lost_early - count.refresh_unknown
  found.refreshes_lost = found.refreshes_lost + count.refresh_unknown
  found.in_doubt = count.unknown - found.exchanges_lost
  local about = ("%d lost early, %d sent in vain: %d and %d unknown"):format(found.lost_early, unheard,
    count.unknown, count.refresh_unknown)
  assert.is_true(found.exchanges_lost >= 0 and found.in_doubt >= 0 and found.in_doubt <= unheard, about)
  assert.is_true(count.too_late + found.in_doubt <= found.never, about)
end

local function is_refused(answer) return answer == 400 end

-- Where a process dies that has an answer and has not stored what it says.
local UNHEARD = { "before put_if of identifying", "before put_if of completed", "before put_if of unclaimed",
  "before put_if of relink", "before put_if of failed" }
local AT_A_TIME = 8                    -- refreshes of one `work`

local function answers_lost_by_kills(s)
  local count = s.in_labour * AT_A_TIME
  for _, place in ipairs(UNHEARD) do count = count + (s.here[place] or 0) end
  return count
end

-- Used up is used up: after the first answer only refusals come, and only because one was not heard.
local function check_use(use, account_lost, is_code)
  local first = use[1]
  assert.is_true(first == 200 or (is_code and is_refused(first)), "a refresh token nobody had")
  for i = 2, #use do assert.is_true(is_refused(use[i]), table.concat(use, " ")) end
  if first == 200 and #use > 1 then assert.is_true(account_lost, "sent again, and not lost") end
  return math.max(0, #use - 1 - use.unheard)
end

-- What was used up was sent again only when its answer was lost, and once for each such answer.
local function check_journal(s, uses, found)
  local is_code, unexplained = {}, 0
  for _, install in ipairs(s.installs) do is_code[partner.fingerprint(install.code)] = true end
  for token, use in pairs(uses) do
    unexplained = unexplained + check_use(use, found.lost[use.account], is_code[token])
  end
  assert.is_true(unexplained <= answers_lost_by_kills(s), unexplained .. " sent again though they were answered")
end

-- Where a process dies that has told a hook, and has not noted it: the hook hears it again.
local HEARD = { "before put_if of relink", "before put_if of failed" }

-- Whatever is lost is told, whoever died.
local function check_told(s, found)
  local again = s.in_labour * AT_A_TIME
  for _, place in ipairs(HEARD) do again = again + (s.here[place] or 0) end
  local lost = { refresh_outcome_unknown = found.refreshes_lost,
    exchange_outcome_unknown = found.exchanges_lost + found.in_doubt }
  found.told = 0
  for code, count in pairs(lost) do
    local told = s.told[code] or 0
    assert.is_true(told >= count and told <= count + again, ("%s: %d lost, %d told"):format(code, count, told))
    found.told = found.told + told
  end
  assert.is_nil(s.told.relink_required)
end

--- Raises at the first thing that is not true.
---@param s table soak.storm, calm
---@return table found counts: kept, refreshes_lost, exchanges_lost, in_doubt, never, told
function M.of(s)
  local uses = killing.uses(s.w:journal())
  local here, nameless = grants_here(s)
  local found = sort_installs(s, here, grants_at_ring(s))
  check_nameless(nameless, found, codes_unheard(s, uses))
  check_journal(s, uses, found)
  check_told(s, found)
  return found
end

return M
