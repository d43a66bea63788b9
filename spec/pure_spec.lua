-- The functions that need neither store nor network: nonce, mask, encode.

local offline = require "support.offline"
local ringlink = require "ringlink"

describe("ringlink.nonce", function()
  it("computes Ring's nonce for every vector", function()
    local cases = offline.vectors("nonce.json")
    assert.truthy(#cases > 0)
    for _, case in ipairs(cases) do
      assert.equal(case.nonce, ringlink.nonce(case.hmac_key, case.time, case.account_id))
    end
  end)

  local BAD = {
    ["no key"] = { nil, "1", "a" }, ["an empty key"] = { "", "1", "a" }, ["a key that is no text"] = { {}, "1", "a" },
    ["a key too long"] = { ("k"):rep(4097), "1", "a" },
    ["no time"] = { "k", nil, "a" }, ["an empty time"] = { "k", "", "a" }, ["a number as time"] = { "k", 1, "a" },
    ["a time of 21 digits"] = { "k", ("1"):rep(21), "a" }, ["a time that is no number"] = { "k", "1e3", "a" },
    ["no account"] = { "k", "1", nil }, ["an empty account"] = { "k", "1", "" },
    ["a table as account"] = { "k", "1", {} },
    ["a mebibyte as account"] = { "k", "1", ("a"):rep(2 ^ 20) },
  }
  for name, args in pairs(BAD) do
    it("returns an error for " .. name, function()
      local nonce, err = ringlink.nonce(args[1], args[2], args[3])
      assert.is_nil(nonce)
      assert.equal(name:find("key") and "invalid_option" or "invalid_request", err.code)
    end)
  end
end)

describe("ringlink.mask", function()
  for given, shown in pairs({
    ["user@partner.example.com"] = "u***r@partner.example.com", ["bob@x.example"] = "b***b@x.example",
    ["al@x.example"] = "***@x.example", ["a@x.example"] = "***@x.example", ["Élodie@x.example"] = "É***e@x.example",
    ["+49 170 1234567"] = "+***67", ["Jane Doe"] = "J***e", ["Jo"] = "***", ["日本語"] = "日***語",
  }) do
    it("shows " .. given .. " as " .. shown, function() assert.equal(shown, ringlink.mask(given)) end)

    it("leaves " .. shown .. " as it is", function() assert.equal(shown, ringlink.mask(shown)) end)
  end

  it("hides what is no proper text altogether", function()
    for _, text in ipairs({ "user\0@x.example", "user\r\n@x.example", "\255user@x.example" }) do
      assert.equal("***", ringlink.mask(text))
    end
  end)

  it("makes something short of a mebibyte", function()
    assert.equal("x***x", ringlink.mask(("x"):rep(2 ^ 20)))
  end)

  it("returns an error for what is no text", function()
    for _, value in ipairs({ 12, true, {}, print }) do
      local masked, err = ringlink.mask(value)
      assert.is_nil(masked)
      assert.equal("invalid_request", err.code)
    end
    assert.equal("invalid_request", select(2, ringlink.mask(nil)).code)
  end)
end)

describe("ringlink.encode", function()
  it("makes one path segment of anything", function()
    assert.equal("a%2F..%2Fb%3F%23%00", ringlink.encode("a/../b?#\0"))
  end)

  it("takes a number", function()
    assert.equal("12", ringlink.encode(12))
  end)

  it("makes no path of a value that is missing", function()
    assert.truthy(offline.misuse(function() ringlink.encode(nil) end):find("ringlink: encode", 1, true))
    assert.truthy(offline.misuse(function() ringlink.encode({}) end):find("ringlink: encode", 1, true))
  end)
end)

describe("require \"ringlink\"", function()
  it("says under Lua 5.1 which Lua it needs", function()
    local path = "lua/ringlink/init.lua"
    local env = { _VERSION = "Lua 5.1", _G = {}, rawget = rawget, error = error }
    local chunk = assert(loadfile(path, "t", env))            -- LuaJIT takes the environment as well
    local ok, problem = pcall(chunk)
    assert.is_false(ok)
    assert.truthy(problem:find("needs Lua 5.4 or LuaJIT, and this is Lua 5.1", 1, true), problem)
  end)
end)
