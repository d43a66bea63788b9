-- core.token_*: lifetimes as the wire has them, when to renew, when to warn.

local core = require "ringlink.core"
local vectors = require "support.vectors"

local NOW = 1771130906289
local DEFAULT_S, MIN_S, MAX_S = 3600, 60, 86400

local function lifetime_of(expires_in)
  local obtained_ms, expires_ms, doubtful = core.token_times(expires_in, NOW)
  assert.are.equal(NOW, obtained_ms)
  return (expires_ms - obtained_ms) / 1000, doubtful
end

describe("token_times", function()
  local function check(expires_in, lifetime_s, doubtful)
    local found_s, found_doubtful = lifetime_of(expires_in)
    assert.are.equal(lifetime_s, found_s)
    assert.are.equal(doubtful, found_doubtful)
  end

  it("believes usual lifetimes, as number and as text", function()
    check(14400, 14400, false)
    check("14400", 14400, false)
    check("14400.0", 14400, false)
    check(1, 1, false)
    check(MAX_S, MAX_S, false)
  end)

  it("has safe values for hostile numbers", function()
    check(0 / 0, DEFAULT_S, true)
    check(1 / 0, MAX_S, true)
    check(-1 / 0, MIN_S, true)
    check(0, MIN_S, true)
    check(-14400, MIN_S, true)
    check(1e308, MAX_S, true)
    check(2 ^ 63, MAX_S, true)
    check(MAX_S + 1, MAX_S, true)
  end)

  it("has safe values for hostile text", function()
    for _, text in ipairs({ "", "abc", "1e3", "0x10", " 5", "5 ", "5\0", "nan", "inf", "--5", "\255" }) do
      check(text, DEFAULT_S, true)
    end
    check("-5", MIN_S, true)
    check("0", MIN_S, true)
    check(("9"):rep(20), MAX_S, true)
    check(("9"):rep(1048576), MAX_S, true)
  end)

  it("has safe values for anything else", function()
    for _, value in pairs({ true, {}, print }) do check(value, DEFAULT_S, true) end
    check(nil, DEFAULT_S, true)
    check(vectors.not_text()[9], DEFAULT_S, true) -- JSON's null
  end)

  it("bounds a clock that is absurd", function()
    local obtained_ms, expires_ms = core.token_times(14400, 1e300)
    assert.is_true(obtained_ms < expires_ms)
    assert.are.equal(0, (core.token_times(14400, -1)))
  end)

  it("raises without a clock", function()
    assert.has_error(function() core.token_times(14400) end)
    assert.has_error(function() core.token_times(14400, "now") end)
    assert.has_error(function() core.token_times(14400, 0 / 0) end)
  end)
end)

describe("token_verdict", function()
  local LIFETIME, EARLY, SKEW = 14400000, 300000, 60000

  local function verdict(after_ms, lifetime_ms)
    return core.token_verdict(NOW, NOW + (lifetime_ms or LIFETIME), NOW + after_ms, EARLY, SKEW)
  end

  it("goes from fresh to advisory to mandatory", function()
    assert.are.equal("fresh", verdict(0))
    assert.are.equal("fresh", verdict(LIFETIME - EARLY - 1))
    assert.are.equal("advisory", verdict(LIFETIME - EARLY))
    assert.are.equal("advisory", verdict(LIFETIME - 60001))
    assert.are.equal("mandatory", verdict(LIFETIME - 60000))
    assert.are.equal("mandatory", verdict(LIFETIME + 1e12))
  end)

  it("renews when the clock stepped back further than the skew", function()
    assert.are.equal("fresh", verdict(-SKEW))
    assert.are.equal("mandatory", verdict(-SKEW - 1))
    assert.are.equal("mandatory", verdict(-NOW))
  end)

  it("clamps the windows to a quarter of a short lifetime", function()
    assert.are.equal("fresh", verdict(0, 100000))
    assert.are.equal("fresh", verdict(74999, 100000))
    assert.are.equal("mandatory", verdict(75000, 100000))
    assert.are.equal("advisory", verdict(310000, 400000))
  end)

  it("renews what a damaged row says", function()
    assert.are.equal("mandatory", verdict(0, 0))
    assert.are.equal("mandatory", verdict(0, -1))
    assert.are.equal("mandatory", core.token_verdict(NOW, 0, NOW, EARLY, SKEW))
    assert.are.equal("mandatory", core.token_verdict(1e300, -1e300, NOW, EARLY, SKEW))
    assert.are.equal("mandatory", core.token_verdict(1 / 0, 1 / 0, NOW, EARLY, SKEW))
  end)

  it("takes times with a fraction", function()
    assert.are.equal("fresh", core.token_verdict(NOW + 0.5, NOW + LIFETIME + 0.5, NOW + 0.25, EARLY, SKEW))
  end)

  it("raises for what is no number", function()
    assert.has_error(function() core.token_verdict(nil, NOW, NOW, EARLY, SKEW) end)
    assert.has_error(function() core.token_verdict(NOW, "soon", NOW, EARLY, SKEW) end)
    assert.has_error(function() core.token_verdict(NOW, NOW, 0 / 0, EARLY, SKEW) end)
  end)
end)

describe("token_early_from", function()
  it("is where the verdict stops being fresh", function()
    assert.are.equal(NOW + 14100000, core.token_early_from(NOW, NOW + 14400000, 300000))
    assert.are.equal(NOW + 75000, core.token_early_from(NOW, NOW + 100000, 300000))
    assert.are.equal("fresh", core.token_verdict(NOW, NOW + 100000, NOW + 74999, 300000, 0))
    assert.are.equal("mandatory", core.token_verdict(NOW, NOW + 100000, NOW + 75000, 300000, 0))
  end)

  it("raises for what is no number", function()
    assert.has_error(function() core.token_early_from(NOW, nil, 1) end)
    assert.has_error(function() core.token_early_from(NOW, NOW, 0 / 0) end)
  end)
end)

describe("token_overdue", function()
  local DAY_MS = 86400000

  local function overdue(days)
    return { core.token_overdue(NOW, NOW + days * DAY_MS) }
  end

  it("says the stage, when the token is expected to lapse, and the whole days until then", function()
    local lapses_ms = NOW + 30 * DAY_MS
    assert.are.same({ 0, lapses_ms, 30 }, overdue(0))
    assert.are.same({ 1, lapses_ms, 23 }, overdue(7))
    assert.are.same({ 4, lapses_ms, 5 }, overdue(25))
    assert.are.same({ 8, lapses_ms, 0 }, overdue(29.5))
    assert.are.same({ 19, lapses_ms, 0 }, overdue(40))
    assert.are.same({ 0, lapses_ms, 31 }, overdue(-1))
  end)

  it("raises for what is no number", function()
    assert.has_error(function() core.token_overdue(nil, NOW) end)
    assert.has_error(function() core.token_overdue(NOW) end)
  end)
end)
