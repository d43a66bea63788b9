-- core.limiter: the token bucket, with time passed in.

local core = require "ringlink.core"

describe("limiter", function()
  it("lets the burst through and then names the wait", function()
    local limiter = core.limiter({ per_s = 100, burst = 3 })
    for _ = 1, 3 do assert.are.equal(0, limiter:take(0)) end
    assert.are.equal(10, limiter:take(0))
    assert.are.equal(0, limiter:take(10))
  end)

  it("keeps a fractional rate", function()
    local limiter, taken = core.limiter({ per_s = 12.5, burst = 1 }), 0
    for now_ms = 0, 9999 do
      if limiter:take(now_ms) == 0 then taken = taken + 1 end
    end
    assert.are.equal(125, taken)
  end)

  it("leaves a reserve when asked to, and is not faster than the rate then", function()
    local limiter = core.limiter({ per_s = 10, burst = 10 })
    assert.are.equal(0, limiter:take(0, 5))
    assert.are.equal(100, limiter:take(0, 5))
    for _ = 1, 5 do assert.are.equal(0, limiter:take(0)) end
    assert.are.equal(200, limiter:take(0, 5))
    assert.are.equal(200, limiter:take(0, 1e300)) -- half of the bucket at most
    assert.are.equal(100, limiter:take(0, 1))
    assert.are.equal(0, limiter:take(0, 0))
    assert.are.equal(0, limiter:take(0, nil))
  end)

  it("obeys what the server says", function()
    local limiter = core.limiter({ per_s = 1, burst = 100 })
    limiter:observe(0, 2, nil)
    limiter:observe(0, 50) -- an older answer that comes late raises nothing
    assert.are.equal(0, limiter:take(0))
    assert.are.equal(0, limiter:take(0))
    assert.are.equal(1000, limiter:take(0))
    limiter:observe(0, nil, 5000)
    assert.are.equal(5000, limiter:take(0))
    assert.are.equal(1, limiter:take(4999))
    assert.are.equal(0, limiter:take(5000))
  end)

  it("is not upset by what headers may hold", function()
    local limiter = core.limiter({ per_s = 100, burst = 100 })
    limiter:observe(0, 0 / 0, 0 / 0)
    assert.are.equal(0, limiter:take(0))
    limiter:observe(0, 1 / 0, -1 / 0)
    limiter:observe(0, 12.7, -5)
    for _ = 1, 12 do assert.are.equal(0, limiter:take(0)) end
    assert.are.equal(10, limiter:take(0))
    limiter:observe(0, nil, 1e300)
    assert.are.equal(86400000, limiter:take(0))
  end)

  it("is not upset by clocks", function()
    local limiter = core.limiter({ per_s = 10, burst = 1 })
    assert.are.equal(0, limiter:take(1000))
    assert.are.equal(100, limiter:take(0))
    assert.are.equal(100, limiter:take(-1 / 0))
    assert.are.equal(0, limiter:take(1e300))
  end)

  it("raises for mistakes of the caller", function()
    local bad = { {}, { per_s = 1 }, { burst = 1 }, { per_s = 0, burst = 1 }, { per_s = -1, burst = 1 },
      { per_s = 0 / 0, burst = 1 }, { per_s = 1 / 0, burst = 1 }, { per_s = 1, burst = 0 }, { per_s = 1, burst = 1.5 },
      { per_s = 1, burst = 2 ^ 40 }, { per_s = "1", burst = 1 }, { per_s = 1, burst = "1" } }
    for _, options in ipairs(bad) do assert.has_error(function() core.limiter(options) end) end
    assert.has_error(function() core.limiter() end)
    local limiter = core.limiter({ per_s = 1, burst = 1 })
    assert.has_error(function() limiter:take() end)
    assert.has_error(function() limiter:take(0 / 0) end)
    assert.has_error(function() limiter:take(0, "half") end)
    assert.has_error(function() limiter:observe(0, "12") end)
    assert.has_error(function() limiter.take({}, 0) end)
  end)
end)
