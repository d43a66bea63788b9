-- core.retry, core.retry_after_ms and core.http_date_ms: what is repeated, when, and what headers say.

local core = require "ringlink.core"
local vectors = require "support.vectors"

local NOW = 784111777000 -- Sun, 06 Nov 1994 08:49:37 GMT

local function attempt(fields)
  local base = { attempts = 1, attempts_max = 5, lost = 0, elapsed_ms = 0, deadline_ms = 60000, random = 0.5 }
  for name, value in pairs(fields) do base[name] = value end
  return base
end

local function decide(kind, fields)
  return core.retry(kind, attempt(fields))
end

describe("retry", function()
  it("has a class for each outcome", function()
    local outcomes = {
      done = { { status = 200 }, { status = 204 }, { status = 303 } },
      refused = { { status = 400 }, { status = 403 }, { status = 404 } },
      unauthorized = { { status = 401 } },
      limited = { { status = 429 } },
      unavailable = { { status = 408 }, { status = 500 }, { status = 503 }, { status = 999 }, { status = 100 } },
      unsent = { { error = "connect" }, { error = "dns" }, { error = "timeout", sent = false } },
      lost = { { error = "timeout", sent = true }, { error = "network", sent = true },
        { error = "bad_response", sent = true } },
      fatal = { { error = "tls" }, { error = "response_too_large", sent = true }, { error = "cancelled" },
        { error = "closed" } },
    }
    for class, list in pairs(outcomes) do
      for _, fields in ipairs(list) do assert.are.equal(class, (select(3, decide("safe", fields)))) end
    end
  end)

  it("repeats by the kind of call", function()
    local rows = { -- safe, once, link, token
      { { status = 429 }, "repeat", "repeat", "repeat", "repeat" },
      { { status = 503 }, "repeat", "stop", "repeat", "repeat" },
      { { error = "connect" }, "repeat", "repeat", "repeat", "repeat" },
      { { error = "network", sent = true, lost = 1 }, "repeat", "stop", "repeat", "repeat" },
      { { error = "network", sent = true, lost = 2, attempts = 2 }, "repeat", "stop", "repeat", "stop" },
      { { status = 400 }, "stop", "stop", "stop", "stop" },
      { { status = 401 }, "stop", "stop", "stop", "stop" },
      { { error = "tls" }, "stop", "stop", "stop", "stop" },
      { { status = 200 }, "done", "done", "done", "done" },
      { { status = 503, final = true }, "stop", "stop", "stop", "stop" },
      { { status = 503, attempts = 5 }, "stop", "stop", "stop", "stop" },
    }
    for _, row in ipairs(rows) do
      for i, kind in ipairs({ "safe", "once", "link", "token" }) do
        assert.are.equal(row[i + 1], (decide(kind, row[1])))
      end
    end
  end)

  it("waits exponentially with full jitter", function()
    local function wait(attempts, random)
      return (select(2, decide("safe", { status = 503, attempts = attempts, attempts_max = 16, random = random,
        deadline_ms = 1e9 })))
    end
    assert.are.equal(1000, wait(1, 1))
    assert.are.equal(500, wait(1, 0.5))
    assert.are.equal(0, wait(1, 0))
    assert.are.equal(8000, wait(4, 1))
    assert.are.equal(60000, wait(9, 1))
  end)

  it("waits at least as long as the server asks, but not past the deadline", function()
    assert.are.same({ "repeat", 5000, "limited" }, { decide("safe", { status = 429, retry_after_ms = 5000 }) })
    assert.are.same({ "stop", 0, "limited" }, { decide("safe", { status = 429, retry_after_ms = 60000 }) })
    assert.are.same({ "stop", 0, "limited" },
      { decide("safe", { status = 429, retry_after_ms = 5000, elapsed_ms = 55000 }) })
    assert.are.same({ "stop", 0, "limited" }, { decide("safe", { status = 429, retry_after_ms = 1 / 0 }) })
  end)

  it("needs little", function()
    assert.are.equal("stop", (core.retry("safe", { status = 503 })))
    assert.are.equal("repeat", (core.retry("safe", { status = 503, attempts_max = 2 })))
  end)

  it("raises for mistakes of the caller", function()
    assert.has_error(function() core.retry("often", { status = 200 }) end)
    assert.has_error(function() core.retry(nil, { status = 200 }) end)
    assert.has_error(function() core.retry("safe") end)
    assert.has_error(function() core.retry("safe", {}) end)
    assert.has_error(function() core.retry("safe", { error = "gremlins" }) end)
    assert.has_error(function() core.retry("safe", { error = 28 }) end)
    assert.has_error(function() core.retry("safe", { status = "200" }) end)
    assert.has_error(function() core.retry("safe", { status = 200.5 }) end)
    assert.has_error(function() core.retry("safe", { status = 0 / 0 }) end)
    assert.has_error(function() core.retry("safe", { status = -1 }) end)
    assert.has_error(function() core.retry("safe", { status = 200, sent = 1 }) end)
    assert.has_error(function() core.retry("safe", { status = 200, random = 2 }) end)
    assert.has_error(function() core.retry("safe", { status = 200, random = 0 / 0 }) end)
    assert.has_error(function() core.retry("safe", { status = 200, deadline_ms = "soon" }) end)
  end)

  it("names the field that is wrong", function()
    local ok, message = pcall(core.retry, "safe", { status = 200, attempts = "one" })
    assert.is_false(ok)
    assert.is_truthy(message:find("attempts: integer expected", 1, true))
  end)
end)

describe("retry_after_ms", function()
  it("reads seconds and all three forms of dates", function()
    local DAY = 86400000
    local rows = {
      { "0", 0 }, { "120", 120000 }, { " 120\t", 120000 }, { "86401", DAY }, { "99999999999999999999", DAY },
      { ("9"):rep(100000), DAY },
      { "Sun, 06 Nov 1994 08:49:38 GMT", 1000 }, { "Sunday, 06-Nov-94 08:50:37 GMT", 60000 },
      { "Sun Nov  6 08:49:39 1994", 2000 }, { "Sun, 06 Nov 1994 08:49:36 GMT", 0 },
      { "Mon, 06 Nov 1994 08:49:38 GMT", 1000 }, -- the weekday is wrong, the date is not
      { "Sun, 06 Nov 1994 08:49:60 GMT", 23000 }, -- a leap second
      { "Fri, 31 Dec 9999 23:59:59 GMT", DAY }, { "Sat, 01 Jan 0000 00:00:00 GMT", 0 },
    }
    for _, row in ipairs(rows) do assert.are.equal(row[2], core.retry_after_ms(row[1], NOW)) end
  end)

  it("is nil for everything else", function()
    local bad = { "", " ", "-5", "+5", "1e3", "1.5", "0x10", "5s", "5, 6", "5\0", "soon", "\255",
      "Sun, 06 Nov 1994 08:49:38 GMT x", "Sun, 31 Feb 1994 08:49:38 GMT", "1994-11-06T08:49:38Z" }
    for _, text in ipairs(bad) do assert.is_nil(core.retry_after_ms(text, NOW)) end
    local values = vectors.not_text()
    for i = 1, values.n do assert.is_nil(core.retry_after_ms(values[i], NOW)) end
  end)

  it("raises without a clock", function()
    assert.has_error(function() core.retry_after_ms("5") end)
  end)
end)

describe("http_date_ms", function()
  it("reads all three forms", function()
    for _, text in ipairs({ "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
      "Sun Nov  6 08:49:37 1994" }) do
      assert.are.equal(NOW, core.http_date_ms(text, NOW))
    end
  end)

  it("is nil for what is no date", function()
    for _, text in ipairs({ "", "120", "Sun", "Sun, 06 Nov 1994 25:49:37 GMT" }) do
      assert.is_nil(core.http_date_ms(text, NOW))
    end
    assert.is_nil(core.http_date_ms(nil, NOW))
  end)
end)
