--- What workers share: the board, the limits and the figures on it.
local board = require "ringlink.resty.board"
local errors = require "ringlink.errors"
local failures = require "ringlink.resty.failures"
local figures = require "ringlink.resty.figures"
local gate = require "ringlink.resty.gate"
local histogram = require "ringlink.histogram"
local offline = require "support.offline"
local tally = require "ringlink.resty.tally"

local function new_board()
  local clock = offline.clock()
  return board.new(clock), clock
end

describe("a board", function()
  it("adds up, keeps and forgets", function()
    local b, clock = new_board()
    assert.equal(2, b:add("n", 2, 10))
    assert.equal(5, b:add("n", 3, 10))
    b:put("text", "x")
    clock.advance(9999)
    assert.equal(5, b:get("n"))
    clock.advance(1)
    assert.is_nil(b:get("n"))
    assert.equal(1, b:add("n", 1))
    assert.equal("x", b:get("text"))
  end)

  it("tells keys by their beginning, those that are over no more", function()
    local b, clock = new_board()
    b:put("a|1", 1)
    b:put("a|2", 2, 1)
    b:put("b|1", 3)
    clock.advance(1000)
    assert.same({ "a|1" }, b:keys("a|"))
  end)

  it("stays bounded and drops what has an end first", function()
    local b = new_board()
    b:put("kept", 1)
    for i = 1, 25000 do b:put("gate|" .. i, 1, 60) end
    local count = 0
    for _ in pairs(b.entries) do count = count + 1 end
    assert.is_true(count <= 10001, "it has " .. count)
    assert.equal(1, b:get("kept"))
    assert.equal(1, b:get("gate|25000"))
  end)
end)

describe("a gate", function()
  local LIMITS = { each = { count = 2, window_s = 10 }, all = { count = 3, window_s = 10 } }

  local function tries(b, now_ms, who, n)
    local passed = 0
    for _ = 1, n do passed = passed + (gate.pass(b, now_ms, "g", LIMITS, who) and 1 or 0) end
    return passed
  end

  it("lets so many through from each and in all", function()
    local b = new_board()
    assert.equal(2, tries(b, 0, "a", 5))
    assert.equal(1, tries(b, 0, "b", 5))
    assert.equal(0, tries(b, 0, "c", 1))
  end)

  it("opens again with the next window", function()
    local b = new_board()
    tries(b, 0, "a", 5)
    assert.equal(0, tries(b, 9999, "a", 1))
    assert.equal(2, tries(b, 10000, "a", 5))
  end)

  it("is not used up for all by one that is over its own limit", function()
    local b = new_board()
    tries(b, 0, "flood", 1000)
    assert.equal(1, tries(b, 0, "somebody", 5))
  end)

  it("is another one under another name", function()
    local b = new_board()
    tries(b, 0, "a", 5)
    assert.is_true(gate.pass(b, 0, "h", LIMITS, "a"))
  end)

  it("without a limit is open", function()
    local b = new_board()
    for _ = 1, 100 do assert.is_true(gate.pass(b, 0, "g", {}, "a")) end
  end)
end)

describe("the tally", function()
  it("adds up what several workers counted", function()
    local b = new_board()
    local one, other = tally.new(b, "app"), tally.new(b, "app")
    one:add("links|completed")
    one:flush()
    one:add("links|completed")
    other:add("links|completed")
    other:flush()
    assert.same({ ["links|completed"] = 3 }, (one:read()))
    assert.same({ ["links|completed"] = 3 }, (one:read()), "reading counts nothing")
  end)

  it("keeps apps apart", function()
    local b = new_board()
    tally.new(b, "one"):add("x")
    local other = tally.new(b, "other")
    assert.same({}, (other:read()))
  end)

  it("follows a sum, also when it begins anew", function()
    local b = new_board()
    local one = tally.new(b, "app")
    assert.equal(5, one:follow("calls", 5))
    assert.equal(2, one:follow("calls", 7))
    assert.equal(1, one:follow("calls", 1))
    assert.same({ calls = 8 }, (one:read()))
  end)

  it("adds up the workers' gauges, and a worker's fades when it is gone", function()
    local b, clock = new_board()
    local one = tally.new(b, "app")
    one:gauge("busy", "1", 2)
    one:gauge("busy", "2", 3)
    assert.same({ busy = 5 }, select(2, one:read()))
    clock.advance(4000)
    one:gauge("busy", "2", 1)
    clock.advance(2000)
    assert.same({ busy = 1 }, select(2, one:read()))
  end)

  it("tells a rate over this minute and the one before", function()
    local one = tally.new(new_board(), "app")
    one:happened("calls", 120, 60000)
    assert.equal(2, one:per_s("calls", 120000))
    assert.equal(0, one:per_s("calls", 180000))
    assert.equal(0, one:per_s("others", 120000))
  end)
end)

describe("a client's figures", function()
  local function app_of(counts, times, transport)
    local client = offline.client()
    client.metrics = function() return { calls = counts, times = times or {}, transport = transport or {} } end
    return { name = "app", client = client, in_flight = 4, tally = tally.new(board.new(offline.clock()), "app") }
  end

  it("have bounded labels, whatever statuses came from the wire", function()
    local app = app_of { ["refresh 200"] = 3, ["refresh 418"] = 1, ["refresh 499"] = 2, ["confirm timeout"] = 1,
      ["confirm 777"] = 5, ["confirm weird"] = 6 }
    figures.collect(app, "1")
    local counts, gauges = app.tally:read()
    assert.same({ ["calls|refresh|200"] = 3, ["calls|refresh|4xx"] = 3, ["calls|confirm|timeout"] = 1,
      ["calls|confirm|7xx"] = 5, ["calls|confirm|other"] = 6 }, counts)
    assert.equal(4, gauges.exchanges_in_flight)
  end)

  it("tell how long calls took", function()
    local times = {}
    for _, ms in ipairs { 1, 25, 26, 999999 } do histogram.add(times, "refresh", ms) end
    local app = app_of({}, times, { started = 4, reused = 3, connections = 1, in_flight = 2 })
    figures.collect(app, "1")
    local counts, gauges = app.tally:read()
    assert.equal(2, counts["times|refresh|25"])
    assert.equal(1, counts["times|refresh|50"])
    assert.is_nil(counts["times|refresh|20000"])       -- nothing took so long
    assert.equal(4, counts["times_count|refresh"])
    assert.equal(1000051, counts["times_sum|refresh"])
    assert.equal(2, gauges.calls_in_flight)
    assert.equal(3, counts.reused)
  end)

  it("tell how long the queues of the threads are, 0 where there is none", function()
    local app = app_of({}, {}, { queued = 7, at_work = 5, done = 3 })
    figures.collect(app, "1")
    local _, gauges = app.tally:read()
    assert.same({ 7, 5, 3, 0, 0, 0 }, { gauges["queues|transport|queued"], gauges["queues|transport|at_work"],
      gauges["queues|transport|done"], gauges["queues|store|queued"], gauges["queues|store|at_work"],
      gauges["queues|store|done"] })
  end)
end)

describe("the last failures", function()
  it("are told newest first, with their advice, and only so many", function()
    local b = new_board()
    for i = 1, 40 do failures.note(b, "app", i, "link", errors.new("timeout", { stage = "confirm" })) end
    local list = failures.list(b, "app")
    assert.equal(32, #list)
    assert.equal(40, list[1].at_ms)
    assert.equal(9, list[32].at_ms)
    assert.equal("confirm", list[1].stage)
    assert.truthy(#list[1].advice > 0 and #list[1].meaning > 0)
  end)

  it("keep nothing of the error but its code, stage and status", function()
    local b = new_board()
    failures.note(b, "app", 1, "link", errors.new("configure_failed", { detail = "user-7 said planted",
      cause = "planted", title = "planted", status = 400 }))
    local text = ""
    for _, key in ipairs(b:keys("failure|")) do text = text .. b:get(key) end
    assert.truthy(text:find("configure_failed", 1, true) and text:find("400", 1, true))
    assert.falsy(text:find("planted", 1, true))
    assert.same({}, failures.list(b, "other"))
  end)
end)
