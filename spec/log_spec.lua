-- The log port: flat fields, nothing secret, and no way to end a flow.

local log = require "ringlink.log"

local function logged(fields)
  local line
  log.new(function(level, message, given) line = { level = level, message = message, fields = given } end)(
    "warn", "something happened", fields)
  return line
end

describe("log", function()
  it("hands over level, message and fields", function()
    local fields = { stage = "confirm", status = 500, sent = true }
    assert.same({ level = "warn", message = "something happened", fields = fields }, logged(fields))
  end)

  it("always hands over a table", function()
    assert.same({}, logged(nil).fields)
  end)

  for name in ([[access_token refresh_token code nonce client_secret hmac_key store_key authorization
    code_verifier]]):gmatch("%S+") do
    it("hides a field called " .. name, function()
      assert.same({ [name] = "****" }, logged({ [name] = "planted-secret" }).fields)
    end)
  end

  it("makes text of everything that is not flat", function()
    local fields = logged({ cause = { 1 }, fn = print, task = coroutine.create(function() end) }).fields
    for name, value in pairs(fields) do assert.equal("string", type(value), name) end
  end)

  it("hides what a text made of a value would show of a secret", function()
    local leaky = setmetatable({}, { __tostring = function() return "token Jf4RdqEuSmvQLd9l5CwXZ-GLkDQ8" end })
    assert.same({ cause = "token ****" }, logged({ cause = leaky }).fields)
  end)

  it("leaves the table it was given alone", function()
    local fields = { nonce = "n", cause = {} }
    logged(fields)
    assert.equal("n", fields.nonce)
    assert.equal("table", type(fields.cause))
  end)

  it("is silent without a sink", function()
    assert.equal(0, select("#", log.new(nil)("error", "x", {})))
  end)

  it("goes on when the sink raises", function()
    assert.is_true((pcall(log.new(function() error("disk full") end), "error", "x", {})))
  end)

  it("goes on when a value cannot be made text", function()
    local broken = setmetatable({}, { __tostring = function() error("no text") end })
    local ok = pcall(log.new(function() end), "error", "x", { cause = broken })
    assert.is_true(ok)
  end)
end)
