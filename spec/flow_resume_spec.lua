-- Links of a flow that processes leave half way, killed or not: every step that finished ran once, whoever
-- goes on, and nothing is lost in between (README "Flows"). One SQLite file, one Ring, real processes.

local children = require "support.child"
local killing = require "support.killing"

local SCRIPT = "spec/support/flow_child.lua"
local DEADLINE_MS = 20000                          -- flow_child.lua's
local LEASE_MS = 2 * DEADLINE_MS + 15001
local DAY_MS = 24 * 3600 * 1000

describe("a flow #network", function()
  local k, install

  setup(function() k = killing.start() end)
  teardown(function() k:stop() end)
  before_each(function()
    k:begin()
    install = k.w:install()
  end)
  after_each(function() k:finish() end)

  local function start(mode, ...)
    local ring = k.w.ring
    return children.start(SCRIPT, { mode, k.directory, ring.api_url, ring.ca_file, input = { ... } })
  end

  local function run(mode, ...)
    local status, said = start(mode, ...):wait()
    assert.equal(0, status, said)
    return said
  end

  local function redirect() return install.code, install.nonce, install.time end

  --- The steps and hooks that ran, in order.
  local function ran()
    local file, names = io.open(k.directory .. "/ran", "rb"), {}
    for line in file and file:lines() or function() end do names[#names + 1] = line end
    if file then file:close() end
    return table.concat(names, " ")
  end

  local function has_line(said, line)
    assert.truthy(("\n" .. said):find("\n" .. line .. "\n", 1, true), said)
  end

  local STEPS = {
    { "check-plan", "check-plan", "provision configure warm-up (before_complete) (completed) welcome" },
    { "provision", "check-plan provision", "configure warm-up (before_complete) (completed) welcome" },
    { "configure", "check-plan provision configure", "warm-up (before_complete) (completed) welcome" },
    { "warm-up", "check-plan provision configure warm-up", "(before_complete) (completed) welcome" },
    { "welcome", "check-plan provision configure warm-up (before_complete) (completed) welcome", nil },
  }

  for _, row in ipairs(STEPS) do
    local name, before, after = row[1], row[2], row[3]
    it(("whose process is killed in %s goes on there in another, and no step behind it runs again"):format(name),
      function()
        local child = start("stuck", name, redirect())
        child:wait_for("stuck")
        killing.kill(child)
        assert.equal(before, ran())
        k:pass_time(LEASE_MS)
        has_line(run("work"), "resumed 1 refreshed 0")
        assert.equal(("%s %s%s"):format(before, name, after and " " .. after or ""), ran())
        assert.same({ 1, 1, "completed" },
          { k.w:count("confirm"), k.w:count("complete"), k.w:status(install.account) })
        local again = run("link", redirect())
        has_line(again, "linked completed -")
        has_line(again, "result provision provision's value")
        assert.equal(("%s %s%s"):format(before, name, after and " " .. after or ""), ran())
      end)
  end

  it("goes on in another also with a link that had no flow before", function()
    has_line(run("plain", redirect()), "linked completed -")
    local fresh = k.w:sign_in_again(install.account)
    local child = start("stuck", "provision", install.code, fresh.nonce, fresh.time)
    child:wait_for("stuck")
    killing.kill(child)
    k:pass_time(LEASE_MS)
    has_line(run("work"), "resumed 1 refreshed 0")
    assert.equal("configure (before_complete) (completed) check-plan provision provision warm-up"
      .. " (before_complete) (completed) welcome", ran())
    assert.same({ 2, 2, "completed" },
      { k.w:count("confirm"), k.w:count("complete"), k.w:status(install.account) })
  end)

  it("is left alone, and named, by a process that does not have it", function()
    local child = start("stuck", "provision", redirect())
    child:wait_for("stuck")
    killing.kill(child)
    k:pass_time(LEASE_MS)
    has_line(run("work_without"), "lacks shop")
    assert.equal("awaiting", k.w:status(install.account))
    k:pass_time(3600000)
    has_line(run("work"), "resumed 1 refreshed 0")
    assert.equal("completed", k.w:status(install.account))
  end)

  it("runs a step in one process at a time: who comes meanwhile waits, and finds it done", function()
    local first = start("slow", "provision", redirect())
    first:wait_for("waiting")
    local second = start("link", redirect())
    second:wait_for("sleeping")
    assert.equal("check-plan provision", ran())
    k:let_go()
    for _, child in ipairs { first, second } do
      local status, said = child:wait()
      assert.equal(0, status, said)
      has_line(said, "linked completed -")
    end
    local steps = ran():gsub(" %b()", "")          -- hooks may be asked by both
    assert.equal("check-plan provision configure warm-up welcome", steps)
    assert.equal(1, k.w:count("complete"))
  end)

  it("is put off by work while another process is at a step", function()
    local first = start("slow", "provision", redirect())
    first:wait_for("waiting")
    k:pass_time(DEADLINE_MS)
    assert.equal("resumed 0 refreshed 0\n", run("work"))        -- without waiting for it
    assert.equal("check-plan provision", ran())
    k:let_go()
    assert.equal(0, (first:wait()))
    assert.equal("completed", k.w:status(install.account))
  end)

  -- Days between --------------------------------------------------------------------------------

  local function days_pass(days, at_once)
    for _ = 1, days, at_once or 1 do
      k:pass_time((at_once or 1) * DAY_MS)
      run("work")
    end
  end

  it("waits for days at a step that said later, and goes on with the next in another process", function()
    has_line(run("later", "provision", redirect()), "linked awaiting provision")
    days_pass(3)
    assert.equal("awaiting", k.w:status(install.account))
    assert.equal("check-plan provision", ran())
    has_line(run("complete", install.account), "linked completed -")
    assert.equal("check-plan provision configure warm-up (before_complete) (completed) welcome", ran())
    assert.equal("completed", k.w:status(install.account))
  end)

  it("goes on with what a step's work brought that went on elsewhere, told to another process", function()
    has_line(run("later", "provision", redirect()), "linked awaiting provision")
    days_pass(1)
    for _, value in ipairs { "space-1", "space-2" } do         -- the news comes twice: the first one counts
      local said = run("result", install.account, "provision", value)
      has_line(said, "linked completed -")
      has_line(said, "result provision space-1")
      if value == "space-1" then has_line(said, "warm-up provision space-1") end
    end
    assert.equal("check-plan provision configure warm-up (before_complete) (completed) welcome", ran())
  end)

  it("is not needed for that: configure waits for days too", function()
    has_line(run("days", redirect()), "linked awaiting configure")
    days_pass(40, 10)                              -- longer than a refresh token lives
    assert.equal("awaiting", k.w:status(install.account))
    has_line(run("complete", install.account), "linked completed -")
    assert.equal("configure (before_complete) (completed)", ran())
    assert.equal("completed", k.w:status(install.account))
  end)

  local function identifier_at_ring()
    return k.w:state().integrations[1].account_identifier
  end

  it("is over, and the link is paused and resumed by processes that know nothing of each other", function()
    run("link", redirect())
    local steps = ran()
    has_line(run("update", install.account, "awaiting", "-"), "state awaiting awaiting u***r@partner.example.com")
    assert.equal("awaiting", k.w:status(install.account))
    days_pass(2)
    assert.equal("awaiting", k.w:status(install.account))
    assert.equal(steps, ran())
    local said = run("update", install.account, "completed", "-")
    has_line(said, "state completed completed u***r@partner.example.com")
    has_line(said, "audit resumed")
    assert.equal(steps .. " (before_complete) (completed)", ran())
    assert.equal("completed", k.w:status(install.account))
  end)

  it("does not mind another identifier, completed or paused, and every process knows it then", function()
    run("link", redirect())
    run("update", install.account, "-", "second@partner.example.com")
    assert.equal("s***d@partner.example.com", identifier_at_ring())
    has_line(run("info", install.account), "state completed completed s***d@partner.example.com")
    run("update", install.account, "awaiting", "third@partner.example.com")
    assert.equal("t***d@partner.example.com", identifier_at_ring())
    run("update", install.account, "-", "fourth@partner.example.com")
    has_line(run("info", install.account), "state awaiting awaiting f***h@partner.example.com")
    run("update", install.account, "completed", "sixth@partner.example.com")
    assert.same({ "s***h@partner.example.com", "completed" }, { identifier_at_ring(), k.w:status(install.account) })
    has_line(run("info", install.account), "state completed completed s***h@partner.example.com")
  end)

end)
