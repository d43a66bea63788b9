-- Links inside somebody else's event loop: others go on meanwhile, and whoever asks may be dropped at any
-- time without a token or a state being lost.

local contract = require "support.host_contract"
local hosts = require "support.hosts"
local world = require "support.world"

describe("in the event loop of #network", function()
  local w

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function() w:reset() end)

  for _, name in ipairs { "cqueues", "luv" } do
    describe(name, function()
      contract.links(hosts[name], function() return w end)
    end)
  end
end)
