-- Hooks: who is called, in what order, what their answers mean, and that a broken one breaks nothing.

local errors = require "ringlink.errors"
local hooks = require "ringlink.hooks"
local offline = require "support.offline"

local unprintable = setmetatable({}, { __tostring = function() error("no text") end })

describe("hooks", function()
  local register, lines

  before_each(function()
    lines = {}
    register = hooks.new(function(level, message, fields)
      lines[#lines + 1] = { level = level, message = message, fields = fields }
    end)
  end)

  --- A listener that writes its name into a list and returns what it was given.
  local function noting(list, name, ...)
    local answers = { n = select("#", ...), ... }
    return function()
      list[#list + 1] = name
      return (table.unpack or unpack)(answers, 1, answers.n)
    end
  end

  describe("names", function()
    for name in ([[exchanged matched before_confirm awaiting configure before_complete completed failed transition
      token_rotated refresh_failed refresh_overdue relink_required unlinked reassign webhook request response audit
      webhook:motion_detected webhook:something_new]]):gmatch("%S+") do
      it("include " .. name, function() assert.truthy(hooks.known(name)) end)
    end

    for _, name in ipairs({ "", "complete", "webhook:", "webhook:a b", "Webhook", "webhook:x:y", 12, true, {} }) do
      it("do not include " .. tostring(name):gsub("0x%x+", ""), function() assert.falsy(hooks.known(name)) end)
    end

    it("are listed in order", function()
      local names = hooks.names()
      local sorted = hooks.names()
      table.sort(sorted)
      assert.same(sorted, names)
      assert.equal(19, #names)
    end)
  end)

  describe("client:on", function()
    local client = offline.client()

    it("refuses an unknown name and tells the nearest", function()
      local text = offline.misuse(function() client:on("complet", print) end)
      assert.equal('ringlink: on: unknown hook "complet"; did you mean completed?', text)
    end)

    it("refuses a name like no other and lists them", function()
      local text = offline.misuse(function() client:on("progress", print) end)
      assert.truthy(text:find('unknown hook "progress"; known are audit, awaiting, ', 1, true), text)
    end)

    it("refuses a missing name", function()
      assert.truthy(offline.misuse(function() client:on(nil, print) end):find('unknown hook "nil"', 1, true))
    end)

    it("refuses what is no function", function()
      assert.equal("ringlink: on: the hook must be a function", offline.misuse(function() client:on("audit", "x") end))
    end)

    it("returns what takes the hook off, once", function()
      local called = {}
      local off = client:on("audit", noting(called, "one"))
      client:on("audit", noting(called, "two"))
      off()
      off()
      client.hooks:tell("audit", {})
      assert.same({ "two" }, called)
    end)
  end)

  describe("tell", function()
    it("calls everybody in the order of registration, with all arguments", function()
      local called = {}
      for i = 1, 3 do
        register:on("audit", function(...) called[i] = { n = select("#", ...), ... } end)
      end
      register:tell("audit", "a", nil, "c", nil)
      local args = { n = 4, "a", nil, "c", nil }
      assert.same({ args, args, args }, called)
    end)

    it("calls nobody else", function()
      local called = {}
      register:on("webhook", noting(called, "webhook"))
      assert.is_nil(register:tell("audit"))
      assert.same({}, called)
    end)

    it("calls the same function as often as it was put in", function()
      local called = {}
      local fn = noting(called, "x")
      local off = register:on("audit", fn)
      register:on("audit", fn)
      off()
      register:tell("audit")
      assert.same({ "x" }, called)
    end)

    it("goes on after a hook that raises, and returns the first failure", function()
      local called = {}
      register:on("audit", function() error("first") end)
      register:on("audit", noting(called, "between"))
      register:on("audit", function() error("second") end)
      local err = register:tell("audit")
      assert.same({ "between" }, called)
      assert.equal("hook_failed", err.code)
      assert.is_true(err.retryable)
      assert.truthy(err.cause:find("first", 1, true))
    end)

    it("keeps the traceback as the cause and logs the failure", function()
      register:on("audit", function() error("broken hook") end)
      local err = register:tell("audit")
      assert.truthy(err.cause:find("stack traceback", 1, true))
      assert.truthy(err.cause:find("hooks_spec.lua", 1, true))
      assert.equal("error", lines[1].level)
      assert.equal("audit", lines[1].fields.hook)
      assert.truthy(lines[1].fields.cause:find("broken hook", 1, true))
    end)

    it("shows no secret that stood in the failure", function()
      register:on("audit", function() error("token Jf4RdqEuSmvQLd9l5CwXZ-GLkDQ8OJHYqSp_mU8NCVE", 0) end)
      local err = register:tell("audit")
      assert.is_nil((tostring(err) .. lines[1].fields.cause):find("Jf4Rdq", 1, true))
    end)

    it("takes whatever a hook raises", function()
      for _, raised in ipairs({ {}, 12, true, errors.new("closed"), unprintable }) do
        local off = register:on("audit", function() error(raised, 0) end)
        assert.equal(raised, register:tell("audit").cause)
        off()
      end
      register:on("audit", function() error() end)
      assert.equal("hook_failed", register:tell("audit").code)
    end)

    it("lets an interruption of the program through, once the others were told", function()
      local called = {}
      register:on("audit", function() error("lua: interrupted!", 0) end)
      register:on("audit", noting(called, "after it"))
      assert.same({ false, "lua: interrupted!" }, { pcall(register.tell, register, "audit") })
      assert.same({ "after it" }, called)
      assert.same({}, lines)
    end)

    it("is not disturbed by hooks that come and go meanwhile", function()
      local called = {}
      local off
      register:on("audit", function()
        off()
        register:on("audit", noting(called, "new"))
      end)
      off = register:on("audit", noting(called, "old"))
      register:tell("audit")
      assert.same({ "old" }, called)
      register:tell("audit")
      assert.same({ "old", "new" }, called)
    end)
  end)

  it("that ask let an interruption of the program through too", function()
    for _, name in ipairs({ "ask", "decide" }) do
      register:on("reassign", function() error("lua: interrupted!", 0) end)
      assert.same({ false, "lua: interrupted!" }, { pcall(register[name], register, "reassign", "vetoed") })
    end
  end)

  describe("ask", function()
    it("agrees when nobody listens", function()
      assert.is_true(register:ask("before_confirm", "vetoed"))
    end)

    it("agrees when nobody objects, whatever else they return", function()
      for _, answer in ipairs({ 0, "", true, {} }) do
        register:on("before_confirm", function() return answer end)
      end
      register:on("before_confirm", function() end)
      register:on("before_confirm", function() return nil end)
      assert.is_true(register:ask("before_confirm", "vetoed"))
    end)

    it("is stopped by false and a reason", function()
      local called = {}
      register:on("before_confirm", noting(called, "one", false, "account is locked"))
      register:on("before_confirm", noting(called, "two"))
      local agreed, err = register:ask("before_confirm", "vetoed")
      assert.is_nil(agreed)
      assert.same({ "one" }, called)
      assert.same({ "vetoed", "before_confirm", "account is locked" }, { err.code, err.stage, err.cause })
      assert.truthy(err.message:find(": let the user tap Sign In again", 1, true), err.message)
      assert.truthy(err.message:find("account is locked", 1, true))
    end)

    it("is stopped by nil and an error", function()
      local reason = errors.new("timeout")
      register:on("configure", function() return nil, reason end)
      local _, err = register:ask("configure", "configure_failed")
      assert.equal("configure_failed", err.code)
      assert.equal(reason, err.cause)
    end)

    it("is stopped by false alone", function()
      register:on("before_confirm", function() return false end)
      assert.truthy(select(2, register:ask("before_confirm", "vetoed")).message:find("no reason given", 1, true))
    end)

    it("survives a reason that cannot be made text", function()
      register:on("before_confirm", function() return false, unprintable end)
      assert.equal("vetoed", select(2, register:ask("before_confirm", "vetoed")).code)
    end)

    it("is stopped by a hook that raises", function()
      register:on("configure", function() error("broken hook") end)
      local agreed, err = register:ask("configure", "configure_failed")
      assert.is_nil(agreed)
      assert.same({ "hook_failed", "configure" }, { err.code, err.stage })
      assert.truthy(err.cause:find("stack traceback", 1, true))
    end)

    it("hands over its arguments", function()
      local got
      register:on("configure", function(...) got = { ... } end)
      register:ask("configure", "configure_failed", "a", "b")
      assert.same({ "a", "b" }, got)
    end)
  end)

  describe("decide", function()
    it("takes the first answer that says something", function()
      local called = {}
      register:on("reassign", noting(called, "one", nil))
      register:on("reassign", noting(called, "two", false))
      register:on("reassign", noting(called, "three", "yes"))
      register:on("reassign", noting(called, "four", "no"))
      assert.equal("yes", register:decide("reassign"))
      assert.same({ "one", "two", "three" }, called)
    end)

    it("says nothing when nobody does", function()
      register:on("reassign", function() return false end)
      assert.is_nil((register:decide("reassign")))
    end)

    it("is an error when a hook raises", function()
      register:on("reassign", function() error("broken hook") end)
      local answer, err = register:decide("reassign")
      assert.is_nil(answer)
      assert.equal("hook_failed", err.code)
    end)
  end)

  it("know whether anybody listens", function()
    assert.is_false(register:has("audit"))
    local off = register:on("audit", print)
    assert.is_true(register:has("audit"))
    off()
    assert.is_false(register:has("audit"))
  end)
end)
