-- A client over a store that outlives it: nothing in the clear, every field at its own place only,
-- failures as return values, rows left as they are when they cannot be opened.

local deliveries = require "support.deliveries"
local disks = require "support.disk"
local errors = require "ringlink.errors"
local flight = require "ringlink.flight"
local grants = require "ringlink.grants"
local offline = require "support.offline"
local sealed = require "ringlink.sealed"
local search = require "support.search"

local K1, K2 = disks.key(1), disks.key(2)

describe("a persistent store", function()
  local disk, client

  before_each(function()
    disk = disks.new()
    client = disk:client(K1)
  end)

  local function reopen(keys, more)
    client:close()
    client = disk:client(keys or K1, more)
  end

  --- The calls that open a field of the account, each as a function.
  local CALLS = {
    access_token = function() return client:account("ring-1"):access_token() end,
    refresh = function() return client:account("ring-1"):refresh({ force = true }) end,
    request = function() return client:account("ring-1"):request({ path = "/v1/devices" }) end,
    get = function() return client:account("ring-1"):get("/v1/devices") end,
    me = function() return client:account("ring-1"):me() end,
    info = function() return client:account("ring-1"):info() end,
    export = function() return client:account("ring-1"):export() end,
  }

  local function fails_with(code, call)
    local before = disk:snapshot()
    local value, err = call()
    assert.is_nil(value)
    assert.is_true(errors.is(err))
    assert.equal(code, err.code)
    assert.same(before, disk:snapshot())
    offline.assert_silent(client)
    return err
  end

  describe("holds", function()
    local PLANTED = { "planted", "user-1", "u***r@", "203.0.113.7" }

    it("no secret and no user in the clear, in any state", function()
      for i, state in ipairs({ "exchanging", "identifying", "unclaimed", "matched", "confirming", "awaiting",
        "completed", "relink" }) do
        offline.grant(client, { account = "ring-" .. i, state = state })
      end
      for _, text in ipairs(PLANTED) do assert.is_nil(search.find(disk:snapshot(), text), text) end
      for _, entry in ipairs(disk.memory:find({})) do
        if entry.row.nonce then
          local redirect = offline.redirect(client, entry.row.account)
          assert.is_nil(search.find(disk:snapshot(), redirect.nonce))
        end
      end
    end)

    it("sealed fields in every column that is named, and bytes the size of the text in none", function()
      local key = offline.grant(client, { state = "confirming" })
      local row = disk:row(key)
      for _, column in ipairs({ "access", "refresh", "nonce", "user_sealed", "identifier" }) do
        assert.truthy(row[column]:find("^R\1"), column)
      end
    end)

    it("events whose body only their own id opens", function()
      client:on("webhook", function() error("not yet") end)
      local event = deliveries.event(client, "motion_detected", { request_id = "r1" })
      assert.is_nil((deliveries.send(client, event)))
      assert.is_nil(search.find(disk:snapshot(), "source_type"))
      assert.truthy(disk.memory.events.r1.body:find("^R\1"))
    end)

    it("what the next process needs", function()
      local key = offline.grant(client, { state = "completed" })
      local token = client:account("ring-1"):access_token():reveal()
      reopen()
      assert.equal(token, client:account("ring-1"):access_token():reveal())
      assert.equal("user-1", client:account("ring-1"):info().user)
      assert.equal(key, client:accounts({ user = "user-1" })().key)
      assert.equal("ring-1", client:account("ring-1", { user = "user-1" }):info().id)
    end)

    it("nothing of codes but a keyed hash", function()
      local core = require "ringlink.core"
      client:exchange("planted-code-1")
      assert.is_nil(search.find(disk:snapshot(), core.hex(core.sha256("planted-code-1"))))
      assert.is_nil(search.find(disk:snapshot(), "planted-code-1"))
      reopen()
      assert.truthy(disk:row(grants.code_key(client, "planted-code-1")))
    end)
  end)

  describe("opens nothing", function()
    it("when a client is made or closed", function()
      reopen()
      client:close()
      assert.same({ "close", "close" }, disk.calls)
    end)
  end)

  describe("with ciphertexts exchanged", function()
    local one, other

    before_each(function()
      one = offline.grant(client, { account = "ring-1", state = "completed", user = "user-1" })
      other = offline.grant(client, { account = "ring-2", state = "completed", user = "user-2" })
    end)

    for _, column in ipairs({ "access", "refresh", "user_sealed", "identifier" }) do
      it("between rows refuses " .. column, function()
        disk:alter(one, { [column] = disk:row(other)[column] })
        local call = column == "access" and "access_token" or column == "refresh" and "refresh" or "info"
        local err = fails_with("store_corrupt", CALLS[call])
        assert.truthy(err.message:find("field " .. sealed.FIELDS[column] .. " of " .. one, 1, true))
        assert.truthy(client:account("ring-2"):info())
      end)
    end

    it("between columns refuses each", function()
      local row = disk:row(one)
      disk:alter(one, { access = row.refresh, refresh = row.access })
      fails_with("store_corrupt", CALLS.access_token)
      fails_with("store_corrupt", CALLS.refresh)
      disk:alter(one, { user_sealed = row.identifier, identifier = row.user_sealed })
      fails_with("store_corrupt", CALLS.info)
    end)

    it("refuses what is cut, empty, in the clear or no text", function()
      local access = disk:row(one).access
      for _, bad in ipairs({ "", access:sub(1, -2), access .. "x", "R\1", "planted-access-token", 12, true }) do
        disk:alter(one, { access = bad })
        local err = fails_with("store_corrupt", CALLS.access_token)
        assert.is_nil(tostring(err):find("planted", 1, true))
      end
    end)

    it("between events acts on neither, and drops none", function()
      local told, broken = 0, true
      client:on("webhook", function()
        if broken then error("not yet") end
        told = told + 1
      end)
      for _, id in ipairs({ "r1", "r2" }) do
        deliveries.send(client, deliveries.event(client, "motion_detected", { request_id = id }))
      end
      local events = disk.memory.events
      events.r1.body, events.r2.body = events.r2.body, events.r1.body
      broken = false
      assert.equal(0, client:work().events)
      assert.equal(0, told)
      assert.same({ "pending", "pending" }, { events.r1.state, events.r2.state })
      disk.clock.advance(60000)
      events.r1.body, events.r2.body = events.r2.body, events.r1.body
      assert.equal(2, client:work().events)
    end)
  end)

  describe("with a row sealed by a key this process lacks", function()
    local key

    -- The stamp was renewed by the newer key; the process that lacks it had opened the store before.
    local function old_process(make)
      disk = disks.new()
      local more = { deadline_ms = 30000 }               -- within the life of a code
      local old = disk:client(K1, more)
      offline.grant(old, { account = "ring-2", state = "completed" })
      local young = disk:client({ K2, K1 }, more)
      key = make(young)
      client = old
    end

    for name, call in pairs(CALLS) do
      it("answers store_key to " .. name, function()
        old_process(function(young) return offline.grant(young, { account = "ring-1", state = "completed" }) end)
        local err = fails_with("store_key", call)
        assert.is_false(err.retryable)
        assert.truthy(client:account("ring-2"):info())
      end)
    end

    for _, state in ipairs({ "exchanging", "identifying", "matched", "confirming" }) do
      it("does not go on with one that is " .. state, function()
        old_process(function(young)
          return offline.grant(young, { account = "ring-1", state = state, conducted = true })
        end)
        disk.clock.advance(client.options.deadline_ms)
        local before = disk:row(key)
        local report = assert(client:work())
        assert.same({ 0, 0 }, { report.resumed, report.refresh_failed })
        assert.same(before, disk:row(key))
        offline.assert_silent(client)
      end)
    end

    it("passes it over in work, and does not come back at once for it", function()
      old_process(function(young) return offline.grant(young, { account = "ring-1", state = "completed" }) end)
      disk.clock.advance(86400 * 1000)
      local before = disk:row(key)
      local report = client:work({ limit = 1 })
      if report.refresh_failed == 0 then report = client:work({ limit = 1 }) end
      assert.equal(1, report.refresh_failed)             -- the other one got its turn
      assert.truthy(client:work({ limit = 1 }).next_due_s > 0)
      assert.same(before, disk:row(key))
    end)
  end)

  describe("opened with another key altogether", function()
    before_each(function()
      offline.grant(client, { state = "completed" })
      reopen(K2)
    end)

    for name, call in pairs(CALLS) do
      it("answers store_key to " .. name, function() fails_with("store_key", call) end)
    end

    it("answers store_key to every call of the client, and changes nothing", function()
      local redirect = offline.redirect(client, "ring-1")
      for _, call in ipairs({
        function() return client:exchange("a-code") end,
        function() return client:match(redirect) end,
        function() return client:link({ nonce = redirect.nonce, time = redirect.time, user = "user-1" }) end,
        function() return client:update(client:account("ring-1"), { status = "awaiting" }) end,
        function() return client:complete(client:account("ring-1")) end,
        function() return client:work() end,
        function() return client:forget_user("user-1") end,
        function() return client:reseal() end,
        function() return deliveries.send(client, deliveries.event(client, "motion_detected")) end,
        function() return client:account("ring-1"):forget() end,
        function() return client:account("ring-1"):state() end,
      }) do
        fails_with("store_key", call)
      end
    end)

    it("raises it from an iterator", function()
      local ok, err = pcall(function() return client:accounts()() end)
      assert.is_false(ok)
      assert.equal("store_key", err.code)
    end)

    it("works with the right key again", function()
      reopen({ K2, K1 })
      assert.equal("completed", client:account("ring-1"):state())
    end)
  end)

  describe("that belongs to somebody else", function()
    before_each(function() offline.grant(client, { state = "completed" }) end)

    for name, value in pairs({ environment = "staging", api_url = "https://staging.example",
      oauth_url = "https://oauth.example" }) do
      it("by its " .. name .. " answers store_belongs_elsewhere", function()
        reopen(K1, { [name] = value })
        local err = fails_with("store_belongs_elsewhere", function() return client:account("ring-1"):state() end)
        assert.truthy(err.message:find(name, 1, true))
        assert.truthy(err.message:find(value, 1, true))
      end)
    end

    it("keeps the rows of two apps apart", function()
      reopen(K1, { client_id = "another-app" })
      assert.is_nil((client:account("ring-9"):state()))
      assert.truthy(disk:row("another-app/stamp"))
      assert.truthy(disk:row(offline.client_id .. "/stamp"))
    end)
  end)

  describe("that keeps the stamp itself", function()
    local kept, swaps

    local function stamping(keys)
      return disk:client(keys, { store = disk:store({
        stamp = function(_, wanted)
          kept = kept or wanted
          return kept
        end,
        restamp = function(_, was, now)
          swaps = swaps + 1
          if kept.tag_key ~= was then return false end
          kept.tag_key = now
          return true
        end,
      }) })
    end

    before_each(function() kept, swaps = nil, 0 end)

    it("is given all of it, and needs no row", function()
      client = stamping(K1)
      client:account("ring-1"):state()
      assert.equal("production", kept.environment)
      assert.equal(offline.client_id, kept.client_id)
      assert.truthy(kept.tag_key:find("^R\1"))
      assert.is_nil((disk:row(offline.client_id .. "/stamp")))
    end)

    it("is told the tag key anew when a newer key comes, and tags stay", function()
      client = stamping(K1)
      local tag = client.vault:tag("user", "42")
      assert.equal(tag, stamping({ K2, K1 }).vault:tag("user", "42"))
      assert.equal(1, swaps)
      assert.equal(tag, stamping(K2).vault:tag("user", "42"))
      assert.equal(1, swaps)
    end)
  end)

  describe("that fails", function()
    before_each(function() offline.grant(client, { state = "completed" }) end)

    local function fail_at(name, problem)
      disk.failing = function(called) if called == name then error(problem, 0) end end
    end

    for name, call in pairs({
      find = CALLS.access_token, due = function() return client:work() end,
      event_add = function() return deliveries.send(client, deliveries.event(client, "motion_detected")) end,
      unclaimed = function() return client:match(offline.redirect(client, "ring-1")) end,
      delete = function() return client:account("ring-1"):forget() end,
      event_forget = function() return client:account("ring-1"):forget() end,
      close = function() return client:close() end,
    }) do
      it("at " .. name .. " returns store_error at the face, with the cause", function()
        fail_at(name, "disk on fire")
        local value, err = call()
        assert.is_nil(value)
        assert.same({ "store_error", "disk on fire", true }, { err.code, err.cause, err.retryable })
        assert.truthy(tostring(err):find(name, 1, true))
      end)
    end

    it("while an account is forgotten can be asked again", function()
      for _, name in ipairs({ "event_forget", "delete" }) do
        fail_at(name, "disk on fire")
        assert.is_nil((client:account("ring-1"):forget()))
      end
      disk.failing = nil
      assert.is_true(client:account("ring-1"):forget())
    end)

    it("returns an error object as it is", function()
      fail_at("find", errors.new("store_busy"))
      assert.equal("store_busy", select(2, CALLS.info()).code)
    end)

    it("by returning nil and a reason is told likewise", function()
      client = disk:client(K1, { store = disk:store({ find = function() return nil, "no connection" end }) })
      local _, err = CALLS.info()
      assert.same({ "store_error", "no connection" }, { err.code, err.cause })
    end)

    it("raises from an iterator", function()
      fail_at("find", "disk on fire")
      local ok, err = pcall(function() return client:accounts()() end)
      assert.same({ false, "store_error" }, { ok, err.code })
    end)

    it("hides neither an interruption nor a mistake of the program", function()
      fail_at("find", "lua: interrupted!")
      assert.same({ false, "lua: interrupted!" }, { pcall(CALLS.info) })
      disk.failing = nil
      assert.truthy(offline.misuse(function() client:work({ limit = 0 }) end):find("work: limit", 1, true))
    end)

    it("leaves what a hook raises to the hook", function()
      client:on("webhook", function() error(errors.new("store_error"), 0) end)
      local _, err = deliveries.send(client, deliveries.event(client, "motion_detected"))
      assert.equal("hook_failed", err.code)
    end)

    it("gives the lease of a refresh back", function()
      local key = client:accounts()().key
      fail_at("put_if", "disk full")
      assert.equal("store_error", select(2, CALLS.refresh()).code)
      assert.is_nil(disk.memory.leases[key])
    end)

    it("in the middle of a section has the hooks told what was stored before", function()
      local told = {}
      client:on("audit", function(event) told[#told + 1] = event.what end)
      local ok, err = pcall(flight.run, client, "a section", function(_, notes)
        notes[1] = { "audit", { what = "linked" } }
        error(errors.new("store_error"), 0)
      end)
      assert.same({ false, "store_error", { "linked" } }, { ok, err.code, told })
    end)

    it("by a stamp without its tag key is damaged", function()
      disk:alter(offline.client_id .. "/stamp", { tag_key = 12 })
      client = disk:client(K1)
      fails_with("store_corrupt", CALLS.info)
      local row, version = disk:row(offline.client_id .. "/stamp")
      row.tag_key = nil
      disk.memory:put_if(offline.client_id .. "/stamp", row, version)
      fails_with("store_corrupt", CALLS.info)
    end)

    it("is asked again by the next call", function()
      client = disk:client(K1)
      fail_at("get", "not yet up")
      assert.equal("store_error", select(2, CALLS.info()).code)
      disk.failing = nil
      assert.equal("ring-1", CALLS.info().id)
    end)
  end)
end)
