-- What becomes of workers: reloads, ends of each kind, crashes. No request fails, no thread, file or
-- process is left, and what was begun with Ring is stored.

local nginx_host = require "support.nginx_host"
local nginx_stage = require "support.nginx_stage"
local process = require "ringlink.sandbox.process"
local shell = require "support.shell"

local OLD_PID = "/nginx.pid.oldbin"

describe("the life of workers #network #nginx", function()
  local stage = nginx_stage.of_this_file()

  -- Where the sockets of the wake come and go.
  local function start(options)
    shell.run("mkdir " .. stage.directory .. "/tmp")
    local settings = {}
    for name, value in pairs(options or {}) do settings[name] = value end
    settings.main = "env TMPDIR=" .. stage.directory .. "/tmp;" .. (settings.main or "")
    return stage:start(settings)
  end

  local function left_behind()
    return shell.run("ls -A " .. stage.directory .. "/tmp")
  end

  -- The names of our threads in a process.
  local function threads(pid)
    local names, said = {}, shell.run("cat /proc/" .. pid .. "/task/*/comm 2>&1 || true")    -- some end just then
    for name in said:gmatch("ringlink%-%a+") do names[#names + 1] = name end
    table.sort(names)
    return names
  end

  local function wait_gone(pids)
    for _, pid in ipairs(pids) do nginx_host.wait_gone(pid) end
  end

  local function worker()
    return stage.host:wait_until("a worker", function() return stage.host:workers()[1] end)
  end

  it("opens nothing before it is used", function()
    local host = start()
    assert.same({}, threads(worker()))
    host:call("ping")
    assert.same({}, threads(worker()))
    assert.equal("", left_behind())
    assert.is_false(process.exists(stage.directory .. "/ringlink.db"))
    host:stop()
  end)

  it("has two threads and no file more, however much is called", function()
    local host = start()
    local account = stage:linked()
    local files = host:files(worker())
    assert.same({ "ringlink-http", "ringlink-store" }, threads(worker()))
    assert.equal("", left_behind())
    for _ = 1, 50 do host:call("devices", { account = account }) end
    assert.same({ "ringlink-http", "ringlink-store" }, threads(worker()))
    assert.equal(files, host:files(worker()))
    assert.equal(1, host:call("seen").timers)
    host:stop()
  end)

  it("ends in good order while a request waits for Ring: it is answered", function()
    local host = start()
    local account = stage:linked()
    stage.w:fault { call = "refresh", delay_ms = 1000 }
    local slow = host:start("refresh", { account = account })
    stage:wait_for_ring("refresh")
    local pids = host:workers()
    host:signal("QUIT")
    assert.is_true(host:result(slow).json.done)
    wait_gone(pids)
    host:stop()
    assert.equal("", left_behind())
  end)

  it("begins again for a request that calls Ring when nobody else is left", function()
    local host, file = start(), stage.directory .. "/go"
    local account, pid = stage:linked(), worker()
    local late = host:start("devices_later", { account = account, file = file })
    host:call("ping")
    host:signal("QUIT")
    host:wait_until("the end of the threads", function() return #threads(pid) == 0 end)
    shell.write(file, "")
    assert.equal(2, host:result(late).json.count)
    host:stop()
    assert.equal("", left_behind())
  end)

  it("ends at once when told so, and leaves nothing", function()
    local host = start()
    local account = stage:linked()
    stage.w:fault { call = "devices", delay_ms = 20000 }
    host:start("devices", { account = account })
    stage:wait_for_ring("devices")
    host:stop("TERM")
    assert.equal("", left_behind())
  end)

  it("ends with what its time limit cuts off answered, and without a crash", function()
    local host = start { main = "worker_shutdown_timeout 1s;" }
    local account = stage:linked()
    stage.w:fault { call = "refresh", delay_ms = 20000 }
    host:call("refresh_later", { account = account })
    stage:wait_for_ring("refresh")
    host:stop()
    assert.is_truthy(host.last_log:find("later: ", 1, true))
    assert.equal("", left_behind())
  end)

  it("reloads under load without a failed request", function()
    local host, tickets, old = start { http = "keepalive_timeout 0;" }, {}, {}
    local account = stage:linked()
    local function load_for_a_while(reloads)
      for i = 1, 200 do
        tickets[#tickets + 1] = host:start(i % 10 == 0 and "refresh" or "devices", { account = account })
        if i % 40 == 0 and reloads then
          for _, pid in ipairs(host:workers()) do old[pid] = true end
          host:signal("HUP")
        end
        host:wait_until("few requests under way", function()
          local under_way = 0
          for _, ticket in ipairs(tickets) do under_way = under_way + (host.arrived[ticket] and 0 or 1) end
          return under_way < 8
        end)
      end
    end
    load_for_a_while(true)
    for _, ticket in ipairs(tickets) do
      local answer = host:result(ticket)
      assert.is_nil(answer.error, answer.detail)
      assert.is_nil(answer.json.error, answer.json.message)
    end
    host:wait_until("the end of the old workers", function()
      local left = 0
      for _, pid in ipairs(host:workers()) do left = left + (old[pid] and 1 or 0) end
      return left <= 1                   -- the last one counted may be the new one
    end)
    assert.is_true(host:call("refresh", { account = account }).done)
    host:stop()
    assert.equal("", left_behind())
  end)

  it("is replaced after a crash, and what was begun is gone on with", function()
    local host = start()
    local account = stage:linked()
    stage.w:fault { call = "devices", delay_ms = 1000 }
    host:start("devices", { account = account })
    stage:wait_for_ring("devices")
    local pid = worker()
    host:expect("exited on signal 9")
    host:signal("KILL", pid)
    host:wait_until("another worker", function() return worker() ~= pid end)
    assert.is_true(host:call("refresh", { account = account }).done)
    assert.equal("", left_behind())
    host:stop()
  end)

  it("is handed over to another binary, whose environment is empty", function()
    local host = start()
    local account = stage:linked()
    local old, old_workers = host.pid, host:workers()
    host:signal("USR2")
    host:wait_until("the new master", function()
      local pid = process.read(host.prefix .. "/nginx.pid")
      return process.exists(host.prefix .. OLD_PID) and pid and pid:match("%d+") ~= host.pid
    end)
    host.pid = process.read(host.prefix .. "/nginx.pid"):match("%d+")
    worker()
    host:signal("QUIT", old)
    wait_gone(old_workers)
    nginx_host.wait_gone(old)
    assert.is_true(host:call("refresh", { account = account }).done)
    host:stop()
    assert.equal("", left_behind())
  end)

  it("is not begun by a test of the configuration", function()
    local host = start()
    local said = shell.run(("%s -t -p %s/ -c nginx.conf -e error.log"):format(host.nginx, host.prefix))
    assert.is_truthy(said:find("test is successful", 1, true))
    assert.is_false(process.exists(stage.directory .. "/ringlink.db"))
    assert.equal("", left_behind())
    host:stop()
  end)

  it("is a request's with lua_code_cache off, and soon over", function()
    local host = start { http = "lua_code_cache off;" }
    host:expect("lua_code_cache is off")
    local account = stage:linked()
    for _ = 1, 5 do assert.equal(2, host:call("devices", { account = account }).count) end
    assert.is_true(#threads(worker()) > 2)
    host:wait_until("the end of their threads", function() return #threads(worker()) == 0 end)
    host:stop()
    assert.equal("", left_behind())
  end)

  it("is refused to too many requests at once with lua_code_cache off", function()
    local host, tickets, refused = start { http = "lua_code_cache off;" }, {}, 0
    host:expect("lua_code_cache is off")
    local account = stage:linked()
    host:wait_until("the end of their threads", function() return #threads(worker()) == 0 end)
    stage.w:fault { call = "devices", delay_ms = 1000, count = 60 }
    for i = 1, 60 do tickets[i] = host:start("devices", { account = account }) end
    for _, ticket in ipairs(tickets) do
      local answer = host:result(ticket).json
      if answer.error then
        refused = refused + 1
        assert.equal("runtime_not_started", answer.error)
        assert.is_truthy(answer.message:find("lua_code_cache off", 1, true))
      end
    end
    assert.is_true(refused > 0 and refused < 40, refused .. " refused")
    host:wait_until("the end of their threads", function() return #threads(worker()) == 0 end)
    host:stop()
  end)
end)
