-- Calls in a Ring user's name against the strict sandbox: what is sent, repeated, followed, refused.

local json = require "ringlink.json"
local ringlink = require "ringlink"
local world = require "support.world"

describe("requests #network", function()
  local w, client, account

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client = w:quick_client()
    account = w:linked(client).account
  end)

  local function fails(spec, from)
    local none, err = (from or account):request(spec)
    assert.is_nil(none)
    assert.equal("request", err.stage)
    return err
  end

  local function devices()
    return assert(account:get("/v1/devices")).data
  end

  local function media_path(kind)
    return "/v1/devices/" .. ringlink.encode(devices()[1].id) .. "/media/" .. kind .. "/download"
  end

  it("carry a query", function()
    local body = assert(account:get("/v1/devices", { include = "status,location" }))
    assert.equal(2, #body.data)
    assert.equal(4, #body.included)
    assert.is_true(body.included[1].attributes.online)
  end)

  it("reach devices whose ids need encoding", function()
    for _, device in ipairs(devices()) do
      local one = assert(account:get("/v1/devices/" .. ringlink.encode(device.id), { include = "status" }))
      assert.equal(device.id, one.data.id)
    end
  end)

  it("give status, headers, body and JSON", function()
    local answer = assert(account:request { path = "/v1/devices" })
    assert.equal(200, answer.status)
    assert.equal("application/json", answer.headers["content-type"])
    assert.same(json.decode(answer.body), answer.json)
    assert.is_nil(answer.attempts)
  end)

  it("open and close a live session", function()
    local path = media_path("image"):gsub("/image/download$", "/streaming/whep/sessions")
    local opened = assert(account:request { method = "POST", path = path, body = "v=0\r\n",
      headers = { ["Content-Type"] = "application/sdp" } })
    assert.equal(201, opened.status)
    local closed = assert(account:request { method = "DELETE", path = opened.headers.location })
    assert.equal(204, closed.status)
    assert.equal(404, fails({ method = "DELETE", path = opened.headers.location }).status)
  end)

  it("ask for a part of a clip", function()
    local path = media_path("video")
    local part = assert(account:request { method = "POST", path = path, headers = { Range = "bytes=0-3" } })
    assert.equal(206, part.status)
    assert.equal(4, #part.body)
    local err = fails { method = "POST", path = path, headers = { Range = "bytes=100000-" } }
    assert.equal(416, err.status)
    assert.is_false(err.retryable)
  end)

  describe("that Ring refuses:", function()
    local RULES = {
      { status = 400, code = "ring_error", title = "Bad Request" },
      { status = 403, code = "forbidden", title = "Out of Scope Access" },
      { status = 404, code = "not_found", title = "Not Found" },
      { status = 409, code = "ring_error", title = "Conflict" },
      { status = 425, code = "too_early", title = "Too Early", retryable = true, attempts = 1 },
      { status = 429, code = "rate_limited", title = "Rate Limit Exceeded", retryable = true, attempts = 5 },
      { status = 500, code = "ring_error", title = "Internal Server Error", retryable = true, attempts = 5 },
      { status = 503, code = "ring_error", title = "Service Unavailable", retryable = true, attempts = 5 },
      { status = 503, code = "device_unavailable", title = "Device Unavailable" },
    }
    for _, rule in ipairs(RULES) do
      it(("%d %s is %s"):format(rule.status, rule.title, rule.code), function()
        w:fault { call = "devices", status = rule.status, title = rule.title, count = "always" }
        local err = fails { path = "/v1/devices" }
        assert.equal(rule.code, err.code)
        assert.equal(rule.status, err.status)
        assert.equal(rule.title, err.title)
        assert.equal(rule.retryable or false, err.retryable)
        assert.equal(rule.attempts or 1, err.attempts)
        assert.equal(rule.attempts or 1, w:count("devices"))
        assert.is_nil(err.ambiguous)
        assert.is_truthy(err.ring_id)
        assert.is_truthy(tostring(err):find(tostring(rule.status), 1, true))
        assert.equal("completed", account:state())
      end)
    end

    it("an offline device says so, at once", function()
      local path = media_path("image")
      assert(w.ring:control("event", { account = account.id, type = "device_offline", force = true }))
      local err = fails { method = "POST", path = path, retry = true }
      assert.equal("device_unavailable", err.code)
      assert.equal(1, w:count("image"))
    end)

    it("an unknown path is forbidden", function()
      assert.equal("forbidden", fails({ path = "/v1/nowhere" }).code)
    end)
  end)

  describe("are repeated:", function()
    for _, method in ipairs { "GET", "HEAD" } do
      it(method .. " while Ring is in trouble", function()
        w:fault { call = "devices", status = 500 }
        w:fault { call = "devices", status = 429, retry_after = 1 }
        w:fault { call = "devices", drop = "after" }
        assert.equal(200, assert(account:request { method = method, path = "/v1/devices" }).status)
        assert.equal(4, w:count("devices"))
      end)
    end

    it("a POST only after 429", function()
      local path = media_path("image")
      w:fault { call = "image", status = 429, retry_after = 1 }
      assert.equal(303, assert(account:request { method = "POST", path = path }).status)
      assert.equal(2, w:count("image"))
    end)

    it("a POST never after 5xx, of which nobody knows", function()
      local path = media_path("image")
      w:fault { call = "image", status = 500, count = "always" }
      local err = fails { method = "POST", path = path }
      assert.equal("ring_error", err.code)
      assert.is_true(err.ambiguous)
      assert.equal(1, w:count("image"))
    end)

    for _, when in ipairs { "before", "after" } do
      it(("a POST never after an answer lost %s the work was done"):format(when), function()
        local path = media_path("image")
        w:fault { call = "image", drop = when, count = "always" }
        local err = fails { method = "POST", path = path }
        assert.equal("network", err.code)
        assert.is_true(err.ambiguous)
        assert.equal(1, err.attempts)
        assert.equal(1, w:count("image"))
      end)
    end

    it("a POST when the caller allows it", function()
      local path = media_path("image")
      w:fault { call = "image", status = 500 }
      w:fault { call = "image", drop = "after" }
      assert.equal(303, assert(account:request { method = "POST", path = path, retry = true }).status)
      assert.equal(3, w:count("image"))
      w:fault { call = "image", drop = "after", count = "always" }
      assert.is_true(fails({ method = "POST", path = path, retry = true }).ambiguous)
    end)
  end)

  describe("follow redirects", function()
    local path
    before_each(function() path = media_path("image") end)

    local function image(more)
      local spec = { method = "POST", path = path, follow = true }
      for name, value in pairs(more or {}) do spec[name] = value end
      return account:request(spec)
    end

    it("only when asked to", function()
      local answer = assert(image { follow = false })
      assert.equal(303, answer.status)
      assert.is_truthy(answer.headers.location:find("/media/", 1, true))
      assert.equal(0, w:count("presigned"))
    end)

    it("to a pre-signed URL without the access token", function()
      local answer = assert(image())
      assert.equal(200, answer.status)
      assert.equal("GIF89a", answer.body:sub(1, 6))
      local fetched = w:journal("presigned")
      assert.equal(1, #fetched)
      assert.equal("GET", fetched[1].method)
      assert.is_nil(fetched[1].bearer)
      assert.is_truthy(w:journal("image")[1].bearer)
    end)

    it("and ask there for the same part", function()
      assert(w.ring:control("variant", { video = "redirect" }))
      local clip = media_path("video")
      local answer = assert(account:request { method = "POST", path = clip, follow = true,
        headers = { Range = "bytes=4-7" } })
      assert.equal(206, answer.status)
      assert.equal("ftyp", answer.body)
    end)

    it("and take the other host's refusal for what it is", function()
      for _, status in ipairs { 401, 403 } do
        w:fault { call = "presigned", status = status }
        local none, err = image()
        assert.is_nil(none)
        assert.equal(status, err.status)
        assert.equal("follow", err.stage)
      end
      assert.equal(0, w:count("refresh"))
      assert.equal(2, w:count("image"))
    end)

    it("up to three", function()
      w:fault { call = "presigned", status = 302, headers = { Location = "/media/again" }, count = 2 }
      w:fault { call = "presigned", status = 200, body = "raw", raw = "arrived" }
      assert.equal("arrived", assert(image()).body)
      w:fault { call = "presigned", status = 302, headers = { Location = "/media/again" }, count = "always" }
      local none, err = image()
      assert.is_nil(none)
      assert.equal("bad_response", err.code)
      assert.equal(6, w:count("presigned"))
    end)

    for _, location in ipairs { "http://127.0.0.1:1/x", "ftp://127.0.0.1/x", "file:///etc/hostname",
      "https://user:password@127.0.0.1/x", "//127.0.0.1/x", "https://", "gopher" } do
      it("never to " .. location, function()
        w:fault { call = "image", status = 303, headers = { Location = location } }
        local none, err = image()
        assert.is_nil(none)
        assert.equal("bad_response", err.code)
        assert.is_nil(tostring(err):find("password", 1, true))
      end)
    end
  end)

  describe("are bounded:", function()
    it("by the size of the answer", function()
      w:fault { call = "devices", body = "huge" }
      local err = fails { path = "/v1/devices" }
      assert.equal("response_too_large", err.code)
      assert.truthy(err.message:find("larger than allowed %(the limit is %d+ bytes%): raise response_bytes_max"))
      assert.equal(1, err.attempts)
      assert.equal(2, #devices())
    end)

    it("by a size that can be raised", function()
      local patient = w:quick_client { response_bytes_max = 8 * 1024 * 1024 }
      local other = w:linked(patient, "user-2").account
      w:fault { call = "devices", body = "huge" }
      assert.equal(2, #assert(other:get("/v1/devices")).data)
    end)

    it("by the time of one attempt", function()
      w:fault { call = "devices", delay_ms = 2000, count = 5 }
      local err = fails { path = "/v1/devices", timeout_ms = 40 }
      assert.equal("timeout", err.code)
      assert.equal(5, err.attempts)
      assert.is_true(err.retryable)
      assert.is_nil(err.ambiguous)
      assert.equal(2, #devices())
    end)

    it("by the deadline of the whole", function()
      local hasty = w:client { deadline_ms = 300 }
      local other = w:linked(hasty, "user-2").account
      w:fault { call = "devices", delay_ms = 2000 }
      local err = fails({ path = "/v1/devices" }, other)
      assert.equal("timeout", err.code)
      assert.equal(1, err.attempts)
    end)

    it("by the deadline of the whole, a refresh and a second try included", function()
      w:fault { call = "devices", status = 429, retry_after = 40 }
      w:fault { call = "devices", status = 401 }
      w:fault { call = "devices", status = 429, retry_after = 40 }
      local err = fails { path = "/v1/devices" }
      assert.equal("rate_limited", err.code)
      assert.equal(3, w:count("devices"))
      assert.equal(1, w:count("refresh"))
    end)

    it("by Ring's wish to wait longer than there is time", function()
      w:fault { call = "devices", status = 429, retry_after = 3600 }
      local err = fails { path = "/v1/devices" }
      assert.equal("rate_limited", err.code)
      assert.equal(3600, err.retry_after)
      assert.equal(1, err.attempts)
    end)
  end)

  describe("that cannot be sent are refused before anything is", function()
    local BAD = {
      ["no table"] = "/v1/devices", ["no path"] = {}, ["a relative path"] = { path = "v1" },
      ["another host"] = { path = "//evil.example/" }, ["a space"] = { path = "/a b" },
      ["a line break in the path"] = { path = "/v1\r\nX: y" }, ["a fragment"] = { path = "/v1#x" },
      ["an unknown field"] = { path = "/v1", bdoy = "x" }, ["a number as body"] = { path = "/v1", body = 1 },
      ["body and json"] = { path = "/v1", body = "x", json = {} },
      ["a line break in a header"] = { path = "/v1", headers = { A = "b\r\nC: d" } },
      ["NUL in a header"] = { path = "/v1", headers = { A = "b\0" } },
      ["a header's name with a colon"] = { path = "/v1", headers = { ["A:"] = "b" } },
      ["Authorization"] = { path = "/v1", headers = { authorization = "Bearer x" } },
      ["a method in lower case"] = { path = "/v1", method = "get" },
      ["a method with a space"] = { path = "/v1", method = "GET /x" },
      ["a timeout below nothing"] = { path = "/v1", timeout_ms = -1 },
      ["no number of a timeout"] = { path = "/v1", timeout_ms = 0 / 0 },
      ["a table in the query"] = { path = "/v1", query = { a = {} } },
      ["a function in json"] = { path = "/v1", method = "POST", json = { print } },
      ["a path of 1 MiB"] = { path = "/" .. ("a"):rep(1024 * 1024) },
    }
    for name, spec in pairs(BAD) do
      it("(" .. name .. ")", function()
        local before = w:state().requests
        assert.equal("invalid_request", fails(spec).code)
        assert.equal(before, w:state().requests)
      end)
    end

    it("but a fraction of a millisecond is no harm", function()
      assert.equal(200, assert(account:request { path = "/v1/devices", timeout_ms = 5000.5 }).status)
    end)
  end)
end)
