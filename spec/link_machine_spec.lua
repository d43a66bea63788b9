-- core.link_*: the link machine over Lua tables, and rows that are damaged. The exhaustive walk is
-- in spec/core/test_link_walk.c.

local core = require "ringlink.core"

local NOW = 1771130906289
local WINDOW = 600000

local function fresh()
  return { state = "exchanging", code_ms = NOW }
end

local function after(link, ...)
  for _, event in ipairs({ ... }) do
    link = assert(core.link_apply(link, event, NOW, NOW))
    assert.is_true(core.link_check(link))
  end
  return link
end

local function awaiting()
  return after(fresh(), "exchanged", "identified", "claim", "confirm_begin", "confirmed")
end

local function completed()
  return after(awaiting(), "configured", "cleared", "complete_begin", "completed")
end

local function refused(link, event, code, now_ms, time_ms)
  assert.are.same({ nil, code }, { core.link_apply(link, event, now_ms or NOW, time_ms) })
end

describe("link_apply", function()
  it("plays the whole journey, and next tells it", function()
    local link, told = fresh(), {}
    local step = { exchange = "exchanged", identify = "identified", wait = "claim", confirm = "confirm_begin",
      configure = "configured", clear = "cleared", complete = "complete_begin" }
    while link.state ~= "completed" do
      local action = core.link_next(link, NOW)
      told[#told + 1] = action
      link = after(link, step[action])
      if action == "confirm" then link = after(link, "confirmed") end
      if action == "complete" then link = after(link, "completed") end
    end
    assert.are.same({ "exchange", "identify", "wait", "confirm", "configure", "clear", "complete" }, told)
    assert.are.equal("none", core.link_next(link, NOW))
  end)

  it("makes a new table and leaves the old one alone", function()
    local link = fresh()
    local moved = after(link, "exchanged")
    assert.are_not.equal(link, moved)
    assert.are.same(fresh(), link)
    assert.are.same({ state = "identifying", base = "unclaimed", flags = 0, time_ms = 0, code_ms = NOW }, moved)
  end)

  it("returns every field of a claim and of a relink", function()
    local claim = after(completed(), "claim")
    local flags = core.link_flags
    assert.are.same({ state = "matched", base = "completed", flags = flags.configured, time_ms = NOW, code_ms = NOW },
      claim)
    local relink = after(claim, "confirm_begin", "relink")
    assert.are.equal("confirming", relink.resume)
    assert.are.equal(flags.configured + flags.post_maybe, relink.flags)
    assert.are.equal("confirming", after(relink, "revived").state)
  end)

  it("refuses what is out of order, and says so", function()
    refused(fresh(), "claim", "invalid_transition", NOW, NOW)
    refused(awaiting(), "complete_begin", "invalid_transition")
    refused(awaiting(), "completed", "invalid_transition")
    refused(after(fresh(), "unlink"), "relink", "invalid_transition")
    refused(after(completed(), "supersede"), "revived", "invalid_transition")
  end)

  it("guards the window of claim and POST", function()
    local unclaimed = after(fresh(), "exchanged", "identified")
    refused(unclaimed, "claim", "link_expired", NOW + WINDOW + 1, NOW)
    refused(unclaimed, "claim", "invalid_request", NOW, 0)
    refused(unclaimed, "claim", "invalid_request", NOW, nil)
    local matched = after(unclaimed, "claim")
    refused(matched, "confirm_begin", "link_expired", NOW + WINDOW + 1)
    assert.are.equal("release", core.link_next(matched, NOW + WINDOW + 1))
    local posted = after(matched, "confirm_begin")
    assert.are.equal("confirm", core.link_next(posted, NOW + WINDOW))
    assert.are.equal("settle", core.link_next(posted, NOW + WINDOW + 1))
  end)

  it("ignores the time of events that have none", function()
    assert.are.equal("identifying", assert(core.link_apply(fresh(), "exchanged", NOW, -1 / 0)).state)
    assert.are.equal("identifying", assert(core.link_apply(fresh(), "exchanged", NOW, 0 / 0)).state)
  end)

  it("raises for mistakes of the caller", function()
    assert.has_error(function() core.link_apply(nil, "exchanged", NOW) end)
    assert.has_error(function() core.link_apply("exchanging", "exchanged", NOW) end)
    assert.has_error(function() core.link_apply(fresh(), "exploded", NOW) end)
    assert.has_error(function() core.link_apply(fresh(), nil, NOW) end)
    assert.has_error(function() core.link_apply(fresh(), "exchanged") end)
    assert.has_error(function() core.link_apply(fresh(), "exchanged", 0 / 0) end)
    assert.has_error(function() core.link_apply(fresh(), "claim", NOW, "1771130906289") end)
    assert.has_error(function() core.link_next(fresh()) end)
    assert.has_error(function() core.link_check() end)
  end)
end)

describe("rows that are damaged", function()
  local function with(field, value)
    local link = after(fresh(), "exchanged")
    link[field] = value
    return link
  end

  local DAMAGED = {
    {}, { state = 1 }, { state = "" }, { state = "Exchanging" }, { state = "exchanging\0" }, { state = {} },
    with("state", "matched"), with("state", "awaiting"), with("state", "completed"), with("state", "relink"),
    with("base", "completed"), with("base", "nowhere"), with("base", false), with("resume", "unclaimed"),
    with("resume", 5), with("flags", -1), with("flags", 1), with("flags", 32), with("flags", 2 ^ 32),
    with("flags", 2 ^ 70), with("flags", 0.5), with("flags", 0 / 0), with("flags", "0"), with("time_ms", -1),
    with("time_ms", 5), with("time_ms", 1 / 0), with("time_ms", "5"), with("code_ms", -1), with("code_ms", {}),
  }

  it("are invalid_request and never move", function()
    for _, row in ipairs(DAMAGED) do
      for _, event in ipairs(core.link_events) do refused(row, event, "invalid_request", NOW, NOW) end
      assert.are.same({ nil, "invalid_request" }, { core.link_next(row, NOW) })
    end
  end)

  it("have a broken invariant with a name", function()
    for _, row in ipairs(DAMAGED) do
      local sound, broken = core.link_check(row)
      assert.is_nil(sound)
      assert.is_string(broken)
    end
    assert.are.same({ nil, "a claim, and only a claim, keeps its time" }, { core.link_check(with("time_ms", 5)) })
  end)

  it("do not run metamethods", function()
    local trap = setmetatable({}, { __index = function() error("touched") end })
    assert.is_nil((core.link_check(trap)))
  end)

  it("may lack what is at rest, and hold more than a link", function()
    assert.is_true(core.link_check({ state = "unclaimed", tokens = "sealed", version = 7 }))
    assert.are.equal("wait", core.link_next({ state = "unclaimed" }, NOW))
  end)
end)

describe("the lists", function()
  it("name api.md's states", function()
    assert.are.same({ "exchanging", "identifying", "unclaimed", "matched", "confirming", "awaiting", "completed",
      "failed", "superseded", "unlinked", "relink" }, core.link_states)
  end)

  it("name events that apply knows", function()
    assert.are.equal(25, #core.link_events)
    for _, event in ipairs(core.link_events) do
      local link, code = core.link_apply(fresh(), event, NOW, NOW)
      assert.is_true(link ~= nil or code == "invalid_transition")
    end
  end)

  it("give each flag a bit of its own", function()
    local sum = 0
    for _, bit in pairs(core.link_flags) do sum = sum + bit end
    assert.are.equal(31, sum)
  end)
end)
