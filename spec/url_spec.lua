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

    it("leaves out a port that the scheme means anyway", function()
      assert.equal("https://h", url.origin("https://h:443/x"))
      assert.equal("http://h", url.origin("http://h:80"))
      assert.equal("https://[::1]", url.origin("https://[::1]:443/"))
      for _, text in ipairs({ "https://h:80", "http://h:443", "https://h:4430", "https://h:8443", "wss://h:443" }) do
        assert.equal(text, url.origin(text .. "/x"))
      end
    end)

    it("is nothing for what is no absolute URL", function()
      for _, text in ipairs({ "", "/v1/devices", "//host/x", "https://", "https:///x", "mailto:a@b" }) do
        assert.is_nil(url.origin(text), text)
      end
    end)
  end)

  describe("path", function()
    it("encodes each segment", function()
      assert.equal("/v1/devices/a%3Fb%23c%20%25/events/7", url.path({ "v1", "devices", "a?b#c %", "events", 7 }))
      assert.equal("/%2E%2E%2E", (url.path({ "..." }):gsub("%.", "%%2E")))
    end)

    for _, bad in ipairs({ "", ".", "..", "a/b", "/", "../x" }) do
      it(("has no segment %q"):format(bad), function()
        local path, problem = url.path({ "v1", bad })
        assert.is_nil(path)
        assert.truthy(problem:find("segment 2", 1, true))
      end)
    end
  end)

  -- RFC 3986 section 5.4, as far as it is about http.
  describe("resolve", function()
    local BASE = "https://a.example/b/c/d;p?q"
    for reference, expected in pairs({ ["https://h.example/x"] = "https://h.example/x", ["g:h"] = "g:h",
      g = "/b/c/g", ["./g"] = "/b/c/g", ["g/"] = "/b/c/g/", ["/g"] = "/g", ["?y"] = "/b/c/d;p?y", ["g?y"] = "/b/c/g?y",
      ["g?y/../x"] = "/b/c/g?y/../x", ["#s"] = "/b/c/d;p?q", ["g#s"] = "/b/c/g", [""] = "/b/c/d;p?q", ["."] = "/b/c/",
      ["./"] = "/b/c/", [".."] = "/b/", ["../"] = "/b/", ["../g"] = "/b/g", ["../.."] = "/", ["../../g"] = "/g",
      ["../../../g"] = "/g", ["/./g"] = "/g", ["/../g"] = "/g", ["g."] = "/b/c/g.", ["g/./h"] = "/b/c/g/h",
      ["g/../h"] = "/b/c/h" }) do
      it(("understands %q"):format(reference), function()
        local whole = expected:sub(1, 1) == "/" and "https://a.example" .. expected or expected
        assert.equal(whole, url.resolve(BASE, reference))
      end)
    end

    it("understands another host, and a base without a path", function()
      assert.equal("https://g.example/x", url.resolve(BASE, "//g.example/x"))
      assert.equal("https://a.example/g", url.resolve("https://a.example", "g"))
      assert.equal("https://a.example/g", url.resolve("https://a.example?x/y", "g"))
    end)
  end)
end)
