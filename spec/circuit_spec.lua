-- core.circuit: the circuit breaker, with time passed in.

local core = require "ringlink.core"

local function circuit()
  return core.circuit({ threshold = 2, open_ms = 100, open_ms_max = 300 })
end

describe("circuit", function()
  it("opens after so many refusals in a row", function()
    local c = circuit()
    assert.is_false(c:refused(0))
    c:succeeded()
    assert.is_false(c:refused(0))
    assert.is_true(c:allow(0))
    assert.is_true(c:refused(0))
    assert.is_false(c:allow(99))
  end)

  it("lets one through when half open, and closes on success", function()
    local c = circuit()
    c:refused(0)
    c:refused(0)
    assert.is_true(c:allow(100))
    assert.is_false(c:allow(100))
    c:succeeded()
    assert.is_true(c:allow(100))
    assert.is_true(c:allow(100))
  end)

  it("stays open longer after each failed try, up to the maximum", function()
    local c, now_ms = circuit(), 0
    c:refused(0)
    c:refused(0)
    for _, open_ms in ipairs({ 100, 200, 300, 300 }) do
      assert.is_false(c:allow(now_ms + open_ms - 1))
      now_ms = now_ms + open_ms
      assert.is_true(c:allow(now_ms))
      assert.is_true(c:refused(now_ms))
    end
  end)

  it("lets another try when the first is never heard of again", function()
    local c = circuit()
    c:refused(0)
    c:refused(0)
    assert.is_true(c:allow(100))
    assert.is_false(c:allow(199))
    assert.is_true(c:allow(200))
  end)

  it("has one length without a maximum", function()
    local c = core.circuit({ threshold = 1, open_ms = 10 })
    assert.is_true(c:refused(0))
    assert.is_true(c:allow(10))
    assert.is_true(c:refused(10))
    assert.is_true(c:allow(20))
  end)

  it("raises for mistakes of the caller", function()
    local bad = { {}, { threshold = 1 }, { threshold = 0, open_ms = 1 }, { threshold = -1, open_ms = 1 },
      { threshold = 1.5, open_ms = 1 }, { threshold = 1, open_ms = 0 }, { threshold = 1, open_ms = 2, open_ms_max = 1 },
      { threshold = 1, open_ms = 1, open_ms_max = 2 ^ 40 }, { threshold = "1", open_ms = 1 },
      { threshold = 0 / 0, open_ms = 1 } }
    for _, options in ipairs(bad) do assert.has_error(function() core.circuit(options) end) end
    assert.has_error(function() core.circuit() end)
    assert.has_error(function() circuit():allow() end)
    assert.has_error(function() circuit():refused("now") end)
    assert.has_error(function() circuit().allow({}, 0) end)
  end)
end)
