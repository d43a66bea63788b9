-- The vaults: core.vault as Lua sees it, and the two that the flows use.

local core = require "ringlink.core"
local disks = require "support.disk"
local errors = require "ringlink.errors"
local vaults = require "ringlink.vault"

local function core_vault(...)
  local keys = {}
  for i, n in ipairs({ ... }) do keys[i] = disks.key_bytes(n) end
  return assert(core.vault({ keys = keys }))
end

--- The error object that a function raises.
local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  return err
end

describe("core.vault", function()
  local vault = core_vault(1)

  it("opens what it sealed, whatever the bytes", function()
    for _, text in ipairs({ "", "token", "a\0b\255", ("x"):rep(100000) }) do
      local sealed = vault:seal(text, "place")
      assert.equal(#text + 34, #sealed)
      assert.equal(text, vault:open(sealed, "place"))
    end
  end)

  it("shows nothing of a text, and never seals it the same", function()
    local one, other = vault:seal("planted-token", "place"), vault:seal("planted-token", "place")
    assert.not_equal(one, other)
    assert.is_nil(one:find("planted", 1, true))
  end)

  it("opens nothing at another place", function()
    local sealed = vault:seal("token", "place")
    for _, place in ipairs({ "", "plac", "place\0", "Place" }) do
      assert.same({ nil, "store_corrupt" }, { vault:open(sealed, place) })
    end
  end)

  it("answers store_corrupt to whatever is no sealed field", function()
    for _, value in pairs({ "", "token", ("R\1"):rep(40):sub(1, 33), "R\2" .. ("x"):rep(40), 12, true, {}, print }) do
      local text, code = vault:open(value, "place")
      assert.is_nil(text)
      assert.equal("store_corrupt", code)
      assert.is_false(vault:is_newest(value))
      assert.is_nil(vault:sealer(value))
    end
    assert.equal("store_corrupt", select(2, vault:open(nil, "place")))
  end)

  it("answers store_key to what another key sealed, and names that key", function()
    local sealed = core_vault(2):seal("token", "place")
    assert.same({ nil, "store_key" }, { vault:open(sealed, "place") })
    assert.equal(core_vault(2):ids()[1], vault:sealer(sealed))
    assert.not_equal(vault:ids()[1], vault:sealer(sealed))
  end)

  it("opens with every key and seals with the newest", function()
    local old, rotated = vault:seal("token", "place"), core_vault(2, 1)
    assert.equal("token", rotated:open(old, "place"))
    assert.is_false(rotated:is_newest(old))
    local young = rotated:seal("token", "place")
    assert.is_true(rotated:is_newest(young))
    assert.same({ nil, "store_key" }, { vault:open(young, "place") })
    assert.same({ core_vault(2):ids()[1], vault:ids()[1] }, rotated:ids())
  end)

  it("has ids of eight hex digits that say nothing of the key", function()
    local id = vault:ids()[1]
    assert.truthy(id:match("^%x%x%x%x%x%x%x%x$"))
    assert.is_nil(core.hex(core.sha256(disks.key_bytes(1))):find(id, 1, true))
  end)

  it("is made of 1 to 8 different keys of 32 bytes", function()
    local nine = {}
    for n = 1, 9 do nine[n] = disks.key_bytes(n) end
    for _, keys in ipairs({ {}, nine, { ("k"):rep(31) }, { ("k"):rep(33) }, { ("k"):rep(32), ("k"):rep(32) } }) do
      assert.same({ nil, "invalid_option" }, { core.vault({ keys = keys }) })
    end
    nine[9] = nil
    assert.equal(8, #assert(core.vault({ keys = nine })):ids())
    for _, wrong in ipairs({ {}, { keys = "k" }, { keys = { 12 } } }) do
      assert.is_false((pcall(core.vault, wrong)))
    end
    assert.is_false((pcall(core.vault, "k")))
  end)

  it("has limits", function()
    assert.same({ nil, "invalid_request" }, { vault:seal(("x"):rep(2 ^ 20 + 1), "place") })
    assert.same({ nil, "invalid_request" }, { vault:seal("x", ("p"):rep(2 ^ 16 + 1)) })
    assert.same({ nil, "store_corrupt" }, { vault:open(("R\1"):rep(2 ^ 20), "place") })
  end)

  it("does nothing once it is closed, and shows nothing", function()
    local closed = core_vault(1)
    local sealed = closed:seal("token", "place")
    closed:close()
    closed:close()
    assert.same({ nil, "closed" }, { closed:seal("token", "place") })
    assert.same({ nil, "closed" }, { closed:open(sealed, "place") })
    assert.is_false(closed:is_newest(sealed))
    assert.same({}, closed:ids())
    assert.equal("vault(****)", tostring(closed))
    assert.is_false(getmetatable(closed))
  end)
end)

describe("core.base64_decode", function()
  it("reads one spelling only", function()
    assert.equal("\0\1\2\253\254\255", core.base64_decode("AAEC/f7/"))
    for _, text in ipairs({ "AAEC/f7", "AAEC/f7_", " AAEC", "AAE\n", "AB==", "=" }) do
      assert.same({ nil, "invalid_request" }, { core.base64_decode(text) })
    end
    for length = 0, 40 do
      local bytes = core.random(length)
      assert.equal(bytes, core.base64_decode(disks.base64(bytes)))
    end
  end)
end)

describe("core.file_mode", function()
  it("tells the permission bits", function()
    local path = os.tmpname()
    for _, mode in ipairs({ "600", "640", "604", "400" }) do
      assert(os.execute(("chmod %s '%s'"):format(mode, path)))
      assert.equal(tonumber(mode, 8), core.file_mode(path))
    end
    os.remove(path)
    assert.same({ nil, "not_found" }, { core.file_mode(path) })
    assert.same({ nil, "not_found" }, { core.file_mode("/\0x") })
  end)

  it("tells them of an open file, whatever its path names by now", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "rb"))
    assert(os.execute(("chmod 604 '%s'"):format(path)))
    assert.same({ tonumber("604", 8), true }, { core.file_mode(file) })
    os.remove(path)
    assert.same({ tonumber("604", 8), true }, { core.file_mode(file) })
    file:close()
    assert.same({ nil, "not_found" }, { core.file_mode(file) })
    for _, wrong in ipairs({ core.vault({ keys = { ("k"):rep(32) } }), {}, true }) do
      assert.is_false((pcall(core.file_mode, wrong)))
    end
  end)
end)

describe("vault", function()
  local KINDS = {
    memory = vaults.memory,
    sealed = function()
      local vault = vaults.sealed(core_vault(1))
      vault:set_tag_key(vault.new_tag_key())
      return vault
    end,
  }
  for name, make in pairs(KINDS) do
    describe(name, function()
      local vault = make()

      it("gives back what it sealed", function()
        for _, text in ipairs({ "", "token", "a\0b\255" }) do
          assert.equal(text, vault:open("row", "access", vault:seal("row", "access", text)))
        end
      end)

      it("leaves nothing nothing", function()
        assert.is_nil(vault:seal("row", "access", nil))
        assert.is_nil(vault:open("row", "access", nil))
      end)

      it("shows no text", function()
        assert.is_nil(tostring(vault:seal("row", "access", "planted-token")):find("planted", 1, true))
      end)

      it("raises for a text longer than a mebibyte", function()
        local err = raised(vault.seal, vault, "row", "access", ("x"):rep(2 ^ 20 + 1))
        assert.equal("store_error", err.code)
        assert.truthy(err.message:find("field access of row is too long", 1, true))
      end)

      it("tags by purpose and text", function()
        local tag = vault:tag("user", "42")
        assert.equal(tag, vault:tag("user", "42"))
        assert.truthy(tag:match("^%x+$") and #tag == 64)
        assert.not_equal(tag, vault:tag("account", "42"))
        assert.not_equal(tag, vault:tag("user", "43"))
        assert.not_equal(tag, make():tag("user", "42"))
      end)

      it("holds nothing stale under one key", function()
        assert.is_false(vault:is_stale(vault:seal("row", "access", "token")))
      end)
    end)
  end

  describe("sealed", function()
    local vault = vaults.sealed(core_vault(1))
    local sealed = vault:seal("row", "access", "token")

    it("opens a field in its own row and column only", function()
      for _, place in ipairs({ { "row", "refresh" }, { "other", "access" }, { "row\0access", "" },
        { "", "row\0access" } }) do
        local err = raised(vault.open, vault, place[1], place[2], sealed)
        assert.equal("store_corrupt", err.code)
        assert.is_false(err.retryable)
      end
      assert.truthy(raised(vault.open, vault, "other", "access", sealed).message:find("field access of other", 1, true))
    end)

    it("says which key is missing", function()
      local other = vaults.sealed(core_vault(2))
      local err = raised(other.open, other, "row", "access", sealed)
      assert.equal("store_key", err.code)
      assert.truthy(err.message:find(core_vault(1):ids()[1], 1, true))
      assert.truthy(err.message:find(core_vault(2):ids()[1], 1, true))
    end)

    it("knows what an older key sealed, and no rubbish", function()
      local rotated = vaults.sealed(core_vault(2, 1))
      assert.is_true(rotated:is_stale(sealed))
      assert.is_false(rotated:is_stale(rotated:seal("row", "access", "token")))
      for _, value in ipairs({ "token", 12, true }) do assert.is_false(rotated:is_stale(value)) end
    end)

    it("asks for the tag key once", function()
      local fresh, asked = vaults.sealed(core_vault(1)), 0
      fresh.fetch_tag_key = function()
        asked = asked + 1
        fresh:set_tag_key(("t"):rep(32))
      end
      assert.equal(fresh:tag("user", "42"), fresh:tag("user", "42"))
      assert.equal(1, asked)
    end)

    it("raises `closed` when its keys are gone", function()
      local closed = vaults.sealed(core_vault(1))
      closed:close()
      assert.equal("closed", raised(closed.open, closed, "row", "access", sealed).code)
      assert.equal("closed", raised(closed.seal, closed, "row", "access", "token").code)
    end)
  end)
end)
