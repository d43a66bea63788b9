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

  describe("decode", function()
    it("undoes the encoding of each byte, in digits of either case", function()
      for byte = 0, 255 do
        local char = string.char(byte)
        assert.equal(char, url.decode(("%%%02X"):format(byte)))
        assert.equal(char, url.decode(("%%%02x"):format(byte)))
      end
    end)

    it("undoes it once, and leaves alone what is none", function()
      assert.equal("%41 a+b", url.decode("%2541%20a+b"))
      for _, text in ipairs({ "100%", "%", "%4", "%zz", "%4g", "%%", "%+41", "" }) do
        assert.equal(text, url.decode(text))
      end
    end)

    it("takes a plus for a space in a field, unless it is encoded", function()
      assert.equal("a b+c +", url.decode_field("a+b%2Bc%20%2b"))
      assert.equal(" %zz", url.decode_field("+%zz"))
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

  describe("http to this machine", function()
    local HERE = { "http://127.0.0.1", "http://localhost", "http://[::1]", "http://localhost:8080/a?b#c",
      "http://127.0.0.1:80#f", "http://[::1]:80/", "http://localhost?x", "http://localhost#x", "HTTP://LOCALHOST",
      "Http://LocalHost:8080" }
    local ELSEWHERE = { "http://[::1].example.com", "http://localhost.example.com", "http://127.0.0.1.example.com",
      "http://127.0.0.1@example.com", "http://localhost:80@example.com", "http://localhost:x@example.com/",
      "http://user@localhost", "http://example.com@127.0.0.1", "http://example.com?http://localhost",
      "http://example.com#@localhost", "http://example.com/localhost", "http://localhost\\@example.com",
      "http://localhost\\.example.com", "http://localhost%2eexample.com", "http://localhost.", "http://localhost:",
      "http://localhost:80a", "http://localhost:80:80", "http://localhost\0.example.com",
      "http://localhost example.com", "http://[::1", "http://::1", "http://[::1]]", "http://[::2]",
      "http://127.0.0.11", "http://127.1", "http://2130706433", "http://0.0.0.0", "http://xlocalhost",
      "http:/localhost", "http:localhost", "//localhost", "localhost", "http://", "http:///localhost",
      "http://?localhost", "ftp://localhost", "https+http://localhost", " http://localhost", "" }

    for _, address in ipairs(HERE) do
      it("is " .. address, function()
        assert.is_true(url.is_http_loopback(address))
        assert.is_true(url.is_safe(address, true))
        assert.is_false(url.is_safe(address, false))
      end)
    end

    for _, address in ipairs(ELSEWHERE) do
      it("is not " .. ("%q"):format(address), function()
        assert.is_false(url.is_http_loopback(address))
        assert.is_false(url.is_safe(address, true))
      end)
    end

    it("is not https, which is as good wherever it leads", function()
      for _, address in ipairs({ "https://localhost", "https://example.com", "HTTPS://example.com" }) do
        assert.is_false(url.is_http_loopback(address))
        assert.is_true(url.is_safe(address, false))
      end
      for _, address in ipairs({ "https://", "https:example.com", "httpsx://example.com" }) do
        assert.is_false(url.is_safe(address, true))
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
