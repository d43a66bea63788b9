-- A partner's processes at one SQLite store and one Ring: they refresh once between them, and one
-- that is killed, wherever it was, loses nothing that was stored and leaves nothing half done.

local children = require "support.child"
local partner = require "support.partner"
local shared_clock = require "support.shared_clock"
local shell = require "support.shell"
local world = require "support.world"

local SCRIPT = "spec/support/partner_child.lua"
local LIFETIME_MS = 14400 * 1000 + 1
local DAY_MS = 24 * 3600 * 1000
local LONG_MS = 60000                  -- longer than any process of a test lives

describe("several processes #network", function()
  local w, directory

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    directory = shell.make_directory()
  end)
  after_each(function()
    children.stop_all()
    shell.remove_directory(directory)
  end)

  local function begin_afresh()
    w:reset()
    shell.remove_directory(directory)
    directory = shell.make_directory()
  end

  local function start(mode, ...)
    return children.start(SCRIPT, { mode, directory, w.ring.api_url, w.ring.ca_file, ... })
  end

  local function pass_time(ms)
    shared_clock.advance(directory, ms)
    assert(w.ring:control("clock", { advance_ms = ms }))
  end

  local function let_go()
    shell.write(directory .. "/go", "")
  end

  -- What a child says that goes to its end.
  local function run(mode, ...)
    local status, said = start(mode, ...):wait()
    assert.equal(0, status, said)
    return said
  end

  -- What stands after a word, of each line that begins with it.
  local function all_after(said, word)
    local list = {}
    for rest in said:gmatch(word .. " ([^\n]*)") do list[#list + 1] = rest end
    return list
  end

  -- The integration whose tokens are the newest.
  local function at_ring()
    local integrations = w:state().integrations
    return integrations[#integrations]
  end

  -- An account that is linked in the shared store and whose access token has just expired.
  local function expired_account()
    local client = partner.client(directory, { api_url = w.ring.api_url, oauth_url = w.ring.oauth_url,
      ca_file = w.ring.ca_file })
    local account = w:linked(client).account
    client:close()
    pass_time(LIFETIME_MS)
    return account.id
  end

  local function start_asking(account_id, count)
    local asking = {}
    for i = 1, count do asking[i] = start("ask", account_id) end
    for _, child in ipairs(asking) do child:wait_for("ready") end
    return asking
  end

  local function answers(asking)
    local list = {}
    for i, child in ipairs(asking) do
      local status, said = child:wait()
      assert.equal(0, status, said)
      list[i] = said:match("^ready\n(.*)\n$")
    end
    return list
  end

  local function same_for_all(expected, list)
    for _, answer in ipairs(list) do assert.equal(expected, answer) end
  end

  -- At once -------------------------------------------------------------------------------------

  for _, count in ipairs { 2, 4, 8 } do
    it(("%d of them that need a new token refresh once and have the same one"):format(count), function()
      local asking = start_asking(expired_account(), count)
      let_go()
      local got = answers(asking)
      assert.equal(1, w:count("refresh"))
      same_for_all("token " .. at_ring().access_token, got)
      assert.equal(count, #got)
    end)
  end

  -- One is killed while it refreshes --------------------------------------------------------------

  -- The owner of the lease dies while its call is with Ring; the others go on when the lease is over.
  local function kill_owner(fault)
    local account_id = expired_account()
    fault.call, fault.delay_ms = "refresh", LONG_MS
    w:fault(fault)
    let_go()
    local owner = start("ask", account_id)
    children.wait_until("the refresh at Ring", function()
      local row = w:journal("refresh")[1]
      return row and (row.processed or not fault.after)
    end)
    local others = start_asking(account_id, 3)
    owner:signal("KILL")
    assert.equal(128 + 9, (owner:wait()))
    assert.equal(1, w:count("refresh"))
    pass_time(partner.lease_ms)
    return answers(others)
  end

  it("have a working token when one is killed before Ring did the refresh", function()
    local got = kill_owner { drop = "before" }
    assert.equal(2, w:count("refresh"))
    same_for_all("token " .. at_ring().access_token, got)
  end)

  it("have a working token when Ring knows the old one for a while", function()
    assert(w.ring:control("variant", { old_refresh = "grace" }))
    local got = kill_owner { after = true }
    assert.equal(2, w:count("refresh"))
    same_for_all("token " .. at_ring().access_token, got)
  end)

  it("are told that the outcome is unknown when the pair died with one of them", function()
    local got = kill_owner { after = true }
    same_for_all("refused refresh_outcome_unknown", got)
    assert.equal(2, w:count("refresh"))              -- sent once more, and by one of them only
    assert.matches("state relink\n", run("work"))
  end)

  -- One is killed at any step ---------------------------------------------------------------------

  -- The steps of a whole journey: what a process says when nobody kills it.
  local function steps_of_journey()
    local install = w:install()
    local steps = all_after(run("journey", 0, install.code, install.nonce, install.time), "step")
    begin_afresh()
    return steps
  end

  -- Windows in which a pair was lost: what Ring had used up came again and was refused. Nothing comes
  -- again but that, and once.
  local function lost_at_ring()
    local seen, lost = {}, 0
    for _, row in ipairs(w:journal()) do
      local token = row.code or row.refresh_token
      if token and seen[token] then
        assert.equal("200, then 400", ("%s, then %d"):format(seen[token], row.status))
        lost = lost + 1
      end
      if token then seen[token] = seen[token] and "twice" or ("%d"):format(row.status) end
    end
    return lost
  end

  local HALF_DONE = { exchanging = true, identifying = true, matched = true, confirming = true,
    awaiting = true }

  local function assert_nothing_half_done(said)
    for _, state in ipairs(all_after(said, "state")) do assert.is_nil(HALF_DONE[state], said) end
  end

  local function reported(said)
    local codes = all_after(said, "reported")
    for _, code in ipairs(codes) do assert.matches("^%a+_outcome_unknown$", code, nil, said) end
    return #codes
  end

  -- A journey that is killed at a step, and what becomes of it.
  local function journey_killed_at(number)
    local install = w:install()
    local status, killed = start("journey", number, install.code, install.nonce, install.time):wait()
    assert.equal(128 + 9, status, killed)
    pass_time(partner.lease_ms)
    local worked = run("work")
    assert_nothing_half_done(worked)
    local again = run("again", install.code, install.nonce, install.time)
    pass_time(DAY_MS)
    local after_a_day = run("work")
    return killed .. worked .. again .. after_a_day, after_a_day
  end

  local LOSSES = { ["before put_if of identifying"] = "failed", ["before put_if of completed"] = "relink" }

  -- The last of two equal steps is the one that stores what the refresh brought.
  local function loss_at(steps, number)
    local state = LOSSES[steps[number]]
    for later = number + 1, #steps do
      if steps[later] == steps[number] then return nil end
    end
    return state
  end

  it("that die at any step lose no pair that was stored and leave no link half done", function()
    local steps = steps_of_journey()
    assert.is_true(#steps >= 30)
    for number = 1, #steps do
      local said, at_last = journey_killed_at(number)
      local lost = loss_at(steps, number)
      assert.equal(lost and 1 or 0, lost_at_ring(), said)
      assert.equal(lost_at_ring(), reported(said), said)
      assert.equal(lost and ("state %s\ndoes not work\n"):format(lost) or "state completed\nworks\n",
        (at_last:gsub("reported [^\n]*\n", "")), said)
      begin_afresh()
    end
  end)
end)
