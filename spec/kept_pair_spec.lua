-- A pair that Ring has handed out and the store does not take: it is written again after a pause, and
-- kept in the client until it could be. And a pair that is wiped while somebody is about to use it.

local answers = require "support.answers"
local core = require "ringlink.core"
local deliveries = require "support.deliveries"
local errors = require "ringlink.errors"
local grants = require "ringlink.grants"
local offline = require "support.offline"

describe("a pair", function()
  local client, clock, ring, account, key

  before_each(function()
    client, clock = offline.client()
    ring = answers.serve(client)
    key = offline.grant(client, {})
    account = client:account("ring-1")
  end)

  local function row() return client.store:get(key) end

  local function stored()
    return row().access and client.vault:open(key, "access", row().access),
      row().refresh and client.vault:open(key, "refresh", row().refresh)
  end

  local function refused_by_store() return nil, "disk I/O error" end
  local function raised_by_store() error(errors.new("store_error", { detail = "gone" }), 0) end

  --- The store takes no write any more, but for after the first `count` when one is given.
  local function break_store(how, count)
    local left = count or math.huge
    client.store.put_if = function(...)
      left = left - 1
      if left <= 0 then client.store.put_if = nil end
      return (how or refused_by_store)(...)
    end
  end

  local function mend_store() client.store.put_if = nil end

  local function broken_after(call, how, count)
    ring.on[call] = function() break_store(how, count) end
  end

  local function force() return account:refresh({ force = true }) end

  local function fails(code, done, err)
    assert.is_nil(done)
    assert.is_true(errors.is(err), tostring(err))
    assert.equal(code, err.code)
  end

  describe("that the store does not take at first", function()
    for how, breaking in pairs({ refuses = refused_by_store, raises = raised_by_store }) do
      it("is written after pauses, when the store " .. how, function()
        local told = 0
        client:on("token_rotated", function() told = told + 1 end)
        broken_after("refresh", breaking, 4)
        assert.is_true(force())
        assert.same({ "served-access-1", "served-refresh-1" }, { stored() })
        assert.is_true(clock.slept_s > 0)
        assert.equal(1, ring:count("refresh"))
        assert.equal(1, told)
        assert.is_nil(next(client.unsaved))
      end)
    end

    for _, code in ipairs({ "no_memory", "store_busy", "store_corrupt", "store_key", "store_belongs_elsewhere" }) do
      it("is written after pauses, whatever the trouble: " .. code, function()
        broken_after("refresh", function() errors.new(code):raise() end, 3)
        assert.is_true(force())
        assert.same({ "served-access-1", "served-refresh-1" }, { stored() })
        assert.equal(1, ring:count("refresh"))
      end)
    end

    --- Nothing can be sealed any more after a call, but for what comes after the first `count`.
    local function unsealed_after(call, count)
      ring.on[call] = function()
        local seal = client.vault.seal
        client.vault.seal = function(...)
          count = count - 1
          if count < 0 then return seal(...) end
          errors.new("no_memory"):raise()
        end
      end
    end

    it("is kept before it is sealed, and written when there is memory for that", function()
      unsealed_after("refresh", 3)
      assert.is_true(force())
      assert.same({ "served-access-1", "served-refresh-1" }, { stored() })
      assert.equal(1, ring:count("refresh"))
      assert.is_nil(next(client.unsaved))
    end)

    it("is kept before it is sealed by the exchange too", function()
      ring.account = "ring-2"
      unsealed_after("token", 3)
      assert.equal("ring-2", assert(client:exchange("a-code")).id)
      assert.equal(1, ring:count("token"))
    end)

    --- The store writes once more and says that it could not.
    local function lying_after(call)
      ring.on[call] = function()
        local put_if = client.store.put_if
        client.store.put_if = function(...)
          mend_store()
          assert(put_if(...))
          raised_by_store()
        end
      end
    end

    it("is no failure when it was written all the same", function()
      local told = 0
      client:on("token_rotated", function() told = told + 1 end)
      lying_after("refresh")
      assert.is_true(force())
      assert.same({ "served-access-1", "served-refresh-1", 1 }, { (stored()), select(2, stored()), told })
    end)

    it("is no failure of the exchange when it was written all the same", function()
      ring.account = "ring-2"
      lying_after("token")
      assert.equal("ring-2", assert(client:exchange("a-code")).id)
      assert.equal(1, ring:count("token"))
    end)

    it("is written by the exchange too", function()
      ring.account = "ring-2"
      broken_after("token", refused_by_store, 4)
      assert.equal("ring-2", assert(client:exchange("a-code")).id)
      assert.equal(1, ring:count("token"))
    end)
  end)

  describe("that the store does not take for good", function()
    local function lose()
      broken_after("refresh")
      fails("store_error", force())
      ring.on.refresh = nil
      assert.is_truthy(client.unsaved[key])
      assert.is_true(clock.slept_s * 1000 <= 2 * client.options.deadline_ms)
    end

    it("is written when the tokens are asked for next, and told then", function()
      lose()
      local told = {}
      client:on("token_rotated", function(which) told[#told + 1] = which.id end)
      fails("store_error", account:access_token())
      assert.is_truthy(client.unsaved[key])
      mend_store()
      assert.equal("served-access-1", assert(account:access_token()):reveal())
      assert.same({ "served-access-1", "served-refresh-1" }, { stored() })
      assert.is_nil(client.unsaved[key])
      assert.same({ "ring-1" }, told)
      assert.equal(1, ring:count("refresh"))
    end)

    it("is written before another refresh, which then is not needed", function()
      lose()
      mend_store()
      assert.is_true(force())
      assert.same({ "served-access-1", "served-refresh-1" }, { stored() })
      assert.equal(1, ring:count("refresh"))
    end)

    it("serves the next call to Ring", function()
      lose()
      mend_store()
      local used
      ring.on.devices = function(_, request) used = request.headers[1] end
      assert(account:get("/v1/devices"))
      assert.equal("Authorization: Bearer served-access-1", used)
    end)

    it("is written when the client is closed, and told", function()
      lose()
      mend_store()
      local seen, told, client_was_open
      client:on("token_rotated", function(which)
        told, client_was_open = which.id, not client.closed
      end)
      local put_if = client.store.put_if
      client.store.put_if = function(store, of, written, version)
        seen = of == key and client.vault:open(key, "refresh", written.refresh)
        return put_if(store, of, written, version)
      end
      client:close()
      assert.same({ "served-refresh-1", "ring-1", true }, { seen, told, client_was_open })
    end)

    it("does not keep a client from closing while the store is broken", function()
      local lines = {}
      client.log = function(level, message) lines[#lines + 1] = level .. ": " .. message end
      lose()
      lines = {}
      client:close()
      fails("closed", account:access_token())
      assert.same({ "error: closed with tokens that the store did not take; they are lost" }, lines)
    end)

    it("is not in the way when somebody has another one by then", function()
      lose()
      mend_store()
      assert(grants.update(client, key, function()
        return { fingerprint = "another", access = client.vault:seal(key, "access", "another-access"),
          refresh = client.vault:seal(key, "refresh", "another-refresh") }
      end))
      assert.equal("another-access", assert(account:access_token()):reveal())
      assert.is_nil(client.unsaved[key])
    end)

    it("is not written to an account that was unlinked", function()
      lose()
      mend_store()
      assert(grants.apply(client, {}, key, "unlink"))
      fails("unlinked", account:access_token())
      assert.is_nil(row().access)
      assert.is_nil(client.unsaved[key])
    end)

    it("is kept when the store raises what is no error object", function()
      broken_after("refresh", function() error("out of handles", 0) end)
      assert.truthy(tostring(select(2, pcall(force))):find("out of handles", 1, true))
      ring.on.refresh = nil
      mend_store()
      assert.equal("served-access-1", assert(account:access_token()):reveal())
      assert.equal(1, ring:count("refresh"))
    end)

    it("is written by the next delivery of the code", function()
      ring.account = "ring-2"
      broken_after("token")
      fails("store_error", client:exchange("a-code"))
      mend_store()
      assert.equal("ring-2", assert(client:exchange("a-code")).id)
      assert.equal("unclaimed", client:account("ring-2"):state())
      assert.equal(1, ring:count("token"))
    end)
  end)

  it("whose token finds no memory to be handed out in is said to, by every call", function()
    local secret = core.secret
    finally(function() core.secret = secret end)
    core.secret = function() return nil, "no_memory" end
    fails("no_memory", account:access_token())
    fails("no_memory", account:get("/v1/devices"))
    fails("no_memory", account:me())
    core.secret = secret
    assert(account:get("/v1/devices"))
  end)

  describe("that is wiped", function()
    local function unlink()
      assert.equal("processed", deliveries.send(client,
        deliveries.event(client, "app_integration_removed", { time_ms = clock.now_ms() + 1000 })))
    end

    it("while a call is under way that Ring then refuses: unlinked", function()
      ring.on.devices = function()
        unlink()
        return answers.refusal(401)
      end
      fails("unlinked", account:get("/v1/devices"))
      assert.equal(0, ring:count("refresh"))
    end)

    it("while the refresh after a 401 is under way: unlinked", function()
      ring.on.devices = function() return answers.refusal(401) end
      ring.on.refresh = unlink
      fails("unlinked", account:get("/v1/devices"))
      assert.equal(1, ring:count("devices"))
      assert.is_nil(row().access)
    end)

    for name, said in pairs({ accepts = false, refuses = answers.invalid_grant() }) do
      it(("while a refresh that was due is under way, which Ring %s: unlinked"):format(name), function()
        clock.advance(offline.token_lifetime_ms)
        ring.on.refresh = function()
          unlink()
          return said or nil
        end
        fails("unlinked", account:get("/v1/devices"))
        assert.equal(0, ring:count("devices"))
        assert.is_nil(row().access)
      end)
    end

    it("not, but marked as refused while a call is under way: no refresh is tried for its 401", function()
      ring.on.devices = function()
        assert(grants.apply(client, {}, key, "relink"))
        return answers.refusal(401)
      end
      fails("relink_required", account:get("/v1/devices"))
      assert.equal(0, ring:count("refresh"))
    end)

    it("while a forced refresh is under way, whatever Ring answers: unlinked", function()
      for _, said in ipairs({ answers.invalid_grant(), false }) do
        client = offline.client()
        clock, ring = client.clock, answers.serve(client)
        key, account = offline.grant(client, {}), client:account("ring-1")
        ring.on.refresh = function()
          unlink()
          return said or nil
        end
        fails("unlinked", force())
        assert.equal("unlinked", account:state())
        assert.is_nil(row().access)
      end
    end)

    it("before a refresh is forced: unlinked, without a call", function()
      unlink()
      fails("unlinked", force())
      assert.same({}, ring.calls)
    end)
  end)
end)
