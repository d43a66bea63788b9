-- What hooks must hear although the process that found out dies before it can say so: the row owes it
-- until it was told, and `work` tells it in some other process.

local answers = require "support.answers"
local deliveries = require "support.deliveries"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local offline = require "support.offline"
local processes = require "support.processes"

local DEADLINE_MS = 60000
local HOOKS = { "relink_required", "failed", "unlinked" }

processes.over_each_store(function(kind, start)
  describe("what a row owes the hooks, in " .. kind, function()
    local one, two, ring, clock, told

    before_each(function()
      one, two, ring, clock = start()
      told = {}
      for who, client in pairs({ one = one, two = two }) do
        for _, name in ipairs(HOOKS) do
          client:on(name, function(account, err)
            told[#told + 1] = table.concat({ who, name, account.id or "-", err and err.code }, " ")
          end)
        end
      end
    end)
    after_each(processes.stop)

    local function row_of(key) return (one.store:get(key)) end

    local function work(client) return assert(client:work()) end

    --- The process of `one` dies where it would tell what it has stored.
    local function dies(fn, ...)
      local tell = flight.tell
      flight.tell = function(client, notes)
        for _, note in ipairs(notes) do
          if note.owing then error("dead", 0) end
        end
        return tell(client, notes)
      end
      local ended, why = pcall(fn, ...)
      flight.tell = tell
      assert.same({ false, "dead" }, { ended, why })
    end

    local function interrupted(fn, ...)
      assert.same({ false, "lua: interrupted!" }, { pcall(fn, ...) })
    end

    it("is told again after an interruption that came in the very hook, and then no more", function()
      ring.on.refresh = answers.invalid_grant
      local key, account = offline.grant(one, {}), one:account("ring-1")
      local off = one:on("relink_required", function() error("lua: interrupted!", 0) end)
      interrupted(account.refresh, account, { force = true })
      assert.same({ "relink", "relink_required" }, { row_of(key).state, row_of(key).owed })
      off()
      clock.advance(DEADLINE_MS)
      work(two)
      assert.is_nil(row_of(key).owed)
      assert.same({ "one relink_required ring-1 relink_required", "two relink_required ring-1 relink_required" }, told)
    end)

    it("is settled when another hook was interrupted, and the rest is told", function()
      ring.on.refresh = answers.invalid_grant
      local key, account = offline.grant(one, {}), one:account("ring-1")
      one:on("transition", function() error("lua: interrupted!", 0) end)
      interrupted(account.refresh, account, { force = true })
      assert.same({ "one relink_required ring-1 relink_required" }, told)
      assert.is_nil(row_of(key).owed)
    end)

    local function refused()
      ring.on.refresh = answers.invalid_grant
      return offline.grant(one, {}), one:account("ring-1")
    end

    it("is told by `work` elsewhere, once there was time to tell it", function()
      local key, account = refused()
      dies(account.refresh, account, { force = true })
      assert.same({ "relink", "relink_required" }, { row_of(key).state, row_of(key).owed })
      assert.equal(DEADLINE_MS / 1000, work(two).next_due_s)
      assert.same({}, told)
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({ "two relink_required ring-1 relink_required" }, told)
      assert.is_nil(row_of(key).owed)
      clock.advance(10 * DEADLINE_MS)
      work(one)
      work(two)
      assert.equal(1, #told)
    end)

    it("is told by whoever found out, and never again", function()
      local key, account = refused()
      assert.is_nil((account:refresh({ force = true })))
      assert.same({ "one relink_required ring-1 relink_required" }, told)
      assert.is_nil(row_of(key).owed)
      clock.advance(10 * DEADLINE_MS)
      work(two)
      assert.equal(1, #told)
    end)

    it("is owed until it is told, by whichever of those that `work` refreshes at once", function()
      refused()
      offline.grant(one, { account = "ring-2" })
      offline.grant(one, { account = "ring-3" })
      local owed = {}
      one:on("relink_required", function(account) owed[#owed + 1] = row_of(account.key).owed end)
      clock.advance(86400 * 1000)
      assert.equal(3, work(one).relink)
      assert.same({ "relink_required", "relink_required", "relink_required" }, owed)
      assert.equal(3, #told)
    end)

    it("is settled when the section around is over, too", function()
      local key = offline.grant(one, { state = "awaiting" })
      clock.advance(offline.token_lifetime_ms)
      ring.on.refresh = answers.invalid_grant
      assert.is_nil((one:complete(one:account("ring-1"))))
      assert.same({ "one relink_required ring-1 relink_required" }, told)
      assert.is_nil(row_of(key).owed)
    end)

    it("says that the outcome is unknown when it is", function()
      local _, account = refused()
      local ambiguous
      ring.on.refresh = function(n) return n == 1 and { error = "timeout", sent = true } or answers.invalid_grant() end
      two:on("relink_required", function(_, err) ambiguous = err.ambiguous end)
      dies(account.refresh, account, { force = true })
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({ "two relink_required ring-1 refresh_outcome_unknown" }, told)
      assert.is_true(ambiguous)
    end)

    it("is a code that was refused", function()
      ring.on.token = answers.invalid_grant
      local heard
      two:on("failed", function(_, err) heard = err end)
      dies(one.exchange, one, "a-code")
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({ "two failed - exchange_refused" }, told)
      assert.same({ "exchange", 400, "invalid_grant" }, { heard.stage, heard.status, heard.title })
      assert.equal(heard.message, select(2, one:exchange("a-code")).message)
    end)

    it("is a user whom Ring does not know", function()
      ring.on.me = function() return answers.refusal(404, "Not Found") end
      assert.equal("not_found", select(2, one:exchange("a-code")).code)
      assert.same({ "one failed - not_found" }, told)
      told = {}
      dies(one.exchange, one, "another-code")
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({ "two failed - not_found" }, told)
    end)

    it("is an integration that Ring does not know", function()
      offline.grant(one, { state = "awaiting" })
      ring.on.complete = function() return answers.refusal(404, "Not Found") end
      dies(one.complete, one, one:account("ring-1"))
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({ "two failed ring-1 not_found" }, told)
    end)

    it("is a removal, whatever becomes of its webhook", function()
      local key = offline.grant(one, {})
      local removal = deliveries.event(one, "app_integration_removed", { time_ms = clock.now_ms() + 1000 })
      dies(deliveries.send, one, removal)
      assert.equal("unlinked", row_of(key).owed)
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({ "two unlinked ring-1" }, told)
      assert.equal("duplicate", deliveries.send(two, removal))
      assert.equal(1, #told)
    end)

    it("is told by one of two that work at once", function()
      local key, account = refused()
      dies(account.refresh, account, { force = true })
      clock.advance(DEADLINE_MS)
      two:on("relink_required", function() work(one) end)
      work(two)
      assert.same({ "two relink_required ring-1 relink_required" }, told)
      assert.is_nil(row_of(key).owed)
    end)

    it("is left to whoever took it on just now", function()
      local key, account = refused()
      dies(account.refresh, account, { force = true })
      clock.advance(DEADLINE_MS)
      local get = two.store.get
      two.store.get = function(store, wanted)
        local row, version = get(store, wanted)
        if wanted == key then
          two.store.get = nil
          dies(one.work, one)                    -- a moment after the other one has looked
        end
        return row, version
      end
      work(two)
      assert.same({}, told)
    end)

    it("is told again when whoever took that on dies as well", function()
      local _, account = refused()
      dies(account.refresh, account, { force = true })
      clock.advance(DEADLINE_MS)
      dies(one.work, one)
      work(two)
      assert.same({}, told)
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({ "two relink_required ring-1 relink_required" }, told)
    end)

    it("is owed no more once it is not so any more", function()
      local key, account = refused()
      dies(account.refresh, account, { force = true })
      ring.on.refresh = nil
      assert.is_true(two:account("ring-1"):refresh({ force = true }))
      assert.is_nil(row_of(key).owed)
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({}, told)
      for _, event in ipairs({ "revived", "supersede" }) do
        key = offline.grant(one, { account = "ring-2" })
        assert(grants.apply(one, {}, key, "relink"))
        assert.equal("relink_required", row_of(key).owed)
        assert(grants.apply(one, {}, key, event))
        assert.is_nil(row_of(key).owed)
      end
    end)

    it("is the last of what happened, when more did", function()
      local key, account = refused()
      dies(account.refresh, account, { force = true })
      assert(grants.apply(one, {}, key, "unlink"))
      clock.advance(DEADLINE_MS)
      work(two)
      assert.same({ "two unlinked ring-1" }, told)
    end)

    it("goes with a row that is forgotten", function()
      local _, account = refused()
      two:on("relink_required", function(which) assert(which:forget()) end)
      dies(account.refresh, account, { force = true })
      clock.advance(DEADLINE_MS)
      work(two)
      assert.equal("not_found", select(2, account:state()).code)
    end)

    it("is settled although a hook raises", function()
      local key, account = refused()
      one:on("relink_required", function() error("a mistake") end)
      assert.is_nil((account:refresh({ force = true })))
      assert.is_nil(row_of(key).owed)
    end)

    it("is told again, rather than never, when the store does not take that it was told", function()
      local key, account = refused()
      local put_if = one.store.put_if
      one:on("relink_required", function()
        one.store.put_if = function() errors.new("store_error"):raise() end
      end)
      assert.equal("relink_required", select(2, account:refresh({ force = true })).code)
      one.store.put_if = put_if
      assert.equal("relink_required", row_of(key).owed)
    end)
  end)
end)
