-- One call to Ring over a scripted wire: what its answers do to the shared limiter, and how large
-- they may be.

local json = require "ringlink.json"
local offline = require "support.offline"

local ELSEWHERE = "https://bucket.example/media/1"

describe("a call", function()
  local client, clock, account, answers, requests

  -- The answers come in their order, the last one again and again.
  local function scripted()
    client.open_transport = function()
      return { start = function(_, request)
        requests[#requests + 1] = request
        return 1
      end }
    end
    client.runtime.await = function()
      local next_answer = #answers > 1 and table.remove(answers, 1) or answers[1]
      local result = { headers = {}, body = "{}", sent = true, time_ms = 1, http = "1.1" }
      for name, value in pairs(next_answer) do result[name] = value end
      return result
    end
  end

  local function start(options)
    client, clock = offline.client(options)
    offline.grant(client, {})
    account = client:account("ring-1")
    answers, requests = { { status = 200 } }, {}
    scripted()
  end

  before_each(function() start() end)

  -- How long a call would wait now for the limiter alone.
  local function wait_ms() return client.limiter:take(clock.monotonic_ms()) end

  describe("that is told 429", function()
    it("keeps the others waiting as long as Ring says", function()
      answers = { { status = 429, headers = { ["retry-after"] = "50" } } }
      start_ms = nil
      local _, err = account:request({ path = "/v1/devices", method = "POST" })
      assert.equal("rate_limited", err.code)
      assert.equal(50000, wait_ms())
    end)
  end)
end)
