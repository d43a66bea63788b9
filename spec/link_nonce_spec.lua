-- Which nonce opens which account, and for whom (contract 6; design "Grants, accounts, links").

local ringlink = require "ringlink"
local world = require "support.world"

local w

describe("nonce #network", function()
  local client, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
  end)

  -- What was refused left no trace: the account is still to be had, and Ring was not asked.
  local function refused(code, q)
    local before = #w:journal()
    local link, err = client:link(q)
    assert.is_nil(link)
    assert.equal(code, err.code)
    assert.equal(before, #w:journal())
    return err
  end

  -- Forged, stale, future -----------------------------------------------------------------------

  it("matches no account with a forged nonce", function()
    local account, install = w:unclaimed(client)
    local forged = ringlink.nonce("another-key", install.time, install.account)
    refused("no_unclaimed_match", w.redirect_of(install, nil, { nonce = forged }))
    assert.equal("unclaimed", account:state())
    assert.equal("completed", assert(client:link(w.redirect_of(install))).status)
  end)

  it("matches no account with a nonce of another time", function()
    local account, install = w:unclaimed(client)
    local later = ("%d"):format(tonumber(install.time) + 1)
    refused("no_unclaimed_match", w.redirect_of(install, nil, { time = later }))
    refused("no_unclaimed_match", w.redirect_of(install, nil, { time = "0" .. install.time }))
    assert.equal("unclaimed", account:state())
  end)

  it("refuses malformed nonces and times before anything else", function()
    local _, install = w:unclaimed(client)
    for _, wrong in ipairs { "", "short", install.nonce .. "=", install.nonce:sub(1, 42) .. "+", 7, {}, false } do
      refused("invalid_request", w.redirect_of(install, nil, { nonce = wrong }))
    end
    for _, wrong in ipairs { "", "1.5", "-1", " 1", "1e3", ("9"):rep(21), 1700000000000, {}, false } do
      refused("invalid_request", w.redirect_of(install, nil, { time = wrong }))
    end
    refused("invalid_request", { user = "user-1" })
    refused("invalid_request", { nonce = install.nonce, time = install.time })
  end)

  it("refuses a stale link and says how old it is", function()
    local account = w:unclaimed(client)
    local stale = w:sign_in_again(account.id, -700000)
    local err = refused("link_expired", w.redirect_of(stale))
    assert.is_true(err.difference_ms >= 700000 and err.difference_ms < 710000)
    assert.truthy(err.message:find("it is 70%d%.%d s old, 600 s are allowed"))
    assert.equal("link_expired", select(2, client:match { nonce = stale.nonce, time = stale.time }).code)
    assert.equal("unclaimed", account:state())
  end)

  it("takes a link just inside the window", function()
    local account = w:unclaimed(client)
    local old = w:sign_in_again(account.id, -590000)
    assert.equal("completed", assert(client:link(w.redirect_of(old))).status)
  end)

  it("refuses a link from the future and says the difference", function()
    local account = w:unclaimed(client)
    local future = w:sign_in_again(account.id, 300000)
    local err = refused("link_in_future", w.redirect_of(future))
    assert.is_true(err.difference_ms <= -290000 and err.difference_ms >= -300000)
    assert.truthy(err.message:find("it lies %d+%.%d s ahead of this clock"))
    assert.equal("unclaimed", account:state())
  end)

  it("lets a clock that is a little behind Ring's link all the same", function()
    local account = w:unclaimed(client)
    assert(w.ring:control("clock", { advance_ms = 30000 }))
    assert.equal("completed", assert(client:link(w.redirect_of(w:sign_in_again(account.id)))).status)
  end)

  it("obeys a smaller link_window_s and clock_skew_s", function()
    local narrow = w:quick_client { link_window_s = 60, clock_skew_s = 0 }
    local account = w:unclaimed(narrow)
    local old = w:sign_in_again(account.id, -61000)
    assert.equal("link_expired", select(2, narrow:link(w.redirect_of(old))).code)
    local ahead = w:sign_in_again(account.id, 5000)
    assert.equal("link_in_future", select(2, narrow:link(w.redirect_of(ahead))).code)
  end)

  it("survives the times at the far ends", function()
    local account = w:unclaimed(client)
    for time, code in pairs { ["0"] = "link_expired", ["1"] = "link_expired",
      ["99999999999999999999"] = "link_in_future", ["9223372036854775807"] = "link_in_future" } do
      local nonce = ringlink.nonce(world.hmac_key, time, account.id)
      refused(code, { nonce = nonce, time = time, user = "user-1" })
    end
  end)

  -- Which account -------------------------------------------------------------------------------

  it("finds the right one of five unclaimed accounts", function()
    local installs = {}
    for i = 1, 5 do
      installs[i] = w:install()
      assert(client:exchange(installs[i].code))
    end
    local link = assert(client:link(w.redirect_of(installs[3])))
    assert.equal(installs[3].account, link.account.id)
    for i, install in ipairs(installs) do
      local expected = i == 3 and "completed" or "unclaimed"
      assert.equal(expected, client:account(install.account):state())
    end
    assert.equal(installs[3].account, w:journal("confirm")[1].account)
  end)

  it("takes the newest grant of an account", function()
    local codes = assert(w.ring:control("codes", { count = 2 }))
    assert(client:exchange(codes.codes[1]))
    clock.advance(1000)
    assert(client:exchange(codes.codes[2]))
    assert(client:link(w.redirect_of(w:sign_in_again(codes.account))))
    local integrations = w:state().integrations
    assert.equal("pending", integrations[1].status)
    assert.equal("completed", integrations[2].status)
    local grants = assert(client:account(codes.account):export()).grants
    assert.equal("completed", grants[1].state)
    assert.equal("superseded", grants[2].state)
  end)

  -- Used before ---------------------------------------------------------------------------------

  it("does not take a nonce again whose attempt has ended", function()
    local account, install = w:unclaimed(client)
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    assert.equal("invalid_nonce", select(2, client:link(w.redirect_of(install))).code)
    assert.equal("unclaimed", account:state())
    refused("invalid_nonce", w.redirect_of(install))
    refused("invalid_nonce", w.redirect_of(install, "user-2"))
    assert.equal("completed", assert(client:link(w.redirect_of(w:sign_in_again(account.id)))).status)
  end)

  it("does not give one user's link to another who brings the same nonce", function()
    local link, install = w:linked(client, "user-1")
    refused("already_linked", w.redirect_of(install, "user-2"))
    assert.equal("user-1", link.account:info().user)
    assert.equal("completed", link.account:state())
  end)

  it("does not give it to another who brings a fresh one", function()
    local link = w:linked(client, "user-1")
    refused("already_linked", w.redirect_of(w:sign_in_again(link.account.id), "user-2"))
    assert.equal("user-1", link.account:info().user)
  end)

  it("does not let a second install of the account go round that", function()
    local link = w:linked(client, "user-1")
    clock.advance(1000)
    local install = w:install { account = link.account.id }
    assert(client:exchange(install.code))
    refused("already_linked", w.redirect_of(install, "user-2"))
    assert.equal("completed", link.account:state())
  end)

  it("refuses the other user also while the first is half way", function()
    local account, install = w:unclaimed(client)
    client:on("configure", function() return false, "not yet" end)
    assert.equal("configure_failed", select(2, client:link(w.redirect_of(install, "user-1"))).code)
    refused("already_linked", w.redirect_of(w:sign_in_again(account.id), "user-2"))
  end)

  -- Reassigning ---------------------------------------------------------------------------------

  it("asks the reassign hook, and moves the link when it agrees", function()
    local link = w:linked(client, "user-1")
    local asked
    client:on("reassign", function(account, from, to)
      asked = { account.id, from, to }
      return true
    end)
    local moved = assert(client:link(w.redirect_of(w:sign_in_again(link.account.id), "user-2")))
    assert.same({ link.account.id, "user-1", "user-2" }, asked)
    assert.equal("user-2", moved.user)
    assert.equal("completed", moved.status)
    assert.equal("user-2", link.account:info().user)
    assert.equal("not_found", select(2, client:account(link.account.id, { user = "user-1" }):state()).code)
    assert.equal(2, w:count("confirm"))
  end)

  it("leaves the link where it is when the hook does not agree, or raises", function()
    local link = w:linked(client, "user-1")
    local off = client:on("reassign", function() return false end)
    refused("already_linked", w.redirect_of(w:sign_in_again(link.account.id), "user-2"))
    off()
    client:on("reassign", function() error("a mistake") end)
    refused("hook_failed", w.redirect_of(w:sign_in_again(link.account.id), "user-2"))
    assert.equal("user-1", link.account:info().user)
  end)

  it("gives the link back to its user when the other's claim fails", function()
    local link = w:linked(client, "user-1")
    client:on("reassign", function() return true end)
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    local fresh = w:sign_in_again(link.account.id)
    local _, err = client:link(w.redirect_of(fresh, "user-2", { account_identifier = "two@example.com" }))
    assert.equal("invalid_nonce", err.code)
    local info = assert(link.account:info())
    assert.equal("user-1", info.user)
    assert.equal("completed", info.state)
    assert.equal("u***r@partner.example.com", info.account_identifier)
  end)

  -- Sign In again -------------------------------------------------------------------------------

  it("takes a fresh nonce of a link that was not finished", function()
    local account, install = w:unclaimed(client)
    local off = client:on("configure", function() return nil, "not yet" end)
    assert.equal("configure_failed", select(2, client:link(w.redirect_of(install))).code)
    off()
    local link = assert(client:link(w.redirect_of(w:sign_in_again(account.id))))
    assert.equal("completed", link.status)
    assert.equal(2, w:count("confirm"))
    assert.equal(1, w:count("complete"))
    assert.equal(1, w:count("token"))
  end)

  it("runs POST and PATCH again for a fresh nonce of a completed link, configure not", function()
    local configured = 0
    client:on("configure", function() configured = configured + 1 end)
    local first = w:linked(client)
    local fresh = w:sign_in_again(first.account.id)
    local q = w.redirect_of(fresh, nil, { account_identifier = "maria@partner.example.com" })
    local link = assert(client:link(q))
    assert.equal("completed", link.status)
    assert.equal("m***a@partner.example.com", link.account_identifier)
    assert.equal(2, w:count("confirm"))
    assert.equal(2, w:count("complete"))
    assert.equal(1, configured)
    assert.equal("completed", w:status(link.account.id))
  end)

  it("keeps a completed link completed when the fresh nonce is refused", function()
    local link = w:linked(client)
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    local _, err = client:link(w.redirect_of(w:sign_in_again(link.account.id)))
    assert.equal("invalid_nonce", err.code)
    assert.equal("completed", link.account:state())
    assert.is_table(client:account(link.account.id):get("/v1/devices"))
  end)

  for _, after in ipairs { false, true } do
    it(("takes a fresh nonce when the first one's POST was left in doubt, %s"):format(after and "done" or "not done"),
      function()
        local account, install = w:unclaimed(client)
        w:fault { call = "confirm", status = 503, count = 5, after = after }
        assert.is_true(select(2, client:link(w.redirect_of(install))).ambiguous)
        assert.equal("confirming", account:state())
        local fresh = w:sign_in_again(account.id)
        assert.equal("completed", assert(client:link(w.redirect_of(fresh))).status)
        local posts = w:journal("confirm")
        assert.equal(posts[1].nonce, posts[#posts - 1].nonce)
        assert.not_equal(posts[1].nonce, posts[#posts].nonce)
        assert.equal("completed", w:status(account.id))
      end)
  end

  it("says in_progress, and why, while it cannot be told what became of the first one", function()
    local account, install = w:unclaimed(client)
    w:fault { call = "confirm", status = 503, count = "always" }
    assert.is_true(select(2, client:link(w.redirect_of(install))).ambiguous)
    local _, err = client:link(w.redirect_of(w:sign_in_again(account.id)))
    assert.equal("in_progress", err.code)
    assert.is_true(err.retryable)
    assert.equal(503, err.cause.status)
    assert.equal("already_linked", select(2, client:link(w.redirect_of(w:sign_in_again(account.id), "user-2"))).code)
    assert.equal("confirming", account:state())
  end)

  it("lets two fresh nonces of one user at once have their turns", function()
    local account, install = w:unclaimed(client)
    local fresh = w:sign_in_again(account.id)
    local links = {}
    ringlink.run(function()
      ringlink.spawn(function() links[1] = assert(client:link(w.redirect_of(install))) end)
      ringlink.spawn(function() links[2] = assert(client:link(w.redirect_of(fresh))) end)
    end)
    assert.equal("completed", links[1].status)
    assert.equal("completed", links[2].status)
    assert.equal(2, w:count("confirm"))
    assert.equal("completed", w:status(account.id))
  end)

  -- Installed again -----------------------------------------------------------------------------

  it("uses the older pair until the newer link is completed", function()
    local link = w:linked(client)
    local account = client:account(link.account.id)
    assert(account:get("/v1/devices"))
    clock.advance(1000)
    local install = w:install { account = link.account.id }
    assert(client:exchange(install.code))
    assert.equal("completed", account:state())
    assert.equal("unclaimed", account:info().pending)
    assert(account:get("/v1/devices"))

    local again = assert(client:link(w.redirect_of(install)))
    assert.equal("completed", again.status)
    assert.is_nil(account:info().pending)
    assert(account:get("/v1/devices"))
    local calls = w:journal("devices")
    assert.equal(calls[1].bearer, calls[2].bearer)
    assert.not_equal(calls[2].bearer, calls[3].bearer)
    assert.equal(w:journal("confirm")[2].bearer, calls[3].bearer)
    local grants = assert(account:export()).grants
    assert.equal("completed", grants[1].state)
    assert.equal("superseded", grants[2].state)
  end)

  it("keeps the older link when the newer install is never signed in", function()
    local link = w:linked(client)
    clock.advance(1000)
    assert(client:exchange(w:install({ account = link.account.id }).code))
    clock.advance(700000)
    assert.equal("completed", link.account:state())
    assert.is_table(client:account(link.account.id):get("/v1/devices"))
  end)

  it("keeps the older link when the newer one is refused", function()
    local link = w:linked(client)
    clock.advance(1000)
    local install = w:install { account = link.account.id }
    assert(client:exchange(install.code))
    w:fault { call = "confirm", status = 404 }
    local _, err = client:link(w.redirect_of(install))
    assert.equal("not_found", err.code)
    assert.equal("completed", client:account(link.account.id):state())
    assert.is_table(client:account(link.account.id):get("/v1/devices"))
  end)
end)
