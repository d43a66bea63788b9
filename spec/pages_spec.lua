-- Listings over several pages (contract 10): where they end, and where they must not lead.

local json = require "ringlink.json"
local ringlink = require "ringlink"
local world = require "support.world"

describe("pages #network", function()
  local w, account, path

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    account = w:linked((w:quick_client())).account
    local device = assert(account:get("/v1/devices")).data[1]
    path = "/v1/history/devices/" .. ringlink.encode(device.id) .. "/events"
  end)

  local function sizes(query)
    local list = {}
    for page in account:pages(path, query) do list[#list + 1] = #page.data end
    return list
  end

  local function answer_next(link, count)
    w:fault { call = "history", status = 200, body = "raw", count = count,
      raw = json.encode { data = { { id = "1" } }, links = { next = link } } }
  end

  it("end with an empty page, although it names a next one", function()
    assert.same({ 2, 2, 1 }, sizes())
    assert.equal(4, w:count("history"))
  end)

  it("end where no next one is named", function()
    assert(w.ring:control("variant", { pages = "ends" }))
    assert.same({ 2, 2, 1 }, sizes())
    assert.equal(3, w:count("history"))
  end)

  it("keep their filter", function()
    assert.same({ 2, 2, 1 }, sizes { event_types = "motion_detected,button_press" })
    assert.same({}, sizes { event_types = "button_press" })
  end)

  it("name every event once", function()
    local seen, count = {}, 0
    for page in account:pages(path) do
      for _, event in ipairs(page.data) do
        assert.is_nil(seen[event.id])
        seen[event.id], count = true, count + 1
      end
    end
    assert.equal(5, count)
  end)

  it("end when a cursor comes again", function()
    answer_next(path .. "?page%5Bkey%5D=again", "always")
    assert.same({ 1, 1 }, sizes())
    assert.equal(2, w:count("history"))
  end)

  it("end when the first page names itself", function()
    answer_next(path, "always")
    assert.same({ 1 }, sizes())
    assert.equal(1, w:count("history"))
  end)

  it("may be named with Ring's own origin", function()
    answer_next(w.ring.api_url .. path .. "?page%5Bkey%5D=706167653a34", 1)
    assert.same({ 1, 1 }, sizes())
    assert.equal(3, w:count("history"))
  end)

  for _, link in ipairs { "https://evil.example/v1/history", "//evil.example/x", "http://127.0.0.1/x",
    "v1/history", "/\\evil.example/x" } do
    it("never lead to " .. link, function()
      answer_next(link, "always")
      local ok, err = pcall(sizes)
      assert.is_false(ok)
      assert.equal("ringlink.error", getmetatable(err).__name)
      assert.equal("bad_response", err.code)
      assert.equal(1, w:count("history"))
    end)
  end

  it("never leave for an origin that only begins like Ring's", function()
    answer_next(w.ring.api_url .. ".evil.example/x", "always")
    local ok, err = pcall(sizes)
    assert.is_false(ok)
    assert.equal("bad_response", err.code)
    assert.equal(1, w:count("history"))
  end)

  it("raise what goes wrong on the way", function()
    w:fault { call = "history", status = 403, skip = 1 }
    local got = 0
    local ok, err = pcall(function()
      for _ in account:pages(path) do got = got + 1 end
    end)
    assert.is_false(ok)
    assert.equal("forbidden", err.code)
    assert.equal(1, got)
  end)

  it("raise for a path that is missing", function()
    local ok, err = pcall(function() return account:pages(nil)() end)
    assert.is_false(ok)
    assert.equal("invalid_request", err.code)
  end)

  it("raise for what is no listing", function()
    w:fault { call = "history", body = "html" }
    local ok, err = pcall(sizes)
    assert.is_false(ok)
    assert.equal("bad_response", err.code)
  end)
end)
