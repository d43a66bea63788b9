-- In which of nginx's phases a client may be used, and what is said in the others.

local nginx_stage = require "support.nginx_stage"

local ANSWER = "content_by_lua_block { ngx.say(ngx.ctx.came) }"
local KEEP = "{ ngx.ctx.came = PROBE }"
local NOTE = "{ ngx.log(ngx.WARN, PROBE) }"

local MAY = {
  server_rewrite = { "server_rewrite_by_lua_block " .. KEEP, ANSWER },
  rewrite = { "", "rewrite_by_lua_block " .. KEEP .. ANSWER },
  access = { "", "access_by_lua_block " .. KEEP .. ANSWER },
  content = { "", "content_by_lua_block { ngx.say(PROBE) }" },
  ["content, in a coroutine,"] = { "",
    "content_by_lua_block { ngx.say(coroutine.wrap(function() return PROBE end)()) }" },
  ["content, in a light thread,"] = { "",
    "content_by_lua_block { ngx.thread.wait(ngx.thread.spawn(function() ngx.say(PROBE) end)) }" },
  timer = { "", [[content_by_lua_block {
    local done = require("ngx.semaphore").new()
    local said
    ngx.timer.at(0, function() said = PROBE done:post() end)
    done:wait(10)
    ngx.say(said)
  }]] },
}

local MAY_NOT = {
  set = "set_by_lua_block $came { ngx.log(ngx.WARN, PROBE) return 1 }",
  header_filter = "header_filter_by_lua_block " .. NOTE,
  body_filter = "body_filter_by_lua_block " .. NOTE,
  log = "log_by_lua_block " .. NOTE,
}

local TLS = [[
  %s
  server {
    listen 127.0.0.1:%d ssl;
    ssl_certificate %s/tls/server.pem;
    ssl_certificate_key %s/tls/server.key;
    ssl_protocols TLSv1.2;
    %s
    location / { return 200 hello; }
  }
]]

describe("nginx's phases #network #nginx", function()
  local places = require "ringlink.sandbox.places"
  local shell = require "support.shell"
  local stage = nginx_stage.of_this_file()

  local function probe(conf)
    return (conf:gsub("PROBE", 'require("nginx.app").probe()'))
  end

  local function wait_for_log(...)
    local host, words = stage.host, { ... }
    host:wait_until(table.concat(words, " "), function()
      local log = host:log()
      for _, word in ipairs(words) do
        if not log:find(word, 1, true) then return false end
      end
      return true
    end)
  end

  for phase, conf in pairs(MAY) do
    it(phase .. " can wait", function()
      local host = stage:start { server = probe(conf[1] .. " location = /probe { " .. conf[2] .. " }") }
      assert.equal("returned exchange_refused\n", host:get("/probe").body)
      host:stop()
    end)
  end

  local function assert_refused(phase)
    wait_for_log("raised not_here: ", phase .. "_by_lua", "rewrite, access, content")
    assert.equal(0, stage.w:count("token"))
    stage.host:stop()
  end

  for phase, conf in pairs(MAY_NOT) do
    it(phase .. " says which can", function()
      stage:start { server = "location = /probe { " .. probe(conf) .. " return 200 x; }" }
      stage.host:get("/probe")
      assert_refused(phase)
    end)
  end

  it("balancer says which can", function()
    stage:start {
      http = probe [[ upstream u {
        server 127.0.0.1:1;
        balancer_by_lua_block { ngx.log(ngx.WARN, PROBE) ngx.exit(502) }
      } ]],
      server = "location = /probe { proxy_pass http://u; }" }
    stage.host:get("/probe")
    assert_refused("balancer")
  end)

  it("of a running worker that cannot wait say so as well", function()
    local host = stage:start { server = "location = /probe { " .. probe(MAY_NOT.log) .. " return 200 x; }" }
    stage:linked()
    host:get("/probe")
    wait_for_log("raised not_here: ")
    host:stop()
  end)

  it("before any request let a client be made and not used", function()
    local host = stage:start { http = probe [[
      init_worker_by_lua_block { ngx.log(ngx.WARN, "begin ", PROBE) }
      exit_worker_by_lua_block { ngx.log(ngx.WARN, "end ", PROBE) }
    ]] }
    wait_for_log("begin raised not_here: ")
    assert.is_string(host:call("exchange", { code = stage.w:install().code }).account)
    host:expect("end raised not_here: ")
    host:stop()
    assert.is_true(host.last_log:find("end raised not_here: ", 1, true) ~= nil)
  end)

  local function start_tls(main, server)
    local port, ring = places.free_port(), stage.w.ring.prefix
    stage:start { http = TLS:format(main, port, ring, ring, probe(server)) }
    return "curl -q -sS --noproxy '*' --max-time 10 --cacert " .. ring .. "/tls/ca.pem https://127.0.0.1:" .. port
  end

  it("ssl_certificate can wait", function()
    local ask = start_tls("", "ssl_certificate_by_lua_block " .. NOTE)
    assert.equal("hello", shell.run(ask))
    assert.is_truthy(stage.host:log():find("returned exchange_refused", 1, true))
    stage.host:stop()
  end)

  it("ssl_client_hello says which can", function()
    local ask = start_tls("", "ssl_client_hello_by_lua_block " .. NOTE)
    assert.equal("hello", shell.run(ask))
    assert_refused("ssl_client_hello")
  end)
end)
