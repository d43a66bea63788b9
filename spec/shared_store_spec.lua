-- Two clients over one store, as two processes are: of what both begin at once, one does it, and both
-- have its result.

local ringlink = require "ringlink"
local world = require "support.world"

describe("two clients over one store #network", function()
  local w, one, two, clock, held

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    one, clock = w:quick_client()
    two = w:client_beside(one, { clock = clock })
    held = { (w:leases(one)), (w:leases(two)) }
  end)

  --- What a function gives for each client, both called at once.
  local function both(fn)
    local results = {}
    ringlink.run(function()
      for i, client in ipairs { one, two } do
        ringlink.spawn(function() results[i] = { fn(client) } end)
      end
    end)
    return results[1], results[2]
  end

  local function assert_no_lease()
    for _, of_one in ipairs(held) do assert.is_nil(next(of_one)) end
  end

  local function completed(result)
    assert.is_truthy(result[1], tostring(result[2]))
    assert.equal("completed", result[1].status)
  end

  describe("and one code", function()
    for _, delay_ms in ipairs { 0, 30 } do
      it(("have one token call, and both the account, after %d ms"):format(delay_ms), function()
        local install = w:install()
        if delay_ms > 0 then w:fault { call = "token", delay_ms = delay_ms } end
        local first, second = both(function(client) return client:exchange(install.code) end)
        for _, result in ipairs { first, second } do
          assert.is_truthy(result[1], tostring(result[2]))
          assert.equal(install.account, result[1].id)
        end
        assert.equal(1, w:count("token"))
        assert.equal(1, w:count("me"))
        assert.equal(1, #one.store:find { account = install.account })
        assert_no_lease()
      end)
    end

    it("have one refusal when Ring refuses it", function()
      local install = w:install()
      w:fault { call = "token", status = 400, title = "invalid_grant", delay_ms = 30 }
      local first, second = both(function(client) return client:exchange(install.code) end)
      assert.equal("exchange_refused", first[2].code)
      assert.equal("exchange_refused", second[2].code)
      assert.equal(1, w:count("token"))
    end)

    it("have two when the codes are two", function()
      local codes = assert(w.ring:control("codes", { count = 2 }))
      local list = { [one] = codes.codes[1], [two] = codes.codes[2] }
      local first, second = both(function(client) return client:exchange(list[client]) end)
      assert.equal(codes.account, first[1].id)
      assert.equal(codes.account, second[1].id)
      assert.equal(2, w:count("token"))
    end)
  end)

  describe("and a double click", function()
    for _, delay_ms in ipairs { 0, 30 } do
      it(("have one POST, and both end linked, after %d ms"):format(delay_ms), function()
        local _, install = w:unclaimed(one)
        if delay_ms > 0 then w:fault { call = "confirm", delay_ms = delay_ms } end
        local first, second = both(function(client) return client:link(w.redirect_of(install)) end)
        completed(first)
        completed(second)
        assert.equal(1, w:count("confirm"))
        assert.equal(1, w:count("complete"))
        assert.equal("completed", w:status(install.account))
        assert_no_lease()
      end)
    end

    it("have one POST also when its answer is lost, and both end linked", function()
      local _, install = w:unclaimed(one)
      w:fault { call = "confirm", drop = "after", delay_ms = 30 }
      local first, second = both(function(client) return client:link(w.redirect_of(install)) end)
      completed(first)
      completed(second)
      assert.equal(2, w:count("confirm"))           -- the repeat that Ring refuses
      assert.equal("completed", w:status(install.account))
    end)

    it("have one completing PATCH when the first is slow", function()
      local _, install = w:unclaimed(one)
      w:fault { call = "complete", delay_ms = 30 }
      local first, second = both(function(client) return client:link(w.redirect_of(install)) end)
      completed(first)
      completed(second)
      assert.equal(1, w:count("complete"))
    end)

    it("of two users goes to one", function()
      local _, install = w:unclaimed(one)
      local users = { [one] = "user-1", [two] = "user-2" }
      w:fault { call = "confirm", delay_ms = 30 }
      local first, second = both(function(client) return client:link(w.redirect_of(install, users[client])) end)
      local winner, loser, user = first, second, "user-1"
      if not first[1] then winner, loser, user = second, first, "user-2" end
      completed(winner)
      assert.equal("already_linked", loser[2].code)
      assert.equal(1, w:count("confirm"))
      assert.equal(user, assert(one:account(install.account):info()).user)
    end)
  end)

  describe("and one pair of tokens", function()
    local account, other

    before_each(function()
      account = w:linked(one).account
      other = two:account(account.id)
    end)

    it("have one refresh, and both the new token", function()
      w:pass_time(clock, 14400 * 1000)
      w:fault { call = "refresh", delay_ms = 30 }
      local first, second = both(function(client) return client:account(account.id):access_token() end)
      assert.equal(first[1]:reveal(), second[1]:reveal())
      assert.equal(1, w:count("refresh"))
      assert.equal(2, #assert(other:get("/v1/devices")).data)
      assert_no_lease()
    end)

    it("have one refresh when Ring refuses the old token to both", function()
      local status = { call = "devices", status = 401, count = 2 }
      w:fault(status)
      w:fault { call = "refresh", delay_ms = 30 }
      local first, second = both(function(client) return client:account(account.id):get("/v1/devices") end)
      assert.is_table(first[1])
      assert.is_table(second[1])
      assert.equal(1, w:count("refresh"))
    end)

    it("have their updates one after the other", function()
      local list = { [one] = "a***a@partner.example.com", [two] = "b***b@partner.example.com" }
      w:fault { call = "update", delay_ms = 30 }
      local first, second = both(function(client)
        return client:update(client:account(account.id), { account_identifier = list[client], unmasked = true })
      end)
      assert.equal(list[one], first[1].account_identifier)
      assert.equal(list[two], second[1].account_identifier)
      assert.equal(2, w:count("update"))
      assert.equal(w:state().integrations[1].account_identifier, assert(account:info()).account_identifier)
    end)
  end)

  it("find what the other one has exchanged, claimed and forgotten", function()
    local account, install = w:unclaimed(one)
    completed { two:link(w.redirect_of(install)) }
    assert.equal("completed", account:state())
    assert.is_true(two:account(account.id):forget())
    assert.equal("not_found", select(2, account:state()).code)
  end)

  it("do one thing each when both work at once", function()
    for i = 1, 3 do w:linked(one, "user-" .. i) end
    w:pass_time(clock, 86400 * 1000)
    local first, second = both(function(client) return client:work() end)
    assert.equal(3, w:count("refresh"))
    assert.equal(0, first[1].refresh_failed + second[1].refresh_failed)
  end)

  it("refresh nothing again that the other one has refreshed since it was found due", function()
    local linked = w:linked(one).account
    w:pass_time(clock, 86400 * 1000)
    local get, reads = two.store.get, 0
    function two.store.get(store, key)
      reads = reads + (key == linked.key and 1 or 0)
      if reads == 2 then                             -- due at the first one
        two.store.get = get
        assert.equal(1, assert(one:work()).refreshed)
      end
      return get(store, key)
    end
    assert.equal(0, assert(two:work()).refresh_failed)
    assert.equal(1, w:count("refresh"))
  end)
end)
