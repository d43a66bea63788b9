-- Claims that others get into: a grant that changes hands while a hook decides, one nonce brought by
-- two, a store that fails, a nonce that matches nothing. And which grant speaks for an account.

local answers = require "support.answers"
local clocks = require "support.clock"
local errors = require "ringlink.errors"
local grants = require "ringlink.grants"
local offline = require "support.offline"
local ringlink = require "ringlink"

describe("a claim", function()
  local client, clock, ring

  local function start(options)
    client = offline.client(options)
    clock, ring = client.clock, answers.serve(client)
  end

  before_each(function() start() end)

  local function redirect(user, account)
    local q = offline.redirect(client, account or "ring-1")
    q.user = user or "user-1"
    return q
  end

  local function refused(code, link, err)
    assert.is_nil(link)
    assert.equal(code, err.code)
  end

  local function row_of(key) return (client.store:get(key)) end

  local function user_of(account) return assert(client:account(account or "ring-1"):info()).user end

  describe("that the reassign hook allowed", function()
    local go, asked

    before_each(function()
      start({ clock = clocks.new() })
      go, asked = false, {}
      client:on("reassign", function(_, from, to)
        asked[#asked + 1] = from .. ">" .. to
        if to == "slow" then answers.wait_until("leave to go on", function() return go end) end
        return true
      end)
    end)

    --- The slow user's link, with another user's in the middle of it.
    local function both()
      local slow, quick
      ringlink.run(function()
        ringlink.spawn(function() slow = { client:link(redirect("slow")) } end)
        answers.wait_until("the hook", function() return asked[1] end)
        clock.advance(1000)
        quick = { client:link(redirect("quick")) }
        go = true
      end)
      return slow, quick
    end

    it("is refused when the grant changed hands meanwhile", function()
      local key = offline.grant(client, { user = "owner" })
      local slow, quick = both()
      assert.equal("completed", quick[1].status)
      refused("in_progress", slow[1], slow[2])
      assert.is_true(slow[2].retryable)
      assert.equal("quick", user_of())
      assert.equal("completed", row_of(key).state)
      assert.equal(1, ring:count("confirm"))
      assert.same({ "owner>slow", "owner>quick" }, asked)
    end)

    it("asks anew when it is brought again, from whoever holds it now", function()
      offline.grant(client, { user = "owner" })
      both()
      clock.advance(1000)          -- another redirect: one nonce is claimed once
      assert.equal("completed", assert(client:link(redirect("slow"))).status)
      assert.equal("quick>slow", asked[3])
      assert.equal("slow", user_of())
    end)

    it("is refused when another grant of the account changed hands meanwhile", function()
      local old = offline.grant(client, { user = "owner" })
      clock.advance(1000)
      local new = offline.grant(client, { state = "unclaimed" })
      local slow
      ringlink.run(function()
        ringlink.spawn(function() slow = { client:link(redirect("slow")) } end)
        answers.wait_until("the hook", function() return asked[1] end)
        assert(grants.update(client, old, function() return { user = grants.user_tag(client, "quick") } end))
        go = true
      end)
      refused("in_progress", slow[1], slow[2])
      assert.equal("unclaimed", row_of(new).state)
    end)

    it("goes through when nothing changed", function()
      offline.grant(client, { user = "owner" })
      go = true
      assert.equal("completed", assert(client:link(redirect("slow"))).status)
      assert.equal("slow", user_of())
    end)
  end)

  describe("that the store does not take", function()
    for how, fail in pairs({
      refuses = function() return nil, "disk I/O error" end,
      raises = function() error(errors.new("store_error", { detail = "gone" }), 0) end,
    }) do
      it("does not burn the nonce, when the store " .. how, function()
        offline.grant(client, { state = "unclaimed" })
        local q = redirect()
        client.store.put_if = fail
        local ok, link, err = pcall(client.link, client, q)
        client.store.put_if = nil
        assert.equal("store_error", ok and err.code or link.code)
        assert.equal("completed", assert(client:link(q)).status)
        assert.equal(1, ring:count("confirm"))
      end)
    end
  end)

  describe("with one nonce for two grants of an account", function()
    local older, newer, q

    before_each(function()
      older = offline.grant(client, { state = "unclaimed" })
      clock.advance(1000)
      newer = offline.grant(client, { state = "unclaimed" })
      client:on("reassign", function() return true end)
      q = redirect()
      ring.on.complete = function() return answers.refusal(400, "Missing Required Fields") end
    end)

    it("by two users goes to one", function()
      assert.is_nil((client:link(q)))
      q.user = "user-2"
      refused("invalid_nonce", client:link(q))
      assert.same({ "awaiting", "unclaimed" }, { row_of(newer).state, row_of(older).state })
      assert.equal("user-1", user_of())
      assert.same({}, { row_of(older).user, row_of(older).user_sealed, row_of(older).nonce, row_of(older).nonce_tag })
      assert.equal(1, ring:count("confirm"))
    end)

    it("tells no hook of the second claim's match", function()
      assert.is_nil((client:link(q)))
      local matched = 0
      client:on("matched", function() matched = matched + 1 end)
      q.user = "user-2"
      refused("invalid_nonce", client:link(q))
      assert.equal(0, matched)
    end)

    it("leaves the second user free to come with a fresh one", function()
      assert.is_nil((client:link(q)))
      q.user = "user-2"
      refused("invalid_nonce", client:link(q))
      ring.on.complete = nil
      clock.advance(1000)
      assert.equal("completed", assert(client:link(redirect("user-2"))).status)
    end)
  end)

  describe("with a nonce that matches nothing", function()
    local scans

    before_each(function()
      scans = {}
      client.store.find = function(store, query)
        if query.state then scans[query.state] = (scans[query.state] or 0) + 1 end
        return getmetatable(store).find(store, query)
      end
    end)

    it("is looked for among linked accounts once, however long it waits", function()
      offline.grant(client, { account = "ring-2" })
      refused("no_unclaimed_match", client:link({ nonce = redirect().nonce, time = redirect().time, user = "user-1",
        wait_s = 10 }))
      assert.is_true(clock.slept_s >= 10)
      assert.same({ matched = 1, confirming = 1, awaiting = 1, relink = 1, completed = 1 }, scans)
    end)

    it("passes over a grant that was lost before it was known whose it is", function()
      offline.grant(client, {})
      for _ = 1, 2 do
        clock.advance(1000)
        assert(grants.apply(client, {}, offline.grant(client, { state = "identifying" }), "relink"))
      end
      assert.equal("completed", assert(client:link(redirect())).status)
      refused("no_unclaimed_match", client:link(redirect("user-1", "ring-2")))
    end)

    it("still finds the account that is exchanged meanwhile", function()
      local q = redirect()
      q.wait_s = 10
      local sleep = clock.sleep
      clock.sleep = function(seconds)
        clock.sleep = sleep
        sleep(seconds)
        assert(client:exchange("a-code"))
      end
      assert.equal("completed", assert(client:link(q)).status)
    end)
  end)

  describe("on a new install, while Ring refuses the old one's tokens", function()
    local old, new

    before_each(function()
      old = offline.grant(client, { state = "relink" })
      clock.advance(1000)
      new = offline.grant(client, { state = "unclaimed" })
    end)

    it("leaves the account to the old one until it is claimed", function()
      assert.equal("relink", client:account("ring-1"):state())
      refused("relink_required", client:account("ring-1"):get("/v1/devices"))
    end)

    it("lets configure call Ring by the new one", function()
      local seen
      client:on("configure", function(link)
        seen = { link.account:state(), client:account("ring-1"):state(), assert(link.account:get("/v1/devices")) }
      end)
      assert.equal("completed", assert(client:link(redirect())).status)
      assert.same({ "awaiting", "awaiting", { data = {} } }, seen)
      assert.same({ "superseded", "completed" }, { row_of(old).state, row_of(new).state })
    end)

    it("lists the account once", function()
      client:on("configure", function() return false, "not yet" end)
      refused("configure_failed", client:link(redirect()))
      local listed = {}
      for account in client:accounts() do listed[#listed + 1] = account.key end
      assert.same({ new }, listed)
    end)
  end)

  it("is no reason to leave a current grant that works", function()
    offline.grant(client, {})
    clock.advance(1000)
    offline.grant(client, { state = "awaiting" })
    assert.equal("completed", client:account("ring-1"):state())
  end)
end)
