-- Ten thousand links at once in one process: part of `make soak`.

local children = require "support.child"
local many_links = require "support.many_links"
local note = require "support.note"
local world = require "support.world"

local COUNT = 10000

describe("ten thousand links at once #network #ownstore", function()
  local w

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  after_each(children.stop_all)

  it("are completed by one thread under `ulimit -n 256`", function()
    local found = many_links.run(w, COUNT)
    note(("%d links at once: %d bytes of Lua a waiting flow, %.1f times a bare coroutine's %d; the process grew by "
      .. "%d bytes a flow at most; %d files open"):format(COUNT, found.flow_bytes,
      found.flow_bytes / found.coroutine_bytes, found.coroutine_bytes, found.peak_bytes, found.descriptors))
    assert.equal(COUNT, found.completed)
    assert.equal(COUNT, found.waited_at_once)
    assert.equal(1, found.threads)
  end)
end)
