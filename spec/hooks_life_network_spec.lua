-- Every hook over an account's whole life: the one order in which they are told, what is durable by then,
-- and that none of those that only listen can hold anything up (README "Hooks").

local errors = require "ringlink.errors"
local grants = require "ringlink.grants"
local hooks = require "ringlink.hooks"
local json = require "ringlink.json"
local world = require "support.world"

local DAY_MS = 86400 * 1000
local STORED_BEFORE = { request = true, response = true }     -- of calls, not of what is stored

local w

describe("all hooks #network", function()
  local client, clock, events_sent

  setup(function() w = world.start({ limits = { per_s = false } }) end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
    events_sent = 0
  end)

  --- Ring delivers a webhook.
  local function webhook(account_id, kind)
    events_sent = events_sent + 1
    local at = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(clock.now_ms() / 1000))
    local body = assert(json.encode({
      meta = { version = "1.1", time = at, request_id = "event-" .. events_sent, account_id = account_id },
      data = { id = "data-" .. events_sent, type = kind } }))
    return client:webhook(body, client.options.hmac_key:sign(body))
  end

  --- What a hook was called with, in a word or two.
  local SAYS = {
    transition = function(_, from, to) return from .. ">" .. to end,
    audit = function(event) return event.what end,
    reassign = function(_, from, to) return from .. ">" .. to end,
    failed = function(_, err) return err.code end,
    refresh_failed = function(_, err) return err.code end,
    relink_required = function(_, err) return err.code end,
    refresh_overdue = function(_, info) return ("%d days left"):format(info.days_left) end,
    webhook = function(event) return event.type end,
  }

  --- Notes whatever any hook is told.
  local function listen(but)
    local told = {}
    local function note(name, say)
      client:on(name, function(...) told[#told + 1] = say and name .. " " .. say(...) or name end)
    end
    for _, name in ipairs(hooks.names()) do
      if not (but and but[name]) then note(name, SAYS[name]) end
    end
    for _, kind in ipairs { "motion_detected", "app_integration_removed" } do note("webhook:" .. kind) end
    return told
  end

  local function take(told)
    local taken = {}
    while told[1] do taken[#taken + 1] = table.remove(told, 1) end
    return taken
  end

  -- The whole life ------------------------------------------------------------------------------

  local function moves_to(user, account_id)
    client:on("reassign", function() return true end)
    assert(client:link(w.redirect_of(w:sign_in_again(account_id), user)))
  end

  it("are told of a life from the code to the end, in this order", function()
    local told = listen(STORED_BEFORE)
    local account, install = w:unclaimed(client)
    assert.same({ "transition exchanging>identifying", "transition identifying>unclaimed", "exchanged" }, take(told))

    assert(client:link(w.redirect_of(install)))
    assert.same({ "transition unclaimed>matched", "matched", "before_confirm", "transition matched>confirming",
      "transition confirming>awaiting", "awaiting", "configure", "before_complete",
      "transition awaiting>completed", "completed", "audit linked" }, take(told))

    assert.equal("processed", webhook(account.id, "motion_detected"))
    assert.same({ "webhook:motion_detected", "webhook motion_detected" }, take(told))

    assert(account:refresh { force = true })
    assert.same({ "token_rotated" }, take(told))

    w:fault { call = "refresh", status = 503, count = 5 }
    assert.is_nil((account:refresh { force = true }))
    assert.same({ "refresh_failed refresh_failed" }, take(told))
    assert(account:refresh { force = true })
    assert.same({ "token_rotated" }, take(told))

    assert(client:update(account, { status = "awaiting" }))
    assert.same({ "transition completed>awaiting" }, take(told))
    assert(client:update(account, { account_identifier = "second@partner.example.com" }))
    assert.same({}, take(told))
    assert(client:complete(account))
    assert.same({ "before_complete", "transition awaiting>completed", "completed", "audit resumed" }, take(told))

    moves_to("user-2", account.id)
    assert.same({ "reassign user-1>user-2", "transition completed>matched", "matched", "before_confirm",
      "transition matched>confirming", "transition confirming>awaiting", "awaiting", "configure", "before_complete",
      "transition awaiting>completed", "completed", "audit linked" }, take(told))

    assert(w.ring:control("expire", { account = account.id, tokens = "refresh" }))
    assert.is_nil((account:refresh { force = true }))
    assert.same({ "transition completed>relink", "relink_required relink_required" }, take(told))

    assert.equal("processed", webhook(account.id, "app_integration_removed"))
    assert.same({ "transition relink>unlinked", "unlinked", "audit unlinked", "webhook:app_integration_removed",
      "webhook app_integration_removed" }, take(told))

    assert(account:forget())
    assert.same({ "audit forgotten" }, take(told))
  end)

  it("are told of what fails for good", function()
    local told = listen(STORED_BEFORE)
    local _, install = w:unclaimed(client)
    take(told)
    w:fault { call = "confirm", status = 404 }
    assert.is_nil((client:link(w.redirect_of(install))))
    assert.same({ "transition unclaimed>matched", "matched", "before_confirm", "transition matched>confirming",
      "transition confirming>failed", "failed not_found" }, take(told))
    assert.is_nil((client:exchange("a-code-that-nobody-knows")))
    assert.same({ "transition exchanging>failed", "failed exchange_refused" }, take(told))
  end)

  it("are told of a newer grant that replaces the older one", function()
    local link = w:linked(client)
    clock.advance(1000)
    local install = w:install { account = link.account.id }
    assert(client:exchange(install.code))
    local told = listen(STORED_BEFORE)
    assert(client:link(w.redirect_of(install)))
    assert.same({ "before_complete", "transition awaiting>completed", "transition completed>superseded", "completed",
      "audit linked" }, { (table.unpack or unpack)(told, 8) })
  end)

  it("are told when refreshing keeps failing, in stages", function()
    w:linked(client)
    local told = listen({ request = true, response = true, transition = true })
    w:fault { call = "refresh", status = 503, count = 100000 }
    for _ = 1, 8 do
      w:pass_time(clock, DAY_MS)
      assert(client:work())
    end
    local overdue = {}
    for _, line in ipairs(told) do
      if line:find("^refresh_overdue") then overdue[#overdue + 1] = line end
    end
    assert.equal(1, #overdue)
    assert.truthy(overdue[1]:find("^refresh_overdue 2[23] days left$"), overdue[1])
  end)

  -- Calls ---------------------------------------------------------------------------------------

  it("are told of each call before it and after it; of a section's calls at its end", function()
    local told, at, user_tag = {}, {}, grants.user_tag(client, "user-1")
    for _, name in ipairs { "request", "response" } do
      client:on(name, function(call)
        told[#told + 1] = ("%s %s %s"):format(name, call.stage, call.status or call.attempt)
        if name == "request" then at[call.stage] = client.store:find({ user = user_tag })[1] end
      end)
    end
    for _, name in ipairs { "exchanged", "before_confirm", "awaiting", "configure", "completed" } do
      client:on(name, function() told[#told + 1] = name end)
    end
    w:fault { call = "complete", status = 503, count = 1 }
    local _, install = w:unclaimed(client)
    assert(client:link(w.redirect_of(install)))
    assert.same({ "request exchange 1", "response exchange 200", "request identify 1", "response identify 200",
      "exchanged", "before_confirm", "request confirm 1", "response confirm 200", "awaiting", "configure",
      "request complete 1", "response complete 503", "request complete 2", "response complete 200", "completed" }, told)
    assert.same({ "awaiting", "completed" }, { at.confirm.row.state, at.complete.row.state })
  end)

  -- What is durable -----------------------------------------------------------------------------

  --- What another process sees in the store while each hook runs.
  local function seen_by_another()
    local other, seen = w:client_beside(client, { clock = clock }), {}
    for _, name in ipairs(hooks.names()) do
      if not (STORED_BEFORE[name] or name == "webhook" or name == "audit") then
        client:on(name, function(about, _, to)
          local account = about.account or about
          local state = other:account(account.id):state() or "gone"
          if name == "transition" then assert.equal(to, state) end
          seen[#seen + 1] = name .. " " .. state
        end)
      end
    end
    return seen
  end

  it("find stored what they are told of, by every process", function()
    local account, install = w:unclaimed(client)
    local seen = seen_by_another()
    -- Within one section several transitions are told at its end, so only the last is looked at.
    client.hooks.listeners.transition = nil
    assert(client:link(w.redirect_of(install)))
    assert(account:refresh { force = true })
    moves_to("user-2", account.id)
    assert(w.ring:control("expire", { account = account.id, tokens = "refresh" }))
    assert.is_nil((account:refresh { force = true }))
    assert.equal("processed", webhook(account.id, "app_integration_removed"))
    assert.same({ "matched matched", "before_confirm matched", "awaiting awaiting", "configure awaiting",
      "before_complete awaiting", "completed completed", "token_rotated completed", "reassign completed",
      "matched matched", "before_confirm matched", "awaiting awaiting", "configure awaiting",
      "before_complete awaiting", "completed completed", "relink_required relink", "unlinked unlinked" }, seen)
  end)

  it("find a new pair stored before token_rotated is told", function()
    local link = w:linked(client)
    local other = w:client_beside(client, { clock = clock })
    local before, same = assert(link.account:access_token()):reveal(), nil
    client:on("token_rotated", function(account)
      same = assert(other:account(account.id):access_token()):reveal() ~= before
    end)
    assert(link.account:refresh { force = true })
    assert.is_true(same)
  end)

  -- Those that raise ----------------------------------------------------------------------------

  local ASKED = { before_confirm = true, configure = true, before_complete = true, reassign = true, webhook = true }

  local function go_through_a_life()
    local account, install = w:unclaimed(client)
    assert(client:link(w.redirect_of(install)))
    assert(account:refresh { force = true })
    w:fault { call = "refresh", status = 503, count = 5 }
    assert.equal("refresh_failed", select(2, account:refresh { force = true }).code)
    assert(account:refresh { force = true })
    assert(w.ring:control("expire", { account = account.id, tokens = "refresh" }))
    assert.equal("relink_required", select(2, account:refresh { force = true }).code)
    assert.equal("relink", account:state())
    assert.equal("processed", webhook(account.id, "app_integration_removed"))
    assert.equal("unlinked", account:state())
    assert.equal("exchange_refused", select(2, client:exchange("a-code-that-nobody-knows")).code)
    assert(account:forget())
  end

  local RAISED = { ["text"] = "a mistake", ["an error object"] = errors.new("closed"), ["a table"] = {} }

  for what, raised in pairs(RAISED) do
    it("that only listen hold nothing up when they raise " .. what, function()
      local called = {}
      for _, name in ipairs(hooks.names()) do
        if not ASKED[name] then
          client:on(name, function()
            called[name] = true
            error(raised, 0)
          end)
        end
      end
      go_through_a_life()
      local reported = {}
      for _, line in ipairs(w.log) do
        if line.fields and line.fields.hook then reported[line.fields.hook] = true end
      end
      for _, name in ipairs(hooks.names()) do
        if not ASKED[name] and name ~= "refresh_overdue" then
          assert.is_true(called[name], name)
          assert.is_true(reported[name], name)
        end
      end
    end)
  end

  it("that only listen are not heard when they answer no", function()
    for _, name in ipairs(hooks.names()) do
      if not ASKED[name] then
        client:on(name, function() return false, "no" end)
        client:on(name, function() return nil, "no" end)
      end
    end
    go_through_a_life()
  end)

  -- Those of webhooks ---------------------------------------------------------------------------

  it("of webhooks make Ring deliver again when they raise, and not when they answer no", function()
    local link, failing, called = w:linked(client), true, {}
    client:on("webhook:motion_detected", function()
      called[#called + 1] = "of its type"
      if failing then error("a mistake") end
      return false, "no"
    end)
    client:on("webhook", function() called[#called + 1] = "of all" end)
    local _, err = webhook(link.account.id, "motion_detected")
    assert.same({ "hook_failed", "webhook:motion_detected", true }, { err.code, err.stage, err.retryable })
    assert.same({ "of its type", "of all" }, called)
    failing = false
    w:pass_time(clock, 2 * 60000)
    assert.equal(1, assert(client:work()).events)
    assert.same({ "of its type", "of all", "of its type", "of all" }, called)
  end)

  -- Reassigning ---------------------------------------------------------------------------------

  for what, answer in pairs {
    ["nothing"] = function() end, ["false and a reason"] = function() return false, "no" end,
    ["nil and a reason"] = function() return nil, "no" end, ["a mistake"] = function() error("a mistake") end,
  } do
    it("of reassigning leave the account where it is by " .. what, function()
      local link = w:linked(client)
      local told = listen({ request = true, response = true, reassign = true })
      client:on("reassign", answer)
      local _, err = client:link(w.redirect_of(w:sign_in_again(link.account.id), "user-2"))
      assert.equal(what == "a mistake" and "hook_failed" or "already_linked", err.code)
      assert.same({ "user-1", "completed" }, { link.account:info().user, link.account:state() })
      assert.same({}, told)
      assert.equal(1, w:count("confirm"))
    end)
  end
end)
