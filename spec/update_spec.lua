-- The PATCH of a link that exists (contract 7): pausing, completing again, another identifier.

local ringlink = require "ringlink"
local world = require "support.world"

local w

describe("update #network", function()
  local client, link

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client = w:quick_client()
    link = w:linked(client)
  end)

  local function at_ring()
    return w:state().integrations[1]
  end

  it("pauses a completed link and completes it again, without another POST or configure", function()
    local asked = 0
    client:on("configure", function() asked = asked + 1 end)
    local paused = assert(client:update(link.account, { status = "awaiting" }))
    assert.equal("awaiting", paused.status)
    assert.is_string(paused.updated_at)
    assert.equal("awaiting", link.account:state())
    assert.equal("awaiting", at_ring().status)

    local again = assert(client:update(link.account, { status = "completed" }))
    assert.equal("completed", again.status)
    assert.equal("completed", link.account:state())
    assert.equal("completed", at_ring().status)
    assert.equal(1, w:count("confirm"))
    assert.equal(2, w:count("complete"))
    assert.equal(0, asked)
  end)

  it("tells the audit that a paused link was resumed, not who linked it from where", function()
    local other, install = w:linked(client, "user-2")
    local again = w:sign_in_again(install.account)
    assert(client:link(w.redirect_of(again, "user-2", { from = "203.0.113.7" })))
    local heard = {}
    client:on("audit", function(event) heard[#heard + 1] = event end)
    assert(client:update(other.account, { status = "awaiting" }))
    assert(client:complete(other.account))
    assert.equal(1, #heard)
    assert.same({ "resumed", install.account, "user-2" }, { heard[1].what, heard[1].account, heard[1].user })
    assert.is_nil(heard[1].from)
  end)

  it("leaves a paused link paused, whatever work does", function()
    local quick, time = w:quick_client()
    local other = w:linked(quick)
    assert(quick:update(other.account, { status = "awaiting" }))
    w:pass_time(time, 3600000)
    assert(quick:work())
    assert.equal("awaiting", other.account:state())
    assert.equal("awaiting", w:status(other.account.id))
  end)

  it("leaves a paused link paused when the user reloads the old redirect", function()
    local other, install = w:linked(client, "user-2")
    assert(client:update(other.account, { status = "awaiting" }))
    local calls = #w:journal()
    local again = assert(client:link(w.redirect_of(install, "user-2")))
    assert.equal("awaiting", again.status)
    assert.equal(calls, #w:journal())
  end)

  it("means the current grant while a newer install is half way", function()
    local install = w:install({ account = link.account.id })
    local newer = assert(client:exchange(install.code))
    local claim = assert(client:match({ nonce = install.nonce, time = install.time }))
    assert(client:confirm(claim, { user = "user-1" }))
    assert.equal("awaiting", client.store:get(newer.key).state)
    assert(client:update(link.account, { status = "awaiting" }))
    assert.equal("awaiting", link.account:state())
    assert.is_nil(client.store:get(newer.key).paused)
  end)

  it("changes the identifier of a completed link, masked", function()
    local updated = assert(client:update(link.account, { account_identifier = "new.name@partner.example.com" }))
    assert.equal("completed", updated.status)
    assert.equal("n***e@partner.example.com", updated.account_identifier)
    assert.equal("n***e@partner.example.com", at_ring().account_identifier)
    assert.equal("n***e@partner.example.com", link.account:info().account_identifier)
    assert.equal(1, w:count("complete"))
  end)

  it("changes identifier and status together", function()
    local updated = assert(client:update(link.account,
      { status = "awaiting", account_identifier = "plain", unmasked = true }))
    assert.equal("awaiting", updated.status)
    assert.equal("plain", updated.account_identifier)
    assert.equal("plain", at_ring().account_identifier)
  end)

  it("tells Ring a new identifier although the link is completed already", function()
    local updated = assert(client:update(link.account,
      { status = "completed", account_identifier = "new.name@partner.example.com" }))
    assert.equal("completed", updated.status)
    assert.equal("n***e@partner.example.com", updated.account_identifier)
    assert.equal("n***e@partner.example.com", at_ring().account_identifier)
    local completed = assert(client:complete(link.account, { account_identifier = "third@partner.example.com" }))
    assert.equal("t***d@partner.example.com", completed.account_identifier)
    assert.equal("t***d@partner.example.com", at_ring().account_identifier)
  end)

  it("sends two updates at once one after the other, and loses neither", function()
    local answers = {}
    ringlink.run(function()
      ringlink.spawn(function()
        answers[1] = assert(client:update(link.account, { account_identifier = "first@partner.example.com" }))
      end)
      ringlink.spawn(function() answers[2] = assert(client:update(link.account, { status = "awaiting" })) end)
    end)
    assert.equal("completed", answers[1].status)
    assert.equal("awaiting", answers[2].status)
    assert.equal(2, w:count("update"))
    assert.equal("awaiting", at_ring().status)
    assert.equal("f***t@partner.example.com", at_ring().account_identifier)
  end)

  it("takes the wrapped answer", function()
    assert(w.ring:control("variant", { wrapped = true }))
    local updated = assert(client:update(link.account, { status = "awaiting" }))
    assert.equal("awaiting", updated.status)
    assert.is_string(updated.updated_at)
  end)

  it("refuses an empty update and an unknown status before any call", function()
    local before = #w:journal()
    for _, fields in ipairs { {}, { status = "paused" }, { status = 7 }, { account_identifier = "" },
      { account_identifier = "a\r\nb" } } do
      local updated, err = client:update(link.account, fields)
      assert.is_nil(updated)
      assert.equal("invalid_request", err.code)
    end
    assert.equal(before, #w:journal())
    assert.equal("completed", link.account:state())
  end)

  it("says Invalid Status Transition, and changes nothing, when Ring does", function()
    w:fault { call = "update", status = 400, title = "Invalid Status Transition" }
    local updated, err = client:update(link.account, { status = "awaiting" })
    assert.is_nil(updated)
    assert.equal("invalid_transition", err.code)
    assert.equal("update", err.stage)
    assert.equal(400, err.status)
    assert.is_nil(err.ambiguous)
    assert.equal("completed", link.account:state())
  end)

  it("says of any other 400 that repeating it does not help, and changes nothing", function()
    w:fault { call = "update", status = 400, title = "Bad Request" }
    local updated, err = client:update(link.account, { account_identifier = "new.name@partner.example.com" })
    assert.is_nil(updated)
    assert.same({ "ring_error", "update", 400, false }, { err.code, err.stage, err.status, err.retryable })
    assert.truthy(err.message:find("^Ring answered with an error %(HTTP 400, Bad Request, ordered by a fault%): "
      .. "the same again is answered the same: check what was sent"), err.message)
    assert.is_nil(err.ambiguous)
    assert.equal(1, w:count("update"))
    assert.equal("completed", link.account:state())
  end)

  it("agrees when the link is paused at Ring already", function()
    for _ = 1, 2 do
      assert.equal("awaiting", assert(client:update(link.account, { status = "awaiting" })).status)
    end
    assert.equal("awaiting", at_ring().status)
  end)

  it("fails the link on 404, and says so", function()
    assert(w.ring:control("unlink", { account = link.account.id, keep_tokens = true }))
    local failed
    client:on("failed", function(account, err) failed = { account.id, err.code } end)
    local _, err = client:update(link.account, { status = "awaiting" })
    assert.equal("not_found", err.code)
    assert.equal(404, err.status)
    assert.equal("failed", link.account:state())
    assert.same({ link.account.id, "not_found" }, failed)
  end)

  for _, drop in ipairs { "before", "after" } do
    it(("pauses although the answer was lost %s processing"):format(drop), function()
      w:fault { call = "update", drop = drop }
      local attempts = w:attempts(client, "update")
      local paused = assert(client:update(link.account, { status = "awaiting" }))
      assert.equal("awaiting", paused.status)
      assert.equal("awaiting", link.account:state())
      assert.equal("awaiting", at_ring().status)
      assert.equal(2, attempts.n)
      assert.equal(2, w:count("update"))
    end)
  end

  for _, status in ipairs { 429, 503 } do
    it(("tells that a pause answered %d may have worked, and finds out when it is repeated"):format(status), function()
      local once = w:quick_client { max_attempts = 1 }
      local other = w:linked(once)
      w:fault { call = "update", status = status, after = true }
      local _, err = once:update(other.account, { status = "awaiting" })
      assert.equal(status, err.status)
      assert.is_true(err.ambiguous)
      assert.is_true(err.retryable)
      assert.equal("completed", other.account:state())
      assert.equal("awaiting", assert(once:update(other.account, { status = "awaiting" })).status)
      assert.equal("awaiting", other.account:state())
    end)
  end
end)
