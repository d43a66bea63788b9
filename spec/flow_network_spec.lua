-- A partner's own steps along a link: their order, what they answer, what the next ones read, and what
-- a link means that is half way while its flow changes (README "Flows").

local answers = require "support.answers"
local flow_stage = require "support.flow_stage"
local readme = require "support.readme"
local ringlink = require "ringlink"

local unpack = table.unpack or unpack
local kind_of = rawget(math, "type") or type

local w

describe("a link with a flow #network", function()
  local client, clock, s

  flow_stage.with_ring(function(...) w, client, clock, s = ... end)

  local function note_hooks()
    for _, name in ipairs { "matched", "before_confirm", "awaiting", "configure", "before_complete", "completed" } do
      client:on(name, function() s.ran[#s.ran + 1] = "(" .. name .. ")" end)
    end
  end

  -- The way -------------------------------------------------------------------------------------

  it("goes through its steps and the hooks in one order, each once", function()
    s:whole()
    note_hooks()
    local link = assert(client:link(s:begin().q))
    assert.same({ "(matched)", "check-plan", "(before_confirm)", "(awaiting)", "provision", "(configure)", "warm-up",
      "last", "(before_complete)", "(completed)", "welcome" }, s.ran)
    assert.same({ "completed", nil }, { link.status, link.waiting_for })
    assert.equal("completed", w:status(link.account.id))
  end)

  it("does nothing of it again for the same nonce", function()
    local one = s:begin()
    s:whole()
    assert(client:link(one.q))
    local before = #s.ran
    assert.equal("completed", assert(client:link(one.q)).status)
    assert.equal(before, #s.ran)
  end)

  it("does nothing of it again for a fresh nonce of the same user, nor after a pause", function()
    local one = s:begin()
    s:whole()
    assert(client:link(one.q))
    s.ran = {}
    assert(client:link(w.redirect_of(w:sign_in_again(one.account.id), nil, { flow = s.shop })))
    assert(client:update(one.account, { status = "awaiting" }))
    assert(client:complete(one.account))
    assert.same({}, s.ran)
    assert.equal("completed", w:status(one.account.id))
  end)

  it("goes by a name that the client knows, also when confirmed by hand", function()
    client:flow(s:whole())
    local one = s:begin()
    local claim = assert(client:match { nonce = one.q.nonce, time = one.q.time })
    assert(client:confirm(claim, { user = "user-1", flow = "shop" }))
    assert.same({ "check-plan" }, s.ran)
    client:on("configure", s:noting("(configure)"))
    assert.equal("completed", assert(client:complete(one.account)).status)
    -- Who says complete says that configure is done, and nothing of the other steps.
    assert.same({ "check-plan", "provision", "warm-up", "last", "welcome" }, s.ran)
  end)

  it("serves links of several accounts at once, each with its own record", function()
    s.shop:after("confirm", "provision", function(link)
      ringlink.sleep(0.001)
      return link.user .. "'s"
    end)
    s.shop:after("complete", "welcome", function(link) s.ran[link.user] = link.results.provision end)
    ringlink.run(function()
      for i = 1, 8 do
        ringlink.spawn(function()
          local _, install = w:unclaimed(client)
          assert(client:link(w.redirect_of(install, "user-" .. i, { flow = s.shop })))
        end)
      end
    end)
    for i = 1, 8 do assert.equal(("user-%d's"):format(i), s.ran["user-" .. i]) end
  end)

  it("without configure does not ask the hook, nor the call's own where it is replaced", function()
    client:on("configure", s:noting("(configure)"))
    s.shop:replace("configure", s:noting("own"))
    assert(client:link(s:begin().q))
    assert.same({ "own" }, s.ran)
    s.shop = ringlink.flow { name = "bare" }:skip("configure")
    assert.equal("completed", assert(client:link(s:begin().q)).status)
    assert.same({ "own" }, s.ran)
  end)

  it("asks the call's own configure in the place of the hook", function()
    s:whole()
    client:on("configure", s:noting("(configure)"))
    assert(client:link(s:begin({ configure = s:noting("of the call") }).q))
    assert.same({ "check-plan", "provision", "of the call", "warm-up", "last", "welcome" }, s.ran)
  end)

  it("is written as the README says", function()
    local ready, said, answered = false, {}, {}
    local _, install = w:unclaimed(client)
    local environment = { client = client, ringlink = ringlink, query = install, user = { id = "user-1" },
      plans = { has_cameras = function(user) answered[#answered + 1] = "plan of " .. user; return true end },
      storage = {
        make = function(_, account) return { id = account, url = "https://storage.example.com" } end,
        is_ready = function(id) answered[#answered + 1] = id == install.account and "asked" or id; return ready end,
      },
      mail = { welcome = function(user) answered[#answered + 1] = "mail to " .. user end },
      print = function(text) said[#said + 1] = text end }
    readme.example("flow", environment)()
    assert.same({ "waits for fill" }, said)
    ready = true
    w:pass_time(clock, 301000)
    assert.equal(1, assert(client:work()).resumed)
    assert.same({ "plan of user-1", "asked", "asked", "mail to user-1" }, answered)
    assert.equal("completed", w:status(install.account))
  end)

  -- Values --------------------------------------------------------------------------------------

  describe("hands what a step returned to those after it", function()
    local VALUES = { text = "abc", ["any bytes"] = "\0\255", whole = 7, fraction = 0.5, large = 2 ^ 40, yes = true,
      empty = "", table = { id = 7, name = "x", paid = false }, ["an empty table"] = {} }
    for what, value in pairs(VALUES) do
      it(what, function()
        local seen = {}
        s.shop:after("confirm", "provision", function() return value end)
        for _, place in ipairs { "before", "after" } do
          s.shop[place](s.shop, "complete", place, function(link) seen[#seen + 1] = link.results.provision end)
        end
        for _, name in ipairs { "before_complete", "completed" } do
          client:on(name, function(link) seen[#seen + 1] = link.results.provision end)
        end
        local link = assert(client:link(s:begin().q))
        assert.same({ value, value, value, value }, seen)
        assert.same({ provision = value }, link.results)
        assert.same({ provision = value }, link.account:info().results)
        assert.equal(kind_of(value), kind_of(link.results.provision))
      end)
    end

    it("and nothing, when it returned nothing", function()
      s:whole()
      local link = assert(client:link(s:begin().q))
      assert.same({}, link.results)
      assert.equal("shop", link.account:info().flow)
    end)
  end)

  describe("refuses to keep", function()
    local MISFITS = { ["a function"] = print, ["a nested table"] = { a = {} }, ["a list"] = { 1, 2 },
      ["a long text"] = ("x"):rep(4097), ["a long table"] = { a = ("x"):rep(2100), b = ("x"):rep(2100) } }
    for what, value in pairs(MISFITS) do
      it(what .. ": the step's mistake", function()
        local step = s:asking("provision")
        step.answer = function() return value end
        s.shop:after("confirm", "provision", step.fn)
        local one = s:begin()
        local _, err = client:link(one.q)
        assert.same({ "hook_failed", "configure", "provision" }, { err.code, err.stage, err.step })
        assert.truthy(tostring(err.cause):find("cannot be kept", 1, true), tostring(err.cause))
        assert.equal("awaiting", one.account:state())
        step.answer = function() return "small" end
        assert.equal("small", assert(client:link(one.q)).results.provision)
      end)
    end

    it("more than 64 KiB of all of them together", function()
      for i = 1, 20 do s.shop:before("complete", "s" .. i, function() return ("x"):rep(4000) end) end
      local _, err = client:link(s:begin().q)
      assert.same({ "hook_failed", "s17" }, { err.code, err.step })
      assert.truthy(tostring(err.cause):find("with what other steps returned", 1, true))
    end)
  end)

  it("keeps names and values of steps where no file shows them", function()
    s.shop:after("confirm", "provision", function() return "the customer's own name" end)
    assert(client:link(s:begin().q))
    local row = client.store:find({ state = "completed" })[1].row
    for name, value in pairs(row) do
      local shown = tostring(value)
      assert.is_nil(shown:find("provision", 1, true), name)
      assert.is_nil(shown:find("the customer's own name", 1, true), name)
    end
  end)

  -- No ------------------------------------------------------------------------------------------

  local OBJECTIONS = {
    { "false and a reason", function() return false, "no room" end },
    { "nil and a reason", function() return nil, "no room" end },
    { "false alone", function() return false end },
    { "a mistake", function() error("a mistake") end },
  }

  for _, row in ipairs(OBJECTIONS) do
    local how, answer = row[1], row[2]
    local failed = how == "a mistake" and "hook_failed"

    it("is given back by a step before confirm that says " .. how, function()
      local step = s:asking("check-plan")
      step.answer = answer
      s.shop:before("confirm", "check-plan", step.fn):before("confirm", "second", s:noting("second"))
      client:on("before_confirm", s:noting("(before_confirm)"))
      local one = s:begin()
      local link, err = client:link(one.q)
      assert.is_nil(link)
      assert.same({ failed or "vetoed", "before_confirm", "check-plan" }, { err.code, err.stage, err.step })
      assert.truthy(err.message:find("step check-plan", 1, true), err.message)
      assert.truthy(err.message:find("let the user tap Sign In again", 1, true), err.message)
      assert.same({ "check-plan" }, s.ran)
      assert.equal("unclaimed", one.account:state())
      assert.equal(0, w:count("confirm"))
      -- Another user's claim begins anew; so does this one's.
      step.answer = function() end
      assert(client:link(w.redirect_of(w:sign_in_again(one.account.id), "user-2", { flow = s.shop })))
      assert.same({ "check-plan", "check-plan", "second", "(before_confirm)" }, s.ran)
    end)

    for _, place in ipairs { { "after", "confirm", "awaiting", 0 }, { "after", "complete", "completed", 1 } } do
      local side, anchor, state, patched = unpack(place)
      it(("stands where a step %s %s says %s, and goes on there"):format(side, anchor, how), function()
        local step = s:asking("provision")
        step.answer = answer
        s.shop[side](s.shop, anchor, "first", s:noting("first"))
        s.shop[side](s.shop, anchor, "provision", step.fn)
        s.shop[side](s.shop, anchor, "third", s:noting("third"))
        local one = s:begin()
        local link, err = client:link(one.q)
        assert.is_nil(link)
        assert.same({ failed or "configure_failed", "provision" }, { err.code, err.step })
        assert.truthy(err.message:find("step provision", 1, true), err.message)
        assert.same({ state, "provision", patched },
          { one.account:state(), one.account:info().waiting_for, w:count("complete") })
        -- Nothing behind the partner's back.
        w:pass_time(clock, 3 * 3600000)
        assert.equal(0, assert(client:work()).resumed)
        assert.same({ "first", "provision" }, s.ran)
        step.answer = function() end
        assert.equal("completed", assert(client:link(one.q)).status)
        assert.same({ "first", "provision", "provision", "third" }, s.ran)
        assert.equal(1, w:count("confirm"))
        assert.is_nil(one.account:info().waiting_for)
      end)
    end
  end

  it("takes the step that complete names as done, and no other, however often that is said", function()
    s.shop:after("confirm", "a", s:noting("a", "later")):after("a", "b", s:noting("b", "later"))
    local one = s:begin()
    assert.equal("a", assert(client:link(one.q)).waiting_for)
    for _ = 1, 2 do assert.equal("b", assert(client:complete(one.account, { step = "a" })).waiting_for) end
    assert.same({ "a", "b", "b" }, s.ran)
    assert.equal("completed", assert(client:complete(one.account, { step = "b" })).status)
    assert.equal(1, w:count("complete"))
  end)

  it("has no step that complete could name wrongly", function()
    s.shop:after("confirm", "a", s:noting("a", "later"))
    local one = s:begin()
    assert(client:link(one.q))
    for _, name in ipairs { "provison", "confirm", 7 } do
      local ok, said = pcall(client.complete, client, one.account, { step = name })
      assert.is_false(ok)
      assert.truthy(said:find("complete: the link's flow has no step", 1, true), said)
    end
    assert.equal("a", one.account:info().waiting_for)
  end)

  it("is asked again by work although it made a mistake when it was, less and less often", function()
    local step = s:waiting("later", 300)
    local one = s:begin()
    assert.equal("provision", assert(client:link(one.q)).waiting_for)
    step.answer = function() error("the database is away") end
    for _ = 1, 3 do
      w:pass_time(clock, 3700000)
      assert(client:work())
    end
    assert.same({ "first", "provision", "provision", "provision", "provision" }, s.ran)
    step.answer = function() end
    w:pass_time(clock, 3700000)
    assert.equal(1, assert(client:work()).resumed)
    assert.equal("completed", w:status(one.account.id))
  end)

  it("is not asked again by work once it has said no", function()
    local step = s:waiting("later", 300)
    local one = s:begin()
    assert(client:link(one.q))
    step.answer = function() return false, "never" end
    for _ = 1, 3 do
      w:pass_time(clock, 3700000)
      assert(client:work())
    end
    assert.same({ "first", "provision", "provision" }, s.ran)
    assert.equal("awaiting", w:status(one.account.id))
  end)

  describe("that a process left half way, taken on by work,", function()
    local step, one

    local function hours(count)
      for _ = 1, count do
        w:pass_time(clock, 3700000)
        assert(client:work())
      end
    end

    local function leave_at(name)
      local stop = s:asking(name)
      stop.answer = function() error("lua: interrupted!", 0) end
      return stop
    end

    before_each(function() step = leave_at("provision") end)

    local function left()
      one = s:begin()
      assert.is_false(pcall(client.link, client, one.q))
    end

    it("is asked again although a step made a mistake", function()
      s.shop:after("confirm", "provision", step.fn)
      left()
      step.answer = function() error("the database is away") end
      hours(3)
      assert.same({ "provision", "provision", "provision", "provision" }, s.ran)
      step.answer = function() end
      hours(1)
      assert.equal("completed", w:status(one.account.id))
    end)

    it("is asked again although before_complete made a mistake", function()
      client:on("before_complete", step.fn)
      left()
      step.answer = function() error("the database is away") end
      hours(2)
      step.answer = function() end
      hours(1)
      assert.same({ 4, "completed" }, { #s.ran, w:status(one.account.id) })
    end)

    it("is not, once a step said no", function()
      s.shop:after("confirm", "provision", step.fn)
      left()
      step.answer = function() return false, "never" end
      hours(3)
      assert.same({ "provision", "provision" }, s.ran)
      assert.equal("awaiting", w:status(one.account.id))
    end)

    it("keeps its tokens alive meanwhile", function()
      s.shop:after("confirm", "provision", step.fn)
      left()
      step.answer = function() error("the database is away") end
      hours(27)                              -- due after a day at the latest, and seen an hour or two later
      assert.equal(1, w:count("refresh"))
      assert.is_true(#s.ran > 20)
    end)
  end)

  it("is completed by hand, with the step at which it stood taken as done", function()
    local step = s:asking("provision")
    step.answer = function() return false, "a person has to look at it" end
    s.shop:after("confirm", "provision", step.fn):after("provision", "tell", s:noting("tell"))
    client:on("configure", s:noting("(configure)"))
    local one = s:begin()
    assert.equal("provision", select(2, client:link(one.q)).step)
    assert.equal("completed", assert(client:complete(one.account)).status)
    assert.same({ "provision", "tell", "(configure)" }, s.ran)
  end)

  it("is followed by hand, after the PATCH too", function()
    local step = s:asking("welcome")
    step.answer = function() return false, "the mail server is down" end
    s.shop:after("complete", "welcome", step.fn):after("complete", "tell", s:noting("tell"))
    local one = s:begin()
    assert.equal("welcome", select(2, client:link(one.q)).step)
    assert.equal("completed", assert(client:complete(one.account)).status)
    assert.same({ "welcome", "tell" }, s.ran)
    assert.equal(1, w:count("complete"))
  end)

  it("is taken on by work again, once somebody took it up where a step after the PATCH stopped it", function()
    local step = s:asking("welcome")
    step.answer = function() return false, "the mail server is down" end
    s.shop:after("complete", "welcome", step.fn)
    local one = s:begin()
    assert.equal("welcome", select(2, client:link(one.q)).step)
    step.answer = function() error("lua: interrupted!", 0) end
    assert.is_false(pcall(client.link, client, one.q))
    step.answer = function() end
    w:pass_time(clock, 136000)
    assert.equal(1, assert(client:work()).resumed)
    assert.same({ "welcome", "welcome", "welcome" }, s.ran)
  end)

  it("cannot wait for its own link in a step: in_progress instead of standing still", function()
    local codes = {}
    s.shop:after("confirm", "provision", function(link)
      codes[1] = select(2, client:complete(link.account)).code
    end)
    ringlink.run(function() assert(client:link(s:begin().q)) end)
    assert.same({ "in_progress" }, codes)
  end)

  it("cannot wait for it by way of a task either", function()
    local codes = {}
    s.shop:after("confirm", "provision", function(link)
      local task = ringlink.spawn(function() return select(2, client:complete(link.account)) end)
      codes[1] = ringlink.join(task).code
    end)
    ringlink.run(function() assert(client:link(s:begin().q)) end)
    assert.same({ "in_progress" }, codes)
  end)

  -- Later ---------------------------------------------------------------------------------------

  it("waits where a step says later: no error, and nothing goes on by itself", function()
    s:waiting("later")
    local one = s:begin()
    local link = assert(client:link(one.q))
    assert.same({ "awaiting", "provision", 7 }, { link.status, link.waiting_for, link.results.first })
    assert.equal("awaiting", w:status(one.account.id))
    w:pass_time(clock, 3 * 86400000)
    assert.equal(0, assert(client:work()).resumed)
    assert.same({ "first", "provision" }, s.ran)
  end)

  it("goes on with the next step when complete says that the work is done", function()
    s:waiting("later")
    local one = s:begin()
    assert(client:link(one.q))
    w:pass_time(clock, 3 * 86400000)
    assert.equal("completed", assert(client:complete(one.account)).status)
    assert.same({ "first", "provision", "third" }, s.ran)
  end)

  it("asks a step that waits again when the user comes again", function()
    local step = s:waiting("later")
    local one = s:begin()
    assert(client:link(one.q))
    step.answer = function() return "done" end
    local link = assert(client:link(w.redirect_of(w:sign_in_again(one.account.id), nil, { flow = s.shop })))
    assert.same({ "completed", "done" }, { link.status, link.results.provision })
    assert.same({ "first", "provision", "provision", "third" }, s.ran)
  end)

  it("asks it again by work when so many seconds have passed, and refreshes meanwhile", function()
    local step = s:waiting("later", 2 * 86400)
    local one = s:begin()
    assert(client:link(one.q))
    assert.is_true(assert(client:work()).next_due_s <= 86400)
    w:pass_time(clock, 86400000)
    local report = assert(client:work())
    assert.same({ 1, 0 }, { report.refreshed, report.resumed })
    assert.same({ "first", "provision" }, s.ran)
    w:pass_time(clock, 86400000)
    assert(client:work())
    assert.same({ "first", "provision", "provision" }, s.ran)
    step.answer = function() return "done" end
    w:pass_time(clock, 2 * 86400000)
    assert.equal(1, assert(client:work()).resumed)
    assert.same({ "first", "provision", "provision", "provision", "third" }, s.ran)
    assert.equal("completed", w:status(one.account.id))
  end)

  it("asks one that waits after the PATCH in the same way", function()
    local step = s:asking("welcome")
    step.answer = function() return "later", 60 end
    s.shop:after("complete", "welcome", step.fn)
    local one = s:begin()
    local link = assert(client:link(one.q))
    assert.same({ "completed", "welcome" }, { link.status, link.waiting_for })
    step.answer = function() end
    w:pass_time(clock, 61000)
    assert.equal(1, assert(client:work()).resumed)
    assert.is_nil(one.account:info().waiting_for)
    assert.same({ "welcome", "welcome" }, s.ran)
    assert.equal(1, w:count("complete"))
  end)

  it("is not taken on without the call's own configure, whose process is another", function()
    local one = s:begin({ configure = function() return "later", 60 end })
    one.q.flow = nil
    assert.equal("awaiting", assert(client:link(one.q)).status)
    local other = w:client_beside(client, { clock = clock })
    w:pass_time(clock, 61000)
    assert.equal(0, assert(other:work()).resumed)
    assert.equal("awaiting", w:status(one.account.id))
    assert.equal("completed", assert(other:complete(other:account(one.account.id))).status)
  end)

  it("also waits when the configure hook says later", function()
    local done
    client:on("configure", function()
      s.ran[#s.ran + 1] = "(configure)"
      if not done then return "later" end
    end)
    client:on("configure", s:noting("(another)"))
    local one = s:begin()
    one.q.flow = nil
    local link = assert(client:link(one.q))
    assert.same({ "awaiting", "configure" }, { link.status, link.waiting_for })
    assert.same({ "(configure)" }, s.ran)
    done = true
    assert.equal("completed", assert(client:link(one.q)).status)
    assert.same({ "(configure)", "(configure)", "(another)" }, s.ran)
  end)

  it("does not wait before confirm: a claim lasts minutes", function()
    s.shop:before("confirm", "check-plan", function() return "later" end)
    local one = s:begin()
    local _, err = client:link(one.q)
    assert.same({ "hook_failed", "check-plan" }, { err.code, err.step })
    assert.truthy(tostring(err.cause):find("steps that wait come after confirm", 1, true))
    assert.equal("unclaimed", one.account:state())
  end)

  for _, seconds in ipairs { "soon", 0, -1, 1 / 0, 0 / 0, 400 * 86400 } do
    it("tells a step that waits for " .. tostring(seconds), function()
      s:waiting("later", seconds)
      local _, err = client:link(s:begin().q)
      assert.same({ "hook_failed", "provision" }, { err.code, err.step })
    end)
  end

  it("lets complete go on for whom it waits, though a reload asks at the same time", function()
    local step = s:asking("provision")
    step.answer = function()
      ringlink.sleep(0.05)
      return "later"
    end
    s.shop:after("confirm", "provision", step.fn)
    local one = s:begin()
    ringlink.run(function()
      ringlink.spawn(function() client:link(one.q) end)
      answers.wait_until("the step runs", function() return s.ran[1] end)
      assert.equal("completed", assert(client:complete(one.account)).status)
    end)
    assert.equal("completed", w:status(one.account.id))
  end)
end)
