-- Whose a link with a flow is: moved to another user, taken away in the middle of a step, given back,
-- paused, removed, forgotten (README "Flows").

local flow_stage = require "support.flow_stage"
local ringlink = require "ringlink"

local w

describe("a link with a flow and its users #network", function()
  local client, clock, s

  flow_stage.with_ring(function(...) w, client, clock, s = ... end)

  it("begins anew, configure too, for a user to whom the account was moved", function()
    s:whole()
    local users = {}
    client:on("configure", function(link) users[#users + 1] = link.user end)
    client:on("reassign", function() return true end)
    local one = s:begin()
    assert(client:link(one.q))
    s.ran = {}
    local again = w.redirect_of(w:sign_in_again(one.account.id), "user-2", { flow = s.shop })
    assert.equal("user-2", assert(client:link(again)).user)
    assert.same({ "check-plan", "provision", "warm-up", "last", "welcome" }, s.ran)
    assert.same({ "user-1", "user-2" }, users)
  end)

  it("asks configure for a user to whom the account was moved, without a flow too", function()
    local users = {}
    client:on("configure", function(link) users[#users + 1] = link.user end)
    client:on("reassign", function() return true end)
    local link = w:linked(client)
    assert(client:link(w.redirect_of(w:sign_in_again(link.account.id), "user-2")))
    assert(client:link(w.redirect_of(w:sign_in_again(link.account.id), "user-2")))
    assert.same({ "user-1", "user-2" }, users)
  end)

  it("is not shown to whom it was taken from in the middle of a step", function()
    local other = w:client_beside(client, { clock = clock })
    other:on("reassign", function() return true end)
    local one, moved = s:begin(), nil
    s.shop:after("confirm", "provision", function()
      moved = assert(other:link(w.redirect_of(w:sign_in_again(one.account.id), "user-2")))
      return "user-1's"
    end)
    local link, err = client:link(one.q)
    assert.is_nil(link)
    assert.equal("already_linked", err.code)
    assert.equal("user-2", moved.user)
    local row = client.store:get(one.account:grant().key)
    assert.same({ "completed" }, { row.state, row.steps, row.flow })
  end)

  it("keeps what a step did for a claim that is over out of the next one", function()
    local other = w:client_beside(client, { clock = clock })
    local one = s:begin()
    s.shop:before("confirm", "check-plan", function(link)
      if link.user ~= "user-1" then return end
      w:pass_time(clock, 601000)
      assert(other:work())                                   -- gives the claim back
      local again = w.redirect_of(w:sign_in_again(one.account.id), "user-2", { flow = "other" })
      other:on("before_confirm", function() error("lua: interrupted!", 0) end)
      other:flow(ringlink.flow { name = "other" })
      pcall(other.link, other, again)
      return "user-1's"
    end)
    other:flow(s.shop)
    assert.is_nil((client:link(one.q)))
    local row = client.store:get(one.account:grant().key)
    assert.same({ "matched", nil, "other" }, { row.state, row.steps, row.flow })
  end)

  it("does not stand at a step any more once the user has removed the app", function()
    local one = s:begin()
    s.shop:after("confirm", "provision", function()
      local body = ('{"meta":{"time":"%s","request_id":"r","account_id":"%s"},'
        .. '"data":{"id":"d","type":"app_integration_removed"}}')
        :format(os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(clock.now_ms() / 1000)), one.account.id)
      assert(client:webhook(body, client.options.hmac_key:sign(body)))
      return false, "no"
    end)
    assert.equal("configure_failed", select(2, client:link(one.q)).code)
    assert.same({ "unlinked" }, { one.account:state(), one.account:info().waiting_for })
  end)

  it("is as it was when a move fails", function()
    s.shop:after("confirm", "provision", function(link) return link.user .. "'s" end)
    client:on("reassign", function() return true end)
    local one = s:begin()
    assert(client:link(one.q))
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    local other = ringlink.flow { name = "other" }
    local again = w.redirect_of(w:sign_in_again(one.account.id), "user-2", { flow = other })
    assert.equal("invalid_nonce", select(2, client:link(again)).code)
    local info = assert(one.account:info())
    assert.same({ "user-1", "shop", { provision = "user-1's" } }, { info.user, info.flow, info.results })
  end)

  it("does not ask configure again of whose it stays when a move fails", function()
    local users = {}
    client:on("configure", function(link) users[#users + 1] = link.user end)
    client:on("reassign", function() return true end)
    local link = w:linked(client)
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    assert.is_nil((client:link(w.redirect_of(w:sign_in_again(link.account.id), "user-2"))))
    assert(client:link(w.redirect_of(w:sign_in_again(link.account.id), "user-1")))
    assert.same({ "user-1" }, users)
  end)

  it("gets nothing back of a user from whom it was moved, when the next claim fails", function()
    s:waiting("later")
    client:on("reassign", function() return true end)
    local one = s:begin()
    assert(client:link(one.q))
    client:on("configure", function() return false, "not yet" end)
    assert.is_nil((client:link(w.redirect_of(w:sign_in_again(one.account.id), "user-2"))))
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    assert.equal("invalid_nonce", select(2, client:link(w.redirect_of(w:sign_in_again(one.account.id), "user-2"))).code)
    local info = assert(one.account:info())
    assert.same({ "user-2", "awaiting", "configure" }, { info.user, info.state, info.waiting_for })
    assert.is_nil(info.flow)
    assert.is_nil((client.store:get(one.account:grant().key)).steps)
  end)

  -- Somebody's fresh nonce for it, which Ring refuses.
  local function claim_in_vain(account, user, more)
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    local _, err = client:link(w.redirect_of(w:sign_in_again(account.id), user, more))
    assert.equal("invalid_nonce", err.code)
  end

  it("stays paused when a claim fails, and is completed by no reload", function()
    s:whole()
    client:on("reassign", function() return true end)
    local one = s:begin()
    assert(client:link(one.q))
    assert(client:update(one.account, { status = "awaiting" }))
    for _, user in ipairs { "user-1", "user-2" } do
      claim_in_vain(one.account, user)
      assert.same({ true, "awaiting" }, { one.account:info().paused, w:status(one.account.id) })
    end
  end)

  for _, user in ipairs { "user-1", "user-2" } do
    it(("is taken on by work, where a process left it, when a claim of %s fails meanwhile"):format(user), function()
      local step = s:asking("provision")
      step.answer = function() error("lua: interrupted!", 0) end
      s.shop:after("confirm", "provision", step.fn)
      client:on("reassign", function() return true end)
      local one = s:begin()
      assert.is_false(pcall(client.link, client, one.q))
      claim_in_vain(one.account, user, { flow = s.shop })
      step.answer = function() end
      w:pass_time(clock, 136000)
      assert.equal(1, assert(client:work()).resumed)
      assert.same({ "completed", "user-1" }, { w:status(one.account.id), one.account:info().user })
    end)
  end

  it("is not completed without the call's own configure, when a claim fails meanwhile", function()
    local account, install = w:unclaimed(client)
    local q = w.redirect_of(install, nil, { configure = function() error("lua: interrupted!", 0) end })
    assert.is_false(pcall(client.link, client, q))
    claim_in_vain(account)
    for _ = 1, 2 do
      w:pass_time(clock, 3600000)
      assert(client:work())
    end
    assert.equal("awaiting", w:status(account.id))
  end)

  it("goes by no flow any more when a fresh nonce names none", function()
    s:whole()
    local one = s:begin()
    assert(client:link(one.q))
    assert(client:link(w.redirect_of(w:sign_in_again(one.account.id))))
    assert.is_nil(one.account:info().flow)
  end)

  it("stays paused, although a step after the PATCH was cut off", function()
    s.shop:after("complete", "welcome", function() error("lua: interrupted!", 0) end)
    local one = s:begin()
    assert.is_false(pcall(client.link, client, one.q))
    assert(client:update(one.account, { status = "awaiting" }))
    w:pass_time(clock, 3600000)
    assert.equal(0, assert(client:work()).resumed)
    assert.equal("awaiting", w:status(one.account.id))
  end)

  it("forgets what its steps returned with the account", function()
    s.shop:after("confirm", "provision", function() return "a-value-of-theirs" end)
    local one = s:begin()
    assert(client:link(one.q))
    assert.truthy(one.account:export().account.results.provision)
    assert.truthy(w:stored(client, "a-value-of-theirs"))
    assert(one.account:forget())
    assert.is_nil(w:stored(client, "a-value-of-theirs"))
  end)
end)
