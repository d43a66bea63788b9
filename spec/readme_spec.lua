--- The README keeps its word: error codes, options, calls and hooks are those of the code.
local ringlink = require "ringlink"
local support = require "support.readme"

describe("README #tidy", function()
  local text = support.text()

  it("lists every error code with its meaning and cure", function()
    assert.equal(support.error_table(ringlink.errors), support.between(text, "errors"))
  end)

  it("names every public call of the client and the account", function()
    for _, name in ipairs(support.public_calls("lua/ringlink/client.lua", "Client")) do
      assert.truthy(text:find("client:" .. name, 1, true), "client:" .. name .. " is not in the README")
    end
    for _, name in ipairs(support.public_calls("lua/ringlink/account.lua", "Account")) do
      assert.truthy(text:find("account:" .. name, 1, true), "account:" .. name .. " is not in the README")
    end
  end)

  it("names every hook", function()
    for _, name in ipairs(require("ringlink.hooks").names()) do
      assert.truthy(text:find("`" .. name .. "`", 1, true), "hook " .. name .. " is not in the README")
    end
  end)

  it("names every option with its default", function()
    for _, option in ipairs(require("ringlink.options").list()) do
      local row = text:match("\n| ([^\n]*`" .. option.name .. "`[^\n]*)")
      assert.truthy(row, "option " .. option.name .. " is not in the README")
      if type(option.default) == "number" then
        assert.truthy(row:find(("%d"):format(option.default), 1, true), option.name .. ": default differs")
      end
    end
  end)
end)
