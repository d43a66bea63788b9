-- One call to Ring over a scripted wire: what its answers do to the shared limiter, and how large
-- they may be.

local offline = require "support.offline"

local ELSEWHERE = { status = 303, headers = { location = "https://bucket.example/media/1" } }
local AT_RING = { status = 303, headers = { location = "/v1/media/1" } }
local TOKENS = '{"access_token":"a-new-one","refresh_token":"another","expires_in":14400}'

describe("a call", function()
  local client, clock, account, answers, requests

  -- Each request is answered by the next of `answers`, and what comes after the last one is a 200.
  local function script(target)
    target.open_transport = function()
      return { start = function(_, request)
        requests[#requests + 1] = request
        return 1
      end }
    end
    target.runtime.await = function()
      local result = { status = 200, headers = {}, body = "{}", sent = true, time_ms = 1, http = "1.1" }
      for name, value in pairs(table.remove(answers, 1) or {}) do result[name] = value end
      return result
    end
  end

  local function start(options)
    client, clock = offline.client(options)
    offline.grant(client, {})
    account, answers, requests = client:account("ring-1"), {}, {}
    script(client)
  end

  before_each(function() start() end)

  local function limited(retry_after, status)
    return { status = status or 429, headers = { ["retry-after"] = retry_after, ["x-ratelimit-remaining"] = "0" } }
  end

  local function fails(spec)
    local answer, err = account:request(spec)
    assert.is_nil(answer)
    return err
  end

  --- How long the limiter would keep the next call waiting.
  local function wait_ms() return client.limiter:take(clock.monotonic_ms()) end

  describe("that is told to slow down", function()
    before_each(function() start({ max_attempts = 1 }) end)

    it("keeps the others waiting as long as Ring says", function()
      answers = { limited("30") }
      assert.equal(30, fails({ path = "/v1/devices" }).retry_after)
      assert.equal(30000, wait_ms())
    end)

    it("keeps them waiting a minute at most, and tells its caller what Ring said", function()
      answers = { limited("86400") }
      assert.equal(86400, fails({ path = "/v1/devices" }).retry_after)
      assert.equal(60000, wait_ms())
    end)

    it("keeps nobody waiting when it was no 429", function()
      answers = { limited("30", 503) }
      fails({ path = "/v1/devices" })
      assert.is_true(wait_ms() <= 10)
    end)
  end)

  describe("that follows a redirect", function()
    local spec = { path = "/v1/media", follow = true }
    before_each(function() start({ max_attempts = 1 }) end)

    it("to another host lets nobody wait for that host's sake", function()
      answers = { ELSEWHERE, limited("3600") }
      assert.equal(3600, fails(spec).retry_after)
      assert.equal("https://bucket.example/media/1", requests[2].url)
      assert.equal(0, wait_ms())
    end)

    it("within Ring is under Ring's limit", function()
      answers = { AT_RING, limited("20") }
      fails(spec)
      assert.equal(20000, wait_ms())
    end)
  end)

  describe("for tokens", function()
    it("takes an answer of its own size, whatever other answers may be", function()
      start({ response_bytes_max = 1024 })
      answers = { { body = TOKENS } }
      assert.is_true(account:refresh({ force = true }))
      assert.equal(256 * 1024, requests[1].response_bytes_max)
    end)

    it("leaves the bound of other answers as it is", function()
      assert(account:request({ path = "/v1/devices" }))
      assert.is_nil(requests[1].response_bytes_max)
    end)
  end)

  describe("under a rate of parts", function()
    for _, rate in ipairs({ 0.5, 2.5, 99.9 }) do
      it("as " .. rate .. " is let through", function()
        start({ rate_limit_per_s = rate })
        for _ = 1, 5 do assert(account:request({ path = "/v1/devices" })) end
        assert.equal(5, #requests)
      end)
    end
  end)
end)
