-- A link that was completed once and is led through Ring's two calls again by a fresh nonce of the same
-- user: which of a flow's steps are left then (README "Flows").

local flow_stage = require "support.flow_stage"
local ringlink = require "ringlink"

local w

describe("a fresh nonce of the same user #network", function()
  local client, clock, s

  flow_stage.with_ring(function(...)
    w, client, clock, s = ...
    client:on("configure", s:noting("(configure)"))
  end)

  local function again(account, more)
    local q = { flow = s.shop }
    for name, value in pairs(more or {}) do q[name] = value end
    return w.redirect_of(w:sign_in_again(account.id), nil, q)
  end

  --- An account that was linked without a flow; what ran since.
  local function linked()
    local account = w:linked(client).account
    assert.same({ "(configure)" }, s.ran)
    s.ran = {}
    return account
  end

  local STEPS = { "check-plan", "provision", "warm-up", "last", "welcome" }

  --- The process ends here, and another one takes on what is due.
  local function interrupt() error("lua: interrupted!", 0) end

  local function taken_on_by_work()
    w:pass_time(clock, 136000)
    assert.equal(1, assert(client:work()).resumed)
  end

  it("takes a link that had no flow through the steps of one, each once, but configure", function()
    local account = linked()
    s:whole()
    local q = again(account)
    for _ = 1, 2 do assert.equal("completed", assert(client:link(q)).status) end
    assert(client:link(again(account)))
    assert.same(STEPS, s.ran)
    assert.equal("completed", w:status(account.id))
    assert.equal(3, w:count("confirm"))
  end)

  it("keeps what they return, for the steps behind them and for good", function()
    local account, seen = linked(), nil
    s.shop:after("confirm", "provision", s:noting("provision", "its value"))
    s.shop:after("complete", "welcome", function(link) seen = link.results.provision end)
    assert.equal("its value", assert(client:link(again(account))).results.provision)
    assert.equal("its value", seen)
  end)

  it("stands where one says later, and goes on behind it", function()
    local account = linked()
    s:waiting("later")
    local q = again(account)
    assert.equal("provision", assert(client:link(q)).waiting_for)
    assert.equal("awaiting", w:status(account.id))
    assert.equal("completed", assert(client:complete(account)).status)
    assert.same({ "first", "provision", "third" }, s.ran)
    assert.equal(2, w:count("complete"))
  end)

  for _, name in ipairs { "provision", "warm-up", "welcome" } do
    it(("is taken on by work in %s, where its process died, and nothing behind it runs again"):format(name), function()
      local account = linked()
      s:whole()
      local step = s:asking(name)
      step.answer = interrupt
      s.shop:replace(name, step.fn)
      assert.is_false(pcall(client.link, client, again(account)))
      step.answer = function() end
      taken_on_by_work()
      local ran = {}
      for _, each in ipairs(STEPS) do
        ran[#ran + 1] = each
        if each == name then ran[#ran + 1] = each end
      end
      assert.same(ran, s.ran)
      assert.equal("completed", w:status(account.id))
    end)
  end

  for _, hook in ipairs { "before_confirm", "awaiting" } do
    it(("has them before it although its process died in %s"):format(hook), function()
      local account = linked()
      s:whole()
      local off = client:on(hook, interrupt)
      assert.is_false(pcall(client.link, client, again(account)))
      off()
      taken_on_by_work()
      assert.same(STEPS, s.ran)
      assert.equal("completed", w:status(account.id))
    end)
  end

  it("has them before it when the POST's answer was lost", function()
    local account = linked()
    s:whole()
    local q = again(account)
    w:fault { call = "confirm", kind = "lost", count = 5 }
    assert.is_true(select(2, client:link(q)).ambiguous)
    w:pass_time(clock, 601000)
    assert.equal("completed", assert(client:link(q)).status)
    assert.same(STEPS, s.ran)
  end)

  it("changes nothing of a link whose POST is refused", function()
    local account = linked()
    local key = account:grant().key
    local before = client.store:get(key)
    s:whole()
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    assert.equal("invalid_nonce", select(2, client:link(again(account))).code)
    local row = client.store:get(key)
    assert.same({ before.state, before.flow, before.steps, before.reassigned },
      { row.state, row.flow, row.steps, row.reassigned })
    assert(client:update(account, { status = "awaiting" }))
    assert.equal("completed", assert(client:complete(account)).status)
    assert.same({ "check-plan" }, s.ran)
  end)

  it("gives nothing to whom it is moved in the middle of it", function()
    local account = linked()
    s:waiting("later")
    client:on("reassign", function() return true end)
    assert(client:link(again(account)))
    local q = w.redirect_of(w:sign_in_again(account.id), "user-2", { flow = s.shop })
    assert.equal("provision", assert(client:link(q)).waiting_for)
    assert.equal("completed", assert(client:complete(account)).status)
    assert.same({ "first", "provision", "first", "provision", "third", "(configure)" }, s.ran)
  end)

  it("without a flow asks nothing that a flow has open", function()
    local account = linked()
    s:waiting("later")
    assert(client:link(again(account)))
    local q = again(account)
    q.flow = nil
    assert.equal("completed", assert(client:link(q)).status)
    assert.same({ "first", "provision" }, s.ran)
  end)

  it("runs what another flow has and the link has not had, by name", function()
    local account = linked()
    s:whole()
    assert(client:link(again(account)))
    s.ran = {}
    local other = ringlink.flow { name = "other", from = s.shop }
    other:skip("warm-up"):after("provision", "fill", s:noting("fill")):after("complete", "tell", s:noting("tell"))
    assert(client:link(again(account, { flow = other })))
    assert.same({ "fill", "tell" }, s.ran)
  end)

  it("asks configure where the flow before had left it out", function()
    local account = w:unclaimed(client)
    s.ran = {}
    local bare = ringlink.flow { name = "bare" }:skip("configure")
    assert(client:link(again(account, { flow = bare })))
    assert.same({}, s.ran)
    for _ = 1, 2 do assert(client:link(again(account))) end
    assert.same({ "(configure)" }, s.ran)
  end)

  it("does not ask it again of a link that had it without a flow, by whatever flow it goes then", function()
    local account = linked()
    local bare = ringlink.flow { name = "bare" }:skip("configure")
    for _, by in ipairs { bare, s.shop, s.shop } do assert(client:link(again(account, { flow = by }))) end
    assert.same({}, s.ran)
  end)

  it("takes a paused link through what is left, too", function()
    local account = linked()
    assert(client:update(account, { status = "awaiting" }))
    s:whole()
    assert.equal("completed", assert(client:link(again(account))).status)
    assert.same(STEPS, s.ran)
  end)

  it("leads through what is left also where the POST is a call of its own", function()
    local account = linked()
    client:flow(s:whole())
    local install = w:sign_in_again(account.id)
    -- match looks among unclaimed accounts only.
    local claim = { account = account, nonce = install.nonce, time = install.time }
    assert.equal("awaiting", assert(client:confirm(claim, { user = "user-1", flow = "shop" })).status)
    assert.same({ "check-plan" }, s.ran)
    assert.equal("completed", assert(client:complete(account)).status)
    assert.same(STEPS, s.ran)
  end)

  it("is what it takes: a pause runs no step that was added since", function()
    local account = linked()
    assert(client:link(again(account)))
    local later = w:client_beside(client, { clock = clock })
    later:flow(ringlink.flow { name = "shop", from = s.shop }:after("confirm", "added", s:noting("added")))
    assert(later:update(later:account(account.id), { status = "awaiting" }))
    assert.equal("completed", assert(later:complete(later:account(account.id))).status)
    assert.same({}, s.ran)
    assert(later:link(again(account, { flow = "shop" })))
    assert.same({ "added" }, s.ran)
  end)
end)
