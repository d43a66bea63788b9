-- The bytes that rows are kept as: everything comes back as it was, nothing else is taken for a row.

local codec = require "ringlink.store.codec"

local unpack = table.unpack or unpack

local function round(fields)
  return codec.decode(assert(codec.encode(fields)))
end

describe("the codec", function()
  it("gives back what it was given", function()
    local fields = { text = "abc", empty = "", bytes = "a\0b\255\r\n", yes = true, no = false, zero = 0, one = 1,
      negative = -7, ms = 1771130906289, large = 2 ^ 53, half = 0.5, tiny = 5e-324, huge = 1.7976931348623157e308,
      third = 1 / 3, inf = math.huge, minus_inf = -math.huge, [""] = "no name", [("n"):rep(255)] = "a long name" }
    assert.same(fields, round(fields))
  end)

  it("gives back nothing for nothing", function()
    assert.same({}, round({}))
  end)

  it("keeps whole numbers and others apart where Lua does", function()
    local math_type = rawget(math, "type")
    if not math_type then return end
    local back = round({ whole = 3, other = 3.0, large = math.huge, least = -2 ^ 63 })
    assert.equal("integer", math_type(back.whole))
    for _, name in ipairs({ "other", "large", "least" }) do assert.equal("float", math_type(back[name])) end
  end)

  it("keeps what is no number and a zero's sign", function()
    local back = round({ nan = 0 / 0, zero = -0.0 })
    assert.not_equal(back.nan, back.nan)
    assert.equal(-math.huge, 1 / back.zero)
  end)

  it("keeps a value of a mebibyte", function()
    local text = ("x"):rep(2 ^ 20)
    assert.equal(text, round({ text = text }).text)
  end)

  it("makes the same bytes of the same table", function()
    local one, other = {}, {}
    for i = 1, 20 do one["name" .. i] = i end
    for i = 20, 1, -1 do other["name" .. i] = i end
    assert.equal(codec.encode(one), codec.encode(other))
  end)

  it("leaves out what it is told to", function()
    assert.same({ b = 2 }, codec.decode((codec.encode({ a = 1, b = 2 }, { a = true }))))
  end)

  for what, value in pairs({ ["a table"] = {}, ["a function"] = print,
    ["a coroutine"] = coroutine.create(function() end),
    ["a secret"] = require("ringlink.core").secret("planted") }) do
    it("refuses " .. what .. " and names the field", function()
      local bytes, problem = codec.encode({ field = value })
      assert.is_nil(bytes)
      assert.truthy(problem:find("the field field is a", 1, true))
      assert.is_nil(problem:find("planted", 1, true))
    end)
  end

  it("refuses names that are no text or too long", function()
    assert.is_nil((codec.encode({ "no name" })))
    assert.is_nil((codec.encode({ [("n"):rep(256)] = 1 })))
  end)

  it("refuses bytes that are cut anywhere", function()
    local bytes = codec.encode({ text = "abc", number = 12, flag = true })
    local whole = codec.decode(bytes)
    for length = 0, #bytes - 1 do
      local found = codec.decode(bytes:sub(1, length))
      for name in pairs(found or {}) do assert.equal(whole[name], found[name]) end   -- only whole fields
    end
    assert.is_nil(codec.decode(""))
  end)

  local BAD = {
    ["another version"] = "\2", ["an unknown type"] = "\1x\1n\0\0\0\0", ["a name beyond the end"] = "\1s\9n",
    ["a value beyond the end"] = "\1s\1n\255\255\255\255a", ["a length that is cut"] = "\1s\1n\0\0",
    ["a flag that is none"] = "\1b\1n\0\0\0\1x", ["a number that is none"] = "\1i\1n\0\0\0\0031.5",
    ["a number in words"] = "\1n\1n\0\0\0\3abc", ["a hexadecimal number"] = "\1i\1n\0\0\0\0040x1f",
    ["plain text"] = "hello", ["a type and no more"] = "\1s",
  }
  for what, bytes in pairs(BAD) do
    it("refuses " .. what, function() assert.is_nil(codec.decode(bytes)) end)
  end

  it("never raises on random bytes", function()
    math.randomseed(20260213)
    for _ = 1, 2000 do
      local bytes = { 1 }
      for i = 2, math.random(40) do
        bytes[i] = math.random(4) == 1 and ("sbin"):byte(math.random(4)) or math.random(0, 9)
      end
      codec.decode(string.char(unpack(bytes)))
    end
  end)
end)
