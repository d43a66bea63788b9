--- What runs beside the handlers: setup, the background work, the status page and the metrics.
local answers = require "support.answers"
local apps = require "ringlink.resty.apps"
local background = require "ringlink.resty.background"
local board = require "ringlink.resty.board"
local census = require "ringlink.resty.census"
local errors = require "ringlink.errors"
local later = require "ringlink.resty.later"
local metrics = require "ringlink.resty.metrics"
local offline = require "support.offline"
local status = require "ringlink.resty.status"
local stores = require "support.stores"
local visits = require "support.visits"

local HOST = { workers = 1, log = function() end, new_board = board.new }
local KEY = ("QUFB"):rep(10) .. "QUE="

describe("setup", function()
  it("makes one client, or one for each app", function()
    apps.setup(offline.options(), HOST)
    assert.equal("production", apps.get().client.options.environment)
    assert.equal(apps.get(), apps.get("default"))
    apps.setup({ apps = { one = offline.options(), two = offline.options({ environment = "staging" }) } }, HOST)
    assert.equal("staging", apps.get("two").client.options.environment)
    assert.error_matches(function() apps.get() end, 'no app "nil"; known are one, two')
    assert.error_matches(function() apps.get("three") end, 'no app "three"')
    apps.setup({ apps = { one = offline.options() } }, HOST)
    assert.equal("one", apps.get().name)
  end)

  it("names mistakes", function()
    for _, case in ipairs { { nil, "table of options" }, { { apps = { x = 7 } }, "options of x" },
      { { apps = { ["a b"] = offline.options() } }, "name must be text" },
      { { apps = { x = offline.options() }, client_id = "y" }, "beside `apps`" },
      { offline.options({ clientid = "x" }), "did you mean client_id" },
      { offline.options({ exchange_secret = "short" }), "exchange_secret must be at least 16" } } do
      assert.error_matches(function() apps.setup(case[1], HOST) end, case[2])
    end
  end)

  it("refuses a store in memory when there are several workers", function()
    assert.error_matches(function()
      apps.setup(offline.options(), { workers = 2, log = HOST.log, new_board = board.new })
    end, "one worker's own and nginx has 2")
  end)

  it("opens nothing", function()
    local path = stores.new_path()
    apps.setup(offline.options({ store = "sqlite:" .. path, store_key = KEY }), HOST)
    assert.is_nil(io.open(path))
    stores.remove_all()
  end)

  it("leaves what was there when something is wrong", function()
    apps.setup(offline.options({ environment = "before" }), HOST)
    pcall(apps.setup, { apps = { x = offline.options(), y = 7 } }, HOST)
    assert.equal("before", apps.get().client.options.environment)
  end)

  it("takes the partner's log when there is one", function()
    local said = {}
    apps.setup(offline.options({ log = function(_, message) said[#said + 1] = message end }), HOST)
    apps.get().client.log("error", "hello")
    assert.same({ "hello" }, said)
  end)
end)

describe("the background work", function()
  local path, clock
  before_each(function() path, clock = stores.new_path(), offline.clock() end)
  teardown(stores.remove_all)

  -- A process of its own at the shared store: another client, another name for leases.
  local function process(name)
    local options = offline.options({ store = "sqlite:" .. path, store_key = KEY, clock = clock })
    apps.setup({ apps = { [name] = options } }, HOST)
    local app = apps.get(name)
    answers.serve(app.client)
    local loop, worked = background.new(app, name, true), 0
    local work = app.client.work
    app.client.work = function(...)
      worked = worked + 1
      return work(...)
    end
    return loop, function() return worked end
  end

  local function seconds(n, ...)
    for _ = 1, n do
      clock.advance(1000)
      for _, loop in ipairs { ... } do loop:step() end
    end
  end

  it("is done by one of several, and by another when that one dies", function()
    local one, worked_one = process("one")
    local two, worked_two = process("two")
    seconds(120, one, two)
    assert.is_true(worked_one() > 0)
    assert.equal(0, worked_two())
    seconds(39, two)
    assert.equal(0, worked_two(), "the dead one's lease holds for a minute, and was renewed within the last 20 s")
    seconds(32, two)
    assert.is_true(worked_two() > 0)
    assert.is_true(two.leads)
  end)

  it("is taken over soon when its process leaves in good order", function()
    local one = process("one")
    local two, worked = process("two")
    seconds(30, one, two)
    one:leave()
    seconds(11, two)
    assert.is_true(worked() > 0)
  end)

  it("refreshes what is due, soon after it is", function()
    local one = process("one")
    offline.grant(one.app.client, { account = "ring-1", state = "completed", user = "user-1" })
    clock.advance(86400000)
    seconds(16, one)
    assert.equal(1, one.app.tally.counts["refreshes|rotated"])
  end)

  it("does nothing but figures when told so", function()
    local one, worked = process("one")
    one.does_work = false
    seconds(120, one)
    assert.equal(0, worked())
    assert.is_nil(one.app.client.store.inner.db, "the store is not even opened")
    assert.equal(0, select(2, one.app.tally:read()).calls_in_flight)
  end)

  it("goes on after trouble", function()
    local one, worked = process("one")
    local lease = one.app.client.store.lease
    one.app.client.store.lease = function() errors.new("store_busy"):raise() end
    seconds(10, one)
    assert.equal(0, worked())
    one.app.client.store.lease = lease
    seconds(10, one)
    assert.is_true(worked() > 0)
    one.app.client.work = function() return nil, errors.new("store_error") end
    seconds(5, one)
    assert.is_true(one.leads)
  end)

  it("ends when the process is about to exit, and gives the lease back", function()
    local one = process("one")
    local turns = 0
    one.app.client.runtime.sleep = function(s)
      turns = turns + 1
      clock.advance(s * 1000)
    end
    background.run(one, function() return turns == 3 end)
    assert.is_false(one.leads)
    local two = process("two")
    two:step()
    assert.is_true(two.leads)
  end)
end)

describe("what is done after the answer", function()
  local app
  local function note(value) app.noted = value end
  before_each(function() app = visits.app() end)

  it("is done by the time the rest has run", function()
    local rest = later.begin(app.client, "test", note, "value")
    assert.is_nil(app.noted)
    rest()
    assert.equal("value", app.noted)
  end)

  it("is written down when it fails, and harms nobody", function()
    later.begin(app.client, "test", function() errors.new("store_corrupt"):raise() end)()
    later.begin(app.client, "test", function() error("a mistake") end)()
    assert.equal(2, #app.log)
    assert.truthy(app.log[1].fields.cause:find("store_corrupt", 1, true))
    assert.truthy(app.log[2].fields.cause:find("a mistake", 1, true))
  end)

  it("is done by the request itself when no task can be started", function()
    app.client.runtime.critical = function() errors.new("runtime_not_started"):raise() end
    local rest = later.begin(app.client, "test", note, "value")
    assert.is_nil(app.noted)
    rest()
    assert.equal("value", app.noted)
    assert.truthy(app.log[1].fields.cause:find("runtime_not_started", 1, true))
  end)

  it("is nobody's to wait for where the runtime goes on by itself", function()
    local started
    app.client.runtime.name = "ngx"
    app.client.runtime.critical = function(fn, ...) started = { fn, ... } end
    app.client.runtime.join = function() error("the request must end") end
    later.begin(app.client, "test", note, "value")()
    assert.equal(later.guarded, started[1])
    assert.equal("value", started[5])
  end)
end)

describe("accounts are counted", function()
  for _, kind in ipairs { "memory", "sqlite" } do
    it("by state, from an index, and their tokens from a sample: " .. kind, function()
      local app, clock = visits.app(kind == "sqlite"
        and { store = "sqlite:" .. stores.new_path(), store_key = KEY } or nil)
      for i = 1, 30 do
        offline.grant(app.client, { account = "r" .. i, state = i <= 20 and "completed" or "relink", user = "u" .. i })
      end
      clock.advance(5 * 3600000)
      local taken = census.read(app)
      assert.equal(20, taken.states.completed)
      assert.equal(10, taken.states.relink)
      assert.equal(0, taken.states.failed)
      assert.equal(0, taken.pending)
      assert.equal(20, taken.sampled)
      assert.equal(20, taken.ages[6])
      local due = 0
      for _, count in ipairs(taken.due) do due = due + count end
      assert.equal(20, due)
      clock.advance(26 * 3600000)
      assert.equal(20, census.read(app).overdue)
      app.client:close()
    end)
  end

  it("from a sample of bounded size, whatever the number", function()
    local app = visits.app()
    for i = 1, 500 do offline.grant(app.client, { account = "r" .. i, state = "completed", user = "u" .. i }) end
    assert.equal(400, census.read(app).sampled)
    assert.equal(500, census.read(app).states.completed)
  end)

  it("at most once a minute, and more seldom when it takes long", function()
    local app, clock = visits.app()
    local counted, tally, slow_ms = 0, app.client.store.tally, 0
    app.client.store.tally = function(...)
      counted = counted + 1
      clock.advance(slow_ms)
      return tally(...)
    end
    local function reads(n)
      for _ = 1, n do
        census.read(app)
        clock.advance(10000)
      end
      return counted
    end
    assert.equal(1, reads(6))
    slow_ms = 2000
    assert.equal(2, reads(1))
    assert.equal(2, reads(38))                            -- 2 s of counting are kept for 400 s
    clock.advance(20000)
    assert.equal(3, reads(1))
  end)

  it("or not at all by a store that cannot", function()
    local app = visits.app()
    app.client.store.tally = false
    assert.is_nil(census.read(app).states)
    local page = status.handle(app, visits.request({ path = "/status" }), {})
    assert.truthy(page.body:find("This store cannot count its rows.", 1, true))
    assert.falsy(metrics.text("1"):find("ringlink_accounts{", 1, true))
  end)
end)

-- Reads the text format strictly: name -> { type, samples }.
local function parse(text)
  local families, current = {}, nil
  for line in text:gmatch("([^\n]*)\n") do
    local name, kind = line:match("^# TYPE ([%w_]+) (%a+)$")
    if name then
      assert(not families[name], "twice: " .. name)
      current = { kind = kind, samples = {} }
      families[name] = current
    elseif not line:find("^# HELP [%w_]+ [^\n]+$") then
      local metric, labels, value = line:match('^([%w_]+)(%b{}) ([%d.]+)$')
      assert(metric, "no sample: " .. line)
      for label in labels:sub(2, -2):gmatch("[^,]+") do assert(label:find('^%l+="[%w_+.-]+"$'), "label: " .. label) end
      assert(not current.samples[metric .. labels], "twice: " .. line)
      current.samples[metric .. labels] = tonumber(value)
    end
  end
  return families
end

describe("the metrics", function()
  local app, clock, ring
  before_each(function()
    app, clock = visits.app()
    ring = answers.serve(app.client)
  end)

  local function scrape()
    local answer = metrics.handle(app, visits.request({ path = "/metrics" }), {})
    assert.equal(200, answer.status)
    assert.equal("text/plain; version=0.0.4; charset=utf-8", answer.headers["Content-Type"])
    return parse(answer.body), answer.body
  end

  it("count what happened", function()
    assert(app.client:exchange("code-1"))
    assert(app.client:link { nonce = offline.redirect(app.client, "ring-1").nonce, wait_s = 0,
      time = offline.redirect(app.client, "ring-1").time, user = "user-1" })
    local read = scrape()
    local function value(family, sample) return read[family].samples[sample] end
    assert.equal(1, value("ringlink_calls_total", 'ringlink_calls_total{app="default",stage="confirm",outcome="200"}'))
    assert.equal(1, value("ringlink_links_total", 'ringlink_links_total{app="default",outcome="completed"}'))
    assert.equal(1, value("ringlink_accounts", 'ringlink_accounts{app="default",state="completed"}'))
    assert.equal("counter", read.ringlink_calls_total.kind)
    for _, place in ipairs { "queued", "at_work", "done" } do
      for _, thread in ipairs { "transport", "store" } do
        local labels = ('{app="default",thread="%s",place="%s"}'):format(thread, place)
        assert.equal(0, value("ringlink_queue_length", "ringlink_queue_length" .. labels))
      end
    end
    local metric = "ringlink_call_duration_seconds"
    assert.equal("histogram", read[metric].kind)
    for _, le in ipairs { "0.025", "+Inf" } do
      assert.equal(1, value(metric, metric .. ('_bucket{app="default",stage="confirm",le="%s"}'):format(le)))
    end
    assert.equal(1, value(metric, metric .. '_count{app="default",stage="confirm"}'))
  end)

  it("have buckets that only grow", function()
    app.client:count("refresh", 200, 30)
    app.client:count("refresh", 200, 700)
    app.client:count("refresh", 200, 50000)
    local _, text = scrape()
    local last = 0
    for value in text:gmatch('_bucket{app="default",stage="refresh",le="[%d.]+"} (%d+)') do
      assert.is_true(tonumber(value) >= last)
      last = tonumber(value)
    end
    assert.equal(2, last)
    assert.truthy(text:find('stage="refresh",le="+Inf"} 3', 1, true))
    assert.truthy(text:find('_sum{app="default",stage="refresh"} 50.730', 1, true))
  end)

  it("tell refreshes by how they ended", function()
    local key = offline.grant(app.client, { account = "ring-1", state = "completed", user = "user-1" })
    assert(app.client:account("ring-1"):refresh { force = true })
    ring.on.refresh = answers.invalid_grant
    app.client:account("ring-1"):refresh { force = true }
    assert.equal("relink", app.client.store:get(key).state)
    local samples = scrape().ringlink_refreshes_total.samples
    assert.equal(1, samples['ringlink_refreshes_total{app="default",outcome="rotated"}'])
    assert.equal(1, samples['ringlink_refreshes_total{app="default",outcome="relink"}'])
  end)

  it("hold nothing secret and nobody's name", function()
    assert(app.client:exchange("a-secret-code"))
    local q = offline.redirect(app.client, "ring-1")
    assert(app.client:link { nonce = q.nonce, time = q.time, user = "user-1", account_identifier = "me@x.example" })
    local _, text = scrape()
    local page = status.handle(app, visits.request({ path = "/status" }), {}).body
    for _, secret in ipairs { "a-secret-code", q.nonce, "user-1", "ring-1", "me@x", "served-access",
      offline.client_id } do
      assert.falsy(text:find(secret, 1, true) or page:find(secret, 1, true), secret)
    end
  end)

  it("of several apps stand in one family each", function()
    apps.setup({ apps = { a = offline.options({ clock = clock }), b = offline.options({ clock = clock }) } }, HOST)
    for name, one in pairs(apps.all()) do one.client:count("refresh", name == "a" and 200 or 500, 1) end
    local samples = parse(metrics.text("1")).ringlink_calls_total.samples
    assert.equal(1, samples['ringlink_calls_total{app="a",stage="refresh",outcome="200"}'])
    assert.equal(1, samples['ringlink_calls_total{app="b",stage="refresh",outcome="500"}'])
  end)

  it("come without accounts when the store is in trouble", function()
    app.client.store.tally = function() errors.new("store_busy"):raise() end
    local read = scrape()
    assert.same({}, read.ringlink_accounts.samples)
    assert.truthy(read.ringlink_calls_total)
    local page = status.handle(app, visits.request({ path = "/status" }), {})
    assert.equal(200, page.status)
    assert.truthy(page.body:find("The store cannot be read: store_busy", 1, true))
  end)

  it("are for reading", function()
    for _, handler in ipairs { metrics, status } do
      assert.equal(405, handler.handle(app, visits.request({ method = "POST" }), {}).status)
      assert.equal(500, handler.failed(app, "x").status)
    end
  end)
end)

describe("the status page", function()
  local app
  before_each(function() app = visits.app() end)

  local function page()
    return status.handle(app, visits.request({ path = "/status" }), {}).body
  end

  it("shows accounts, plots and what failed with what to do", function()
    for i = 1, 3 do offline.grant(app.client, { account = "r" .. i, state = "completed", user = "u" .. i }) end
    apps.note_failure(app, "refresh", errors.new("refresh_circuit_open", { stage = "refresh", status = 400 }))
    local body = page()
    assert.truthy(body:find("<dt>completed</dt><dd>3</dd>", 1, true))
    assert.equal(2, select(2, body:gsub("<svg class=\"plot\"", "")))
    assert.truthy(body:find("refresh_circuit_open", 1, true) and body:find("refresh (400)", 1, true))
    for _, entry in ipairs(errors.list) do
      if entry.code == "refresh_circuit_open" then
        assert.truthy(body:lower():find(require("ringlink.resty.html").escape(entry.cure):lower(), 1, true))
      end
    end
  end)

  it("says once what failed again and again", function()
    local err = errors.new("timeout", { stage = "confirm" })
    for _ = 1, 3 do apps.note_failure(app, "link", err) end
    apps.note_failure(app, "link", errors.new("timeout", { stage = "complete" }))
    local body = page()
    assert.equal(2, select(2, body:gsub("<h3>timeout</h3>", "")))
    assert.equal(1, select(2, body:gsub("link, confirm, 3 times since", "")))
    assert.falsy(body:find("link, complete, ", 1, true))
  end)

  it("says when nothing failed", function()
    assert.truthy(page():find("<h2>Recent failures</h2><p>None.</p>", 1, true))
  end)

  it("has no script and escapes what it shows", function()
    app = visits.app({ environment = "<script>&" })
    assert.falsy(page():find("<script", 1, true))
    assert.truthy(page():find("&lt;script&gt;&amp;", 1, true))
  end)

end)
