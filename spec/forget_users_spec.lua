-- Forgetting, for accounts in which several partner users have or had a part, and for links whose
-- tokens Ring does not take any more.

local answers = require "support.answers"
local deliveries = require "support.deliveries"
local grants = require "ringlink.grants"
local offline = require "support.offline"

describe("forgetting", function()
  local client, clock, ring

  before_each(function()
    client, clock = offline.client()
    ring = answers.serve(client)
  end)

  local function grant(user, state)
    clock.advance(1000)
    return offline.grant(client, { user = user, state = state })
  end

  local function is_stored(key) return (client.store:get(key)) ~= nil end

  local function tombstone() return is_stored(grants.tombstone_key(client, "ring-1")) end

  local function state_of(user) return (client:account("ring-1", { user = user }):state()) end

  describe("a user", function()
    -- Who had the account before, and who has it now.
    for _, case in ipairs({
      { "unlinked", "completed" }, { "superseded", "completed" }, { "failed", "awaiting" },
      { "relink", "completed" }, { "unlinked", "matched" }, { "unlinked", "relink" },
    }) do
      it(("whose link is %s leaves the %s one of another user"):format(case[1], case[2]), function()
        local theirs, others = grant("user-1", case[1]), grant("user-2", case[2])
        assert.equal(1, client:forget_user("user-1"))
        assert.same({ false, true }, { is_stored(theirs), is_stored(others) })
        assert.equal(case[2], state_of("user-2"))
        assert.is_false(tombstone())
      end)

      it(("whose newer link is %s leaves the older %s one of another user"):format(case[1], case[2]), function()
        local others, theirs = grant("user-2", case[2]), grant("user-1", case[1])
        assert.equal(1, client:forget_user("user-1"))
        assert.same({ false, true }, { is_stored(theirs), is_stored(others) })
        assert.equal(case[2], state_of("user-2"))
      end)
    end

    it("goes with all grants of an account that was nobody else's, which count once", function()
      local keys = { grant("user-1", "unlinked"), grant("user-1", "completed"), grant(nil, "unclaimed") }
      assert.equal(1, client:forget_user("user-1"))
      for _, key in ipairs(keys) do assert.is_false(is_stored(key)) end
      assert.is_true(tombstone())
    end)

    for _, said in ipairs({ { name = "never arrived", error = "connect", sent = false },
      { name = "was lost", error = "timeout", sent = true } }) do
      it(("whose claim on another's link %s gives the link back"):format(said.name), function()
        local key = grant("user-2", "completed")
        client:on("reassign", function() return true end)
        ring.on.confirm = function() return { error = said.error, sent = said.sent } end
        local q = offline.redirect(client, "ring-1")
        q.user = "user-1"
        assert.is_nil((client:link(q)))
        assert.equal("confirming", state_of("user-1"))
        assert.equal(1, client:forget_user("user-1"))
        assert.equal("completed", state_of("user-2"))
        assert.same({}, { client.store:get(key).nonce, client.store:get(key).prior_user })
        assert.equal(0, client:forget_user("user-1"))
      end)
    end

    it("leaves the other user's events", function()
      grant("user-1", "unlinked")
      grant("user-2", "completed")
      local off = client:on("webhook", function() error("not now") end)
      deliveries.send(client, deliveries.event(client, "motion_detected"))
      off()
      assert.equal(1, client:forget_user("user-1"))
      clock.advance(3600 * 1000)
      assert.equal(1, assert(client:work()).events)
    end)
  end)

  describe("an account with a user", function()
    it("leaves the other user's grants", function()
      local theirs, others = grant("user-1", "completed"), grant("user-2", "matched")
      assert.is_true(client:account("ring-1", { user = "user-1" }):forget())
      assert.same({ false, true }, { is_stored(theirs), is_stored(others) })
      assert.equal("matched", state_of("user-2"))
    end)

    it("wipes it whole when it is theirs alone", function()
      grant("user-1", "unlinked")
      grant("user-1", "completed")
      assert.is_true(client:account("ring-1", { user = "user-1" }):forget())
      assert.equal(0, #client.store:find({ account = "ring-1" }))
      assert.is_true(tombstone())
    end)

    it("is not found by a user whose link is over", function()
      grant("user-1", "unlinked")
      local others = grant("user-2", "completed")
      assert.equal("not_found", select(2, client:account("ring-1", { user = "user-1" }):forget()).code)
      assert.is_true(is_stored(others))
    end)
  end)

  it("an account without a user wipes everybody's", function()
    grant("user-1", "unlinked")
    grant("user-2", "completed")
    assert.is_true(client:account("ring-1"):forget())
    assert.equal(0, #client.store:find({ account = "ring-1" }))
    assert.is_true(tombstone())
  end)

  describe("with notify", function()
    local function forgotten()
      assert.is_true(client:account("ring-1"):forget({ notify = true }))
      assert.equal(0, #client.store:find({ account = "ring-1" }))
    end

    it("wipes a link that waits to be linked again, without a call", function()
      grant("user-1", "relink")
      forgotten()
      assert.same({}, ring.calls)
    end)

    it("wipes an unlinked one, without a call", function()
      grant("user-1", "unlinked")
      forgotten()
      assert.same({}, ring.calls)
    end)

    for _, drop in ipairs({ false, true }) do
      it("wipes one whose tokens Ring refuses just then" .. (drop and ", in doubt" or ""), function()
        grant("user-1", "completed")
        clock.advance(offline.token_lifetime_ms)
        ring.on.refresh = function(n)
          if drop and n == 1 then return { error = "timeout", sent = true } end
          return answers.invalid_grant()
        end
        forgotten()
        assert.equal(0, ring:count("pause"))
      end)
    end

    it("wipes one that is unlinked just then", function()
      grant("user-1", "completed")
      ring.on.pause = function()
        deliveries.send(client, deliveries.event(client, "app_integration_removed",
          { time_ms = clock.now_ms() + 1000 }))
        return answers.refusal(401)
      end
      forgotten()
    end)

    it("wipes nothing when Ring cannot be told", function()
      local key = grant("user-1", "completed")
      ring.on.pause = function() return { error = "connect", sent = false } end
      assert.equal("connect", select(2, client:account("ring-1"):forget({ notify = true })).code)
      assert.is_true(is_stored(key))
    end)
  end)
end)
