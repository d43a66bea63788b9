-- URLs: encoding, queries, origins.

local url = require "ringlink.url"

describe("url", function()
  describe("encode", function()
    it("leaves the unreserved characters of RFC 3986", function()
      local plain = "AZaz09-._~"
      assert.equal(plain, url.encode(plain))
    end)

    it("encodes everything else, byte by byte", function()
      assert.equal("a%2Fb%3Fc%23d%20e%25%26%3D%2B", url.encode("a/b?c#d e%&=+"))
      assert.equal("%C3%A9%00%0D%0A%FF", url.encode("é\0\r\n\255"))
    end)

    it("gives each of the 256 bytes a form that decodes to it", function()
      for byte = 0, 255 do
        local char = string.char(byte)
        local back = url.encode(char):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
        assert.equal(char, back)
      end
    end)

    it("takes numbers and booleans", function()
      assert.equal("12", url.encode(12))
      assert.equal("true", url.encode(true))
    end)
  end)

  describe("form", function()
    it("joins encoded pairs in the order of their names", function()
      assert.equal("a=1&b%26=x%3Dy&c=", url.form({ c = "", ["b&"] = "x=y", a = 1 }))
    end)

    it("is empty for an empty map", function()
      assert.equal("", url.form({}))
    end)
  end)

  describe("with_query", function()
    it("adds a query", function()
      assert.equal("/v1/devices?include=a%2Cb", url.with_query("/v1/devices", { include = "a,b" }))
    end)

    it("adds to a query that is there", function()
      assert.equal("/p?a=1&b=2", url.with_query("/p?a=1", { b = 2 }))
    end)

    it("leaves the path alone without one", function()
      assert.equal("/p", url.with_query("/p", nil))
      assert.equal("/p", url.with_query("/p", {}))
    end)
  end)

  describe("origin", function()
    it("is scheme, host and port in lower case", function()
      assert.equal("https://api.example.com:8443", url.origin("HTTPS://API.Example.com:8443/v1/x?y#z"))
      assert.equal("https://h", url.origin("https://h?q"))
      assert.equal("https://h", url.origin("https://h#f"))
    end)

    it("is nothing for what is no absolute URL", function()
      for _, text in ipairs({ "", "/v1/devices", "//host/x", "https://", "https:///x", "mailto:a@b" }) do
        assert.is_nil(url.origin(text), text)
      end
    end)
  end)
end)
