-- Error objects: the one list, what a message is made of, and what never gets into one.

local errors = require "ringlink.errors"
local offline = require "support.offline"
local ringlink = require "ringlink"

-- Every code that the library promises to its users.
local PROMISED = [[invalid_request invalid_option invalid_nonce no_unclaimed_match link_expired link_in_future
  already_linked not_found vetoed configure_failed hook_failed confirm_outcome_unknown exchange_outcome_unknown
  refresh_outcome_unknown exchange_refused refresh_failed refresh_circuit_open relink_required unlinked
  invalid_transition unauthorized forbidden rate_limited device_unavailable ring_error bad_response
  response_too_large timeout connect dns tls network cancelled busy store_error store_busy
  store_belongs_elsewhere store_key store_corrupt signature event_too_old in_progress runtime_not_started
  foreign_coroutine not_here closed]]

describe("errors", function()
  describe("the list", function()
    it("has every promised code", function()
      local listed = {}
      for _, entry in ipairs(ringlink.errors) do listed[entry.code] = true end
      for code in PROMISED:gmatch("%S+") do assert.is_true(listed[code], code) end
    end)

    it("names each code once, with class, meaning, cause and cure", function()
      local seen = {}
      for _, entry in ipairs(errors.list) do
        assert.is_nil(seen[entry.code], entry.code)
        seen[entry.code] = true
        assert.truthy(entry.class == "fatal" or entry.class == "retry", entry.code)
        for _, field in ipairs({ "meaning", "cause", "cure" }) do
          assert.truthy(#entry[field] > 0, entry.code .. "." .. field)
        end
      end
    end)
  end)

  describe("new", function()
    it("says what happened, the detail, and what to do", function()
      local err = errors.new("closed", { detail = "in a test" })
      assert.equal("the client is closed (in a test): make a new client", err.message)
      assert.is_nil(err.detail)
    end)

    it("needs no detail", function()
      assert.equal("the client is closed: make a new client", errors.new("closed").message)
    end)

    it("keeps the fields it is given", function()
      local err = errors.new("ring_error", { stage = "confirm", status = 500, ambiguous = true })
      assert.same({ "ring_error", "confirm", 500, true }, { err.code, err.stage, err.status, err.ambiguous })
    end)

    it("is retryable as the list says", function()
      assert.is_true(errors.new("timeout").retryable)
      assert.is_false(errors.new("tls").retryable)
    end)

    it("lets the caller know better whether it is retryable", function()
      assert.is_false(errors.new("timeout", { retryable = false }).retryable)
    end)

    it("says what Ring answered, and the cure it is given", function()
      local err = errors.new("forbidden", { said = "HTTP 403", cure = "ask them" })
      assert.equal("the token does not cover this (HTTP 403): ask them", err.message)
      assert.is_nil(err.cure)
    end)

    it("leaves the table of fields alone", function()
      local fields = { detail = "kept" }
      errors.new("closed", fields)
      assert.same({ detail = "kept" }, fields)
    end)

    it("knows no code outside the list", function()
      assert.has_error(function() errors.new("no_such_code") end, "unknown error code: no_such_code")
    end)
  end)

  describe("an error", function()
    local err = errors.new("timeout", { stage = "confirm" })

    it("comes as the second value of fail", function()
      local value, failure = errors.fail("closed")
      assert.is_nil(value)
      assert.equal("closed", failure.code)
    end)

    it("shows code, stage and message as text", function()
      assert.equal("timeout while confirm: " .. err.message, tostring(err))
    end)

    it("shows no stage when it has none", function()
      local plain = errors.new("closed")
      assert.equal("closed: " .. plain.message, tostring(plain))
    end)

    it("can be joined to text on either side", function()
      assert.equal("linking: " .. tostring(err), "linking: " .. err)
      assert.equal(tostring(err) .. "!", err .. "!")
    end)

    it("can be raised", function()
      local ok, raised = pcall(err.raise, err)
      assert.is_false(ok)
      assert.equal(err, raised)
    end)

    it("is told from other tables", function()
      assert.is_true(errors.is(err))
      assert.is_false(errors.is({ code = "timeout" }))
      assert.is_false(errors.is("timeout"))
      assert.is_false(errors.is(nil))
    end)
  end)

  it("said puts status, title and detail in words, those that there are", function()
    assert.equal("HTTP 400, invalid_grant, used", errors.said(400, "invalid_grant", "used"))
    assert.equal("HTTP 404, Not Found", errors.said(404, "Not Found"))
    assert.equal("HTTP 500, all of it", errors.said(500, nil, "all of it"))
    assert.equal("HTTP 403", errors.said(403))
  end)

  describe("scrub", function()
    it("leaves ordinary words alone", function()
      assert.equal("Invalid Nonce", errors.scrub("Invalid Nonce"))
    end)

    it("hides whatever is long enough to be a secret", function()
      assert.equal("code **** is bad", errors.scrub("code Jf4RdqEuSmvQLd9l5CwXZ-GLkDQ8 is bad"))
    end)

    it("hides a secret that the length limit would cut", function()
      local secret = "A1" .. ("b"):rep(40)
      local shown = errors.scrub(("x "):rep(96) .. secret)
      assert.is_nil(shown:find("A1", 1, true))
    end)

    it("replaces control characters", function()
      assert.equal("a b c d", errors.scrub("a\nb\27c\0d"))
    end)

    it("is short, whatever it is given", function()
      assert.truthy(#errors.scrub(("ab "):rep(2 ^ 18)) <= 200)
    end)

    it("makes nothing of what is no text", function()
      assert.is_nil(errors.scrub(nil))
      assert.is_nil(errors.scrub(12))
      assert.is_nil(errors.scrub({}))
    end)
  end)

  describe("describe", function()
    local PLACE = "/srv/partner-application/lua/provisioning.lua:12:"

    it("keeps the place where something was raised, and hides the rest", function()
      assert.equal(PLACE .. " no room for ****", errors.describe(PLACE .. " no room for Jf4RdqEuSmvQLd9l5CwXZ-GLkDQ8"))
    end)

    it("takes nothing else for a place", function()
      for _, text in ipairs({ "Jf4RdqEuSmvQLd9l5CwXZ-GLkDQ8:12:", "/srv/partner-application/key",
        "a/Jf4RdqEuSmvQLd9l5CwXZ: 1" }) do
        assert.truthy(errors.describe(text):find("****", 1, true), text)
      end
    end)

    it("is not for text from the wire", function()
      assert.equal("****:12:", errors.scrub(PLACE))
    end)

    it("shows a traceback's places", function()
      local text = "x\nstack traceback:\n\t" .. PLACE .. " in function <" .. PLACE:sub(1, -2) .. ">"
      assert.equal(text:gsub("[\n\t]", " "), (errors.describe_trace(text)))
    end)

    it("has room for a traceback when asked for it", function()
      assert.equal(200, #errors.describe(("ab "):rep(2 ^ 18)))
      assert.equal(2000, #errors.describe_trace(("ab "):rep(2 ^ 18)))
    end)
  end)

  describe("advise", function()
    it("puts its cure in place of the list's", function()
      local err = errors.advise(errors.new("forbidden", { said = "HTTP 403" }), "ask them")
      assert.equal("the token does not cover this (HTTP 403): ask them", err.message)
    end)
  end)

  describe("first", function()
    it("reads Ring's form", function()
      assert.same({ title = "Invalid Nonce", id = "7" },
        errors.first({ errors = { { title = "Invalid Nonce", id = "7" }, { title = "second" } } }))
    end)

    it("reads OAuth's form", function()
      assert.same({ title = "invalid_grant", detail = "used" },
        errors.first({ error = "invalid_grant", error_description = "used" }))
    end)

    it("makes an empty table of anything else", function()
      for _, body in ipairs({ "text", 12, true, { errors = "x" }, { errors = {} }, { errors = { "x" } } }) do
        assert.same({}, errors.first(body))
      end
      assert.same({}, errors.first(nil))
    end)
  end)

  describe("misuse", function()
    local client = offline.client()

    it("is raised at the line of the call that is wrong", function()
      assert.truthy(offline.misuse(function() client:on("configured", print) end):find("ringlink: on:", 1, true))
    end)

    it("is raised outside of the library when the call is the last thing its caller does", function()
      local function caller() return client:on("configured", print) end
      local ok, message = pcall(caller)
      assert.is_false(ok)
      assert.truthy(message:find("^%S*errors_spec%.lua:%d+: ringlink: on: unknown hook"), message)
    end)
  end)
end)
