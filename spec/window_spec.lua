-- The window of a redirect (contract 6: 600 s) and what is left of it when a refresh or repeats take
-- long: no POST is attempted after it. And what settling believes.

local answers = require "support.answers"
local offline = require "support.offline"

local WINDOW_MS = 600 * 1000

describe("the window of a link", function()
  local client, clock, ring, key, q, posted

  local function start(options, grant)
    client, clock = offline.client(options)
    ring = answers.serve(client)
    grant = grant or {}
    grant.state = "unclaimed"
    key = offline.grant(client, grant)
    q = offline.redirect(client, "ring-1")
    q.user, q.account_identifier = "user-1", "maria@partner.example.com"
    posted = {}
  end

  local function row() return (client.store:get(key)) end

  --- The POST's answers in turn; when each attempt was made goes to `posted`.
  local function posts(...)
    local list = { ... }
    ring.on.confirm = function(n)
      posted[n] = clock.now_ms() - tonumber(q.time)
      local said = list[math.min(n, #list)]
      if type(said) == "function" then return said() end
      return said
    end
  end

  local function begin_at(ms) clock.advance(ms) end

  local function assert_in_window()
    for _, at_ms in ipairs(posted) do assert.is_true(at_ms <= WINDOW_MS, tostring(at_ms)) end
  end

  local function fails(code)
    local link, err = client:link(q)
    assert.is_nil(link)
    assert.equal(code, err.code)
    return err
  end

  local function assert_released()
    assert.equal("unclaimed", row().state)
    assert.same({}, { row().user, row().nonce, row().time })
  end

  local SLOW_REFRESH_MS = 30000

  local function slow_refresh()
    ring.on.refresh = function() clock.advance(SLOW_REFRESH_MS) end
  end

  it("lets the POST through to its end", function()
    start()
    posts(nil)
    begin_at(WINDOW_MS - 1)
    assert.equal("completed", assert(client:link(q)).status)
    assert.same({ WINDOW_MS - 1 }, posted)
  end)

  it("closes while a refresh takes long: link_expired, nothing sent, the claim is released", function()
    start(nil, { expires_ms = offline.now_ms + 1 })
    posts(nil)
    slow_refresh()
    begin_at(WINDOW_MS - 1000)
    assert.equal("confirm", fails("link_expired").stage)
    assert.same({ "refresh" }, ring.calls)
    assert_released()
  end)

  it("closes while a refused token is renewed: link_expired, the claim is released", function()
    start()
    posts(answers.refusal(401))
    slow_refresh()
    begin_at(WINDOW_MS - 1000)
    fails("link_expired")
    assert.equal(1, #posted)
    assert_released()
  end)

  it("closes between repeats that never arrive: no attempt after it, the next call says link_expired", function()
    start({ max_attempts = 8 })
    posts(function()
      clock.advance(300)
      return { error = "connect", sent = false }
    end)
    begin_at(WINDOW_MS - 1000)
    assert.is_nil(fails("connect").ambiguous)
    assert.is_true(#posted >= 1)
    assert_in_window()
    clock.advance(1000)
    local before = #posted
    assert(client:work())
    clock.advance(client.options.deadline_ms)
    assert(client:work())
    assert.equal(before, #posted)
    assert_released()
    assert_in_window()
  end)

  for name, readable in pairs({ ["and it had worked: the link is settled"] = true,
    ["and it had not: confirm_outcome_unknown, released"] = false }) do
    it("closes after an attempt that may have arrived " .. name, function()
      start({ max_attempts = 8 })
      posts({ status = 503 }, answers.refusal(401))
      slow_refresh()
      if not readable then ring.on.devices = function() return answers.refusal(403) end end
      begin_at(WINDOW_MS - 5000)
      if readable then
        assert.equal("completed", assert(client:link(q)).status)
        assert.equal("completed", row().state)
      else
        assert.is_true(fails("confirm_outcome_unknown").ambiguous)
        assert_released()
      end
      assert.equal(2, #posted)
      assert.equal(1, ring:count("refresh"))
      assert_in_window()
    end)
  end

  it("closes between repeats that may have arrived: later it is settled, not POSTed again", function()
    start({ max_attempts = 8 })
    posts({ status = 503 })
    begin_at(WINDOW_MS - 1000)
    assert.is_true(fails("ring_error").ambiguous)
    assert.equal("confirming", row().state)
    assert_in_window()
    local before = #posted
    clock.advance(client.options.deadline_ms)
    assert.equal(1, assert(client:work()).resumed)
    assert.equal(before, #posted)
    assert.equal("completed", row().state)
  end)

  it("bounds the repeats also by link_window_s", function()
    start({ max_attempts = 8, link_window_s = 60 })
    posts({ status = 503 })
    begin_at(59000)
    fails("ring_error")
    for _, at_ms in ipairs(posted) do assert.is_true(at_ms <= 60000, tostring(at_ms)) end
  end)

  it("closes while a pause takes longer than it should", function()
    start({ max_attempts = 8 })
    local sleep = clock.sleep
    clock.sleep = function(seconds) sleep(seconds + 3) end
    posts({ error = "connect", sent = false })
    begin_at(WINDOW_MS - 2000)
    fails("connect")
    assert_in_window()
  end)

  describe("settling", function()
    before_each(function()
      start()
      posts({ status = 503 }, answers.refusal(400, "Invalid Nonce"))
    end)

    for _, status in ipairs({ "pending", "removed", "" }) do
      it(("does not take status %q for a link: confirm_outcome_unknown, released"):format(status), function()
        ring.on.update = function() return { json = { status = status } } end
        assert.is_true(fails("confirm_outcome_unknown").ambiguous)
        assert_released()
        assert.equal(0, ring:count("devices"))
        assert.equal(0, ring:count("complete"))
      end)
    end

    for _, status in ipairs({ "awaiting", "completed" }) do
      it(("takes %s for one, when devices can be read"):format(status), function()
        ring.on.update = function() return { json = { status = status } } end
        assert.equal("completed", assert(client:link(q)).status)
        assert.equal(1, ring:count("devices"))
      end)
    end
  end)
end)
