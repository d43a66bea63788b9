-- Links that are half way while their flow changes, or meet a process that does not have it (README
-- "Flows").

local flow_stage = require "support.flow_stage"
local ringlink = require "ringlink"

local w

describe("a link half way through a flow #network", function()
  local client, clock, s

  flow_stage.with_ring(function(...) w, client, clock, s = ... end)

  --- The same store in another process, with another version of the flow.
  local function next_version(describe_flow)
    local later = w:client_beside(client, { clock = clock })
    s.shop = ringlink.flow { name = "shop" }
    describe_flow()
    later:flow(s.shop)
    return later
  end

  --- A link that stands at `provision`, behind `first` and before `third`.
  local function half_way()
    s:waiting("later")
    local one = s:begin()
    assert(client:link(one.q))
    s.ran, one.q.flow = {}, "shop"
    return one
  end

  it("does not run a step that is there no more, and reads what it returned", function()
    local one = half_way()
    local seen
    local later = next_version(function()
      s.shop:after("confirm", "third", function(link)
        s.ran[#s.ran + 1], seen = "third", link.results.first
      end)
    end)
    assert.equal("completed", assert(later:link(one.q)).status)
    assert.same({ "third" }, s.ran)
    assert.equal(7, seen)
  end)

  it("runs a step that was added, also one before those that are done", function()
    local one = half_way()
    local later = next_version(function()
      s.shop:after("confirm", "zeroth", s:noting("zeroth"))
      s.shop:after("confirm", "first", s:noting("first"))
      s.shop:after("confirm", "provision", s:noting("provision"))
      s.shop:after("complete", "welcome", s:noting("welcome"))
    end)
    assert(later:link(one.q))
    assert.same({ "zeroth", "provision", "welcome" }, s.ran)
  end)

  it("does not run a step that was added where it has been already", function()
    local one = half_way()
    local later = next_version(function()
      s.shop:before("confirm", "check-plan", s:noting("check-plan"))
      s.shop:after("confirm", "provision", s:noting("provision"))
    end)
    assert(later:link(one.q))
    assert.same({ "provision" }, s.ran)
    s.ran = {}
    later = next_version(function() s.shop:after("complete", "welcome", s:noting("welcome")) end)
    assert(later:link(one.q))
    assert(later:work())
    assert.same({}, s.ran)
  end)

  it("does not run a step that was added before a POST that is out", function()
    local one = s:begin()
    client:flow(s.shop)
    w:fault { call = "confirm", status = 503, count = 5 }
    assert.is_true(select(2, client:link(one.q)).ambiguous)
    assert.equal("confirming", one.account:state())
    local later = next_version(function() s.shop:before("confirm", "check-plan", s:noting("check-plan")) end)
    one.q.flow = "shop"
    assert.equal("completed", assert(later:link(one.q)).status)
    assert.same({}, s.ran)
  end)

  it("does not run a step again that moved", function()
    local one = half_way()
    local later = next_version(function()
      s.shop:after("confirm", "provision", s:noting("provision")):after("complete", "first", s:noting("first"))
    end)
    assert(later:link(one.q))
    assert.same({ "provision" }, s.ran)
  end)

  it("takes a step that stood and is there no more as done when complete says so", function()
    local one = half_way()
    local later = next_version(function() s.shop:after("confirm", "third", s:noting("third")) end)
    assert.equal("completed", assert(later:complete(one.account)).status)
    assert.same({ "third" }, s.ran)
  end)

  it("is over when nothing is left of the steps that were to follow", function()
    local step = s:asking("welcome")
    step.answer = function() return "later", 60 end
    s.shop:after("complete", "welcome", step.fn)
    local one = s:begin()
    assert(client:link(one.q))
    local later = next_version(function() end)
    w:pass_time(clock, 61000)
    assert.equal(1, assert(later:work()).resumed)
    w:pass_time(clock, 61000)
    assert.equal(0, assert(later:work()).resumed)
    assert.is_nil(one.account:info().waiting_for)
  end)

  it("goes on by the flow it was begun with, whatever a reload asks for", function()
    local one = half_way()
    client:flow(ringlink.flow { name = "another" }:after("confirm", "wrong", s:noting("wrong")))
    one.q.flow = "another"
    assert.equal("awaiting", assert(client:link(one.q)).status)
    assert.same({ "provision" }, s.ran)
  end)

  it("stays as it is when what it has gone through cannot be read", function()
    local one = half_way()
    local key = one.account:grant().key
    local row, version = client.store:get(key)
    row.steps = client.vault:seal(key, "steps", "by a version that is not written yet")
    assert(client.store:put_if(key, row, version))
    assert.equal("store_corrupt", select(2, client:link(one.q)).code)
    assert.equal("store_corrupt", select(2, client:complete(one.account)).code)
    assert.same({}, s.ran)
    assert.equal("awaiting", one.account:state())
  end)

  describe("in a process that does not have the flow", function()
    local later

    local function left_half_way()
      s:waiting("later", 60)
      local one = s:begin()
      assert(client:link(one.q))
      later = w:client_beside(client, { clock = clock })
      s.ran = {}
      return one
    end

    it("stays, and every call says which flow lacks", function()
      local one = left_half_way()
      one.q.flow = nil
      for _, call in ipairs {
        function() return later:link(one.q) end,
        function() return later:complete(later:account(one.account.id)) end,
      } do
        local link, err = call()
        assert.is_nil(link)
        assert.same({ "configure_failed", "shop", true }, { err.code, err.flow, err.retryable })
        assert.truthy(err.message:find("the flow shop, which this process does not have", 1, true), err.message)
        assert.truthy(err.message:find("client:flow registers it", 1, true), err.message)
      end
      assert.equal("awaiting", one.account:state())
      assert.same({}, s.ran)
    end)

    it("is not completed there either, all but the PATCH done", function()
      local off = client:on("before_complete", function() return false, "not yet" end)
      local one = s:begin()
      assert.equal("vetoed", select(2, client:link(one.q)).code)
      off()
      w:fault { call = "complete", status = 503, count = 5 }
      later = w:client_beside(client, { clock = clock })
      assert.equal("shop", select(2, later:complete(later:account(one.account.id))).flow)
      assert.is_true(select(2, client:complete(one.account)).ambiguous)
      assert.equal("shop", select(2, later:complete(later:account(one.account.id))).flow)
      assert.equal("awaiting", one.account:state())
      assert.equal("completed", assert(client:complete(one.account)).status)
    end)

    it("is left to others by work, which names the flow and keeps the tokens alive", function()
      local one = left_half_way()
      assert(client:link(s:begin().q))
      s.ran = {}
      w:pass_time(clock, 61000)
      local report = assert(later:work())
      assert.same({ 0, { "shop" } }, { report.resumed, report.missing_flows })
      local told
      for _, line in ipairs(w.log) do
        if line.fields and line.fields.flow == "shop" then told = line.message end
      end
      assert.equal("a link goes by a flow that this process does not have; put off", told)
      local access = assert(one.account:info()).refreshed_ms
      for _ = 1, 3 do
        w:pass_time(clock, 86400000)
        assert(later:work())
      end
      assert.is_true(one.account:info().refreshed_ms > access)
      w:pass_time(clock, 3600000)
      assert(client:work())
      assert.same({ "provision", "provision" }, s.ran)
    end)

    it("is not confirmed either, and its claim ends with its window", function()
      s.shop:before("confirm", "check-plan", function() error("lua: interrupted!", 0) end)
      local one = s:begin()
      assert.is_false(pcall(client.link, client, one.q))
      later = w:client_beside(client, { clock = clock })
      w:pass_time(clock, 61000)
      assert.same({ "shop" }, assert(later:work()).missing_flows)
      assert.equal("matched", one.account:state())
      w:pass_time(clock, 600000)
      assert(later:work())
      assert.equal("unclaimed", one.account:state())
      assert.equal(0, w:count("confirm"))
    end)
  end)
end)
