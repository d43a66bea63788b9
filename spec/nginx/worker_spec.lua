-- A worker with the ngx runtime: it goes on while Ring takes its time, and a call that cannot be
-- waited for says so and hangs nobody.

local nginx_stage = require "support.nginx_stage"

describe("a worker #network #nginx", function()
  local stage = nginx_stage.of_this_file()

  it("links an account, its store on a thread", function()
    local host = stage:start()
    local account = stage:linked()
    assert.equal("completed", host:call("state", { account = account }).state)
    assert.equal(2, host:call("devices", { account = account }).count)
    host:stop()
    assert.equal("completed", stage:client():account(account):state())
  end)

  for _, call in ipairs { "devices", "refresh" } do
    it("answers others while Ring takes its time with " .. call, function()
      local host, slow = stage:start(), {}
      local account = stage:linked()
      stage.w:fault { call = call, delay_ms = 1000, count = 20 }
      for i = 1, 20 do slow[i] = host:start(call, { account = account }) end
      stage:wait_for_ring(call)
      for _ = 1, 20 do assert.is_true(host:call("ping").pong) end
      for _, ticket in ipairs(slow) do assert.is_false(host:has_arrived(ticket)) end
      for _, ticket in ipairs(slow) do assert.is_nil(host:result(ticket).json.error) end
      host:stop()
    end)
  end

  -- nginx warns of `ngx.sleep(0)`, which looks at no connection in between.
  it("hands out what is done at once without a pause that holds up its other connections", function()
    local host, all = stage:start(), {}
    local account = stage:linked()
    stage.w:fault { call = "devices", delay_ms = 300, count = 200 }
    for i = 1, 200 do all[i] = host:start("devices", { account = account }) end
    for _, ticket in ipairs(all) do assert.equal(2, host:result(ticket).json.count) end
    assert.falsy(host:log():find("sleep(0)", 1, true))
    host:stop()
  end)

  it("has one refresh for all who want it at once, whoever asked first", function()
    local host, all = stage:start(), {}
    local account = stage:linked()
    stage.w:fault { call = "refresh", delay_ms = 300 }
    for i = 1, 20 do all[i] = host:start("refresh", { account = account }) end
    for _, ticket in ipairs(all) do assert.is_true(host:result(ticket).json.done) end
    assert.equal(1, stage.w:count("refresh"))
    host:stop()
  end)

  it("goes on with a section when the light thread that waits is killed", function()
    local host = stage:start()
    local account = stage:linked()
    local before = host:call("token", { account = account }).token
    stage.w:fault { call = "refresh", delay_ms = 300 }
    local killer = host:start("refresh_killed", { account = account })
    stage:wait_for_ring("refresh")
    host:call("release")
    assert.is_truthy(host:result(killer).json.killed)
    host:wait_until("the new pair", function()
      return host:call("token", { account = account }).token ~= before
    end)
    assert.equal(1, stage.w:count("refresh"))
    host:stop()
  end)

  it("writes down the failure of a task that nobody waits for", function()
    local host = stage:start { level = "error" }
    host:call("fail_later")
    host:wait_until("the failure", function() return host:log():find("a task failed", 1, true) end)
    assert.is_truthy(host:log():find("failed on purpose", 1, true))
    host:expect("stack traceback")
    host:stop()
  end)

  it("logs an error that a handler raises by its name, not as unknown", function()
    local host = stage:start()
    assert.equal(500, host:get("/app/raise", { method = "POST", body = '{"code":"no-such-code"}' }).status)
    assert.is_truthy(host:log():find("exchange_refused while exchange: ", 1, true))
    host:expect("stack traceback")
    host:stop()
  end)

  describe("that has no timer left", function()
    local BUSY = [[
      location = /hold { content_by_lua_block {
        ngx.timer.at(0, require("nginx.app").hold)
      } }
    ]]

    local function assert_not_started(answer, word)
      assert.equal("runtime_not_started", answer.error)
      assert.is_truthy(answer.message:find(word, 1, true), answer.message)
    end

    it("says so, and starts with the next call", function()
      local host = stage:start { http = "lua_max_running_timers 1;", server = BUSY }
      host:expect("lua_max_running_timers are not enough")
      host:get("/hold")
      local code = stage.w:install().code
      assert_not_started(host:call("exchange", { code = code }), "lua_max_running_timers")
      assert.equal(0, stage.w:count("token"))
      host:call("release")
      host:wait_until("a free timer", function() return host:call("seen").timers == 0 end)
      assert.is_string(host:call("exchange", { code = code }).account)
      assert.equal(1, host:call("seen").timers)
      host:stop()
    end)

    it("says so when none may even wait", function()
      local host = stage:start { http = "lua_max_pending_timers 1;", server = [[
        location = /hold { content_by_lua_block { ngx.timer.at(3600, function() end) } }
      ]] }
      host:get("/hold")
      assert_not_started(host:call("exchange", { code = stage.w:install().code }), "too many pending timers")
      host:stop()
    end)
  end)

  it("takes what nginx cannot be asked for as a mistake", function()
    assert.error_matches(function() stage:start { client = { runtime = "nginx" } } end,
      "option runtime must be one of: auto, loop, blocking, ngx")
  end)
end)
