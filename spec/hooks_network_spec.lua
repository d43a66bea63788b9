-- The partner's hooks along a link: their order, their vetoes, and how a link that was stopped goes
-- on (api "Hooks"; design "Grants, accounts, links").

local ringlink = require "ringlink"
local world = require "support.world"

local unpack = table.unpack or unpack

local w

local TOLD = { "exchanged", "matched", "before_confirm", "awaiting", "configure", "before_complete", "completed",
  "failed", "token_rotated", "refresh_failed", "relink_required", "unlinked" }

describe("hooks #network", function()
  local client, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
  end)

  local function record(of)
    local list = {}
    for _, name in ipairs(TOLD) do
      of:on(name, function() list[#list + 1] = name end)
    end
    of:on("transition", function(_, from, to) list[#list + 1] = from .. ">" .. to end)
    of:on("audit", function(event) list[#list + 1] = "audit " .. event.what end)
    return list
  end

  -- A link that was stopped while Ring says `awaiting`.
  local function stopped_by(name, hook)
    local account, install = w:unclaimed(client)
    local off = client:on(name, hook)
    local link, err = client:link(w.redirect_of(install))
    assert.is_nil(link)
    assert.equal("awaiting", account:state())
    assert.equal("awaiting", w:status(account.id))
    assert.equal(0, w:count("complete"))
    return { account = account, install = install, err = err, off = off }
  end

  -- Order ---------------------------------------------------------------------------------------

  it("are told in the order of the link, each once", function()
    local told = record(client)
    w:linked(client)
    assert.same({
      "exchanging>identifying", "identifying>unclaimed", "exchanged",
      "unclaimed>matched", "matched", "before_confirm",
      "matched>confirming", "confirming>awaiting", "awaiting",
      "configure", "before_complete",
      "awaiting>completed", "completed", "audit linked",
    }, told)
  end)

  it("tell of every step of a link by hand too", function()
    local account, install = w:unclaimed(client)
    local told = record(client)
    local claim = assert(client:match { nonce = install.nonce, time = install.time })
    assert.same({}, told)
    assert(client:confirm(claim, { user = "user-1" }))
    assert.same({ "unclaimed>matched", "matched", "before_confirm", "matched>confirming", "confirming>awaiting",
      "awaiting" }, told)
    assert(client:complete(account))
    assert.same({ "before_complete", "awaiting>completed", "completed", "audit linked" }, { unpack(told, 7) })
  end)

  it("see the older link replaced when the newer one is completed", function()
    local link = w:linked(client)
    clock.advance(1000)
    local install = w:install { account = link.account.id }
    assert(client:exchange(install.code))
    local told = record(client)
    assert(client:link(w.redirect_of(install)))
    assert.same({ "awaiting>completed", "completed>superseded", "completed", "audit linked" },
      { unpack(told, 9) })
  end)

  it("are handed the link as it stands", function()
    local seen = {}
    for _, name in ipairs { "matched", "before_confirm", "awaiting", "configure", "before_complete", "completed" } do
      client:on(name, function(link)
        seen[#seen + 1] = link.user .. " " .. link.account.id .. " " .. link.account:state() .. " "
          .. link.account_identifier
      end)
    end
    local _, install = w:unclaimed(client)
    assert(client:link(w.redirect_of(install, "user-9")))
    local function line(state) return ("user-9 %s %s u***r@partner.example.com"):format(install.account, state) end
    assert.same({ line("matched"), line("matched"), line("awaiting"), line("awaiting"), line("awaiting"),
      line("completed") }, seen)
  end)

  it("say in audit who linked what, when and from where", function()
    local events = {}
    client:on("audit", function(event) events[#events + 1] = event end)
    local _, install = w:unclaimed(client)
    assert(client:link(w.redirect_of(install, "user-9", { from = "203.0.113.7" })))
    assert.equal(1, #events)
    assert.equal("linked", events[1].what)
    assert.equal(install.account, events[1].account)
    assert.equal("user-9", events[1].user)
    assert.equal("203.0.113.7", events[1].from)
    assert.is_number(events[1].at_ms)
  end)

  it("may call Ring: configure reads the devices that the POST opened", function()
    local found
    client:on("configure", function(link) found = #assert(link.account:get("/v1/devices")).data end)
    w:linked(client)
    assert.equal(2, found)
  end)

  it("run before_confirm before Ring hears anything", function()
    local posted
    client:on("before_confirm", function() posted = w:count("confirm") end)
    w:linked(client)
    assert.equal(0, posted)
  end)

  -- Vetoes before the POST ----------------------------------------------------------------------

  for name, veto in pairs {
    ["false and a reason"] = function() return false, "not this one" end,
    ["false alone"] = function() return false end,
    ["nil and a reason"] = function() return nil, "not this one" end,
  } do
    it(("stop in before_confirm by %s: the claim is given back, Ring not asked"):format(name), function()
      local account, install = w:unclaimed(client)
      local off = client:on("before_confirm", veto)
      local link, err = client:link(w.redirect_of(install))
      assert.is_nil(link)
      assert.equal("vetoed", err.code)
      assert.equal("before_confirm", err.stage)
      assert.equal(select(2, veto()), err.cause)
      assert.equal("unclaimed", account:state())
      assert.is_nil(account:info().user)
      assert.equal(0, w:count("confirm"))
      off()
      assert.equal("invalid_nonce", select(2, client:link(w.redirect_of(install))).code)
      assert.equal("completed", assert(client:link(w.redirect_of(w:sign_in_again(account.id)))).status)
    end)
  end

  it("give the claim back when before_confirm raises", function()
    local account, install = w:unclaimed(client)
    client:on("before_confirm", function() error("a mistake") end)
    local _, err = client:link(w.redirect_of(install))
    assert.same({ "hook_failed", false }, { err.code, err.retryable })
    assert.truthy(err.message:find("fix the hook, then let the user tap Sign In again", 1, true), err.message)
    assert.truthy(tostring(err.cause):find("a mistake", 1, true))
    assert.equal("unclaimed", account:state())
    assert.equal(0, w:count("confirm"))
  end)

  -- Vetoes before the PATCH ---------------------------------------------------------------------

  local STOPS = {
    { "configure", "configure_failed", function() return false, "no room" end },
    { "configure", "configure_failed", function() return nil, { code = "no room" } end },
    { "configure", "hook_failed", function() error("a mistake") end },
    { "before_complete", "vetoed", function() return false, "no room" end },
    { "before_complete", "vetoed", function() return nil, "no room" end },
    { "before_complete", "hook_failed", function() error("a mistake") end },
  }

  local RESUMPTIONS = {
    ["link with the same nonce"] = function(stop)
      return client:link(w.redirect_of(stop.install))
    end,
    ["link with a fresh nonce"] = function(stop)
      return client:link(w.redirect_of(w:sign_in_again(stop.account.id)))
    end,
    ["complete"] = function(stop)
      return client:complete(stop.account)
    end,
    ["update to completed"] = function(stop)
      return client:update(stop.account, { status = "completed" })
    end,
  }

  for i, row in ipairs(STOPS) do
    local name, code, hook = row[1], row[2], row[3]

    it(("stop in %s with %s (%d): awaiting stays"):format(name, code, i), function()
      local stop = stopped_by(name, hook)
      assert.equal(code, stop.err.code)
      assert.equal(name, stop.err.stage)
    end)

    for how, resume in pairs(RESUMPTIONS) do
      it(("after %s with %s (%d), %s goes on"):format(name, code, i, how), function()
        local stop = stopped_by(name, hook)
        stop.off()
        local link = assert(resume(stop))
        assert.equal("completed", link.status)
        assert.equal("completed", stop.account:state())
        assert.equal("completed", w:status(stop.account.id))
        assert.equal(how == "link with a fresh nonce" and 2 or 1, w:count("confirm"))
        assert.equal(1, w:count("complete"))
      end)
    end

    it(("after %s with %s (%d), work does not complete behind the partner's back"):format(name, code, i), function()
      local stop = stopped_by(name, hook)
      stop.off()
      w:pass_time(clock, 3 * 3600000)
      assert.equal(0, assert(client:work()).resumed)
      assert.equal("awaiting", stop.account:state())
      assert.equal("awaiting", w:status(stop.account.id))
      assert.equal(0, w:count("complete"))
    end)
  end

  it("ask again, every time, until they agree", function()
    local asked, agree = 0, false
    client:on("configure", function()
      asked = asked + 1
      return agree
    end)
    local _, install = w:unclaimed(client)
    for _ = 1, 3 do
      assert.equal("configure_failed", select(2, client:link(w.redirect_of(install))).code)
    end
    agree = true
    assert.equal("completed", assert(client:link(w.redirect_of(install))).status)
    assert.equal(4, asked)
    assert.equal(1, w:count("confirm"))
  end)

  it("take configure of the call instead of the hook", function()
    local by_hook, by_call = 0, 0
    client:on("configure", function() by_hook = by_hook + 1 end)
    local _, install = w:unclaimed(client)
    local q = w.redirect_of(install, nil, { configure = function(link)
      by_call = by_call + 1
      assert.equal(install.account, link.account.id)
      if by_call == 1 then return nil, "not yet" end
      if by_call == 2 then error("a mistake") end
    end })
    assert.equal("configure_failed", select(2, client:link(q)).code)
    assert.equal("hook_failed", select(2, client:link(q)).code)
    assert.equal("completed", assert(client:link(q)).status)
    assert.equal(3, by_call)
    assert.equal(0, by_hook)
  end)

  it("do not ask configure again when complete is called by hand, but before_complete", function()
    local stop = stopped_by("configure", function() return false end)
    local told = record(client)
    assert(client:complete(stop.account))
    assert.same({ "before_complete", "awaiting>completed", "completed", "audit linked" }, told)
  end)

  it("are all asked in order, and the first objection counts", function()
    local asked = {}
    client:on("before_complete", function() asked[#asked + 1] = "first" end)
    client:on("before_complete", function() asked[#asked + 1] = "second"; return false, "second says no" end)
    client:on("before_complete", function() asked[#asked + 1] = "third" end)
    local _, install = w:unclaimed(client)
    local _, err = client:link(w.redirect_of(install))
    assert.equal("second says no", err.cause)
    assert.same({ "first", "second" }, asked)
  end)

  -- After an agreement that a failure followed --------------------------------------------------

  it("let work finish a stopped link that was taken up and then failed at Ring", function()
    local stop = stopped_by("configure", function() return false end)
    stop.off()
    w:fault { call = "complete", status = 503, count = 5 }
    assert.is_true(select(2, client:link(w.redirect_of(stop.install))).ambiguous)
    w:pass_time(clock, 61000)
    assert.equal(1, assert(client:work()).resumed)
    assert.equal("completed", stop.account:state())
  end)

  it("let work finish a complete by hand that failed at Ring", function()
    local stop = stopped_by("configure", function() return false end)
    stop.off()
    w:fault { call = "complete", status = 503, count = 5 }
    assert.is_true(select(2, client:complete(stop.account)).ambiguous)
    w:pass_time(clock, 61000)
    assert.equal(1, assert(client:work()).resumed)
    assert.equal("completed", stop.account:state())
  end)

  it("cannot wait for their own link: in_progress instead of standing still", function()
    local codes = {}
    client:on("configure", function(link)
      codes[1] = select(2, client:complete(link.account)).code
    end)
    ringlink.run(function() w:linked(client) end)
    assert.same({ "in_progress" }, codes)
  end)

  -- A hook that only listens and raises ---------------------------------------------------------

  it("that are only told may raise: it is logged, the link goes on", function()
    for _, name in ipairs { "exchanged", "matched", "awaiting", "completed", "transition", "request", "response",
      "audit" } do
      client:on(name, function() error("a mistake in " .. name) end)
    end
    assert.equal("completed", w:linked(client).status)
    local reported = {}
    for _, line in ipairs(w.log) do
      if line.level == "error" then reported[line.fields.hook] = true end
    end
    for _, name in ipairs { "exchanged", "matched", "awaiting", "completed", "transition", "request", "response",
      "audit" } do
      assert.is_true(reported[name], name)
    end
  end)

  it("tell of calls without a secret", function()
    local lines = {}
    for _, name in ipairs { "request", "response" } do
      client:on(name, function(call)
        for field, value in pairs(call) do lines[#lines + 1] = field .. "=" .. tostring(value) end
      end)
    end
    local _, install = w:linked(client)
    local all = table.concat(lines, "\n")
    assert.truthy(all:find("path=/oauth/token", 1, true))
    assert.truthy(all:find("stage=complete", 1, true))
    for _, secret in ipairs { install.nonce, install.code, world.client_secret, "Bearer" } do
      assert.is_nil(all:find(secret, 1, true))
    end
  end)
end)
