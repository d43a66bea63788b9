-- A client of nginx that goes away in the middle of a call: its request ends at once, what was begun
-- with Ring ends in the store.

local nginx_stage = require "support.nginx_stage"

local WATCH = "lua_check_client_abort on;"

describe("a client that goes away #network #nginx", function()
  local stage = nginx_stage.of_this_file()

  local function start()
    return stage:start { http = WATCH }
  end

  -- Begins a call, waits until Ring has it and goes away; the request is over before Ring answers.
  local function abort(name, arguments, ring_call, delay_ms)
    local host, seen = stage.host, stage.w:count(ring_call)
    stage.w:fault { call = ring_call, delay_ms = delay_ms or 500 }
    local ticket = host:start(name, arguments)
    stage:wait_for_ring(ring_call, seen + 1)
    host:abort(ticket)
    host:wait_until("the aborted request", function() return host:call("seen").aborted == 1 end)
  end

  local function wait_for_state(account, state)
    local client = stage:client()
    stage.host:wait_until(state, function() return client:account(account):state() == state end)
    return client
  end

  it("in an exchange has its pair stored", function()
    local host, install = start(), stage.w:install()
    abort("exchange", { code = install.code }, "token")
    local client = stage:client()
    host:wait_until("the pair", function() return client:accounts { state = "identifying" }() end)
    assert.equal(install.account, host:call("exchange", { code = install.code }).account)
    assert.equal(1, stage.w:count("token"))
    host:stop()
  end)

  it("before users/me is asked has its account named", function()
    local host, install = start(), stage.w:install()
    abort("exchange", { code = install.code }, "me")
    wait_for_state(install.account, "unclaimed")
    assert.equal(1, stage.w:count("token"))
    host:stop()
  end)

  it("in a refresh has the new pair stored", function()
    local host = start()
    local account = stage:linked()
    local before = host:call("token", { account = account }).token
    abort("refresh", { account = account }, "refresh")
    host:wait_until("the new pair", function()
      return host:call("token", { account = account }).token ~= before
    end)
    local client = stage:client()
    assert.is_true(client:account(account):refresh { force = true })
    assert.equal(2, stage.w:count("refresh"))
    host:stop()
  end)

  it("in the POST has its claim stored, and the link can be completed", function()
    local host, install = start(), stage.w:install()
    local account = host:call("exchange", { code = install.code }).account
    abort("confirm", { nonce = install.nonce, time = install.time }, "confirm")
    wait_for_state(account, "awaiting")
    local answer = host:call("complete", { account = account })
    assert.equal("completed", answer.status, answer.message)
    assert.equal(1, stage.w:count("confirm"))
    host:stop()
  end)

  it("in the PATCH has its link completed", function()
    local host, install = start(), stage.w:install()
    local account = host:call("exchange", { code = install.code }).account
    abort("link", { nonce = install.nonce, time = install.time }, "complete")
    wait_for_state(account, "completed")
    assert.equal("completed", stage.w:status(account))
    local again = host:call("link", { nonce = install.nonce, time = install.time })
    assert.equal("completed", again.status, again.message)
    assert.equal(1, stage.w:count("confirm"))
    host:stop()
  end)

  it("in a plain call is waited for by nobody", function()
    local host = start()
    local account = stage:linked()
    abort("devices", { account = account }, "devices", 19000)
    assert.equal(2, host:call("devices", { account = account }).count)
    host:stop()                           -- long before Ring answers
  end)

  it("together with many others has one pair stored", function()
    local host, tickets = start(), {}
    local account = stage:linked()
    stage.w:fault { call = "refresh", delay_ms = 500 }
    for i = 1, 20 do tickets[i] = host:start("refresh", { account = account }) end
    stage:wait_for_ring("refresh")
    for i = 1, 19 do host:abort(tickets[i]) end
    assert.is_true(host:result(tickets[20]).json.done)
    assert.equal(1, stage.w:count("refresh"))
    host:stop()
  end)

  it("in what nobody waits for leaves nothing of that to the requests after it", function()
    local host = start()
    local ticket = host:start("in_background", {})
    host:wait_until("the request", function() return host:call("is_background").begun end)
    host:abort(ticket)
    host:wait_until("the aborted request", function() return host:call("seen").aborted == 1 end)
    for _ = 1, 20 do assert.is_false(host:call("is_background").background) end
    host:stop()
  end)
end)
