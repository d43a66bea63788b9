-- What came of a step whose work went on elsewhere: told by client:complete, kept as if the step had
-- returned it (README "Flows").

local answers = require "support.answers"
local cjson = require "cjson"
local flow_stage = require "support.flow_stage"
local ringlink = require "ringlink"

local kind_of = rawget(math, "type") or type

local w

describe("the result that complete tells of a step #network", function()
  local client, clock, s

  flow_stage.with_ring(function(...) w, client, clock, s = ... end)

  --- A link that stands at `provision`, and the steps behind it note what they read.
  local function standing(seen)
    local step = s:asking("provision")
    step.answer = function() return "later" end
    s.shop:after("confirm", "provision", step.fn)
    for _, place in ipairs { "before", "after" } do
      s.shop[place](s.shop, "complete", place, function(link) seen[#seen + 1] = link.results.provision end)
    end
    local one = s:begin()
    assert.equal("provision", assert(client:link(one.q)).waiting_for)
    return one, step
  end

  --- Raises, says so, and changes nothing: not the row, nothing at Ring.
  local function is_misuse(said, account, q)
    local key = account:grant().key
    local _, before = client.store:get(key)
    local requests = #w:journal()
    local ok, problem = pcall(client.complete, client, account, q)
    assert.is_false(ok)
    assert.truthy(tostring(problem):find(said, 1, true), tostring(problem))
    assert.truthy(tostring(problem):find("flow_results_spec.lua", 1, true), tostring(problem))
    local _, after = client.store:get(key)
    assert.equal(before, after)
    assert.equal(requests, #w:journal())
  end

  -- What is kept --------------------------------------------------------------------------------

  local VALUES = { text = "abc", ["any bytes"] = "\0\255", whole = 7, fraction = 0.5, endless = 1 / 0, yes = true,
    empty = "", table = { id = 7, name = "x", paid = false }, ["an empty table"] = {},
    ["4 KiB"] = ("x"):rep(4096 - 16) }
  for what, value in pairs(VALUES) do
    it("reaches the steps behind it and the link: " .. what, function()
      local seen = {}
      local one = standing(seen)
      local link = assert(client:complete(one.account, { step = "provision", result = value }))
      assert.same({ "completed", { provision = value } }, { link.status, link.results })
      assert.same({ value, value }, seen)
      assert.same({ provision = value }, one.account:info().results)
      assert.equal(kind_of(value), kind_of(link.results.provision))
      assert.same({ "provision" }, s.ran)
    end)
  end

  it("reaches them also as NaN, which no comparison finds", function()
    local one = standing({})
    local kept = assert(client:complete(one.account, { step = "provision", result = 0 / 0 })).results.provision
    assert.is_true(kept ~= kept)
  end)

  it("is sealed as what a step returned is", function()
    local one = standing({})
    assert(client:complete(one.account, { step = "provision", result = "the customer's own name" }))
    assert.truthy(w:stored(client, "the customer's own name"))          -- unsealed, as this process sees it
    for name, column in pairs(client.store:get(one.account:grant().key)) do
      assert.is_nil(tostring(column):find("the customer's own name", 1, true), name)
    end
  end)

  it("stays the first, whatever is told later", function()
    local seen = {}
    local one = standing(seen)
    client:on("before_complete", function() return false, "not yet" end)
    for _, value in ipairs { "first", "second" } do
      client:complete(one.account, { step = "provision", result = value })
      assert.same({ provision = "first" }, one.account:info().results)
    end
    assert.same({ "first" }, seen)
  end)

  it("does not come into a step's place that has returned nothing, or something else", function()
    for _, own in ipairs { "its own", false } do
      s = flow_stage.new(w, w:quick_client())
      s.shop:after("confirm", "provision", function() return own or nil end)
      s.shop:after("provision", "wait", s:noting("wait", "later"))
      local one = s:begin()
      assert(s.client:link(one.q))
      local link = assert(s.client:complete(one.account, { step = "provision", result = "told" }))
      assert.same({ "wait", own or nil }, { link.waiting_for, link.results.provision })
    end
  end)

  for what, answer in pairs { ["returns something else"] = "its own", ["says later"] = "later" } do
    it("is what counts when the step, which was not over yet, " .. what, function()
      local other = w:client_beside(client, { clock = clock })
      other:flow(s.shop)
      other:on("before_complete", function() return false, "not yet" end)
      local codes = {}
      s.shop:skip("configure"):after("confirm", "provision", function(link)
        local account = other:account(link.account.id)
        codes[#codes + 1] = select(2, other:complete(account, { step = "provision", result = "told" })).code
        return answer
      end)
      local link = assert(client:link(s:begin().q))
      assert.same({ "completed", nil, { provision = "told" } }, { link.status, link.waiting_for, link.results })
      assert.same({ "vetoed" }, codes)
    end)
  end

  it("is what it was in the call, although the table changes before the link gets there", function()
    local one, step = standing({})
    local told = { id = 1 }
    step.answer = function() told.id = function() end end
    local link = assert(client:complete(one.account, { step = "before", result = told }))
    assert.same({ before = { id = 1 } }, link.results)
  end)

  it("is kept also after the PATCH, where the step is running and says later", function()
    local step = s:asking("welcome")
    step.answer = function()
      ringlink.sleep(0.05)
      return "later"
    end
    s.shop:after("complete", "welcome", step.fn)
    local one = s:begin()
    ringlink.run(function()
      ringlink.spawn(function() client:link(one.q) end)
      answers.wait_until("the step runs", function() return s.ran[1] end)
      local link = assert(client:complete(one.account, { step = "welcome", result = "sent" }))
      assert.same({ nil, "sent" }, { link.waiting_for, link.results.welcome })
    end)
  end)

  it("goes with a new identifier, when the link is completed already", function()
    s.shop:after("complete", "welcome", s:noting("welcome", "later"))
    local one = s:begin()
    assert.equal("welcome", assert(client:link(one.q)).waiting_for)
    local link = assert(client:complete(one.account,
      { step = "welcome", result = "sent", account_identifier = "second@partner.example.com" }))
    assert.same({ nil, "sent", "s***d@partner.example.com" },
      { link.waiting_for, link.results.welcome, link.account_identifier })
  end)

  it("is kept for the step at which a paused link stands", function()
    s.shop:after("complete", "welcome", s:noting("welcome", "later"))
    local one = s:begin()
    assert(client:link(one.q))
    assert(client:update(one.account, { status = "awaiting" }))
    local link = assert(client:complete(one.account, { step = "welcome", result = "sent" }))
    assert.same({ "completed", nil, "sent" }, { link.status, link.waiting_for, link.results.welcome })
    assert(client:update(one.account, { status = "awaiting" }))
    link = assert(client:complete(one.account, { step = "welcome", result = "again" }))
    assert.same({ "completed", "sent" }, { link.status, link.results.welcome })
    assert.same({ "welcome" }, s.ran)
  end)

  it("is not kept, nor the step done, while one before it waits", function()
    local one, step = standing({})
    local link = assert(client:complete(one.account, { step = "before", result = "early" }))
    assert.same({ "provision", {} }, { link.waiting_for, link.results })
    step.answer = function() return "its own" end
    assert.same({ provision = "its own" }, assert(client:link(one.q)).results)
  end)

  -- What is refused -----------------------------------------------------------------------------

  local circle = {}
  circle.itself = circle
  local MISFITS = { ["a function"] = print, ["a coroutine"] = coroutine.create(function() end),
    ["cjson's null"] = cjson.null, ["null in it"] = { a = cjson.null }, ["a nested table"] = { a = {} },
    ["a circle"] = circle, ["a list"] = { 1, 2 }, ["4 KiB and a byte"] = ("x"):rep(4097),
    ["a table of that"] = { a = ("x"):rep(2100), b = ("x"):rep(2100) },
    ["a long name"] = { [("x"):rep(256)] = 1 } }
  for what, value in pairs(MISFITS) do
    it("is refused, and the step is not done: " .. what, function()
      local one = standing({})
      is_misuse("complete: the result cannot be kept: ", one.account, { step = "provision", result = value })
      is_misuse("; text, numbers, booleans or a flat table of them can", one.account,
        { step = "provision", result = value })
      assert.equal("provision", one.account:info().waiting_for)
      assert.equal("small", assert(client:complete(one.account, { step = "provision", result = "small" }))
        .results.provision)
    end)
  end

  it("is refused where a step would say something else by it", function()
    local one = standing({})
    is_misuse("false is how a step says no", one.account, { step = "provision", result = false })
    is_misuse("later is how a step says", one.account, { step = "provision", result = "later" })
  end)

  it("is refused without step, or with what is no name", function()
    local one = standing({})
    for _, step in ipairs { 0, 7, {} } do
      is_misuse("complete: result needs step", one.account, { step = step ~= 0 and step or nil, result = "told" })
    end
  end)

  it("is refused with a step that the flow does not have", function()
    local one = standing({})
    for _, name in ipairs { "provison", "confirm" } do
      is_misuse(('the link\'s flow has no step "%s"'):format(name), one.account, { step = name, result = "told" })
    end
  end)

  it("is refused of a link that goes by no flow", function()
    client:on("configure", function() return "later" end)
    local account, install = w:unclaimed(client)
    assert(client:link(w.redirect_of(install)))
    is_misuse("complete: the result cannot be kept: the link goes by no flow", account,
      { step = "configure", result = "told" })
    assert.equal("completed", assert(client:complete(account, { step = "configure" })).status)
  end)

  it("is left to a process that has the flow", function()
    local one = standing({})
    local other = w:client_beside(client, { clock = clock })
    for _, name in ipairs { "provision", ("x"):rep(300) } do
      local _, err = other:complete(other:account(one.account.id), { step = name, result = "told" })
      assert.same({ "configure_failed", "shop" }, { err.code, err.flow })
    end
    assert.same({ "provision", {} }, { one.account:info().waiting_for, one.account:info().results })
  end)

  describe("with 64 KiB of others", function()
    local gate

    -- 16 of 4000 bytes, a step that waits before or behind them, and one behind all.
    local function begin(side, anchor)
      s.shop:after("confirm", "s1", function() return ("x"):rep(4000) end)
      for i = 2, 16 do s.shop:after("s" .. i - 1, "s" .. i, function() return ("x"):rep(4000) end) end
      gate = s:asking("gate")
      gate.answer = function() return "later" end
      s.shop[side](s.shop, anchor, "gate", gate.fn)
      s.shop:before("complete", "last", s:noting("last", "later"))
      local one = s:begin()
      assert.equal("gate", assert(client:link(one.q)).waiting_for)
      return one
    end

    it("is refused", function()
      local one = begin("after", "s16")
      is_misuse("with what other steps returned it is too much", one.account,
        { step = "gate", result = ("x"):rep(4000) })
      assert(client:complete(one.account, { step = "gate", result = "small" }))
    end)

    it("is a mistake of the step's where that is known only when the link gets there", function()
      local one = begin("before", "s1")
      gate.answer = function() end
      local _, err = client:complete(one.account, { step = "last", result = ("x"):rep(4000) })
      assert.same({ "hook_failed", "last" }, { err.code, err.step })
      assert.truthy(tostring(err.cause):find("it is too much", 1, true), tostring(err.cause))
      assert.equal("last", one.account:info().waiting_for)
      assert.equal("completed", assert(client:complete(one.account, { step = "last", result = "small" })).status)
    end)
  end)
end)
