-- What a partner is shown of a hook or step that made a mistake: the lines of their own code and none of
-- ringlink's, unless the mistake is ringlink's.

local errors = require "ringlink.errors"
local flow_stage = require "support.flow_stage"
local hooks = require "ringlink.hooks"
local ringlink = require "ringlink"
local world = require "support.world"

local HERE = "trace_spec%.lua:(%d+): in "

--- The lines of a traceback behind what was raised, and that.
local function lines_of(cause)
  local said, trace = cause:match("^(.-)\nstack traceback:\n(.*)$")
  local lines = {}
  for line in trace:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines, said
end

local function is_C(line) return line:find("^\t%[") ~= nil end

--- Whether a traceback tells lines of this file and nothing of what lies below the function.
local function assert_own(cause)
  local lines = lines_of(cause)
  local own = {}
  for _, line in ipairs(lines) do
    if not is_C(line) then
      assert.truthy(line:find(HERE) or line == "\t...", cause)
      own[#own + 1] = tonumber(line:match(HERE))
    end
  end
  assert.is_true(#own > 0, cause)
  assert.is_false(is_C(lines[#lines]), cause)
  return own
end

local function line_here() return debug.getinfo(2, "l").currentline end

describe("what is shown of a mistake", function()
  local register, logged

  before_each(function()
    logged = {}
    register = hooks.new(function(_, _, fields) logged[#logged + 1] = fields.cause end)
  end)

  local function cause_of(fn)
    local off = register:on("audit", fn)
    local err = register:tell("audit")
    off()
    return err.cause
  end

  it("is the line that made it, first, and whoever called that, down to the hook", function()
    local at = {}
    local function inner()
      at[1] = line_here() + 1
      error("broken")
    end
    local function hook()
      at[2] = line_here() + 1
      inner()
      return nil
    end
    local cause = cause_of(hook)
    assert.same(at, assert_own(cause))
    assert.truthy(cause:find("trace_spec.lua:" .. at[1] .. ": broken\nstack traceback:\n", 1, true), cause)
  end)

  it("is the same of what Lua itself finds", function()
    local at
    local own = assert_own(cause_of(function(nothing)
      at = line_here() + 1
      return nothing.field .. ""
    end))
    assert.same({ at }, own)
  end)

  it("has the functions of Lua's that were called in between", function()
    local cause = cause_of(function() table.sort({ 2, 1 }, function() error("no order") end) end)
    assert.equal(2, #assert_own(cause))
    assert.truthy(cause:find("sort'\n", 1, true), cause)
  end)

  it("is the line that called ringlink wrongly, not where ringlink noticed", function()
    local at
    local cause = cause_of(function()
      at = line_here() + 1
      ringlink.flow { nam = "shop" }
    end)
    assert.same({ at }, assert_own(cause))
    assert.truthy(cause:find(("trace_spec.lua:%d: ringlink: flow: unknown option"):format(at), 1, true), cause)
  end)

  it("is the line to which ringlink raised an error as text, as it does inside nginx", function()
    errors.raise_text(true)
    local cause = cause_of(function() errors.raise_outside(errors.new("closed")) end)
    errors.raise_text(false)
    assert_own(cause)
    assert.truthy(cause:find("^closed: "), cause)
  end)

  it("is whole where ringlink's own code broke", function()
    local cause = cause_of(function() errors.new("no such code") end)
    assert.truthy(cause:find("no such code", 1, true))
    assert.truthy(cause:find(HERE), cause)
    for _, file in ipairs { "errors", "hooks" } do
      assert.truthy(cause:find("ringlink/" .. file .. ".lua:", 1, true), cause)
    end
  end)

  it("ends where a traceback leaves lines out", function()
    local function deep(n)
      if n == 0 then error("at the bottom") end
      return 1 + deep(n - 1)
    end
    local lines = lines_of(cause_of(function() return 1 + deep(60) end))
    assert.equal("\t...", lines[#lines])
    table.remove(lines)
    for _, line in ipairs(lines) do assert.truthy(is_C(line) or line:find(HERE), line) end
  end)

  it("says something of a hook that calls itself without an end", function()
    local function endless() return 1 + endless() end
    local cause = cause_of(endless)                -- LuaJIT has at times no room left for a handler
    assert.truthy(cause:find("stack overflow", 1, true) or cause == "error in error handling", cause)
  end)

  it("tells of no line where a hook leaves by a tail call", function()
    for _, line in ipairs((lines_of(cause_of(function() return error("broken") end)))) do
      assert.truthy(is_C(line) or line:find(HERE), line)
    end
  end)

  it("tells nothing of ringlink where the hook is a function of Lua's own", function()
    local lines, said = lines_of(cause_of(string.rep))
    assert.truthy(said:find("bad argument #1 to ", 1, true), said)
    assert.is_true(#lines > 0)
    for _, line in ipairs(lines) do assert.truthy(is_C(line), line) end
  end)

  it("is in the log as it is in the error", function()
    local cause = cause_of(function() error("broken") end)
    assert.equal(errors.describe_trace(cause), logged[1])
    assert.is_nil(logged[1]:find("hooks.lua", 1, true))
  end)

  it("has no traceback where it was no text, or an interruption", function()
    local object = errors.new("closed")
    assert.equal(object, cause_of(function() error(object) end))
    local ok, raised = pcall(cause_of, function() error("lua: interrupted!", 0) end)
    assert.same({ false, "lua: interrupted!" }, { ok, raised })
  end)
end)

describe("what a link shows of a step's mistake #network", function()
  local w, client, s

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client = w:quick_client()
    s = flow_stage.new(w, client)
  end)

  for _, place in ipairs { { "before", "confirm" }, { "after", "confirm" }, { "after", "complete" } } do
    it(("is the step's own lines: %s %s"):format(place[1], place[2]), function()
      s.shop[place[1]](s.shop, place[2], "provision", function() error("no room") end)
      local _, err = client:link(s:begin().q)
      assert.same({ "hook_failed", "provision" }, { err.code, err.step })
      assert_own(err.cause)
    end)
  end

  it("is its lines also where it calls the client wrongly, which has read the store before", function()
    local at
    s.shop:after("confirm", "provision", function(link)
      at = line_here() + 1
      client:complete(link.account, { stp = "provision" })
    end)
    local _, err = client:link(s:begin().q)
    assert.same({ at }, assert_own(err.cause))
  end)

  it("is the lines of a call's own configure, in a task too", function()
    local one = s:begin({ configure = function() error("no room") end })
    ringlink.run(function() assert_own(select(2, client:link(one.q)).cause) end)
  end)
end)
