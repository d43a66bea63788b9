-- core.secret: never shown, compared in constant time, wiped; and core's clocks and randomness.

local core = require "ringlink.core"
local vectors = require "support.vectors"

describe("secret", function()
  it("gives its text only when asked", function()
    local secret = core.secret("tok\0en")
    assert.are.equal("secret(****)", tostring(secret))
    assert.are.equal("tok\0en", secret:reveal())
    assert.are.equal(6, #secret)
    assert.is_false(getmetatable(secret))
    assert.has_error(function() return "x" .. secret end)
  end)

  it("is empty after a wipe, and says so", function()
    local secret = core.secret("token")
    secret:wipe()
    secret:wipe()
    assert.are.same({ nil, "closed" }, { secret:reveal() })
    assert.are.equal(0, #secret)
    assert.are.equal("secret(****)", tostring(secret))
    assert.is_false(secret:equals("token"))
    assert.is_false(secret:equals(""))
    assert.is_false(secret:equals(secret))
  end)

  it("may be empty", function()
    local secret = core.secret("")
    assert.are.equal("", secret:reveal())
    assert.is_true(secret:equals(""))
    assert.is_true(secret:equals(core.secret("")))
  end)

  it("equals text and secrets", function()
    local secret = core.secret("token")
    assert.is_true(secret:equals("token"))
    assert.is_true(secret:equals(core.secret("token")))
    assert.is_true(secret:equals(secret))
    for _, other in ipairs({ "", "toke", "tokem", "tokens", "token\0", "TOKEN" }) do
      assert.is_false(secret:equals(other))
      assert.is_false(secret:equals(core.secret(other)))
    end
  end)

  it("equals nothing else, whatever it is", function()
    local secret, values = core.secret("1"), vectors.not_text()
    for i = 1, values.n do assert.is_false(secret:equals(values[i])) end
    assert.is_false(secret:equals(1))
    assert.is_false(secret:equals(core.hmac_key({ "1" })))
    assert.is_false(secret:equals())
  end)

  it("has a limit of a mebibyte", function()
    assert.are.equal(1048576, #core.secret(("x"):rep(1048576)))
    assert.are.same({ nil, "invalid_request" }, { core.secret(("x"):rep(1048577)) })
  end)

  it("raises for mistakes of the caller", function()
    assert.has_error(function() core.secret() end)
    assert.has_error(function() core.secret(42) end)
    assert.has_error(function() core.secret("x").reveal({}) end)
    assert.has_error(function() core.secret("x").reveal(core.hmac_key({ "k" })) end)
  end)

  it("survives a hostile collector", function()
    local secrets = {}
    for i = 1, 200 do
      secrets[i] = core.secret(("x"):rep(i))
      if i % 3 == 0 then secrets[i - 1]:wipe() end
      if i % 10 == 0 then collectgarbage() end
    end
    secrets = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
  end)
end)

describe("the machine", function()
  it("has clocks that count milliseconds", function()
    local wall_ms, mono_ms = core.now_ms(), core.monotonic_ms()
    assert.is_true(math.abs(wall_ms / 1000 - os.time()) < 5)
    assert.are.equal(math.floor(mono_ms), mono_ms)
    core.sleep_ms(2)
    assert.is_true(core.monotonic_ms() >= mono_ms + 2)
    core.sleep_ms(0)
    core.sleep_ms(-1)
  end)

  it("has randomness", function()
    assert.are.equal(32, #core.random(32))
    assert.are.equal("", core.random(0))
    assert.are.equal(65536, #core.random(65536))
    assert.are_not.equal(core.random(16), core.random(16))
  end)

  it("holds signals, twice as well as once", function()
    core.hold_signals()
    core.hold_signals()
    core.release_signals()
    core.release_signals()
  end)

  it("counts this process's threads by how their names begin", function()
    local file = assert(io.open("/proc/self/comm"))
    local name = file:read("*l")
    file:close()
    assert.are.equal(1, core.thread_count(name))
    assert.are.equal(1, core.thread_count(name:sub(1, 2)))
    assert.are.equal(0, core.thread_count("no such name"))
    assert.is_true(core.thread_count("") >= 1)
    assert.has_error(function() core.thread_count() end)
  end)

  it("raises for mistakes of the caller", function()
    for _, n in ipairs({ -1, 65537, 1.5, 0 / 0, 1 / 0, "16" }) do assert.has_error(function() core.random(n) end) end
    assert.has_error(function() core.random() end)
    assert.has_error(function() core.sleep_ms() end)
    assert.has_error(function() core.sleep_ms(0 / 0) end)
  end)
end)
