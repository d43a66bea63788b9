-- The warning that a link will lapse when refreshing keeps failing: in stages, each told once, and in
-- time whatever it is that fails. How old a refresh token is never ends a link.

local answers = require "support.answers"
local offline = require "support.offline"
local processes = require "support.processes"

local HOUR_MS = 3600 * 1000
local DAY_MS = 24 * HOUR_MS

describe("a refresh that is overdue", function()
  local client, clock, ring, account, key, told, lines

  --- Notes the days at which each account is warned of.
  local function listen(to)
    local began_ms = clock.now_ms()
    to:on("refresh_overdue", function(which, info)
      told[#told + 1] = { id = which.id, day = math.floor((clock.now_ms() - began_ms) / DAY_MS), info = info }
    end)
  end

  local function start(options)
    local settings = { max_attempts = 1, log = function(_, text, fields) lines[#lines + 1] = { text, fields } end }
    for name, value in pairs(options or {}) do settings[name] = value end
    told, lines = {}, {}
    client, clock = offline.client(settings)
    ring = answers.serve(client)
    key, account = offline.grant(client, {}), client:account("ring-1")
    listen(client)
  end

  before_each(function() start() end)
  after_each(processes.stop)

  local function days()
    local list = {}
    for i, one in ipairs(told) do list[i] = one.day end
    return list
  end

  local function down() return { status = 503 } end

  --- Works hour by hour for so many days.
  local function pass_days(count, who)
    for _ = 1, count * 24 do
      clock.advance(HOUR_MS)
      assert((who or client):work())
    end
  end

  local function fail_after(ms)
    ring.on.refresh = down
    clock.advance(ms)
    assert.is_nil((account:refresh({ force = true })))
  end

  local STAGES = { 7, 14, 21, 25, 26, 27, 28, 29, 30, 31 }

  it("is told at 7, 14, 21, 25 days and then daily, each once, and ends nothing", function()
    ring.on.refresh = down
    pass_days(32)
    assert.same(STAGES, { (table.unpack or unpack)(days(), 1, #STAGES) })
    assert.truthy(#told == #STAGES or told[#STAGES + 1].day == 32)
    assert.equal("completed", account:state())
    ring.on.refresh = nil
    assert.is_true(account:refresh({ force = true }))
  end)

  it("is told with how long there is left, and why", function()
    local refreshed_ms = clock.now_ms()
    fail_after(7 * DAY_MS + 1)
    local warned = told[1]
    assert.equal("ring-1", warned.id)
    assert.same({ refreshed_ms, refreshed_ms + 30 * DAY_MS, 22 },
      { warned.info.refreshed_ms, warned.info.lapses_ms, warned.info.days_left })
    assert.same({ "refresh_failed", 503 }, { warned.info.err.code, warned.info.err.status })
  end)

  it("is logged", function()
    fail_after(7 * DAY_MS + 1)
    local found
    for _, line in ipairs(lines) do
      if line[1]:find("the link lapses", 1, true) then found = line[2] end
    end
    assert.same({ days_left = 22, error = "refresh_failed", status = 503 }, found)
  end)

  it("is not told while refreshing works, or after it works again", function()
    pass_days(30)
    assert.same({}, told)
    ring.on.refresh = down
    pass_days(8)
    assert.equal(1, #told)
    ring.on.refresh = nil
    pass_days(8)
    assert.equal(1, #told)
    ring.on.refresh = down
    pass_days(8)
    assert.equal(2, #told)
  end)

  it("is told once although callers fail all the time", function()
    ring.on.refresh = down
    clock.advance(7 * DAY_MS)
    for _ = 1, 10 do assert.is_nil((account:access_token())) end
    assert.same({ 7 }, days())
  end)

  it("is told the stage it has reached, when nobody looked for weeks", function()
    ring.on.refresh = down
    clock.advance(27 * DAY_MS)
    assert(client:work())
    assert.same({ 27 }, days())
    assert.equal(3, told[1].info.days_left)
  end)

  it("is told while the circuit is open, without a call", function()
    for _ = 1, 5 do client.circuit:refused(clock.monotonic_ms()) end
    local calls = #ring.calls
    for _ = 1, 10 * DAY_MS / HOUR_MS do
      clock.advance(HOUR_MS)
      while client.circuit:allow(clock.monotonic_ms()) do client.circuit:refused(clock.monotonic_ms()) end
      assert(client:work())
    end
    assert.same({ 7 }, days())
    assert.equal("refresh_circuit_open", told[1].info.err.code)
    assert.equal(calls, #ring.calls)
    assert.is_nil(client.store:get(key).refresh_failures)
  end)

  it("is not told of a link that has to be made anew anyway", function()
    ring.on.refresh = answers.invalid_grant
    assert.is_nil((account:refresh({ force = true })))
    ring.on.refresh = down
    clock.advance(8 * DAY_MS)
    assert.is_nil((account:refresh({ force = true })))
    assert.same({}, told)
  end)

  it("is told outside of the section, and may be answered by a refresh", function()
    ring.on.refresh = function(n) return n == 1 and down() or nil end
    clock.advance(7 * DAY_MS)
    local done
    client:on("refresh_overdue", function(which) done = which:refresh({ force = true }) end)
    assert.is_nil((account:refresh({ force = true })))
    assert.is_true(done)
  end)

  processes.over_each_store(function(kind, start_two)
    it("is told by one of two processes, and reset by the other's success: " .. kind, function()
      local other
      client, other, ring, clock = start_two({ max_attempts = 1 })
      key, told = offline.grant(client, {}), {}
      listen(client)
      listen(other)
      local accounts = { client:account("ring-1"), other:account("ring-1") }

      local function both_fail(first, second)
        for _, which in ipairs({ first, second, first }) do
          assert.is_nil((accounts[which]:refresh({ force = true })))
        end
      end

      ring.on.refresh = down
      clock.advance(7 * DAY_MS)
      both_fail(1, 2)
      assert.same({ 7 }, days())
      clock.advance(7 * DAY_MS)
      both_fail(2, 1)
      assert.same({ 7, 14 }, days())
      ring.on.refresh = nil
      assert.is_true(accounts[2]:refresh({ force = true }))
      assert.is_nil(client.store:get(key).overdue_stage)
    end)
  end)
end)
