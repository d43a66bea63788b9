-- Building a request: what cannot be sent is refused before anything is.

local errors = require "ringlink.errors"
local offline = require "support.offline"

local MARK = "QZ7"                     -- stands in bad values; must not stand in any message

describe("request", function()
  local client, clock, account

  before_each(function()
    client, clock = offline.client({ max_attempts = 3 })
    offline.grant(client, {})
    account = client:account("ring-1")
  end)

  local function is_refusal(err, ...)
    assert.is_true(errors.is(err), tostring(err))
    assert.same({ "invalid_request", "request" }, { err.code, err.stage })
    for _, piece in ipairs({ ... }) do assert.truthy(err.message:find(piece, 1, true), err.message) end
    assert.is_nil(err.message:find(MARK, 1, true), err.message)
    offline.assert_silent(client)
  end

  local function refuses(spec, ...)
    local response, err = account:request(spec)
    assert.is_nil(response)
    is_refusal(err, ...)
  end

  local function with(field, value)
    return { path = "/v1/devices", [field] = value }
  end

  local function quoted(value)
    return (("%q"):format(tostring(value)):sub(1, 24):gsub("[^%g ]", "?"):gsub("0x%x+", ""))
  end

  it("needs a table", function()
    refuses(nil, "table")
    refuses("/v1/devices", "table")
    refuses({}, "path is missing")
  end)

  it("has no unknown fields", function()
    refuses(with("methd", "GET"), "methd")
    refuses({ "/v1/devices" }, "unknown field")
  end)

  describe("the path", function()
    for _, path in ipairs({ "", "v1/devices", "//evil.example/v1", "https://evil.example/", "/" .. MARK .. " x",
      "/" .. MARK .. "é", "/" .. MARK .. "#x", "/" .. MARK .. "\\x", "/" .. MARK .. "\r\nHost: x", "/" .. MARK .. "\0",
      "/" .. MARK .. "\127", "/" .. MARK .. ("x"):rep(8192) }) do
      it("is not " .. quoted(path), function() refuses({ path = path }, "path") end)

      it("is not " .. quoted(path) .. " in get and pages either", function()
        local body, err = account:get(path)
        assert.is_nil(body)
        is_refusal(err, "path")
        local ok, raised = pcall(account:pages(path))
        assert.is_false(ok)
        is_refusal(raised, "path")
      end)
    end

    for _, path in ipairs({ 12, true, print }) do
      it("is no " .. type(path), function() refuses({ path = path }, "path must be a string or a table") end)
    end

    for _, path in ipairs({ "/v1/../" .. MARK, "/v1/devices/..", "/v1/./" .. MARK, "/v1/%2e%2E/" .. MARK,
      "/v1/.%2e?" .. MARK }) do
      it("has no dots: " .. path, function() refuses({ path = path }, "dot segment") end)
    end

    it("lacks no id", function() refuses({ path = "/v1/devices//status" .. MARK }, "empty segment", "id missing") end)

    for name, segments in pairs({ ["nothing"] = {}, ["an empty segment"] = { "v1", "" }, ["a dot"] = { "v1", "." },
      ["two dots"] = { "v1", "..", MARK }, ["a slash"] = { "v1", "devices/" .. MARK }, ["a table"] = { "v1", {} },
      ["a boolean"] = { "v1", true } }) do
      it("is not made of " .. name, function()
        refuses({ path = segments }, "path")
        is_refusal(select(2, account:get(segments)), "path")
        local ok, raised = pcall(account:pages(segments))
        assert.is_false(ok)
        is_refusal(raised, "path")
      end)
    end

    it("is not missing in get and pages", function()
      is_refusal(select(2, account:get(nil)), "path")
      for _, query in ipairs({ false, { a = 1 } }) do
        local ok, raised = pcall(function()
          for _ in account:pages(nil, query or nil) do error("a page") end
        end)
        assert.is_false(ok)
        is_refusal(raised, "path")
      end
    end)
  end)

  describe("the method", function()
    for _, method in ipairs({ "", "get", "GET ", "GET /", "GET\r\n", "G\0T", "PUT-X", ("G"):rep(17) }) do
      it("is not " .. quoted(method), function() refuses(with("method", method), "method") end)
    end

    it("is text", function() refuses(with("method", 12), "method must be a string") end)
  end)

  describe("a header", function()
    for _, name in ipairs({ "", "a b", "a:b", MARK .. "\r\nX", MARK .. "\0", MARK .. "é" }) do
      it("is not called " .. quoted(name), function() refuses(with("headers", { [name] = "x" }), "header") end)
    end

    it("has a name", function() refuses(with("headers", { "Accept: */*" }), "header") end)

    for _, value in ipairs({ MARK .. "\r\nX-Evil: 1", MARK .. "\n", MARK .. "\r", MARK .. "\0", MARK .. "\127", 12,
      true, {} }) do
      it("is not " .. quoted(value), function() refuses(with("headers", { ["X-Test"] = value }), "X-Test") end)
    end

    for _, name in ipairs({ "Authorization", "authorization", "HOST", "Content-Length", "Transfer-Encoding",
      "Connection" }) do
      it(name .. " is ringlink's", function() refuses(with("headers", { [name] = MARK }), name) end)
    end

    it("comes in a table", function() refuses(with("headers", "X: y"), "headers must be a table") end)
  end)

  describe("the query", function()
    it("is a table of names and plain values", function()
      refuses(with("query", "a=b"), "query must be a table")
      refuses(with("query", { a = { MARK } }), "query")
      refuses(with("query", { a = print }), "query")
      refuses(with("query", { "a", "b" }), "query")
      refuses(with("query", { [{}] = "a" }), "query")
      refuses(with("query", { "a", b = "c" }), "query")
    end)

    it("is so in pages too", function()
      for _, query in ipairs({ { a = { MARK } }, { "a", b = "c" }, { [{}] = "a" } }) do
        local ok, raised = pcall(account:pages("/v1/devices", query))
        assert.is_false(ok)
        is_refusal(raised, "query")
      end
    end)
  end)

  describe("the body", function()
    it("is text, or json a table, not both", function()
      refuses(with("body", {}), "body must be a string")
      refuses(with("json", "{}"), "json must be a table")
      refuses({ path = "/p", method = "POST", body = "x", json = {} }, "not both")
    end)

    it("must be something that JSON can say", function()
      local cycle = {}
      cycle[1] = cycle
      for _, value in ipairs({ cycle, { print }, { 0 / 0 }, { [{}] = 1 } }) do
        refuses({ path = "/p", method = "POST", json = value }, "json cannot be encoded")
      end
    end)
  end)

  describe("the sink", function()
    it("is a file's name or a function", function()
      refuses(with("sink", 12), "sink must be a string or a function")
      refuses(with("sink", {}), "sink must be a string or a function")
      refuses(with("sink", ""), "sink must name a file")
      refuses(with("sink", "a\0b"), "sink must name a file")
    end)

    it("is not for HEAD", function() refuses({ path = "/p", method = "HEAD", sink = print }, "HEAD") end)

    it("is told where no file can be, before anything is sent", function()
      local response, err = account:request(with("sink", "/nowhere/" .. MARK .. "/clip.mp4"))
      assert.is_nil(response)
      assert.same({ "sink_failed", "request", false }, { err.code, err.stage, err.retryable })
      assert.truthy(err.message:find("its directory cannot be opened", 1, true), err.message)
      assert.is_nil(err.message:find(MARK, 1, true))
    end)
  end)

  describe("the rest", function()
    it("is of its type", function()
      refuses(with("follow", 1), "follow must be a boolean")
      refuses(with("retry", "yes"), "retry must be a boolean")
      refuses(with("timeout_ms", "5"), "timeout_ms must be a number")
    end)

    for _, value in ipairs({ 0, -1, 0 / 0, -1 / 0 }) do
      it("has no timeout of " .. tostring(value), function() refuses(with("timeout_ms", value), "timeout_ms") end)
    end
  end)

  describe("in a state without tokens", function()
    for state, code in pairs({ unlinked = "unlinked", relink = "relink_required", failed = "not_found",
      superseded = "not_found" }) do
      it("is " .. code .. " when the link is " .. state, function()
        local other, _ = offline.client()
        offline.grant(other, { account = "ring-2", state = state })
        local body, err = other:account("ring-2"):get("/v1/devices")
        assert.is_nil(body)
        assert.equal(code, err.code)
        offline.assert_silent(other)
      end)
    end

    it("is not_found for an account that is unknown", function()
      assert.equal("not_found", select(2, client:account("nobody"):get("/v1/devices")).code)
    end)

    it("is not_found for an account of another user", function()
      assert.equal("not_found", select(2, client:account("ring-1", { user = "user-2" }):get("/v1/devices")).code)
      offline.assert_silent(client)
    end)
  end)

  describe("when nobody listens", function()
    local attempts
    before_each(function()
      attempts = {}
      client:on("request", function(call) attempts[#attempts + 1] = call end)
    end)

    it("is tried as often as allowed, waiting in between", function()
      local body, err = account:get("/v1/devices")
      assert.is_nil(body)
      assert.same({ "connect", "request", 3, true }, { err.code, err.stage, err.attempts, err.retryable })
      assert.is_nil(err.ambiguous)
      assert.equal(3, #attempts)
      assert.truthy(clock.slept_s > 0)
    end)

    it("is tried again even as a POST, which cannot have arrived", function()
      local _, err = account:request({ method = "POST", path = "/v1/devices/d1/media/image/download", json = {} })
      assert.same({ "connect", 3 }, { err.code, err.attempts })
      assert.is_nil(err.ambiguous)
    end)

    it("tells the hook method and path, without query and token", function()
      account:get("/v1/devices", { include = MARK })
      local call = attempts[1]
      assert.same({ stage = "request", method = "GET", path = "/v1/devices", attempt = 1 }, call)
    end)

    it("stops at the deadline", function()
      local hasty = offline.client({ deadline_ms = 1, max_attempts = 16, clock = clock })
      offline.grant(hasty, {})
      local _, err = hasty:account("ring-1"):get("/v1/devices")
      assert.truthy(err.code == "connect" or err.code == "timeout", err.code)      -- whichever comes first
      assert.equal(1, err.attempts)
    end)

    it("is counted", function()
      account:get("/v1/devices")
      assert.same({ ["request connect"] = 3 }, client:metrics().calls)
    end)
  end)

  -- Where a redirect's target may be is the transport's to keep; here, that it is told.
  describe("a redirect", function()
    local CASES = {              -- Ring's URL, the target, whether that must be public
      { "https://ring.test", "https://elsewhere.test/x", true },
      { "https://ring.test", "https://ring.test:443/x", false },
      { "https://ring.test", "https://ring.test:8443/x", true },
      { "https://ring.test", "/x", false },
      { "https://127.0.0.1:8443", "https://elsewhere.test/x", false },
      { "https://localhost", "https://elsewhere.test/x", false },
      { "https://[::1]:8443", "https://elsewhere.test/x", false },
      { "https://127.0.0.1.test", "https://elsewhere.test/x", true },
      { "https://localhost.test", "https://elsewhere.test/x", true },
    }

    local function play(target, api_url, options, last)
      options.api_url, options.oauth_url = api_url, api_url
      local one, sent = offline.client(options), {}
      offline.grant(one, {})
      local answers = { { status = 303, headers = { location = target }, body = "" },
        last or { status = 200, headers = {}, body = "image" } }
      one.open_transport = function()
        return { start = function(_, request)
          sent[#sent + 1] = request
          return #sent
        end }
      end
      one.runtime.admit = nil
      one.runtime.await = function(_, ticket) return answers[ticket] end
      return sent, one:account("ring-1"):request { method = "POST", path = "/v1/image", follow = true,
        headers = { Accept = "image/gif", Range = "bytes=0-3", ["X-Own"] = MARK, Cookie = MARK } }
    end

    for _, case in ipairs(CASES) do
      it(("from %s to %s %s"):format(case[1], case[2], case[3] and "keeps to public addresses" or "may go anywhere"),
        function()
          local sent = play(case[2], case[1], { allow_http_loopback = false })
          assert.same({ false, case[3] }, { sent[1].public_only or false, sent[2].public_only })
        end)
    end

    it("may go anywhere in tests on this machine", function()
      local sent = play("https://elsewhere.test/x", "https://ring.test", { allow_http_loopback = true })
      assert.is_false(sent[2].public_only)
    end)

    it("to an address that may not be asked is not repeated", function()
      local sent, none, err = play("https://elsewhere.test/x", "https://ring.test", { allow_http_loopback = false },
        { error = "bad_response", sent = false, detail = "the address is not a public one" })
      assert.is_nil(none)
      assert.same({ "bad_response", "follow", 1, 2 }, { err.code, err.stage, err.attempts, #sent })
    end)

    it("carries nothing there but what is wanted and which part of it", function()
      local sent, answer = play("https://elsewhere.test/x", "https://ring.test", { allow_http_loopback = false })
      assert.equal("image", answer.body)
      table.sort(sent[2].headers)
      assert.same({ "Accept: image/gif", "Range: bytes=0-3" }, sent[2].headers)
      assert.same({ "GET", "https://elsewhere.test/x" }, { sent[2].method, sent[2].url })
      assert.is_nil(sent[2].body)
    end)
  end)
end)
