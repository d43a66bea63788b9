--- What browsers send, and where they may be sent.
local form = require "ringlink.resty.form"
local html = require "ringlink.resty.html"

describe("a form", function()
  it("is read with its encoding undone", function()
    assert.same({ code = "a b&c=d", empty = "", ["näme"] = "ü" }, form.read("code=a+b%26c%3Dd&empty=&n%C3%A4me=%c3%bc"))
    assert.same({ lonely = "" }, form.read("lonely"))
    assert.same({}, form.read(nil))
    assert.same({}, form.read(""))
  end)

  it("keeps what is not percent-encoding as it is", function()
    assert.same({ a = "100%", b = "%zz" }, form.read("a=100%&b=%zz"))
  end)

  it("does not read a field that came twice", function()
    assert.same({ b = "2" }, form.read("a=1&b=2&a=3"))
    assert.same({}, form.read("a=1&a=2&a=3"))
  end)

  it("is not read beyond 32 fields", function()
    local fields = {}
    for i = 1, 32 do fields[i] = "f" .. i .. "=1" end
    assert.equal("1", form.read(table.concat(fields, "&")).f32)
    fields[33] = "f33=1"
    assert.same({}, form.read(table.concat(fields, "&")))
  end)
end)

describe("cookies", function()
  it("are read by their names", function()
    assert.same({ a = "1", ["__Host-b"] = "x=y" }, form.cookies("a=1; __Host-b=x=y"))
    assert.same({}, form.cookies(nil))
  end)

  it("are not read when they came twice", function()
    assert.same({ b = "2" }, form.cookies("a=1; b=2; a=3"))
  end)
end)

describe("a path in a header", function()
  it("is encoded", function()
    assert.equal("/ring/link", form.encode_path("/ring/link"))
    assert.equal("/a%0D%0ASet-Cookie:%20x=y", form.encode_path("/a\r\nSet-Cookie: x=y"))
    assert.equal("/%3Fa%23b%22%3C%3E%5C%25", form.encode_path('/?a#b"<>\\%'))
    assert.equal("/n%C3%A4me", form.encode_path("/n\195\164me"))
  end)

  it("never names another host", function()
    assert.equal("/evil.example", form.encode_path("//evil.example"))
    assert.equal("/evil.example", form.encode_path("///evil.example"))
  end)
end)

describe("where a browser may be sent", function()
  it("is a path of this host", function()
    for _, path in ipairs { "/", "/sign-in", "/sign-in?next=%2Fring%2Flink%3Fattempt%3D1", "/a//b" } do
      assert.is_true(form.is_local_path(path), path)
    end
  end)

  it("is nowhere else", function()
    for _, path in ipairs { "", "sign-in", "//evil.example", "/\\evil.example", "\\\\evil.example",
      "https://evil.example", "javascript:alert(1)", "/a\r\nX: y", "/a b", "/a\tb", " /a", "/" .. ("a"):rep(2048),
      "/\195\164" } do
      assert.is_false(form.is_local_path(path), path)
      assert.is_false(form.may_go_to(path), path)
    end
    for _, value in ipairs { 1, true, {}, false } do assert.is_false(form.is_local_path(value)) end
    assert.is_false(form.is_local_path(nil))
  end)

  it("may be an origin that was named, and no other that looks like it", function()
    local origins = { "https://login.example" }
    for _, url in ipairs { "https://login.example", "https://login.example/", "https://login.example/a?b#c",
      "https://login.example?x", "/here" } do
      assert.is_true(form.may_go_to(url, origins), url)
    end
    for _, url in ipairs { "https://login.example.evil.example/", "https://login.example@evil.example/",
      "http://login.example/", "https://login.example:8443/", "https://evil.example/https://login.example",
      "https://login.example\\@evil.example", "//login.example/", "https://login.example/\r\nX: y", "" } do
      assert.is_false(form.may_go_to(url, origins), url)
    end
  end)
end)

describe("a template", function()
  it("escapes what is filled in, once", function()
    assert.equal("<p>&lt;b&gt; &amp;amp; &quot;&#39;</p>", html.fill("<p>{text}</p>", { text = "<b> &amp; \"'" }))
    assert.equal("{text} %1", html.fill("{a} {b}", { a = "{text}", b = "%1" }))
  end)

  it("takes ready markup only where it says so, and nothing for what is missing", function()
    assert.equal("<i>&lt;i&gt;", html.fill("{{a}}{b}{c}{{d}}", { a = "<i>", b = "<i>" }))
  end)

  it("keeps an identifier's direction to itself", function()
    assert.equal('<bdi class="identity">u***r@<wbr>&lt;x&gt;</bdi>', html.identity("u***r@<x>"))
  end)
end)
