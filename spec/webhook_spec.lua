-- Webhooks without network: believed only when signed, acted on once, and never able to break anything.

local deliveries = require "support.deliveries"
local errors = require "ringlink.errors"
local grants = require "ringlink.grants"
local offline = require "support.offline"

local DAY_MS = 24 * 3600 * 1000
local event_of, send = deliveries.event, deliveries.send

describe("webhook", function()
  local client, clock

  before_each(function() client, clock = offline.client() end)

  --- Collects what a hook is told.
  local function heard(name)
    local calls = {}
    client:on(name, function(...) calls[#calls + 1] = { ... } end)
    return calls
  end

  local function state_of(key)
    return (client.store:get(key)).state
  end

  local function verified(body)
    return client:verify_webhook(deliveries.sign(client, body))
  end

  describe("verification", function()
    it("agrees with every vector", function()
      local cases = offline.vectors("webhook.json")
      assert.truthy(#cases > 0)
      for i, case in ipairs(cases) do
        local theirs = offline.client({ hmac_key = case.hmac_key })
        local event, err = theirs:verify_webhook(case.body, case.signature)
        local believed = event ~= nil or err.code ~= "signature"
        assert.equal(case.valid, believed, "case " .. i)
      end
    end)

    it("reads what Ring sends", function()
      local case = offline.vectors("webhook.json")[1]
      local event = assert(client:verify_webhook(case.body, case.signature))
      assert.same({ "2ad45ade-1818-4154-813b-afdd8bcd8085", "motion_detected", "human", "ava1.ring.account.XXXYYY" },
        { event.id, event.type, event.sub_type, event.account_id })
      assert.equal(1770989997200, event.time_ms)
      assert.equal("d1_human_1770989995231", event.data.id)
      assert.equal("1.1", event.meta.version)
    end)

    it("believes any of the keys in rotation", function()
      local rotating = offline.client({ hmac_key = { "brand-new", offline.hmac_key } })
      assert.truthy(rotating:verify_webhook(deliveries.sign(client, event_of(client, "motion_detected"))))
    end)

    for _, signature in ipairs({ "", "sha256=", "sha256=" .. ("0"):rep(64), ("x"):rep(2 ^ 20), "sha256=\0\255é", 12,
      true, {}, print }) do
      it("refuses " .. type(signature) .. " " .. tostring(signature):sub(1, 12):gsub("[^%w=]", "?"), function()
        local event, err = client:verify_webhook("{}", signature)
        assert.is_nil(event)
        assert.equal("signature", err.code)
      end)
    end

    it("refuses a missing signature and a missing body", function()
      assert.equal("signature", select(2, client:verify_webhook("{}", nil)).code)
      assert.equal("signature", select(2, client:verify_webhook(nil, nil)).code)
      assert.equal("signature", select(2, client:verify_webhook({}, "sha256=" .. ("0"):rep(64))).code)
    end)

    it("stores nothing", function()
      local event = event_of(client, "motion_detected")
      assert(verified(event))
      assert.equal("processed", send(client, event))
    end)
  end)

  describe("meta.time", function()
    local function time_of(text)
      return verified({ meta = { time = text }, data = { id = "x" } }).time_ms
    end

    for text, ms in pairs({
      ["1970-01-01T00:00:00Z"] = 0, ["1970-01-01T00:00:00.5Z"] = 500, ["2024-02-29T12:00:00Z"] = 1709208000000,
      ["2000-03-01T00:00:00+00:00"] = 951868800000, ["2024-02-29T13:30:00+01:30"] = 1709208000000,
      ["2024-02-29T06:30:00-0530"] = 1709208000000, ["2026-02-13T13:39:57.200155525Z"] = 1770989997200,
    }) do
      it("may be " .. text, function() assert.equal(ms, time_of(text)) end)
    end

    for _, text in ipairs({ "", "now", "2024-02-29", "2024-02-29T12:00:00", "2024-02-29 12:00:00Z",
      "24-02-29T12:00:00Z", 1709208000000, true }) do
      it("is no time when it is " .. tostring(text), function() assert.is_nil(time_of(text)) end)
    end
  end)

  describe("a body that is rightly signed", function()
    for _, body in ipairs({ "", "x", "null", "12", '"text"', "[1", "{", "<html>", "\0", "\255\254", ("["):rep(100) }) do
      it("but no JSON, as " .. ("%q"):format(body):sub(1, 20), function()
        local result, err = send(client, body)
        assert.is_nil(result)
        assert.same({ "invalid_request", "webhook" }, { err.code, err.stage })
      end)
    end

    it("is at most 1 MiB large", function()
      local calls = heard("webhook")
      local function of_size(bytes)
        local head, tail = '{"meta":{"request_id":"big"},"data":{"type":"motion_detected"},"x":"', '"}'
        return head .. ("x"):rep(bytes - #head - #tail) .. tail
      end
      for _, bytes in ipairs({ 1048577, 2 * 1048576 }) do
        local result, err = send(client, of_size(bytes))
        assert.is_nil(result)
        assert.same({ "invalid_request", "webhook" }, { err.code, err.stage })
        assert.truthy(err.message:find("1048576 bytes", 1, true), err.message)
        assert.equal("signature", select(2, client:webhook(of_size(bytes), "sha256=" .. ("0"):rep(64))).code)
      end
      assert.equal("processed", send(client, of_size(1048576)))
      assert.equal(1, #calls)
    end)

    it("and empty is an unknown event with an id of its own", function()
      local event = verified("{}")
      assert.equal("unknown", event.type)
      assert.equal(64, #event.id)
      assert.not_equal(event.id, verified("[]").id)
      assert.is_nil(event.account_id)
    end)

    it("may be of any bytes", function()
      local seed = 12345
      local function random(n)
        seed = (seed * 1103515245 + 12345) % 2 ^ 31
        return math.floor(seed / 65536) % n
      end
      for _ = 1, 300 do
        local bytes = {}
        for i = 1, random(40) do bytes[i] = string.char(random(256)) end
        local ok, result, err = pcall(send, client, table.concat(bytes))
        assert.is_true(ok, tostring(result))
        assert.truthy(result == "processed" or result == "duplicate" or errors.is(err))
      end
    end)

    it("may have any type of value anywhere", function()
      local values = { "null", "true", "12", "1e999", '""', '"\\u0000"', "[]", "{}", "[null]",
        '"' .. ("x"):rep(5000) .. '"' }
      local forms = { '{"meta":%s,"data":%s}', '{"meta":{"request_id":%s,"account_id":%s},"data":{"id":"a"}}',
        '{"meta":{"time":%s},"data":{"type":%s}}', '{"meta":{"account_id":"r"},"data":{"id":%s,"subType":%s}}',
        '{"meta":{"account_id":%s},"data":{"type":"app_integration_removed","attributes":%s}}' }
      for _, form in ipairs(forms) do
        for _, value in ipairs(values) do
          local ok, result = pcall(send, client, form:format(value, value))
          assert.is_true(ok, form .. " " .. value)
          assert.truthy(result == "processed" or result == "duplicate", form .. " " .. value)
        end
      end
    end)
  end)

  describe("delivered again", function()
    it("is a duplicate by its request_id", function()
      local calls = heard("webhook")
      local event = event_of(client, "motion_detected")
      assert.equal("processed", send(client, event))
      assert.equal("duplicate", send(client, event))
      assert.equal(1, #calls)
    end)

    it("is a duplicate by its data.id, under another request_id", function()
      local calls = heard("webhook")
      send(client, event_of(client, "motion_detected", { id = "d1" }))
      assert.equal("duplicate", send(client, event_of(client, "motion_detected", { id = "d1" })))
      assert.equal(1, #calls)
    end)

    it("is another event with another type or account", function()
      send(client, event_of(client, "motion_detected", { id = "d1" }))
      assert.equal("processed", send(client, event_of(client, "button_press", { id = "d1" })))
      assert.equal("processed", send(client, event_of(client, "motion_detected", { id = "d1", account = "ring-2" })))
    end)

    it("is a duplicate for seven days", function()
      local event = event_of(client, "motion_detected")
      send(client, event)
      clock.advance(7 * DAY_MS)
      assert(client:work())
      assert.equal("duplicate", send(client, event))
    end)

    it("later than that is too old, and not acted on", function()
      local calls = heard("webhook")
      local event = event_of(client, "motion_detected")
      clock.advance(7 * DAY_MS + 1)
      local result, err = send(client, event)
      assert.is_nil(result)
      assert.same({ "event_too_old", "webhook", false }, { err.code, err.stage, err.retryable })
      assert.same({}, calls)
    end)
  end)

  describe("hooks", function()
    it("are told by type, then all together, with event and account", function()
      local order = {}
      client:on("webhook", function(event, account) order[#order + 1] = { "all", event.type, account.id } end)
      client:on("webhook:button_press", function(event, account)
        order[#order + 1] = { "type", event.type, account.id }
      end)
      send(client, event_of(client, "button_press"))
      assert.same({ { "type", "button_press", "ring-1" }, { "all", "button_press", "ring-1" } }, order)
    end)

    it("are told of events that nobody knows", function()
      local all, typed = heard("webhook"), heard("webhook:brand_new_event")
      assert.equal("processed", send(client, event_of(client, "brand_new_event")))
      assert.same({ 1, 1 }, { #all, #typed })
    end)

    it("get no account when the event names none", function()
      local calls = heard("webhook")
      send(client, '{"data":{"id":"a","type":"motion_detected"}}')
      assert.is_nil(calls[1][2])
    end)

    it("that fail leave the event for the next delivery", function()
      local broken, runs = true, 0
      client:on("webhook", function()
        runs = runs + 1
        if broken then error("partner database is down") end
      end)
      local event = event_of(client, "motion_detected")
      local result, err = send(client, event)
      assert.is_nil(result)
      assert.same({ "hook_failed", true }, { err.code, err.retryable })
      broken = false
      assert.equal("processed", send(client, event))
      assert.equal("duplicate", send(client, event))
      assert.equal(2, runs)
    end)

    it("that fail keep no other hook from being told", function()
      client:on("webhook:motion_detected", function() error("broken") end)
      local calls = heard("webhook")
      send(client, event_of(client, "motion_detected"))
      assert.equal(1, #calls)
    end)

    it("that fail leave the event for work, a minute later", function()
      local broken, runs = true, 0
      client:on("webhook", function()
        runs = runs + 1
        if broken then error("down") end
      end)
      local event = event_of(client, "motion_detected")
      send(client, event)
      broken = false
      clock.advance(59999)
      assert.equal(0, client:work().events)
      assert.equal(1, runs)
      clock.advance(1)
      assert.equal(1, client:work().events)
      assert.equal("duplicate", send(client, event))
    end)
  end)

  describe("that fails again and again", function()
    local runs, broken

    before_each(function()
      runs, broken = {}, true
      client:on("webhook", function(event)
        runs[#runs + 1] = clock.now_ms()
        if broken or event.type == "poison" then error("down") end
      end)
    end)

    local function work_for(ms, step_ms)
      for _ = 1, ms / step_ms do
        clock.advance(step_ms)
        assert(client:work({ limit = 4 }))
      end
    end

    it("is put off twice as long each time, at most an hour", function()
      send(client, event_of(client, "poison"))
      work_for(5 * 3600 * 1000, 60000)
      local pauses = {}
      for i = 2, #runs do pauses[i - 1] = (runs[i] - runs[i - 1]) / 60000 end
      assert.same({ 1, 2, 4, 8, 16, 32, 60, 60, 60 }, pauses)
    end)

    it("is tried at once when it is delivered again", function()
      local event = event_of(client, "motion_detected")
      send(client, event)
      broken = false
      assert.equal("processed", send(client, event))
      assert.equal(2, #runs)
    end)

    it("keeps no newer one waiting", function()
      for _ = 1, 8 do send(client, event_of(client, "poison")) end
      local good = event_of(client, "motion_detected")
      send(client, good)
      broken = false
      work_for(3 * 60000, 60000)
      assert.equal("duplicate", send(client, good))
    end)

    it("is given up after a week, which the log tells", function()
      local lines = {}
      client.log = function(level, _, fields) lines[#lines + 1] = { level, fields.error } end
      send(client, event_of(client, "poison", { request_id = "p" }))
      work_for(7 * DAY_MS, 30 * 60000)
      assert.same({ { "error", "hook_failed" } }, lines)
      local count = #runs
      assert.equal("done", (client.store:event_add({ id = "p" })))
      work_for(DAY_MS, 30 * 60000)
      assert.equal(count, #runs)
    end)

    it("is not forgotten by work's next time", function()
      send(client, event_of(client, "poison"))
      assert(client:work())
      assert.is_true(client:work().next_due_s <= 60)
    end)
  end)

  describe("in progress", function()
    it("is said while a hook runs, under either id", function()
      local seen = {}
      local first = event_of(client, "motion_detected", { id = "d1" })
      client:on("webhook", function()
        for i, again in ipairs({ first, event_of(client, "motion_detected", { id = "d1" }) }) do
          local _, err = send(client, again)
          seen[i] = { err.code, err.retryable }
        end
      end)
      assert.equal("processed", send(client, first))
      assert.same({ { "in_progress", true }, { "in_progress", true } }, seen)
    end)

    it("ends when another process that had the event is gone", function()
      local event = event_of(client, "motion_detected", { request_id = "r1" })
      local body = deliveries.sign(client, event)
      client.store:event_add({ id = "r1", received_ms = clock.now_ms(),
        body = client.vault:seal(offline.client_id .. "/event/r1", "body", body) })
      client.store:event_take("another process", 1, "r1", 60000)
      assert.equal("in_progress", select(2, send(client, event)).code)
      clock.advance(60000)
      assert.equal("processed", send(client, event))
    end)
  end)

  describe("app_integration_removed", function()
    local function remove(more) return send(client, event_of(client, "app_integration_removed", more)) end

    for _, state in ipairs({ "unclaimed", "matched", "confirming", "awaiting", "completed", "relink" }) do
      it("unlinks a grant that is " .. state, function()
        local key = offline.grant(client, { state = state })
        assert.equal("processed", remove())
        assert.equal("unlinked", state_of(key))
      end)
    end

    it("wipes the tokens, and calls nothing", function()
      local key = offline.grant(client, {})
      remove()
      local row = client.store:get(key)
      assert.same({}, { row.access, row.refresh, row.fingerprint, row.nonce, row.code })
      assert.equal("unlinked", select(2, client:account("ring-1"):access_token()).code)
      offline.assert_silent(client)
    end)

    it("tells unlinked, transition and audit, once", function()
      offline.grant(client, { user = "user-7" })
      local unlinked, transitions, audits = heard("unlinked"), heard("transition"), heard("audit")
      local event = event_of(client, "app_integration_removed")
      send(client, event)
      send(client, event)
      remove()
      assert.same({ 1, 1, 1 }, { #unlinked, #transitions, #audits })
      assert.equal("ring-1", unlinked[1][1].id)
      assert.same({ "completed", "unlinked" }, { transitions[1][2], transitions[1][3] })
      assert.same({ "unlinked", "user-7" }, { audits[1][1].what, audits[1][1].user })
    end)

    it("leaves a grant that was given after it", function()
      local removed_ms = clock.now_ms()
      clock.advance(1000)
      local key = offline.grant(client, {})
      assert.equal("processed", remove({ time_ms = removed_ms }))
      assert.equal("completed", state_of(key))
    end)

    it("unlinks the grants before it and leaves the one after it", function()
      local old = offline.grant(client, {})
      clock.advance(1000)
      local removed_ms = clock.now_ms()
      clock.advance(1000)
      local new = offline.grant(client, { state = "unclaimed" })
      remove({ time_ms = removed_ms })
      assert.same({ "unlinked", "unclaimed" }, { state_of(old), state_of(new) })
    end)

    it("leaves other accounts", function()
      local key = offline.grant(client, { account = "ring-2" })
      remove()
      assert.equal("completed", state_of(key))
    end)

    it("of an account that is unknown is processed", function()
      assert.equal("processed", remove({ account = "nobody" }))
    end)

    it("is done although a hook failed, and the hook is told again", function()
      local key = offline.grant(client, {})
      local runs = 0
      client:on("webhook:app_integration_removed", function()
        runs = runs + 1
        if runs == 1 then error("down") end
      end)
      local event = event_of(client, "app_integration_removed")
      assert.equal("hook_failed", select(2, send(client, event)).code)
      assert.equal("unlinked", state_of(key))
      assert.equal("processed", send(client, event))
      assert.equal(2, runs)
    end)
  end)

  describe("app_integration_added", function()
    it("settles a POST whose answer was lost", function()
      local key = offline.grant(client, { state = "confirming" })
      assert.equal("processed", send(client, event_of(client, "app_integration_added")))
      assert.equal("awaiting", state_of(key))
    end)

    for _, state in ipairs({ "unclaimed", "matched", "awaiting", "completed", "unlinked" }) do
      it("changes nothing that is " .. state, function()
        local key = offline.grant(client, { state = state })
        local before = offline.snapshot(client)
        assert.equal("processed", send(client, event_of(client, "app_integration_added")))
        assert.same(before, offline.snapshot(client))
        assert.equal(state, state_of(key))
      end)
    end
  end)

  describe("of a forgotten account", function()
    before_each(function()
      offline.grant(client, {})
      assert(client:account("ring-1"):forget())
    end)

    it("is processed and told to nobody", function()
      local calls = heard("webhook")
      assert.equal("processed", send(client, event_of(client, "motion_detected")))
      assert.same({}, calls)
    end)

    it("brings nothing back", function()
      send(client, event_of(client, "app_integration_added"))
      assert.same({}, grants.of_account(client, "ring-1"))
    end)
  end)
end)
