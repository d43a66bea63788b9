-- Critical sections and hooks: a hook runs when no section is open around it, so that it may use the
-- client; what nested sections have to tell is told once, in order.

local answers = require "support.answers"
local offline = require "support.offline"
local ringlink = require "ringlink"

local EXPIRED = offline.now_ms + 1
local SLEEPS_MAX = 1000

describe("hooks and sections", function()
  local client, clock, ring, account, key

  local function start(grant, options)
    client, clock = offline.client(options)
    ring = answers.serve(client)
    key = offline.grant(client, grant)
    account = client:account("ring-1")
    clock.advance(1)                       -- a token of EXPIRED has expired
    local sleep, count = clock.sleep, 0
    clock.sleep = function(seconds)
      count = count + 1
      if count > SLEEPS_MAX then error("a section waits for itself") end
      sleep(seconds)
    end
  end

  --- A grant whose token has to be refreshed before the POST.
  before_each(function() start({ state = "unclaimed", expires_ms = EXPIRED }) end)

  local function redirect()
    local q = offline.redirect(client, "ring-1")
    q.user, q.account_identifier = "user-1", "maria@partner.example.com"
    return q
  end

  local function assert_closed() assert.same({ nil, nil }, { next(client.flights), next(client.sections) }) end

  --- Whatever a hook is told while a section is open; the hooks' names in order.
  local function record(of)
    local told, open = {}, {}
    for _, name in ipairs({ "matched", "awaiting", "completed", "token_rotated", "refresh_failed",
      "relink_required", "failed", "exchanged", "unlinked" }) do
      of:on(name, function()
        told[#told + 1] = name
        if next(of.flights) then open[#open + 1] = name end
      end)
    end
    of:on("transition", function(_, from, to)
      told[#told + 1] = from .. ">" .. to
      if next(of.flights) then open[#open + 1] = from .. ">" .. to end
    end)
    return told, open
  end

  it("are told once, in order, by the outermost caller of nested sections", function()
    local told, open = record(client)
    assert(client:link(redirect()))
    assert.same({
      "unclaimed>matched", "matched",
      "matched>confirming", "token_rotated", "confirming>awaiting", "awaiting",
      "awaiting>completed", "completed",
    }, told)
    assert.same({}, open)
    assert_closed()
  end)

  it("are told what a nested refresh that failed has to say", function()
    ring.on.refresh = answers.invalid_grant
    local told, open = record(client)
    assert.equal("relink_required", select(2, client:link(redirect())).code)
    assert.same({ "unclaimed>matched", "matched", "matched>confirming", "confirming>relink", "relink_required" }, told)
    assert.same({}, open)
  end)

  it("are told once of a refresh that several wait for", function()
    start({ expires_ms = EXPIRED })
    local told, open = record(client)
    ring.on.refresh = function() answers.wait_until("the others", function() return ring.waiting == 3 end) end
    ring.waiting = 0
    ringlink.run(function()
      for _ = 1, 3 do
        ringlink.spawn(function()
          ring.waiting = ring.waiting + 1
          assert(account:access_token())
        end)
      end
    end)
    assert.same({ "token_rotated" }, told)
    assert.same({}, open)
    assert.equal(1, ring:count("refresh"))
  end)

  it("are told of the exchange's sections, and of a refresh within", function()
    ring.account = "ring-2"
    ring.on.me = function(n) return n == 1 and answers.refusal(401) or nil end
    local told, open = record(client)
    assert(client:exchange("a-code"))
    assert.same({ "exchanging>identifying", "token_rotated", "identifying>unclaimed", "exchanged" }, told)
    assert.same({}, open)
  end)

  describe("let a hook use the account it is told of:", function()
    local done

    local function update(which)
      done[#done + 1] = { client:update(which, { account_identifier = "new@partner.example.com" }) }
    end

    before_each(function() done = {} end)

    it("token_rotated, within a link", function()
      client:on("token_rotated", update)
      assert.equal("completed", assert(client:link(redirect())).status)
      assert.equal(1, #done)
      assert.truthy(done[1][1], tostring(done[1][2]))
      assert.same({ "refresh", "confirm", "update", "complete" }, ring.calls)
      assert_closed()
    end)

    it("token_rotated, within an update", function()
      start({ expires_ms = EXPIRED })
      client:on("token_rotated", update)
      assert(client:update(account, { account_identifier = "a@partner.example.com" }))
      assert.truthy(done[1][1], tostring(done[1][2]))
      assert.same({ "refresh", "update", "update" }, ring.calls)
      assert_closed()
    end)

    it("every transition, within a link", function()
      client:on("transition", function(which, _, to)
        update(which)
        done[#done].to = to
      end)
      assert.equal("completed", assert(client:link(redirect())).status)
      local said = {}
      for i, one in ipairs(done) do said[i] = one.to .. " " .. (one[1] and "updated" or one[2].code) end
      assert.same({ "matched invalid_transition", "confirming updated", "awaiting updated", "completed updated" }, said)
      assert_closed()
    end)

    it("token_rotated may refresh again, once", function()
      local again
      client:on("token_rotated", function(which)
        if again == nil then
          again = false
          again = which:refresh({ force = true })
        end
      end)
      assert(client:link(redirect()))
      assert.is_true(again)
      assert.equal(2, ring:count("refresh"))
    end)
  end)

  it("leave no lease behind, whatever a section ends with", function()
    assert(client:link(redirect()))
    ring.on.pause = function() error("a mistake") end
    assert.is_false((pcall(client.update, client, account, { status = "awaiting" })))
    assert_closed()
    assert.is_nil(next(client.store.leases))
    ring.on.pause = nil
    assert.equal("awaiting", assert(client:update(account, { status = "awaiting" })).status)
    assert.is_nil(next(client.store.leases))
  end)

  it("go on when a hook raises", function()
    client:on("token_rotated", function() error("a mistake") end)
    local told = record(client)
    assert.equal("completed", assert(client:link(redirect())).status)
    assert.equal(8, #told)
    assert.equal("completed", client.store:get(key).state)
  end)
end)
