-- What became of a POST or PATCH whose answer was lost (design "Ambiguity"): repeating, settling,
-- giving up; at once, at the next call, by `work`, or by Ring's own event.

local cjson = require "cjson"
local core = require "ringlink.core"
local world = require "support.world"

local w

describe("settling #network", function()
  local client, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
  end)

  local function link_meets(fault, given)
    if fault then w:fault(fault) end
    local account, install = w:unclaimed(given or client)
    local link, err = (given or client):link(w.redirect_of(install))
    return { account = account, install = install, link = link, err = err }
  end

  local function calls()
    local counts = {}
    for _, row in ipairs(w:journal()) do
      if row.call ~= "token" and row.call ~= "me" then counts[row.call] = (counts[row.call] or 0) + 1 end
    end
    return counts
  end

  local function ended_right(met)
    assert.is_nil(met.err)
    assert.equal("completed", met.link.status)
    assert.equal("completed", met.account:state())
    assert.equal("completed", w:status(met.account.id))
  end

  -- The POST ------------------------------------------------------------------------------------

  it("Invalid Nonce on the repeat is settled by a PATCH that does not complete, and by devices", function()
    local order = {}
    client:on("request", function(call) order[#order + 1] = call.stage .. " " .. call.method end)
    local met = link_meets { call = "confirm", drop = "after" }
    ended_right(met)
    assert.same({ confirm = 2, update = 1, devices = 1, complete = 1 }, calls())
    assert.same({ "confirm POST", "confirm POST", "settle PATCH", "settle GET", "complete PATCH" },
      { (table.unpack or unpack)(order, 3) })
    assert.equal("u***r@partner.example.com", met.link.account_identifier)
  end)

  it("settles by devices alone when there is no identifier to PATCH", function()
    w:fault { call = "confirm", drop = "after" }
    local account, install = w:unclaimed(client)
    assert(client:link { nonce = install.nonce, time = install.time, user = "user-1" })
    assert.equal("completed", account:state())
    assert.same({ confirm = 2, devices = 1, complete = 1 }, calls())
  end)

  it("asks the hooks of a settled link like those of any other", function()
    local told = {}
    for _, name in ipairs { "awaiting", "configure", "before_complete", "completed" } do
      client:on(name, function() told[#told + 1] = name end)
    end
    ended_right(link_meets { call = "confirm", drop = "after" })
    assert.same({ "awaiting", "configure", "before_complete", "completed" }, told)
  end)

  it("not settled: confirm_outcome_unknown, the claim is released, a fresh nonce works", function()
    w:fault { call = "confirm", drop = "before" }
    local met = link_meets { call = "confirm", status = 400, title = "Invalid Nonce" }
    assert.equal("confirm_outcome_unknown", met.err.code)
    assert.is_true(met.err.ambiguous)
    assert.equal("unclaimed", met.account:state())
    assert.is_nil(met.account:info().user)
    assert.equal("invalid_nonce", select(2, client:link(w.redirect_of(met.install))).code)
    assert.equal("completed", assert(client:link(w.redirect_of(w:sign_in_again(met.account.id)))).status)
  end)

  it("is not deceived by an awaiting that began at the redirect", function()
    assert(w.ring:control("variant", { awaiting = "redirect" }))
    w:fault { call = "confirm", drop = "before" }
    local account = w:unclaimed(client)
    local fresh = w:sign_in_again(account.id)
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    local _, err = client:link(w.redirect_of(fresh))
    assert.equal("awaiting", w:status(account.id))
    assert.equal("confirm_outcome_unknown", err.code)
    assert.equal("unclaimed", account:state())
    assert.equal(0, w:count("complete"))
  end)

  for _, status in ipairs { 429, 500, 503 } do
    for _, after in ipairs { false, true } do
      local when = after and "after" or "before"

      it(("a %d at the POST %s processing: the link ends right"):format(status, when), function()
        ended_right(link_meets { call = "confirm", status = status, after = after })
        assert.equal(2, w:count("confirm"))
      end)

      it(("a %d at the POST %s processing, no attempt left: the same nonce takes it up"):format(status, when),
        function()
          local once = w:quick_client { max_attempts = 1 }
          local met = link_meets({ call = "confirm", status = status, after = after }, once)
          assert.equal(status, met.err.status)
          assert.is_true(met.err.ambiguous)
          assert.is_true(met.err.retryable)
          assert.equal("confirming", met.account:state())
          assert.equal("completed", assert(once:link(w.redirect_of(met.install))).status)
          assert.equal("completed", w:status(met.account.id))
          assert.equal(2, w:count("confirm"))
        end)

      it(("a %d at the PATCH %s processing: the link ends right"):format(status, when), function()
        ended_right(link_meets { call = "complete", status = status, after = after })
        assert.equal(2, w:count("complete"))
      end)

      it(("a %d at the PATCH %s processing, no attempt left: complete takes it up"):format(status, when), function()
        local once = w:quick_client { max_attempts = 1 }
        local met = link_meets({ call = "complete", status = status, after = after }, once)
        assert.equal(status, met.err.status)
        assert.is_true(met.err.ambiguous)
        assert.equal("awaiting", met.account:state())
        assert.equal("completed", assert(once:complete(met.account)).status)
        assert.equal("completed", met.account:state())
        assert.equal(2, w:count("complete"))
      end)
    end
  end

  it("waits as Retry-After says, in both forms", function()
    for _, form in ipairs { "seconds", "date" } do
      clock.slept_ms = 0
      ended_right(link_meets { call = "confirm", status = 429, retry_after = 8, retry_after_form = form })
      assert.is_true(clock.slept_ms >= 8000, form)
      assert.is_true(clock.slept_ms < 20000, form)
    end
  end)

  for _, body in ipairs { "html", "truncated", "cut", "empty", "huge" } do
    for _, call in ipairs { "confirm", "complete" } do
      it(("a 200 at %s whose body is %s was lost: the link ends right"):format(call, body), function()
        local met = link_meets { call = call, body = body }
        if met.err then                          -- too large is not repeated by itself
          assert.equal("response_too_large", met.err.code)
          assert.equal("huge", body)
          assert.is_true(met.err.ambiguous)
          met.link, met.err = client:link(w.redirect_of(met.install))
        end
        ended_right(met)
      end)
    end
  end

  for _, call in ipairs { "confirm", "complete" } do
    it(("a 401 on the repeat at %s does not make one forget the first"):format(call), function()
      w:fault { call = call, drop = "after" }
      ended_right(link_meets { call = call, status = 401 })
      assert.equal(3, w:count(call))
      assert.equal(1, w:count("refresh"))
    end)
  end

  -- The PATCH -----------------------------------------------------------------------------------

  it("Invalid Status Transition on the repeat of the PATCH means that it had worked", function()
    local met = link_meets { call = "complete", drop = "after" }
    ended_right(met)
    assert.equal(400, w:journal("complete")[2].status)
    assert.same({ confirm = 1, complete = 2 }, calls())
  end)

  it("a link that Ring has as completed already is completed, when a POST was settled wrongly", function()
    local link = w:linked(client)
    w:fault { call = "confirm", drop = "before" }
    w:fault { call = "confirm", status = 400, title = "Invalid Nonce" }
    local again = assert(client:link(w.redirect_of(w:sign_in_again(link.account.id))))
    assert.equal("completed", again.status)
    assert.equal("completed", link.account:state())
    assert.equal("completed", w:status(link.account.id))
  end)

  -- Later, from what is stored ------------------------------------------------------------------

  local function left_at(call, drop)
    local once = w:quick_client { max_attempts = 1 }
    local met = link_meets({ call = call, drop = drop }, once)
    assert.is_true(met.err.ambiguous)
    return met, once
  end

  for _, drop in ipairs { "before", "after" } do
    it(("work finishes a link left at the POST, lost %s processing"):format(drop), function()
      local met, once = left_at("confirm", drop)
      local time = once.clock
      assert.equal("confirming", met.account:state())
      assert.equal(0, assert(once:work()).resumed)         -- not due yet
      w:pass_time(time, 61000)
      assert.equal(1, assert(once:work()).resumed)
      assert.equal("completed", met.account:state())
      assert.equal("completed", w:status(met.account.id))
      assert.equal(2, w:count("confirm"))
    end)

    it(("work finishes a link left at the PATCH, lost %s processing"):format(drop), function()
      local met, once = left_at("complete", drop)
      assert.equal("awaiting", met.account:state())
      w:pass_time(once.clock, 61000)
      assert.equal(1, assert(once:work()).resumed)
      assert.equal("completed", met.account:state())
      assert.equal("completed", w:status(met.account.id))
    end)

    it(("outside the window the POST is not repeated but settled, lost %s processing"):format(drop), function()
      local met, once = left_at("confirm", drop)
      w:pass_time(once.clock, 601000)
      assert.equal(drop == "after" and 1 or 0, assert(once:work()).resumed)
      assert.equal(1, w:count("confirm"))
      assert.equal(drop == "after" and "completed" or "unclaimed", met.account:state())
      local _, err = once:link(w.redirect_of(met.install))
      if drop == "before" then assert.equal("link_expired", err.code) end
    end)
  end

  it("work leaves a link confirmed by hand awaiting", function()
    local once = w:quick_client { max_attempts = 1 }
    local account, install = w:unclaimed(once)
    w:fault { call = "confirm", drop = "after" }
    local claim = assert(once:match { nonce = install.nonce, time = install.time })
    assert.is_true(select(2, once:confirm(claim, { user = "user-1" })).ambiguous)
    w:pass_time(once.clock, 61000)
    assert.equal(1, assert(once:work()).resumed)
    assert.equal("awaiting", account:state())
    assert.equal(0, w:count("complete"))
  end)

  it("work completes it when link had taken it over before that", function()
    local once = w:quick_client { max_attempts = 1 }
    local account, install = w:unclaimed(once)
    w:fault { call = "confirm", drop = "before", count = 2 }
    local claim = assert(once:match { nonce = install.nonce, time = install.time })
    assert.is_true(select(2, once:confirm(claim, { user = "user-1" })).ambiguous)
    assert.is_true(select(2, once:link(w.redirect_of(install))).ambiguous)
    w:pass_time(once.clock, 61000)
    assert.equal(1, assert(once:work()).resumed)
    assert.equal("completed", account:state())
  end)

  it("work tries again later when Ring is still down", function()
    local met, once = left_at("confirm", "before")
    w:fault { call = "confirm", status = 503 }
    w:pass_time(once.clock, 61000)
    assert.equal(0, assert(once:work()).resumed)
    assert.equal(0, assert(once:work()).resumed)
    assert.equal(2, w:count("confirm"))
    w:pass_time(once.clock, 61000)
    assert.equal(1, assert(once:work()).resumed)
    assert.equal("completed", met.account:state())
  end)

  -- Ring's own word -----------------------------------------------------------------------------

  local function signed_event(kind, account_id, at_ms)
    local body = cjson.encode {
      meta = { version = "1.1", request_id = core.hex(core.random(8)), account_id = account_id,
        time = os.date("!%Y-%m-%dT%H:%M:%S", math.floor(at_ms / 1000)) .. (".%03dZ"):format(at_ms % 1000) },
      data = { id = core.hex(core.random(8)), type = kind,
        attributes = { source = account_id, source_type = "users", timestamp = at_ms } },
    }
    return body, core.hmac_key({ world.hmac_key }):sign(body)
  end

  local function tell(given, kind, account_id, at_ms)
    return given:webhook(signed_event(kind, account_id, at_ms or given.clock.now_ms()))
  end

  it("app_integration_added settles a lost POST without a call", function()
    local met, once = left_at("confirm", "after")
    local awaiting = 0
    once:on("awaiting", function() awaiting = awaiting + 1 end)
    local before = #w:journal()
    assert.equal("processed", assert(tell(once, "app_integration_added", met.account.id)))
    assert.equal("awaiting", met.account:state())
    assert.equal(1, awaiting)
    assert.equal(before, #w:journal())
    assert.equal("completed", assert(once:link(w.redirect_of(met.install))).status)
    assert.equal(1, w:count("confirm"))
  end)

  it("an app_integration_added of an earlier link settles nothing", function()
    local met, once = left_at("confirm", "before")
    assert.equal("processed", assert(tell(once, "app_integration_added", met.account.id,
      once.clock.now_ms() - 3600000)))
    assert.equal("confirming", met.account:state())
    assert.equal("completed", assert(once:link(w.redirect_of(met.install))).status)
    assert.equal(2, w:count("confirm"))
  end)

  it("app_integration_added may be faster than the POST's answer", function()
    client:on("response", function(call)
      if call.stage == "confirm" then
        assert.equal("processed", assert(tell(client, "app_integration_added", w:journal("confirm")[1].account)))
      end
    end)
    ended_right(link_meets())
    assert.equal(1, w:count("confirm"))
    assert.equal(1, w:count("complete"))
  end)

  for _, stage in ipairs { "confirm", "complete" } do
    it(("app_integration_removed during %s wins: unlinked, and it is said"):format(stage), function()
      client:on("response", function(call)
        if call.stage == stage then
          assert.equal("processed", assert(tell(client, "app_integration_removed", w:journal(stage)[1].account)))
        end
      end)
      local met = link_meets()
      assert.is_nil(met.link)
      assert.equal("unlinked", met.err.code)
      assert.equal("unlinked", met.account:state())
    end)
  end
end)
