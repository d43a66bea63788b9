-- Webhooks as the sandbox really delivers them, to a small receiver in this process that answers as
-- the README tells partners to: 200 for done and for duplicates, 401 for a bad signature, else 500.

local children = require "support.child"
local json = require "ringlink.json"
local raw_server = require "support.raw_server"
local ringlink = require "ringlink"
local world = require "support.world"

local DAY_MS = 86400 * 1000

describe("webhooks #network", function()
  local w, receiver, client, clock, account, install, answers, answer_with

  local function answer_of(request)
    local done, err = client:webhook(request.body, request.headers["x-signature"])
    answers[#answers + 1] = done or err.code
    if done or err.code == "event_too_old" then return 200 end
    return err.code == "signature" and 401 or 500
  end

  local function receive(connection)
    local request = connection:read()
    local status = (answer_with or answer_of)(request)
    if status then connection:answer(status, "") end
  end

  setup(function()
    receiver = raw_server.start(receive)
    w = world.start { webhook_url = receiver.url .. "/webhook", limits = { per_s = false } }
  end)
  teardown(function()
    w:stop()
    receiver:stop()
  end)

  local function deliveries(kind)
    local list = {}
    for _, one in ipairs(w:state().webhooks) do
      if not kind or one.type == kind then list[#list + 1] = one end
    end
    return list
  end

  local function is_quiet()
    receiver:step()
    local state = w:state()
    for _, one in ipairs(state.webhooks) do
      if one.state == "due" and one.due_ms <= state.now_ms then return false end
    end
    return true
  end

  -- Lets Ring deliver what is due.
  local function deliver()
    children.wait_until("webhooks are delivered", is_quiet)
  end

  local function event(kind, more)
    local fields = { account = account.id, type = kind, force = true }
    for name, value in pairs(more or {}) do fields[name] = value end
    assert(w.ring:control("event", fields))
    deliver()
  end

  local function heard(name)
    local calls = {}
    client:on(name, function(...) calls[#calls + 1] = { ... } end)
    return calls
  end

  before_each(function()
    w:reset()
    receiver.requests, answers, answer_with = {}, {}, nil
    client, clock = w:quick_client { runtime = "blocking" }
    local link
    link, install = w:linked(client)
    account = link.account
    deliver()
  end)

  it("come once the link is completed", function()
    assert.same({ "processed", "processed", "processed" }, answers)
    assert.equal(2, #deliveries("device_added"))
    assert.equal(1, #deliveries("app_integration_added"))
  end)

  it("reach the hooks, with the account", function()
    local by_type, all, others = heard("webhook:motion_detected"), heard("webhook"), heard("webhook:button_press")
    event("motion_detected", { subType = "human" })
    assert.equal(1, #by_type)
    assert.equal(1, #all)
    assert.equal(0, #others)
    local got, whose = by_type[1][1], by_type[1][2]
    assert.equal("motion_detected", got.type)
    assert.equal("human", got.sub_type)
    assert.equal(account.id, got.account_id)
    assert.equal("devices", got.data.attributes.source_type)
    assert.is_true(math.abs(got.time_ms - clock.now_ms()) < 60000)
    assert.equal("completed", whose:state())
  end)

  it("may make their hook call Ring", function()
    local count
    client:on("webhook:motion_detected", function(_, whose) count = #assert(whose:get("/v1/devices")).data end)
    event("motion_detected")
    assert.equal(2, count)
  end)

  for _, kind in ipairs { "button_press", "device_removed", "device_offline", "subscription_activated",
    "subscription_deactivated", "something_new" } do
    it("of the type " .. kind .. " reach the catch-all hook", function()
      local all = heard("webhook")
      event(kind)
      assert.equal(kind, all[1][1].type)
      assert.equal("completed", account:state())
    end)
  end

  describe("of a removal", function()
    it("end the link and take the tokens away", function()
      local unlinked, audits = heard("unlinked"), heard("audit")
      assert(w.ring:control("unlink", { account = account.id }))
      deliver()
      assert.equal("unlinked", account:state())
      assert.equal(1, #unlinked)
      assert.equal(account.id, unlinked[1][1].id)
      assert.equal("unlinked", audits[1][1].what)
      assert.equal("user-1", audits[1][1].user)
      local row = client.store:get(account.key)
      for _, name in ipairs { "access", "refresh", "fingerprint", "nonce", "code" } do
        assert.is_nil(row[name], name)
      end
      local before = w:state().requests
      for _, call in ipairs { "access_token", "me" } do
        assert.equal("unlinked", select(2, account[call](account)).code)
      end
      assert.equal("unlinked", select(2, account:refresh { force = true }).code)
      assert.equal(before, w:state().requests)
    end)

    it("beat a link that waits to be linked again", function()
      w:fault { call = "refresh", status = 400, title = "invalid_grant" }
      account:refresh { force = true }
      assert.equal("relink", account:state())
      event("app_integration_removed")
      assert.equal("unlinked", account:state())
    end)

    it("older than a new link do not touch it", function()
      w:pass_time(clock, 2 * 3600 * 1000)
      local again = w:install { account = account.id }
      assert(client:exchange(again.code))
      assert.equal("completed", assert(client:link(w.redirect_of(again))).status)
      local unlinked = heard("unlinked")
      event("app_integration_removed", { age_ms = 3600 * 1000 })
      assert.equal("completed", client:account(account.id):state())
      assert.equal(2, #assert(client:account(account.id):get("/v1/devices")).data)
      for _, call in ipairs(unlinked) do assert.equal(account.key, call[1].key) end
      event("app_integration_removed")
      assert.equal("unlinked", client:account(account.id):state())
    end)

    it("leave the way free for a new install", function()
      assert(w.ring:control("unlink", { account = account.id }))
      deliver()
      w:pass_time(clock, 1000)
      local again = w:install { account = account.id }
      assert(client:exchange(again.code))
      assert.equal("completed", assert(client:link(w.redirect_of(again, "user-2"))).status)
      assert.equal("completed", client:account(account.id):state())
    end)

    it("are applied although a hook raises, and told once", function()
      local unlinked, attempts = heard("unlinked"), 0
      client:on("webhook", function()
        attempts = attempts + 1
        if attempts == 1 then error("not ready") end
      end)
      event("app_integration_removed")
      assert.equal("unlinked", account:state())
      w:pass_time(clock, 1000)
      deliver()
      assert.equal(2, attempts)
      assert.equal(1, #unlinked)
    end)
  end)

  describe("delivered again", function()
    it("are answered and not acted on", function()
      local motions = heard("webhook:motion_detected")
      answers = {}
      event("motion_detected", { times = 3 })
      assert.same({ "processed", "duplicate", "duplicate" }, answers)
      assert.equal(1, #motions)
      for _, one in ipairs(deliveries("motion_detected")) do assert.equal("delivered", one.state) end
    end)

    it("under another request_id are known by their data.id", function()
      local motions = heard("webhook:motion_detected")
      answers = {}
      event("motion_detected", { id = "one-and-the-same", request_id = "first" })
      event("motion_detected", { id = "one-and-the-same", request_id = "second" })
      assert.same({ "processed", "duplicate" }, answers)
      assert.equal(1, #motions)
    end)

    it("because our answer was lost are not acted on", function()
      local motions = heard("webhook:motion_detected")
      answers = {}
      answer_with = function(request)
        answer_with = nil
        answer_of(request)
      end
      event("motion_detected")
      w:pass_time(clock, 1000)
      deliver()
      assert.same({ "processed", "duplicate" }, answers)
      assert.equal(1, #motions)
      assert.equal(2, #deliveries("motion_detected")[1].attempts)
    end)

    it("days later are still known", function()
      event("motion_detected", { request_id = "kept" })
      local sent = receiver.requests[#receiver.requests]
      w:pass_time(clock, 6 * DAY_MS)
      assert(client:work())
      assert.equal("duplicate", client:webhook(sent.body, sent.headers["x-signature"]))
    end)

    it("while they are worked on are told so", function()
      event("motion_detected", { signature = "good" })
      local sent = receiver.requests[#receiver.requests]
      local other = w:client()
      local first, second
      other:on("webhook", function() ringlink.sleep(0.02) end)
      ringlink.run(function()
        ringlink.spawn(function() first = other:webhook(sent.body, sent.headers["x-signature"]) end)
        ringlink.spawn(function() second = select(2, other:webhook(sent.body, sent.headers["x-signature"])) end)
      end)
      assert.equal("processed", first)
      assert.equal("in_progress", second.code)
      assert.is_true(second.retryable)
    end)
  end)

  describe("whose hook fails", function()
    local failing, calls

    before_each(function()
      failing, calls, answers = true, 0, {}
      client:on("webhook:motion_detected", function()
        calls = calls + 1
        if failing then error("the partner's database is down") end
      end)
      event("motion_detected")
    end)

    it("are delivered again by Ring's schedule", function()
      for _, wait_s in ipairs { 1, 5, 30 } do
        w:pass_time(clock, wait_s * 1000)
        deliver()
      end
      failing = false
      w:pass_time(clock, 120 * 1000)
      deliver()
      assert.same({ "hook_failed", "hook_failed", "hook_failed", "hook_failed", "processed" }, answers)
      assert.equal(5, calls)
      local delivery = deliveries("motion_detected")[1]
      assert.equal("delivered", delivery.state)
      assert.equal(5, #delivery.attempts)
    end)

    it("are finished by work, and known when Ring comes again", function()
      failing = false
      clock.advance(60000)
      assert.equal(1, assert(client:work()).events)
      assert.equal(0, assert(client:work()).events)
      w:pass_time(clock, 1000)
      deliver()
      assert.same({ "hook_failed", "duplicate" }, answers)
      assert.equal(2, calls)
    end)
  end)

  describe("that are not Ring's", function()
    for _, how in ipairs { "wrong", "none" } do
      it(("(signature %s) change nothing and are never sent again"):format(how), function()
        local all, unlinked = heard("webhook"), heard("unlinked")
        answers = {}
        event("app_integration_removed", { signature = how })
        w:pass_time(clock, 3600 * 1000)
        deliver()
        assert.same({ "signature" }, answers)
        local delivery = deliveries("app_integration_removed")[1]
        assert.equal("refused", delivery.state)
        assert.equal(1, #delivery.attempts)
        assert.equal(0, #all)
        assert.equal(0, #unlinked)
        assert.equal("completed", account:state())
        assert.equal(2, #assert(account:get("/v1/devices")).data)
      end)
    end

    it("but Ring's with another body change nothing", function()
      event("motion_detected")
      local sent = receiver.requests[#receiver.requests]
      local forged = sent.body:gsub("motion_detected", "app_integration_removed")
      local none, err = client:webhook(forged, sent.headers["x-signature"])
      assert.is_nil(none)
      assert.equal("signature", err.code)
      assert.equal("completed", account:state())
    end)
  end)

  it("older than a week are answered and not acted on", function()
    local all = heard("webhook")
    answers = {}
    event("app_integration_removed", { age_ms = 8 * DAY_MS })
    assert.same({ "event_too_old" }, answers)
    assert.equal("delivered", deliveries("app_integration_removed")[1].state)
    assert.equal(0, #all)
    assert.equal("completed", account:state())
  end)

  it("for an account nobody knows are passed on", function()
    local stranger = w:install().account
    local all = heard("webhook")
    event("motion_detected", { account = stranger })
    assert.equal(stranger, all[1][1].account_id)
    assert.equal("not_found", select(2, all[1][2]:state()).code)
  end)

  it("of an added integration settle a POST whose answers were lost", function()
    assert(w.ring:control("variant", { added = "post" }))
    account, install = w:unclaimed(client)
    w:fault { call = "confirm", drop = "after" }
    w:fault { call = "confirm", drop = "before", count = 4 }
    local posts = w:count("confirm")
    local none, err = client:link(w.redirect_of(install, "user-2"))
    assert.is_nil(none)
    assert.is_true(err.ambiguous)
    assert.equal("confirming", account:state())
    deliver()
    assert.equal("awaiting", account:state())
    assert.equal("completed", assert(client:link(w.redirect_of(install, "user-2"))).status)
    assert.equal(posts + 5, w:count("confirm"))
  end)

  it("verify without doing anything", function()
    event("motion_detected", { subType = "vehicle" })
    local sent = receiver.requests[#receiver.requests]
    local all = heard("webhook")
    local got = assert(client:verify_webhook(sent.body, sent.headers["x-signature"]))
    assert.equal("vehicle", got.sub_type)
    assert.equal(json.decode(sent.body).meta.request_id, got.id)
    assert.equal(0, #all)
  end)
end)
