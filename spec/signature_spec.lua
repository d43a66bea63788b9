-- core.hmac_key's signatures and the digests beside them: the vectors, and any bytes at all.

local core = require "ringlink.core"
local vectors = require "support.vectors"

local function key_of(...)
  return assert(core.hmac_key({ ... }))
end

describe("verify", function()
  it("agrees with every vector", function()
    local cases = vectors.cases("webhook")
    assert.is_true(#cases >= 18)
    for _, case in ipairs(cases) do
      local verified = key_of(case.hmac_key):verify(case.body, case.signature)
      assert.are.equal(case.valid, verified)
    end
  end)

  it("accepts what any key in rotation signed", function()
    local old, new = key_of("old"), key_of("new")
    local both = key_of("new", "old")
    assert.is_true(both:verify("body", old:sign("body")))
    assert.is_true(both:verify("body", new:sign("body")))
    assert.is_false(new:verify("body", old:sign("body")))
  end)

  it("is about the raw bytes", function()
    local key = key_of("k")
    for _, body in ipairs({ "", "\0", "\255\254", "{}\n", ("x"):rep(1048576) }) do
      local signature = key:sign(body)
      assert.is_true(key:verify(body, signature))
      assert.is_false(key:verify(body .. " ", signature))
      assert.is_false(key:verify(body .. "\0", signature))
    end
  end)

  it("is false, and nothing else, for anything malformed", function()
    local key = key_of("k")
    local right = key:sign("body")
    local wrong = { "", "sha256=", right:upper(), right .. "0", right .. "\0", right:sub(1, -2), right:sub(8),
      "SHA256=" .. right:sub(8), "sha256= " .. right:sub(8), " " .. right, right .. ", " .. right,
      "sha256=" .. ("\255"):rep(64), "sha256=" .. ("\0"):rep(64), ("x"):rep(1048576) }
    for _, signature in ipairs(wrong) do assert.is_false(key:verify("body", signature)) end
  end)

  it("never raises, whatever the values", function()
    local key, values = key_of("k"), vectors.not_text()
    for i = 1, values.n do
      assert.is_false(key:verify(values[i], key:sign("body")))
      assert.is_false(key:verify("body", values[i]))
      assert.is_false(key:verify(values[i], values[i]))
    end
    assert.is_false(key:verify())
  end)

  it("does not take the empty body for a missing one", function()
    local key = key_of("k")
    assert.is_true(key:verify("", key:sign("")))
    assert.is_false(key:verify(nil, key:sign("")))
    assert.is_false(key:verify(0, key:sign("0")))
  end)
end)

describe("sign", function()
  it("uses the newest key", function()
    assert.are.equal(key_of("new"):sign("x"), key_of("new", "old"):sign("x"))
  end)

  it("raises for what is no text", function()
    assert.has_error(function() key_of("k"):sign() end)
    assert.has_error(function() key_of("k"):sign(42) end)
  end)
end)

describe("digests and encodings", function()
  it("are the known ones", function()
    assert.are.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", core.hex(core.sha256("abc")))
    assert.are.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", core.hex(core.sha256("")))
    -- RFC 7636 appendix B, what PKCE needs
    local challenge = core.base64url(core.sha256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
    assert.are.equal("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", challenge)
  end)

  it("take any bytes", function()
    assert.are.equal("", core.hex(""))
    assert.are.equal("00ff", core.hex("\0\255"))
    assert.are.equal("", core.base64url(""))
    assert.are.equal("AP8", core.base64url("\0\255"))
    assert.are.equal(2097152, #core.hex(("x"):rep(1048576)))
    assert.are.equal(1398102, #core.base64url(("x"):rep(1048576)))
  end)

  it("raise for what is no text", function()
    for _, name in ipairs({ "sha256", "hex", "base64url" }) do
      assert.has_error(function() core[name]() end)
      assert.has_error(function() core[name](42) end)
      assert.has_error(function() core[name]({}) end)
    end
  end)
end)
