-- The checks of what comes from the wire: what passes, what does not, and what the refusal says.

local check = require "ringlink.check"
local errors = require "ringlink.errors"
local offline = require "support.offline"

local MARK = "QZ7"                     -- stands in every bad value; must not stand in any message

--- Asserts that a check refuses a value by an invalid_request that names the field.
local function refuses(fn, value, field)
  local result, err = fn(value)
  assert.is_nil(result)
  assert.is_true(errors.is(err))
  assert.equal("invalid_request", err.code)
  assert.truthy(err.message:find(field, 1, true), err.message)
  assert.is_nil(err.message:find(MARK, 1, true), err.message)
  return err
end

describe("check", function()
  describe("is_utf8", function()
    local GOOD = { "", "plain", "\0", "é", "€", "\240\159\142\137", "\237\159\191", "\238\128\128", "\244\143\191\191" }
    local BAD = {
      ["a lone continuation"] = "\128", ["a lead at the end"] = "a\195", ["a cut sequence"] = "\226\130",
      ["an overlong slash"] = "\192\175", ["an overlong of three"] = "\224\128\175",
      ["an overlong of four"] = "\240\128\128\175", ["a surrogate"] = "\237\160\128",
      ["beyond the last character"] = "\244\144\128\128", ["a byte of no form"] = "\255",
      ["a lead where a continuation belongs"] = "\226\226\130", ["a bad third byte"] = "\226\130a",
      ["bad after good"] = "é\128",
    }

    it("accepts well-formed text", function()
      for _, text in ipairs(GOOD) do assert.is_true(check.is_utf8(text), text) end
    end)

    for name, text in pairs(BAD) do
      it("refuses " .. name, function() assert.is_false(check.is_utf8(text)) end)
    end
  end)

  local TEXTS = { code = check.code, user = check.user, account_identifier = check.identifier,
    ["account id"] = check.account_id, nonce = check.nonce, time = check.time }
  local BAD = { [""] = "empty text", [MARK .. "\0"] = "a NUL", [MARK .. "\r\nX: y"] = "a line break",
    [MARK .. "\255"] = "text that is not UTF-8", [MARK .. "\127"] = "a DEL",
    [MARK .. ("x"):rep(2 ^ 20)] = "a mebibyte" }

  for field, fn in pairs(TEXTS) do
    describe(field, function()
      for value, name in pairs(BAD) do
        it("refuses " .. name, function() refuses(fn, value, field) end)
      end

      for _, value in ipairs({ 12, true, {}, print }) do
        it("refuses a " .. type(value) .. " and says so", function()
          assert.truthy(refuses(fn, value, field).message:find("not a " .. type(value), 1, true))
        end)
      end
    end)
  end

  for _, field in ipairs({ "code", "user", "account id", "nonce", "time" }) do
    it("says that " .. field .. " is missing", function()
      assert.truthy(refuses(TEXTS[field], nil, field).message:find("missing", 1, true))
    end)
  end

  it("lets an identifier be absent", function()
    assert.equal(0, select("#", check.identifier(nil)) - 1)
    assert.is_nil((check.identifier(nil)))
    assert.is_nil((select(2, check.identifier(nil))))
  end)

  describe("code", function()
    it("takes printable ASCII of up to 2048 bytes", function()
      local longest = ("~"):rep(2048)
      assert.equal("a-B_1.~+/=", check.code("a-B_1.~+/="))
      assert.equal(longest, check.code(longest))
      refuses(check.code, longest .. "~", "code")
    end)

    it("refuses spaces and letters beyond ASCII", function()
      refuses(check.code, MARK .. " x", "code")
      refuses(check.code, MARK .. "é", "code")
    end)
  end)

  describe("nonce", function()
    it("takes 43 characters of base64url", function()
      local nonce = ("aZ9-_"):rep(8) .. "xyz"
      assert.equal(nonce, check.nonce(nonce))
    end)

    it("refuses 42, 44, and other characters", function()
      for _, nonce in ipairs({ ("a"):rep(42), ("a"):rep(44), ("a"):rep(42) .. "=", ("a"):rep(42) .. "+" }) do
        refuses(check.nonce, nonce, "nonce")
      end
    end)
  end)

  describe("time", function()
    it("keeps the text as it was received", function()
      assert.equal("0001", check.time("0001"))
      assert.equal(("9"):rep(20), check.time(("9"):rep(20)))
    end)

    it("refuses 21 digits, signs, points, exponents and spaces", function()
      for _, time in ipairs({ ("9"):rep(21), "-1", "+1", "1.5", "1e3", " 1", "1 ", "0x1" }) do
        refuses(check.time, time, "time")
      end
    end)
  end)

  describe("status", function()
    it("takes completed, awaiting and nothing", function()
      assert.equal("completed", check.status("completed"))
      assert.equal("awaiting", check.status("awaiting"))
      assert.is_nil((select(2, check.status(nil))))
    end)

    it("refuses everything else", function()
      for _, status in ipairs({ MARK, "", "Completed", 1, false, {} }) do refuses(check.status, status, "status") end
    end)
  end)

  describe("arguments", function()
    it("returns the table it was given", function()
      local given = { a = 1 }
      assert.equal(given, check.arguments("call", given, { "a", "b" }))
    end)

    it("returns an error for what is no table", function()
      refuses(function(value) return check.arguments("call", value, {}) end, MARK, "call's argument")
      refuses(function(value) return check.arguments("call", value, {}) end, nil, "call's argument")
    end)

    it("raises for a name it does not know, and lists those it knows", function()
      local text = offline.misuse(function() check.arguments("call", { c = 1 }, { "a", "b" }) end)
      assert.equal('ringlink: call: unknown argument "c"; known are a, b', text)
    end)
  end)
end)
