-- A thousand links at once in one process: one thread, few files, and little memory for each that waits.

local children = require "support.child"
local many_links = require "support.many_links"
local world = require "support.world"

local COUNT = os.getenv("ASAN_OPTIONS") and 100 or 1000        -- the sanitizers take their time
local RATIO_MAX = 12                   -- of a waiting flow's memory to a bare coroutine's

describe("a thousand links at once #network #ownstore", function()
  local w

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  after_each(children.stop_all)

  it("are completed by one thread under `ulimit -n 256`", function()
    local found = many_links.run(w, COUNT)
    assert.equal(COUNT, found.completed)
    assert.equal(COUNT, found.waited_at_once)
    assert.equal(1, found.threads)
    assert.is_true(found.descriptors < 64, found.descriptors)
    assert.is_true(found.flow_bytes <= RATIO_MAX * found.coroutine_bytes,
      ("%d bytes a flow, %d a coroutine"):format(found.flow_bytes, found.coroutine_bytes))
    for _, call in ipairs { "token", "me", "confirm", "complete" } do assert.equal(COUNT, w:count(call)) end
  end)
end)
