-- Two processes and one refresh token, when the lease between them has failed: the one that Ring
-- refuses waits a while for the pair that the other one may be about to store.

local answers = require "support.answers"
local deliveries = require "support.deliveries"
local offline = require "support.offline"
local processes = require "support.processes"

local DEADLINE_MS = 60000

processes.over_each_store(function(kind, start)
  describe("the intent of another process, in " .. kind, function()
    local one, two, ring, clock, key, told

    before_each(function()
      one, two, ring, clock = start({ rate_limit_per_s = 1000 })
      key, told = offline.grant(one, {}), {}
      for _, client in ipairs({ one, two }) do
        for _, name in ipairs({ "relink_required", "refresh_failed" }) do
          client:on(name, function(_, err) told[#told + 1] = name .. " " .. err.code end)
        end
      end
    end)
    after_each(processes.stop)

    local function row() return (one.store:get(key)) end

    local function force(client) return client:account("ring-1"):refresh({ force = true }) end

    --- Ring gives `one` a new pair, which stays in its memory; whoever sends the old token is refused.
    local function pair_kept_by_one()
      ring.on.refresh = function(n)
        if n > 1 then return answers.invalid_grant() end
        one.store.put_if = function() error("out of handles", 0) end
      end
      assert.is_false((pcall(force, one)))
      one.store.put_if = nil
      assert.is_truthy(one.unsaved[key])
      assert.same({ row().fingerprint, one:owner() }, { row().intent, row().intent_owner })
    end

    --- Does something while somebody sleeps for the nth time.
    local function at_sleep(n, act)
      local sleep, count = clock.sleep, 0
      clock.sleep = function(seconds)
        sleep(seconds)
        count = count + 1
        if count == n then act() end
      end
    end

    local function stored_by_one()
      assert.equal("served-access-1", assert(one:account("ring-1"):access_token()):reveal())
    end

    --- How long a refresh takes that fails in doubt.
    local function doubt_after(client)
      local began_ms = clock.now_ms()
      local done, err = force(client)
      assert.is_nil(done)
      assert.equal("refresh_outcome_unknown", err.code)
      return clock.now_ms() - began_ms
    end

    it("is waited for: the pair that it brought is found, and nothing is lost", function()
      pair_kept_by_one()
      at_sleep(3, stored_by_one)
      assert.is_true(force(two))
      assert.same({}, told)
      assert.equal("completed", row().state)
      assert.equal("served-access-1", assert(two:account("ring-1"):access_token()):reveal())
      assert.equal(2, ring:count("refresh"))
      assert.is_nil(row().intent)
      assert.is_nil(row().intent_owner)
    end)

    it("is waited for by whoever needs a token, who gets that of the other", function()
      pair_kept_by_one()
      clock.advance(DEADLINE_MS / 2)
      assert(one.store:put_if(key, (function(now)
        now.access_expires_ms = clock.now_ms()
        return now
      end)(row()), select(2, one.store:get(key))))
      at_sleep(3, stored_by_one)
      assert.equal("served-access-1", assert(two:account("ring-1"):access_token()):reveal())
      assert.same({}, told)
    end)

    it("is waited for until it is as old as an operation may be; then the outcome is unknown", function()
      pair_kept_by_one()
      clock.advance(20000)
      local waited_ms = doubt_after(two)
      assert.truthy(waited_ms >= 40000 and waited_ms < 41000, tostring(waited_ms))
      assert.same({ "relink_required refresh_outcome_unknown" }, told)
      stored_by_one()                                -- and comes back when the pair does
      assert.equal("completed", row().state)
    end)

    it("is not waited for when it is older", function()
      pair_kept_by_one()
      clock.advance(DEADLINE_MS)
      assert.is_true(doubt_after(two) < 1000)
    end)

    it("is not waited for by whom it belongs to", function()
      ring.on.refresh = function(n) return n <= 2 and { error = "timeout", sent = true } or answers.invalid_grant() end
      assert.is_true(select(2, force(one)).ambiguous)
      assert.is_true(doubt_after(one) < 1000)
    end)

    it("is not waited for when there is none", function()
      ring.on.refresh = answers.invalid_grant
      local began_ms = clock.now_ms()
      assert.equal("relink_required", select(2, force(two)).code)
      assert.is_true(clock.now_ms() - began_ms < 1000)
    end)

    it("from the future, after the clock was set back, is waited for as long as a new one", function()
      pair_kept_by_one()
      clock.wall = clock.wall - 3600 * 1000
      local waited_ms = doubt_after(two)
      assert.truthy(waited_ms >= DEADLINE_MS and waited_ms < DEADLINE_MS + 1000, tostring(waited_ms))
    end)

    it("is waited for under the lease", function()
      pair_kept_by_one()
      clock.wall = clock.wall - 3600 * 1000
      local refresh, free = ring.on.refresh, false
      ring.on.refresh = function(n)
        clock.advance(DEADLINE_MS - 1)
        return refresh(n)
      end
      local sleep = clock.sleep
      clock.sleep = function(seconds)
        sleep(seconds)
        free = free or one.store:lease("refresh/" .. key, "another", 1)
      end
      assert.truthy(doubt_after(two) >= 2 * DEADLINE_MS - 1)
      assert.is_false(free)
    end)

    it("is waited for no longer than the account is linked", function()
      pair_kept_by_one()
      at_sleep(3, function()
        assert.equal("processed", deliveries.send(one,
          deliveries.event(one, "app_integration_removed", { time_ms = clock.now_ms() + 1000 })))
      end)
      local began_ms = clock.now_ms()
      assert.equal("unlinked", select(2, force(two)).code)
      assert.is_true(clock.now_ms() - began_ms < 5000)
      assert.same({}, told)
    end)
  end)
end)
