--- What every runtime inside somebody else's event loop keeps: contract.waits(host) defines the tests that
--- need no network, contract.links(host) those against a sandbox; `host` is one of support.hosts.

local assert = require "luassert"
local busted = require "busted"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local external = require "ringlink.runtime.external"
local partner = require "support.partner"
local stores = require "support.stores"

local it, teardown = busted.it, busted.teardown

local M = {}

local PATIENCE_MS = 60000
local TURN_S = 0.002

--- Waits, in the host's own way, until something is so.
local function await(host, what, is_so)
  local give_up_ms = core.monotonic_ms() + PATIENCE_MS
  while not is_so() do
    assert(core.monotonic_ms() < give_up_ms, "in vain: " .. what)
    host.sleep(TURN_S)
  end
end

local function raised(fn, ...)
  local ok, problem = pcall(fn, ...)
  assert.is_false(ok)
  return errors.is(problem) and problem.code or problem
end

-- A controller's finalizer comes before what it held.
local function collected(list)
  for _ = 1, 4 do collectgarbage() end
  return next(list) == nil
end

-- Two that can only end when each lets the other go on.
local function define_waits(host)
  it("lets other coroutines go on while one waits", function()
    host.run(function(functions)
      local rt, turn = external.new(functions), "section"
      host.spawn(function()
        await(host, "the section's turn", function() return turn == "other" end)
        turn = "section again"
      end)
      local task = rt.critical(function()
        turn = "other"
        repeat rt.sleep(TURN_S) until turn == "section again"
        return "both"
      end)
      assert.equal("both", rt.join(task))
    end)
  end)

  it("sleeps, no less than asked", function()
    host.run(function(functions)
      local began_ms = core.monotonic_ms()
      external.new(functions).sleep(0.02)
      assert.is_true(core.monotonic_ms() - began_ms >= 19)
    end)
  end)

  it("hands over what tasks are given, return and raise", function()
    host.run(function(functions)
      local rt = external.new(functions)
      for _, start in ipairs { rt.spawn, rt.critical } do
        assert.same({ 4, 1, nil, 3, nil },
          { rt.join(start(function(...) return select("#", ...), ... end, 1, nil, 3, nil)) })
        local problem = raised(rt.join, start(function() rt.sleep(0); error("broken") end))
        assert.truthy(problem:find("host_contract.lua:%d+: broken\nstack traceback"), problem)
        assert.equal("closed", raised(rt.join, start(function() errors.new("closed"):raise() end)))
      end
    end)
  end)

  it("lets tasks wait for each other, and none for itself", function()
    host.run(function(functions)
      local rt = external.new(functions)
      local inner = rt.spawn(function() rt.sleep(0.01); return "inner" end)
      local outer = rt.spawn(function()
        return rt.join(inner), rt.join(rt.critical(function() rt.sleep(0.001); return "another" end))
      end)
      assert.same({ "inner", "another" }, { rt.join(outer) })
      local me
      me = rt.spawn(function() rt.sleep(0); rt.join(me) end)
      assert.truthy(raised(rt.join, me):find("cannot wait for itself", 1, true))
    end)
  end)

  it("wakes everybody who waits for the same", function()
    host.run(function(functions)
      local rt, woken = external.new(functions), 0
      local task = rt.spawn(function() rt.sleep(0.01) end)
      for _ = 1, 50 do
        host.spawn(function() rt.join(task); woken = woken + 1 end)
      end
      await(host, "fifty", function() return woken == 50 end)
    end)
  end)

  it("waits in the main program too, and ends there what the loop left behind", function()
    local rt, task
    host.run(function(functions)
      rt = external.new(functions)
      if host.abandon then
        host.abandon(function()
          task = rt.critical(function() rt.sleep(0.05); return "stored" end)
          rt.join(task)
        end, function() return task ~= nil end)
      end
    end)
    if task then assert.equal("stored", rt.join(task)) end
    assert.equal("here", rt.join(rt.critical(function() rt.sleep(0.01); return "here" end)))
    rt.sleep(0.001)
  end)
end

local function define_abandoned(host)
  it("lets a section end whose waiter was dropped, and holds on to nothing of it", function()
    local seen = setmetatable({}, { __mode = "k" })
    host.run(function(functions)
      local rt, begun, ended, after = external.new(functions), 0, 0, 0
      for i = 1, 10 do
        host.abandon(function()
          seen[coroutine.running()] = true
          local task = rt.critical(function()
            begun = begun + 1
            seen[coroutine.running()] = true
            for _ = 1, 5 do rt.sleep(0.005) end
            ended = ended + 1
          end)
          rt.join(task)
          after = after + 1
        end, function() return begun == i end)
      end
      await(host, "all sections", function() return ended == 10 end)
      assert.equal(0, after)
    end)
    assert.is_true(collected(seen))
  end)
end

local function config_of(path)
  return { path = path, client_id = "app-under-test" }
end

local function row_in(rt, db)
  local result = rt.store.run(db, { op = "get", key = "app/k" })
  assert.is_nil(result.error, result.detail)
  return result.entries[1]
end

local function define_store(host)
  it("does the jobs of an SQLite file, at which nobody else waits", function()
    host.run(function(functions)
      local rt, path = external.new(functions), stores.new_path()
      local db, jobs, done = rt.store.open(config_of(path)), 20, 0
      for i = 1, jobs do
        host.spawn(function()
          local result = rt.store.run(db, { op = "put_if", key = "app/" .. i, version = 0, data = "x" })
          assert.is_true(result.yes)
          done = done + 1
        end)
      end
      assert.equal(0, done)
      await(host, "every job", function() return done == jobs end)
      assert.equal("boolean", type(rt.store.scrub(db)))
      rt.store.close(db)
      assert.equal("closed", rt.store.run(db, { op = "get", key = "app/1" }).error)
    end)
  end)

  it("tells what is wrong with a file by the results", function()
    host.run(function(functions)
      local rt = external.new(functions)
      local db = rt.store.open(config_of("/does/not/exist/file.db"))
      assert.equal("store_error", rt.store.run(db, { op = "get", key = "k" }).error)
      rt.store.close(db)
    end)
  end)

  if not host.abandon then return end
  it("does a job whose waiter was dropped", function()
    host.run(function(functions)
      local rt = external.new(functions)
      local db, begun = rt.store.open(config_of(stores.new_path())), false
      host.abandon(function()
        begun = true
        rt.store.run(db, { op = "put_if", key = "app/k", version = 0, data = "kept" })
      end, function() return begun end)
      assert.equal("kept", row_in(rt, db).data)
      rt.store.close(db)
    end)
  end)
end

--- Without network.
function M.waits(host)
  define_waits(host)
  if host.abandon then define_abandoned(host) end
  define_store(host)
  teardown(stores.remove_all)
end

-- Links -----------------------------------------------------------------------------------------

local LATE_MS = 300                    -- so long an answer is on its way

local STAGES = { "token", "me", "confirm", "complete", "refresh" }
local NUMBER = { token = 1, me = 2, confirm = 1, complete = 2, refresh = 1 }     -- of that call on its journey

-- What leads to a call of that name, and what must be so in the end.
local function journey(w, client, stage)
  local install = w:install()
  local function link() return client:link(w.redirect_of(install)) end
  if stage == "token" or stage == "me" then
    return function() client:exchange(install.code) end, "unclaimed", install
  end
  assert(client:exchange(install.code))
  if stage == "confirm" then return link, "awaiting", install end
  if stage == "complete" then return link, "completed", install end
  assert(link())
  return function() client:account(install.account):refresh { force = true } end, "completed", install
end

local function in_flight(client)
  return client.transport and client.transport:stats().in_flight or 0
end

local function tokens_here(client, account_id)
  return assert(client:account(account_id):access_token()):reveal()
end

local function token_at_ring(w)
  local integrations = w:state().integrations
  return integrations[#integrations].access_token
end

local function abandoned_at(host, w, client, stage)
  local go, state, install = journey(w, client, stage)
  w:fault { call = stage, delay_ms = LATE_MS }
  local came_back
  local number = (client.transport and client.transport:stats().started or 0) + NUMBER[stage]
  host.abandon(function() go(); came_back = true end, function()
    return client.transport and client.transport:stats().started == number
  end)
  await(host, "the end of the section", function() return next(client.flights) == nil end)
  assert.is_nil(came_back)
  return state, install
end

local function define_links(host, get)
  it("carries a link, and lets other coroutines go on meanwhile", function()
    local w = get()
    host.run(function(functions)
      local client, turns, over = w:client { runtime = functions }, 0, false
      host.spawn(function()
        while not over do
          turns = turns + 1
          host.sleep(TURN_S)
        end
      end)
      local _, install = w:unclaimed(client)
      w:fault { call = "confirm", delay_ms = LATE_MS }
      local before = turns
      local link, err = client:link(w.redirect_of(install))
      over = true
      assert.is_nil(err)
      assert.equal("completed", link.status)
      assert.is_true(turns > before + 10, turns - before)
      client:close()
    end)
  end)

  it("links many at once with one refresh of each", function()
    local w = get()
    host.run(function(functions)
      local client = w:client { runtime = functions, rate_limit_per_s = 10000 }
      local installs, done = {}, 0
      for i = 1, 40 do installs[i] = w:install() end
      for i, install in ipairs(installs) do
        host.spawn(function()
          assert(client:exchange(install.code))
          assert(client:link(w.redirect_of(install, "user-" .. i)))
          assert(client:account(install.account):access_token())
          done = done + 1
        end)
      end
      await(host, "all links", function() return done == #installs end)
      for _, install in ipairs(installs) do assert.equal("completed", w:status(install.account)) end
      client:close()
    end)
  end)

  it("tells those who wait that the client was closed", function()
    local w = get()
    host.run(function(functions)
      local client = w:client { runtime = functions }
      local link = w:linked(client)
      w:fault { call = "devices", delay_ms = 20000 }
      local problem
      host.spawn(function()
        problem = select(2, client:account(link.account.id):get("/v1/devices")).code
      end)
      await(host, "the request", function() return in_flight(client) > 0 end)
      client:close()
      await(host, "the answer", function() return problem end)
      assert.equal("cancelled", problem)
    end)
  end)
end

local function define_abandoned_links(host, get)
  for _, stage in ipairs(STAGES) do
    it(("stores what Ring did although whoever asked was dropped: %s"):format(stage), function()
      local w = get()
      host.run(function(functions)
        local client = w:client { runtime = functions, rate_limit_per_s = 10000 }
        local state, install = abandoned_at(host, w, client, stage)
        assert(client:exchange(install.code))                -- as Ring would deliver it again
        assert.equal(state, client:account(install.account):state())
        assert.equal(token_at_ring(w), partner.fingerprint(tokens_here(client, install.account)))
        assert.equal(1, w:count(stage))
        client:close()
      end)
    end)
  end

  it("holds on to nothing of calls whose callers were dropped", function()
    local w, seen, transport = get(), setmetatable({}, { __mode = "k" }), nil
    host.run(function(functions)
      local client = w:client { runtime = functions, rate_limit_per_s = 10000 }
      local link = w:linked(client)
      w:fault { call = "devices", delay_ms = 100, count = 20 }
      for i = 1, 20 do
        host.abandon(function()
          seen[coroutine.running()] = true
          client:account(link.account.id):get("/v1/devices")
        end, function() return client.transport:stats().started >= i end)
      end
      await(host, "the end of all transfers", function() return in_flight(client) == 0 end)
      transport = client.transport
      await(host, "the collector", function() return collected(seen) end)
      client:close()
    end)
    assert.is_nil((transport:take()))
  end)

  it("lets another caller take a dropped one's link on", function()
    local w = get()
    host.run(function(functions)
      local client, reached = w:client { runtime = functions, rate_limit_per_s = 10000 }, false
      local _, install = w:unclaimed(client)
      host.abandon(function()
        client:link(w.redirect_of(install, "user-1", { configure = function()
          reached = true
          while true do host.sleep(TURN_S) end
        end }))
      end, function() return reached end)
      host.sleep(TURN_S)               -- cqueues holds what a coroutine polled last
      collected({})
      assert.equal("awaiting", client:account(install.account):state())
      local link = assert(client:link(w.redirect_of(install, "user-1", { configure = function() end })))
      assert.equal("completed", link.status)
      client:close()
    end)
  end)
end

--- Against a sandbox; `get` returns the world.
function M.links(host, get)
  define_links(host, get)
  if host.abandon then define_abandoned_links(host, get) end
end

return M
