-- Removals against what is under way: the webhook comes before, during or after a refresh or a
-- re-link, of this grant or of the one before it; and a code comes while a refresh is under way. Each
-- ends in one state, over both kinds of store.

local deliveries = require "support.deliveries"
local planted = require "support.planted"
local stores = require "support.stores"
local world = require "support.world"

local HOUR_MS = 3600 * 1000
local TOLD = { "unlinked", "relink_required", "token_rotated", "completed", "failed" }

local OPTIONS = {
  memory = function() return { runtime = "blocking" } end,
  SQLite = function()
    return { runtime = "blocking", store = "sqlite:" .. stores.new_path(), store_key = planted.store_key(1) }
  end,
}

-- Which call a request is.
local CALLS = {
  exchange = function(request) return request.body and request.body:find("authorization_code", 1, true) end,
  refresh = function(request) return request.body and request.body:find("grant_type=refresh_token", 1, true) end,
  confirm = function(request) return request.method == "POST" and request.url:find("app-integrations", 1, true) end,
  complete = function(request) return request.method == "PATCH" and request.body:find("completed", 1, true) end,
}

for kind, options_of in pairs(OPTIONS) do
  describe("removals, with tokens in " .. kind .. " #network", function()
    local w, client, clock, account, told

    setup(function() w = world.start { limits = { per_s = false } } end)
    teardown(function()
      w:stop()
      stores.remove_all()
    end)

    before_each(function()
      w:reset()
      client, clock = w:quick_client(options_of())
      account, told = w:linked(client).account, {}
      w:pass_time(clock, HOUR_MS)
      for _, name in ipairs(TOLD) do
        client:on(name, function(which)
          local handle = which.account or which
          told[#told + 1] = name .. (handle.key == account.key and "" or " of the new one")
        end)
      end
    end)

    local function row() return (client.store:get(account.key)) end

    --- The webhook of a removal, so long ago.
    local function removal(age_ms)
      return deliveries.event(client, "app_integration_removed",
        { account = account.id, time_ms = clock.now_ms() - (age_ms or 0) })
    end

    local function deliver(event) assert.equal("processed", deliveries.send(client, event)) end

    --- The user removes the app: Ring knows, and says so.
    local function remove()
      assert(w.ring:control("unlink", { account = account.id, webhook = false }))
      deliver(removal())
    end

    --- Does something in a task of its own while a call is under way: Ring has not got it yet, or has
    --- answered and nobody has seen the answer.
    local function during(call, moment, act)
      local open, await, armed, done = client.open_transport, client.runtime.await, false, false
      local function act_once()
        armed, done = false, true
        client.runtime.join(client.runtime.spawn(act))
      end
      client.open_transport = function(self)
        local transport = assert(open(self))
        return { transport = transport, start = function(_, request)
          armed = not done and CALLS[call](request) and true
          if armed and moment == "before" then act_once() end
          return transport:start(request)
        end }
      end
      client.runtime.await = function(proxy, ticket)
        local mine = armed
        local result = await(proxy.transport, ticket)
        if mine and moment == "after" then act_once() end
        return result
      end
      finally(function() assert.is_true(done, "the call never came") end)
    end

    local function force() return account:refresh { force = true } end

    local function fails(code, done, err)
      assert.is_nil(done)
      assert.equal(code, err.code)
    end

    local function assert_gone()
      assert.equal("unlinked", row().state)
      for _, name in ipairs { "access", "refresh", "fingerprint", "intent", "owed" } do
        assert.is_nil(row()[name], name)
      end
    end

    local function assert_works(whose)
      assert.equal("completed", whose:state())
      assert.equal(2, #assert(whose:get("/v1/devices")).data)
    end

    describe("and a refresh:", function()
      it("one that came before it: no call is made", function()
        remove()
        fails("unlinked", force())
        assert.equal(0, w:count("refresh"))
        assert_gone()
        assert.same({ "unlinked" }, told)
      end)

      it("one that comes before Ring has got it, which then refuses: unlinked, not relink", function()
        during("refresh", "before", remove)
        fails("unlinked", force())
        assert_gone()
        assert.same({ "unlinked" }, told)
      end)

      it("one that comes when Ring has rotated the pair: the new one is not kept", function()
        during("refresh", "after", remove)
        fails("unlinked", force())
        assert_gone()
        assert.same({ "unlinked" }, told)
      end)

      it("one that comes while a call to Ring waits for it: the call is not made", function()
        w:pass_time(clock, 4 * HOUR_MS)
        during("refresh", "after", remove)
        fails("unlinked", account:get("/v1/devices"))
        assert.equal(0, w:count("devices"))
        assert_gone()
      end)

      it("one that comes after it", function()
        assert(force())
        remove()
        fails("unlinked", account:access_token())
        assert_gone()
        assert.same({ "token_rotated", "unlinked" }, told)
      end)

      it("one that comes while `work` does it", function()
        w:pass_time(clock, 24 * HOUR_MS)
        during("refresh", "before", remove)
        local report = assert(client:work())
        assert.same({ 0, 0, 0 }, { report.refreshed, report.refresh_failed, report.relink })
        assert_gone()
        assert.same({ "unlinked" }, told)
      end)

      for _, moment in ipairs { "before", "after" } do
        it("one older than the grant is recorded and not applied, " .. moment .. " Ring's answer", function()
          local old = removal(10 * HOUR_MS)
          during("refresh", moment, function() deliver(old) end)
          assert(force())
          assert_works(account)
          assert.same({ "token_rotated" }, told)
          assert.equal("duplicate", deliveries.send(client, old))
        end)
      end
    end)

    describe("and a re-link:", function()
      --- The user installs the app once more.
      local function install() return w:install { account = account.id } end

      local function link(again) return client:link(w.redirect_of(again)) end

      local function newest() return client:account(account.id) end

      it("one that came before the code: the new grant is not touched", function()
        remove()
        w:pass_time(clock, HOUR_MS)
        local again = install()
        assert(client:exchange(again.code))
        assert.equal("completed", assert(link(again)).status)
        assert_works(newest())
        assert_gone()
        assert.same({ "unlinked", "completed of the new one" }, told)
      end)

      -- The old link is removed, the new one made, and only then the webhook comes.
      local function removed_and_installed()
        assert(w.ring:control("unlink", { account = account.id, webhook = false }))
        local late = removal()
        w:pass_time(clock, HOUR_MS)
        return install(), function() deliver(late) end
      end

      local function assert_only_the_old_one_went()
        assert_works(newest())
        assert_gone()
        local count = 0
        for _, name in ipairs(told) do
          if name:find("unlinked", 1, true) then count = count + 1 end
        end
        assert.equal(1, count)
        assert.is_nil(table.concat(told, ","):find("unlinked of the new one", 1, true))
      end

      for _, moment in ipairs { "before", "after" } do
        for _, call in ipairs { "exchange", "confirm" } do
          it(("an old one that comes %s Ring's answer to its %s"):format(moment, call), function()
            local again, come = removed_and_installed()
            during(call, moment, come)
            assert(client:exchange(again.code))
            assert.equal("completed", assert(link(again)).status)
            assert_only_the_old_one_went()
          end)
        end
      end

      it("an old one that comes between its exchange and its link", function()
        local again, come = removed_and_installed()
        assert(client:exchange(again.code))
        come()
        assert.equal("completed", assert(link(again)).status)
        assert_only_the_old_one_went()
      end)

      it("an old one that comes before Ring has got its PATCH", function()
        local again, come = removed_and_installed()
        assert(client:exchange(again.code))
        during("complete", "before", come)
        assert.equal("completed", assert(link(again)).status)
        assert_only_the_old_one_went()
      end)

      it("an old one that comes after it finds the old grant replaced, and changes nothing else", function()
        local again, come = removed_and_installed()
        assert(client:exchange(again.code))
        assert.equal("completed", assert(link(again)).status)
        assert.equal("superseded", row().state)
        come()
        assert_works(newest())
      end)

      for _, moment in ipairs { "before", "after" } do
        for _, call in ipairs { "confirm", "complete" } do
          it(("a new one that comes %s Ring's answer to its %s ends it"):format(moment, call), function()
            w:pass_time(clock, HOUR_MS)
            local again = install()
            assert(client:exchange(again.code))
            during(call, moment, remove)
            fails("unlinked", link(again))
            fails("unlinked", newest():access_token())
            assert.is_nil(table.concat(told, ","):find("completed", 1, true))
            assert.truthy(table.concat(told, ","):find("unlinked of the new one", 1, true))
          end)
        end
      end

      it("a new one that comes after it ends it", function()
        local again = install()
        assert(client:exchange(again.code))
        assert(link(again))
        w:pass_time(clock, HOUR_MS)
        remove()
        fails("unlinked", newest():access_token())
        assert.equal("unlinked", newest():state())
      end)

      for _, moment in ipairs { "before", "after" } do
        it(("its code comes %s Ring's answer to a refresh of the old grant: both pairs are kept, and the "
          .. "new link replaces the old one"):format(moment), function()
          local again, new
          during("refresh", moment, function()
            again = install()
            new = assert(client:exchange(again.code))
          end)
          local first = row().fingerprint
          assert(force())
          assert.not_equal(first, row().fingerprint)
          assert.same({ "completed", "unclaimed" }, { row().state, (client.store:get(new.key)).state })
          assert_works(account)
          assert.equal("completed", assert(link(again)).status)
          assert.equal("superseded", row().state)
          assert.is_nil(row().refresh)
          assert_works(newest())
          assert.same({ "token_rotated", "completed of the new one" }, told)
        end)
      end

      it("its code comes while a refresh of the old grant is refused: the user may link at once", function()
        local again
        during("refresh", "before", function()
          assert(w.ring:control("unlink", { account = account.id, webhook = false }))
          again = install()
          assert(client:exchange(again.code))
        end)
        fails("relink_required", force())
        assert.equal("completed", assert(link(again)).status)
        assert.equal("superseded", row().state)
        assert_works(newest())
        assert.same({ "relink_required", "completed of the new one" }, told)
      end)
    end)
  end)
end
