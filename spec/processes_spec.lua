-- A partner's processes at one SQLite store and one Ring: they refresh once between them, and one
-- that is killed, wherever it was, loses nothing that was stored and leaves nothing half done.

local children = require "support.child"
local killing = require "support.killing"
local partner = require "support.partner"

local HOUR_MS = 3600 * 1000
local SHORT_MS = 1000                  -- less than the calls that a lease is for take

describe("several processes #network #ownstore", function()
  local w, k

  setup(function()
    k = killing.start()
    w = k.w
  end)
  teardown(function() k:stop() end)
  before_each(function() k:begin() end)
  after_each(function() k:finish() end)

  local function start_asking(account_id, count)
    local asking = {}
    for i = 1, count do asking[i] = k:start("ask", account_id) end
    for _, child in ipairs(asking) do child:wait_for("ready") end
    return asking
  end

  local function answers(asking)
    local list = {}
    for i, child in ipairs(asking) do
      local status, said = child:wait()
      assert.equal(0, status, said)
      list[i] = said:match("([^\n]*)\n$")
    end
    return list
  end

  local function same_for_all(expected, list)
    for _, answer in ipairs(list) do assert.equal(expected, answer) end
  end

  local function newest_token()
    return "token " .. k:at_ring().access_token
  end

  -- At once -------------------------------------------------------------------------------------

  for _, count in ipairs { 2, 4, 8 } do
    it(("%d of them that need a new token refresh once and have the same one"):format(count), function()
      local asking = start_asking(k:expired_account(), count)
      k:let_go()
      local got = answers(asking)
      assert.equal(1, w:count("refresh"))
      same_for_all(newest_token(), got)
      assert.equal(count, #got)
    end)
  end

  -- One is killed while it refreshes --------------------------------------------------------------

  -- Each of them looks once more, from now on, and has to wait.
  local function each_waits(asking)
    for _, child in ipairs(asking) do
      local function waited() return select(2, child:output():gsub("waits\n", "")) end
      local before = waited()
      children.wait_until("one more look at the lease", function() return waited() > before end)
    end
  end

  -- The owner of the lease died. The others wait for what is left of it, and no longer.
  local function answers_after_the_lease(asking)
    local sent = w:count("refresh")
    each_waits(asking)
    k:pass_time(partner.lease_ms - SHORT_MS)
    each_waits(asking)
    assert.equal(sent, w:count("refresh"))
    k:pass_time(SHORT_MS)
    return answers(asking)
  end

  -- The steps of a process that asks for a token when it has to be refreshed, and what they leave to
  -- the others: whether they wait for the lease, and how many refreshes there are in the end.
  local STEPS = {
    ["before lease of refresh"] = { refreshes = 1 },
    ["after lease of refresh"] = { waits = true, refreshes = 1 },
    ["before put_if of the intent"] = { waits = true, refreshes = 1 },
    ["after put_if of the intent"] = { waits = true, refreshes = 1 },
    ["before put_if of the pair"] = { waits = true, refreshes = 2, lost = true },
    ["after put_if of the pair"] = { refreshes = 1 },
    ["before release of refresh"] = { refreshes = 1 },
    ["after release of refresh"] = { refreshes = 1 },
  }
  local WRITTEN = { "the intent", "the pair" }

  local function steps_of_refresh()
    local steps, written = killing.all_after(k:run("own", 0, k:expired_account()), "step"), 0
    for i, step in ipairs(steps) do
      if step == "before put_if of completed" then written = written + 1 end
      steps[i] = step:gsub("completed", WRITTEN[written] or "%0")
      assert.is_table(STEPS[steps[i]], steps[i])
    end
    return steps
  end

  local function others_go_on(account_id, asking, expected, about)
    k:let_go()
    local got = expected.waits and answers_after_the_lease(asking) or answers(asking)
    assert.equal(expected.refreshes, w:count("refresh"), about)
    same_for_all(expected.lost and "refused refresh_outcome_unknown" or newest_token(), got)
    assert.equal(expected.lost and "relink" or "completed",
      killing.all_after(k:run("work", account_id), "state")[1], about)
  end

  for _, others in ipairs { 1, 3, 7 } do
    it(("go on, %d of them, when one is killed at any step of its refresh"):format(others), function()
      local steps = steps_of_refresh()
      assert.equal(8, #steps)
      for number, step in ipairs(steps) do
        k:begin()
        local account_id = k:expired_account()
        local asking = start_asking(account_id, others)
        assert.equal(killing.KILLED, (k:start("own", number, account_id):wait()))
        others_go_on(account_id, asking, STEPS[step], step)
      end
    end)
  end

  local function owner_killed_in_flight(when, others, expected)
    local account_id = k:expired_account()
    local asking = start_asking(account_id, others)
    k:killed_in_flight("refresh", when, "own", -1, account_id)
    others_go_on(account_id, asking, expected, when)
  end

  for _, others in ipairs { 1, 3, 7 } do
    it(("have a working token, %d of them, when one is killed before Ring did the refresh"):format(others),
      function() owner_killed_in_flight("before", others, { waits = true, refreshes = 2 }) end)

    it(("are told, %d of them, that the outcome is unknown when the pair died with one"):format(others),
      function() owner_killed_in_flight("after", others, { waits = true, refreshes = 2, lost = true }) end)
  end

  it("have a working token when Ring knows the old one for a while", function()
    assert(w.ring:control("variant", { old_refresh = "grace" }))
    owner_killed_in_flight("after", 3, { waits = true, refreshes = 2 })
  end)

  it("wait as long whatever the wall clock is set to", function()
    local account_id = k:expired_account()
    k:pass_time(2 * HOUR_MS)
    local held = k:hold("refresh", "before")
    local owner = k:start("own", -1, account_id)
    assert.is_true(k:await_held(held, owner))
    local asking = start_asking(account_id, 3)
    k:let_go()
    k:step_clock(HOUR_MS)
    each_waits(asking)
    assert.equal(1, w:count("refresh"))
    k:step_clock(-2 * HOUR_MS)
    killing.kill(owner)
    local got = answers_after_the_lease(asking)
    assert.equal(2, w:count("refresh"))
    same_for_all(newest_token(), got)
  end)

  -- One is killed at any step ---------------------------------------------------------------------

  -- The steps of a whole journey: what a process says when nobody kills it.
  local function steps_of_journey()
    local install = w:install()
    local steps = killing.all_after(k:run("journey", 0, install.code, install.nonce, install.time), "step")
    k:begin()
    return steps
  end

  local function assert_nothing_half_done(said)
    for _, state in ipairs(killing.all_after(said, "state")) do
      assert.is_false(killing.is_half_done(state), said)
    end
  end

  -- What becomes of a journey that was killed: `work` goes on, Ring and the browser come again, and a
  -- day later the tokens are refreshed. Windows that were lost are as many as are reported.
  local function assert_ends(install, killed, lost)
    k:pass_time(partner.lease_ms)
    local worked = k:run("work")
    assert_nothing_half_done(worked)
    local again = k:run("again", install.code, install.nonce, install.time)
    k:pass_time(killing.day_ms)
    local after_a_day = k:run("work")
    local said = killed .. worked .. again .. after_a_day
    assert.equal(lost and 1 or 0, k:lost_at_ring(), said)
    assert.equal(lost and 1 or 0, killing.reported(said), said)
    assert.equal(lost and ("state %s\ndoes not work\n"):format(lost) or "state completed\nworks\n",
      (after_a_day:gsub("reported [^\n]*\n", "")), said)
    assert.equal(lost ~= "failed" and "completed" or "pending", k:at_ring().status, said)
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
      local install = w:install()
      local status, killed = k:start("journey", number, install.code, install.nonce, install.time):wait()
      assert.equal(killing.KILLED, status, killed)
      assert_ends(install, killed, loss_at(steps, number))
      k:begin()
    end
  end)

  -- One is killed in the middle of a call ---------------------------------------------------------

  local LOST_IN_FLIGHT = { token = "failed", refresh = "relink" }

  for _, call in ipairs { "token", "me", "confirm", "complete", "refresh" } do
    for _, when in ipairs { "before", "after" } do
      it(("go on after a kill while %s is with Ring, %s it is done"):format(call, when), function()
        local install = w:install()
        local killed = k:killed_in_flight(call, when, "journey", -1, install.code, install.nonce, install.time)
        assert_ends(install, killed, when == "after" and LOST_IN_FLIGHT[call] or nil)
      end)
    end
  end
end)
