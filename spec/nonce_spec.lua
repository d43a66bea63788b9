-- core.hmac_key's nonces and core.check_time: the vectors, rotation, and hostile redirects.

local core = require "ringlink.core"
local vectors = require "support.vectors"

local KEY = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
local TIME = "1771130906289"
local ID = "ava1.ring.account.XXXYYY"
local NONCE = "Jf4RdqEuSmvQLd9l5CwXZ-GLkDQ8OJHYqSp_mU8NCVE"

local function key_of(...)
  return assert(core.hmac_key({ ... }))
end

describe("hmac_key", function()
  it("takes one to eight keys of 1 to 4096 bytes", function()
    assert.is_truthy(core.hmac_key({ "k" }))
    assert.is_truthy(core.hmac_key({ ("k"):rep(4096) }))
    assert.is_truthy(core.hmac_key({ "1", "2", "3", "4", "5", "6", "7", "8" }))
  end)

  it("returns invalid_option for other numbers and lengths", function()
    local bad = { {}, { "" }, { "k", "" }, { ("k"):rep(4097) }, { "1", "2", "3", "4", "5", "6", "7", "8", "9" } }
    for _, keys in ipairs(bad) do
      local key, code = core.hmac_key(keys)
      assert.is_nil(key)
      assert.are.equal("invalid_option", code)
    end
  end)

  it("raises for what is no list of strings", function()
    assert.has_error(function() core.hmac_key("k") end)
    assert.has_error(function() core.hmac_key() end)
    assert.has_error(function() core.hmac_key({ 42 }) end)
    assert.has_error(function() core.hmac_key({ "k", {} }) end)
  end)

  it("does not show the key", function()
    assert.are.equal("hmac_key(****)", tostring(key_of(KEY)))
    assert.is_false(getmetatable(key_of(KEY)))
  end)

  it("uses a key as the bytes it is", function()
    assert.are_not.equal(key_of("a\0b"):nonce(TIME, ID), key_of("a\0c"):nonce(TIME, ID))
    assert.are_not.equal(key_of(KEY):nonce(TIME, ID), key_of(KEY .. "\n"):nonce(TIME, ID))
  end)
end)

describe("nonce", function()
  it("equals every vector", function()
    local cases = vectors.cases("nonce")
    assert.is_true(#cases >= 48)
    for _, case in ipairs(cases) do
      assert.are.equal(case.nonce, key_of(case.hmac_key):nonce(case.time, case.account_id))
    end
  end)

  it("is made with the newest key", function()
    assert.are.equal(NONCE, key_of(KEY, "older"):nonce(TIME, ID))
    assert.are_not.equal(NONCE, key_of("newer", KEY):nonce(TIME, ID))
  end)

  it("keeps the time's text as it is", function()
    local key = key_of(KEY)
    assert.are_not.equal(key:nonce("1", ID), key:nonce("01", ID))
  end)

  it("is 43 characters of base64url", function()
    assert.is_truthy(key_of(KEY):nonce("99999999999999999999", "\0\255"):match("^[%w_-]+$"))
    assert.are.equal(43, #key_of(KEY):nonce("0", "x"))
  end)

  it("returns invalid_request for malformed times and ids", function()
    local key = key_of(KEY)
    local bad_times = { "", "-1", "+1", " 1", "1 ", "1\0", "1.5", "1e3", "0x1", ("1"):rep(21), ("1"):rep(1048576),
      "\217\161" }
    for _, time in ipairs(bad_times) do
      assert.are.same({ nil, "invalid_request" }, { key:nonce(time, ID) })
    end
    for _, id in ipairs({ "", ("x"):rep(513), ("x"):rep(1048576) }) do
      assert.are.same({ nil, "invalid_request" }, { key:nonce(TIME, id) })
    end
  end)

  it("returns invalid_request for what is no text", function()
    local key, values = key_of(KEY), vectors.not_text()
    for i = 1, values.n do
      assert.are.same({ nil, "invalid_request" }, { key:nonce(values[i], ID) })
      assert.are.same({ nil, "invalid_request" }, { key:nonce(TIME, values[i]) })
    end
  end)
end)

describe("match", function()
  it("finds every vector in a pool", function()
    for _, case in ipairs(vectors.cases("nonce")) do
      local pool = { "x", "y", case.account_id, "z" }
      assert.are.equal(3, key_of("newer", case.hmac_key):match(case.nonce, case.time, pool))
    end
  end)

  it("takes the first, so the newest, of equal ones", function()
    assert.are.equal(2, key_of(KEY):match(NONCE, TIME, { "x", ID, ID }))
  end)

  it("finds nothing in an empty pool or a foreign one", function()
    assert.is_nil(key_of(KEY):match(NONCE, TIME, {}))
    assert.is_nil(key_of(KEY):match(NONCE, TIME, { "x", ID .. "x", ID:sub(2) }))
    assert.is_nil(key_of("other"):match(NONCE, TIME, { ID }))
    assert.is_nil(key_of(KEY):match(NONCE, "1771130906290", { ID }))
  end)

  it("accepts one spelling only", function()
    local key = key_of(KEY)
    local spellings = { NONCE .. "=", NONCE .. "\0", NONCE:sub(1, 42), NONCE:lower(), (NONCE:gsub("-", "+")),
      (NONCE:gsub("_", "/")), " " .. NONCE, "", ("A"):rep(43), ("A"):rep(1048576), ("\255"):rep(43), ("\0"):rep(43) }
    for _, nonce in ipairs(spellings) do assert.is_nil(key:match(nonce, TIME, { ID })) end
  end)

  it("never raises for what the wire may bring", function()
    local key, values = key_of(KEY), vectors.not_text()
    for i = 1, values.n do
      assert.is_nil(key:match(values[i], TIME, { ID }))
      assert.is_nil(key:match(NONCE, values[i], { ID }))
    end
  end)

  it("raises for ids that are no list of strings", function()
    assert.has_error(function() key_of(KEY):match(NONCE, TIME) end)
    assert.has_error(function() key_of(KEY):match(NONCE, TIME, ID) end)
    assert.has_error(function() key_of(KEY):match(NONCE, TIME, { {} }) end)
  end)

  it("is a method of keys only", function()
    assert.has_error(function() key_of(KEY).match({}, NONCE, TIME, { ID }) end)
    assert.has_error(function() key_of(KEY).match(core.secret("x"), NONCE, TIME, { ID }) end)
  end)
end)

describe("check_time", function()
  local WINDOW, SKEW = 600000, 60000

  local function check(time, now_ms)
    return core.check_time(time, now_ms, WINDOW, SKEW)
  end

  it("returns the measured difference", function()
    assert.are.equal(0, (check("1000000", 1000000)))
    assert.are.equal(600000, (check("1000000", 1600000)))
    assert.are.equal(-60000, (check("1000000", 940000)))
  end)

  it("tells expired and future times apart, with the difference", function()
    assert.are.same({ nil, "link_expired", 600001 }, { check("1000000", 1600001) })
    assert.are.same({ nil, "link_in_future", -60001 }, { check("1000000", 939999) })
    assert.are.same({ nil, "link_expired", 1771130906289 }, { check("0", 1771130906289) })
  end)

  it("puts twenty digits into the far future", function()
    for _, time in ipairs({ "9223372036854775807", "9223372036854775808", "18446744073709551616", ("9"):rep(20) }) do
      local delta_ms, code, measured = check(time, 1771130906289)
      assert.is_nil(delta_ms)
      assert.are.equal("link_in_future", code)
      assert.is_true(measured < -9e18)
    end
  end)

  it("returns invalid_request for malformed times", function()
    for _, time in ipairs({ "", " ", "-1", "+1", "1 ", "1\0", "1.0", "1e3", "0x1", ("1"):rep(21), "1\n" }) do
      assert.are.same({ nil, "invalid_request" }, { check(time, 1) })
    end
    local values = vectors.not_text()
    for i = 1, values.n do assert.are.same({ nil, "invalid_request" }, { check(values[i], 1) }) end
  end)

  it("raises when the caller's own numbers are wrong", function()
    assert.has_error(function() core.check_time("1", "x", WINDOW, SKEW) end)
    assert.has_error(function() core.check_time("1", 1, nil, SKEW) end)
    assert.has_error(function() core.check_time("1", 1, WINDOW, 0 / 0) end)
  end)
end)

describe("tag", function()
  it("is a keyed hash of purpose and text", function()
    local key = key_of("k")
    assert.are.equal(64, #key:tag("user", "42"))
    assert.are.equal(key:tag("user", "42"), key:tag("user", "42"))
    assert.are_not.equal(key:tag("user", "42"), key:tag("account", "42"))
    assert.are_not.equal(key:tag("user", "42"), key_of("l"):tag("user", "42"))
    assert.are_not.equal(key:tag("a", "bc"), key:tag("ab", "c"))
    assert.are.equal(key:sign("user\00042"), "sha256=" .. key:tag("user", "42"))
  end)

  it("takes any text but no NUL in the purpose", function()
    local key = key_of("k")
    assert.are.equal(64, #key:tag("", ""))
    assert.are.equal(64, #key:tag("p", ("\0\255"):rep(1000)))
    assert.has_error(function() key:tag("a\0b", "c") end)
    assert.has_error(function() key:tag("a") end)
    assert.has_error(function() key:tag(nil, "c") end)
  end)
end)
