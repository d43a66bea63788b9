-- JSON without lua-cjson's traps.

local json = require "ringlink.json"

local function nested(depth)
  return ("["):rep(depth) .. ("]"):rep(depth)
end

describe("json", function()
  describe("decode", function()
    it("reads objects, arrays and plain values", function()
      assert.same({ a = { 1, "x", true } }, json.decode('{"a":[1,"x",true]}'))
      assert.equal("x", json.decode('"x"'))
      assert.is_false(json.decode("false"))
    end)

    it("leaves out members that are null, at any depth", function()
      assert.same({ b = { d = 1 }, e = { {} } }, json.decode('{"a":null,"b":{"c":null,"d":1},"e":[{"f":null}]}'))
    end)

    it("keeps the place of a null in an array", function()
      local list = json.decode("[1,null,3]")
      assert.equal(3, #list)
      assert.equal(json.null, list[2])
    end)

    it("makes nothing of a bare null", function()
      assert.is_nil((json.decode("null")))
    end)

    it("reads 64 levels and no more", function()
      assert.equal("table", type(json.decode(nested(64))))
      assert.is_nil((json.decode(nested(65))))
      assert.is_nil((json.decode(nested(100000))))
    end)

    for _, text in ipairs({ "NaN", "Infinity", "-Infinity", "0x10", "[nan]", "{", '{"a":', "", "<html>", "{} x",
      "'a'" }) do
      it("refuses " .. ("%q"):format(text), function()
        local value, problem = json.decode(text)
        assert.is_nil(value)
        assert.equal("string", type(problem))
      end)
    end

    it("never says in its complaint what the text was", function()
      local _, problem = json.decode('{"access_token": planted_secret_value}')
      assert.is_nil(problem:find("planted", 1, true))
    end)

    it("refuses what is no text", function()
      for _, value in ipairs({ 12, true, {} }) do assert.is_nil((json.decode(value))) end
      assert.is_nil((json.decode(nil)))
    end)

    it("survives any byte", function()
      for byte = 0, 255 do
        local char = string.char(byte)
        for _, text in ipairs({ char, '"' .. char .. '"', "[" .. char, '{"a":' .. char .. "}" }) do
          assert.is_true((pcall(json.decode, text)), ("byte %d"):format(byte))
        end
      end
    end)
  end)

  describe("decode_table", function()
    it("reads an object or an array", function()
      assert.same({}, json.decode_table("{}"))
      assert.same({ 1 }, json.decode_table("[1]"))
    end)

    for _, text in ipairs({ "1", '"x"', "true", "false", "null", "x" }) do
      it("refuses " .. text, function()
        local value, problem = json.decode_table(text)
        assert.is_nil(value)
        assert.equal("string", type(problem))
      end)
    end
  end)

  describe("encode", function()
    it("writes an empty table as an object", function()
      assert.equal("{}", json.encode({}))
    end)

    it("writes nothing that JSON has no form for", function()
      local cycle = {}
      cycle[1] = cycle
      for _, value in ipairs({ print, 0 / 0, 1 / 0, cycle, { [true] = 1 }, { [1] = 1, [1000] = 1 } }) do
        local text, problem = json.encode(value)
        assert.is_nil(text)
        assert.equal("string", type(problem))
      end
    end)

    it("gives back what decode reads", function()
      local value = { name = 'a "quoted"\n\0 name', list = { 1, 2.5, false }, deep = { { {} } } }
      assert.same(value, json.decode(json.encode(value)))
    end)
  end)
end)
