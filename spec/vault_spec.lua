-- The vault: what it seals it opens again, and what it cannot seal it never loses in silence.

local errors = require "ringlink.errors"
local vault = require "ringlink.vault"

local SEALED_BYTES_MAX = 1024 * 1024

describe("vault", function()
  local box

  before_each(function() box = vault.memory() end)

  it("opens what it sealed, of any length up to its bound", function()
    for _, text in ipairs({ "", "x", "a\0b", ("x"):rep(SEALED_BYTES_MAX) }) do
      assert.equal(text, box:open(box:seal(text)))
    end
  end)

  it("leaves nil as it is", function()
    assert.is_nil(box:seal(nil))
    assert.is_nil(box:open(nil))
  end)

  it("raises for what is too long, without a piece of it", function()
    local ok, err = pcall(box.seal, box, ("QZ7"):rep(SEALED_BYTES_MAX))
    assert.is_false(ok)
    assert.is_true(errors.is(err), tostring(err))
    assert.equal("invalid_request", err.code)
    assert.truthy(err.message:find("cannot be sealed", 1, true), err.message)
    assert.is_nil(err.message:find("QZ7", 1, true))
  end)
end)
