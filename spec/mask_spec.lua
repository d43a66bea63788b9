-- core.mask: identifiers hidden so far that only their owner recognises them.

local core = require "ringlink.core"

local function check(rows)
  for _, row in ipairs(rows) do
    assert.are.equal(row[2], core.mask(row[1]))
    assert.are.equal(row[2], core.mask(row[2]))
  end
end

describe("mask", function()
  it("keeps the ends of an address's name and its domain", function()
    check({ { "user@partner.example.com", "u***r@partner.example.com" }, { "bob@x.org", "b***b@x.org" },
      { "one@two@three.org", "o***o@three.org" }, { "user@", "u***r@" } })
  end)

  it("hides names of one or two characters wholly", function()
    check({ { "ab@x.org", "***@x.org" }, { "a@x.org", "***@x.org" }, { "@x.org", "***@x.org" }, { "Al", "***" },
      { "X", "***" }, { "\195\132\195\156", "***" }, { "\195\132\195\156@x.org", "***@x.org" } })
  end)

  it("counts characters, not bytes", function()
    check({ { "J\195\188rg\195\164", "J***\195\164" },
      { "\230\157\142\229\176\143\233\190\153", "\230\157\142***\233\190\153" },
      { "\240\159\152\128xx", "\240\159\152\128***x" } })
  end)

  it("keeps two digits of a phone number", function()
    check({ { "+4915112345678", "+***78" }, { "+49 (151) 1234-56.78", "+***78" }, { "0151/12345678", "***78" } })
  end)

  it("masks plain names", function()
    check({ { "Johanna", "J***a" }, { "Anna Maria", "A***a" } })
  end)

  it("leaves alone what is masked, and only that", function()
    check({ { "u***r@partner.example.com", "u***r@partner.example.com" }, { "***@x.org", "***@x.org" },
      { "***", "***" }, { "J***a", "J***a" }, { "+***78", "+***78" }, { "secret***name@x.org", "s***e@x.org" },
      { "***name@x.org", "****e@x.org" } })
  end)

  it("hides what is not UTF-8, or holds a control character", function()
    check({ { "us\255er@x.org", "***" }, { "user@x\128.org", "***" }, { "us\0er@x.org", "***" },
      { "user@x.org\r\nBcc: all", "***" }, { "a\237\160\128z", "***" }, { "\192\175\192\175\192", "***" } })
  end)

  it("takes any length", function()
    assert.are.equal("", core.mask(""))
    assert.are.equal("x***x", core.mask(("x"):rep(1048576)))
    assert.are.equal("***", core.mask("user@" .. ("d"):rep(1048576)))
    assert.are.equal("u***u@x.org", core.mask(("u"):rep(1048576) .. "@x.org"))
  end)

  it("never shows more of a name than its ends, for any bytes", function()
    for seed = 1, 300 do
      local bytes = {}
      for i = 1, seed % 40 do bytes[i] = string.char((seed * 7919 + i * i * 104729) % 256) end
      local text = table.concat(bytes)
      local once = core.mask(text)
      assert.is_true(#once <= 267)
      assert.are.equal(once, core.mask(once))
    end
  end)

  it("raises for what is no text", function()
    assert.has_error(function() core.mask() end)
    assert.has_error(function() core.mask(4915112345678) end)
    assert.has_error(function() core.mask({}) end)
  end)
end)
