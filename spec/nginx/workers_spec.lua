-- Several workers of one nginx: one store, one refresh, one rate limit.

local nginx_stage = require "support.nginx_stage"
local shared_clock = require "support.shared_clock"

local HOUR_MS = 3600 * 1000

describe("several workers #network #nginx", function()
  local stage = nginx_stage.of_this_file()

  -- Each connection goes to a worker by its port's hash.
  local function start(options)
    local settings = { workers = 4, listen = "reuseport", http = "keepalive_timeout 0;" }
    for name, value in pairs(options or {}) do
      settings[name] = name == "http" and settings.http .. value or value
    end
    return stage:start(settings)
  end

  local function ask(name, arguments, count)
    local tickets, answers = {}, {}
    for i = 1, count do tickets[i] = stage.host:start(name, arguments) end
    for i, ticket in ipairs(tickets) do answers[i] = stage.host:result(ticket).json end
    return answers
  end

  local function set_of(answers, field)
    local seen, list = {}, {}
    for _, answer in ipairs(answers) do
      if not seen[answer[field]] then list[#list + 1] = answer[field] end
      seen[answer[field]] = true
    end
    return list
  end

  it("that need a new token refresh once and have the same one", function()
    local host = start { clock = stage.directory }
    local account = stage:linked()
    local before = host:call("token", { account = account }).token
    shared_clock.advance(stage.directory, 5 * HOUR_MS)
    assert(stage.w.ring:control("clock", { advance_ms = 5 * HOUR_MS }))
    local answers = ask("token", { account = account }, 60)
    assert.equal(4, #set_of(answers, "pid"))
    assert.equal(1, #set_of(answers, "token"))
    assert.not_equal(before, answers[1].token)
    assert.equal(1, stage.w:count("refresh"))
    host:stop()
  end)

  it("use a code once that each of them is given", function()
    local host = start()
    local install = stage.w:install()
    local answers = ask("exchange", { code = install.code }, 40)
    assert.is_true(#set_of(answers, "pid") > 1)
    assert.same({ install.account }, set_of(answers, "account"))
    assert.equal(1, stage.w:count("token"))
    host:stop()
  end)

  it("are all held up by what one of them is told", function()
    local host = start { http = "lua_shared_dict ringlink 1m;", client = { deadline_ms = 5000, max_attempts = 1 } }
    local account = stage:linked()
    stage.w:fault { call = "devices", status = 429, retry_after = 60 }
    local first = host:call("devices", { account = account })
    assert.equal("rate_limited", first.error)
    local before = stage.w:count("devices")
    local answers = ask("devices", { account = account }, 40)
    assert.equal(4, #set_of(answers, "pid"))
    assert.same({ "rate_limited" }, set_of(answers, "error"))
    assert.equal(before, stage.w:count("devices"))
    host:stop()
  end)

  it("are not held up by each other without a shared dictionary", function()
    local host = start { client = { deadline_ms = 5000, max_attempts = 1 } }
    local account = stage:linked()
    stage.w:fault { call = "devices", status = 429, retry_after = 60 }
    local told = host:call("devices", { account = account })
    for _, answer in ipairs(ask("devices", { account = account }, 40)) do
      assert.equal(answer.pid == told.pid and "rate_limited" or nil, answer.error)
    end
    host:stop()
  end)

  it("share the rate out", function()
    local account = stage.w:linked(stage:client()).account.id
    local host = start { clock = "still", client = { rate_limit_per_s = 4, deadline_ms = 900 } }
    local answers, worked = ask("devices", { account = account }, 60), {}
    for _, answer in ipairs(answers) do
      worked[answer.pid] = (worked[answer.pid] or 0) + (answer.error and 0 or 1)
    end
    assert.equal(4, #set_of(answers, "pid"))
    for _, count in pairs(worked) do assert.equal(1, count) end
    assert.equal(4, stage.w:count("devices"))
    host:stop()
  end)

  it("tell each of many who wait a time of its own, none much later than the next turn", function()
    local host = start { workers = 1, client = { rate_limit_per_s = 100 } }
    local waits_ms, expected = host:call("turns", { at_ms = 5000, count = 202 }).waits_ms, {}
    for i = 1, 202 do expected[i] = i <= 100 and 0 or 10 + (i - 101) % 51 * 10 end
    assert.same(expected, waits_ms)
    assert.same({ 0, 510 }, host:call("turns", { at_ms = 5010, count = 2 }).waits_ms)
    host:stop()
  end)
end)
