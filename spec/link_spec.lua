-- A link from the sign-in to `completed` (contract 1 and 7), whole and by hand.

local ringlink = require "ringlink"
local world = require "support.world"

local w

describe("link #network", function()
  local client, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
  end)

  local function identifier_at_ring()
    local integrations = w:state().integrations
    return integrations[#integrations].account_identifier
  end

  -- The whole link ------------------------------------------------------------------------------

  it("goes from code to completed with one call of each kind", function()
    local _, install = w:unclaimed(client)
    local link = assert(client:link(w.redirect_of(install, "user-7")))
    assert.equal("completed", link.status)
    assert.equal("user-7", link.user)
    assert.equal(install.account, link.account.id)
    assert.equal("u***r@partner.example.com", link.account_identifier)
    assert.is_string(link.updated_at)
    assert.equal("completed", link.account:state())
    assert.equal("completed", w:status(install.account))
    for _, call in ipairs { "token", "me", "confirm", "complete" } do assert.equal(1, w:count(call)) end
    assert.equal(4, #w:journal())
  end)

  it("reads devices once it is completed", function()
    local link = w:linked(client)
    local devices = assert(client:account(link.account.id):get("/v1/devices", { include = "status" }))
    assert.equal(2, #devices.data)
  end)

  for _, name in ipairs { "post", "redirect" } do
    for _, wrapped in ipairs { false, true } do
      it(("completes when awaiting begins at the %s, status %s"):format(name, wrapped and "wrapped" or "flat"),
        function()
          assert(w.ring:control("variant", { awaiting = name, wrapped = wrapped }))
          local _, install = w:unclaimed(client)
          w:sign_in_again(install.account)
          local fresh = w:sign_in_again(install.account)
          local link = assert(client:link(w.redirect_of(fresh)))
          assert.equal("completed", link.status)
          assert.is_string(link.updated_at)
          assert.equal("completed", w:status(install.account))
          assert.is_true(w:state().integrations[1].confirmed)
          assert.equal(1, w:count("confirm"))
          assert.equal(1, w:count("complete"))
        end)
    end
  end

  it("runs under HTTP/1.1 and without TLS, where that is allowed", function()
    local plain = world.start { tls = false, http2 = false }
    finally(function() plain:stop() end)
    local link = plain:linked((plain:quick_client { allow_http_loopback = true }))
    assert.equal("completed", link.status)
  end)

  -- The identifier ------------------------------------------------------------------------------

  it("masks the identifier, and says what Ring was told", function()
    local _, install = w:unclaimed(client)
    assert(client:link(w.redirect_of(install, nil, { account_identifier = "maria@partner.example.com" })))
    assert.equal("m***a@partner.example.com", identifier_at_ring())
  end)

  it("leaves a masked identifier as it is", function()
    local _, install = w:unclaimed(client)
    assert(client:link(w.redirect_of(install, nil, { account_identifier = "m***a@partner.example.com" })))
    assert.equal("m***a@partner.example.com", identifier_at_ring())
  end)

  it("sends it as given when unmasked is asked for", function()
    local _, install = w:unclaimed(client)
    local link = assert(client:link(w.redirect_of(install, nil, { unmasked = true })))
    assert.equal("user@partner.example.com", identifier_at_ring())
    assert.equal("user@partner.example.com", link.account_identifier)
  end)

  it("links without an identifier", function()
    local _, install = w:unclaimed(client)
    local link = assert(client:link { nonce = install.nonce, time = install.time, user = "user-1" })
    assert.equal("completed", link.status)
    assert.is_nil(link.account_identifier)
    assert.is_nil(identifier_at_ring())
  end)

  -- The same again ------------------------------------------------------------------------------

  it("answers a reload from the store", function()
    local link, install = w:linked(client, "user-1")
    local before = #w:journal()
    local again = assert(client:link(w.redirect_of(install, "user-1")))
    assert.equal(link.account.id, again.account.id)
    assert.equal("completed", again.status)
    assert.equal(link.updated_at, again.updated_at)
    assert.equal(before, #w:journal())
  end)

  it("makes one link of a double click", function()
    local _, install = w:unclaimed(client)
    local links = {}
    ringlink.run(function()
      for i = 1, 2 do
        ringlink.spawn(function() links[i] = assert(client:link(w.redirect_of(install))) end)
      end
    end)
    assert.equal("completed", links[1].status)
    assert.equal("completed", links[2].status)
    assert.equal(1, w:count("confirm"))
    assert.equal(1, w:count("complete"))
  end)

  it("tells an error to both halves of a double click", function()
    local _, install = w:unclaimed(client)
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    local codes = {}
    ringlink.run(function()
      for i = 1, 2 do
        ringlink.spawn(function() codes[i] = select(2, client:link(w.redirect_of(install))).code end)
      end
    end)
    assert.same({ "invalid_nonce", "invalid_nonce" }, codes)
    assert.equal(1, w:count("confirm"))
  end)

  it("takes a link to completed although a confirm of the same nonce is under way", function()
    local _, install = w:unclaimed(client)
    local claim = assert(client:match { nonce = install.nonce, time = install.time })
    local confirmed, link
    ringlink.run(function()
      ringlink.spawn(function() confirmed = assert(client:confirm(claim, { user = "user-1" })) end)
      ringlink.spawn(function() link = assert(client:link(w.redirect_of(install))) end)
    end)
    assert.equal("awaiting", confirmed.status)
    assert.equal("completed", link.status)
    assert.equal(1, w:count("confirm"))
    assert.equal(1, w:count("complete"))
  end)

  -- The redirect comes first --------------------------------------------------------------------

  it("waits wait_s for the exchange of a redirect that came early", function()
    local real = w:client()          -- its wait_s runs by the machine's clock, as the exchange does
    local install = w:install()
    local link
    ringlink.run(function()
      ringlink.spawn(function() link = assert(real:link(w.redirect_of(install, nil, { wait_s = 30 }))) end)
      ringlink.spawn(function()
        local _, err = real:match { nonce = install.nonce, time = install.time }
        assert.equal("no_unclaimed_match", err.code)
        assert(real:exchange(install.code))
      end)
    end)
    assert.equal("completed", link.status)
    assert.equal(1, w:count("confirm"))
  end)

  it("makes one link of a double click that came early", function()
    local real = w:client()
    local install = w:install()
    local links = {}
    ringlink.run(function()
      for i = 1, 2 do
        ringlink.spawn(function() links[i] = assert(real:link(w.redirect_of(install, nil, { wait_s = 30 }))) end)
      end
      ringlink.spawn(function() assert(real:exchange(install.code)) end)
    end)
    assert.equal("completed", links[1].status)
    assert.equal("completed", links[2].status)
    assert.equal(1, w:count("confirm"))
    assert.equal(1, w:count("complete"))
  end)

  it("gives up after wait_s, having asked Ring nothing", function()
    local install = w:install()
    local link, err = client:link(w.redirect_of(install, nil, { wait_s = 5 }))
    assert.is_nil(link)
    assert.equal("no_unclaimed_match", err.code)
    assert.is_true(clock.slept_ms >= 5000)
    assert.equal(0, #w:journal())
    assert(client:exchange(install.code))
    assert.equal("completed", assert(client:link(w.redirect_of(install))).status)
  end)

  -- By hand -------------------------------------------------------------------------------------

  it("matches, confirms and completes by hand", function()
    local _, install = w:unclaimed(client)
    local before = #w:journal()
    local claim = assert(client:match { nonce = install.nonce, time = install.time })
    assert.equal(install.account, claim.account.id)
    assert.equal(install.nonce, claim.nonce)
    assert.equal(install.time, claim.time)
    assert.equal("unclaimed", claim.account:state())
    assert.equal(before, #w:journal())

    local who = { user = "user-1", account_identifier = "user@partner.example.com" }
    local confirmed = assert(client:confirm(claim, who))
    assert.equal("awaiting", confirmed.status)
    assert.equal("u***r@partner.example.com", confirmed.account_identifier)
    assert.equal("awaiting", claim.account:state())
    assert.equal("awaiting", w:status(install.account))
    assert.equal(0, w:count("complete"))

    local completed = assert(client:complete(claim.account))
    assert.equal("completed", completed.status)
    assert.is_string(completed.updated_at)
    assert.equal("completed", w:status(install.account))
    assert.equal(1, w:count("confirm"))
  end)

  it("answers a second confirm and a second complete from the store", function()
    local _, install = w:unclaimed(client)
    local claim = assert(client:match { nonce = install.nonce, time = install.time })
    for _ = 1, 2 do assert.equal("awaiting", assert(client:confirm(claim, { user = "user-1" })).status) end
    for _ = 1, 2 do assert.equal("completed", assert(client:complete(claim.account)).status) end
    assert.equal(1, w:count("confirm"))
    assert.equal(1, w:count("complete"))
  end)

  it("gives complete a new identifier to show", function()
    local _, install = w:unclaimed(client)
    local claim = assert(client:match { nonce = install.nonce, time = install.time })
    assert(client:confirm(claim, { user = "user-1", account_identifier = "user@partner.example.com" }))
    local done = assert(client:complete(claim.account, { account_identifier = "other@partner.example.com" }))
    assert.equal("o***r@partner.example.com", done.account_identifier)
    assert.equal("o***r@partner.example.com", identifier_at_ring())
  end)

  it("refuses complete before confirm, without a call", function()
    local account = w:unclaimed(client)
    local before = #w:journal()
    local done, err = client:complete(account)
    assert.is_nil(done)
    assert.equal("invalid_transition", err.code)
    assert.equal("unclaimed", account:state())
    assert.equal(before, #w:journal())
  end)

  it("knows nothing to complete or update of an account that is not here", function()
    for _, call in ipairs { "complete", "update" } do
      local _, err = client[call](client, client:account("nobody"), { account_identifier = "x@example.com" })
      assert.equal("not_found", err.code)
    end
    assert.equal(0, #w:journal())
  end)

  -- Whose it is ---------------------------------------------------------------------------------

  it("hides an account behind a handle of another user", function()
    local link = w:linked(client, "user-1")
    local before = #w:journal()
    local other = client:account(link.account.id, { user = "user-2" })
    for _, call in ipairs { "state", "info", "access_token", "me", "export", "forget" } do
      local value, err = other[call](other)
      assert.is_nil(value, call)
      assert.equal("not_found", err.code, call)
    end
    assert.equal("not_found", select(2, other:get("/v1/devices")).code)
    assert.equal("not_found", select(2, client:complete(other)).code)
    assert.equal("not_found", select(2, client:update(other, { status = "awaiting" })).code)
    assert.equal(before, #w:journal())
    assert.equal("completed", client:account(link.account.id, { user = "user-1" }):state())
  end)

  it("lists accounts by state and user", function()
    w:linked(client, "user-1")
    local second = w:linked(client, "user-2")
    local third = w:unclaimed(client)
    local function ids(filter)
      local list = {}
      for account in client:accounts(filter) do list[#list + 1] = account.id end
      return list
    end
    assert.equal(3, #ids())
    assert.same({ second.account.id }, ids { user = "user-2" })
    assert.same({ third.id }, ids { state = "unclaimed" })
    assert.equal(2, #ids { state = "completed" })
    assert.same({}, ids { user = "user-3" })
  end)
end)
