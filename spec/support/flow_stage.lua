--- What the specs of flows share: a flow whose steps note that they ran, and links that go by it.
--
--   local s = flow_stage.new(w, client)
--   s.shop:after("confirm", "provision", s:noting("provision", "its value"))
--   local one = s:begin()                    -- {account, install, q}: q is what client:link takes
--   s.ran                                    -- the names of the steps that ran
--   flow_stage.with_ring(function(...) w, client, clock, s = ... end)     -- inside describe: hooks of busted are set

local busted = require "busted"
local ringlink = require "ringlink"
local world = require "support.world"

local unpack = table.unpack or unpack

local Stage = {}
Stage.__index = Stage

local M = {}

--- A stage for a client of a support.world.
function M.new(w, client)
  return setmetatable({ w = w, client = client, ran = {}, shop = ringlink.flow { name = "shop" } }, Stage)
end

--- A Ring that lives as long as the `describe` around, and for each test a client and its stage: all are handed to
--- `begin` before the test.
---@param begin fun(w: table, client: ringlink.Client, clock: table, s: table) w: a support.world
function M.with_ring(begin)
  local w
  busted.setup(function() w = world.start() end)
  busted.teardown(function() w:stop() end)
  busted.before_each(function()
    w:reset()
    local client, clock = w:quick_client()
    begin(w, client, clock, M.new(w, client))
  end)
end

--- A step that notes that it ran and answers.
function Stage:noting(name, ...)
  local answers = { n = select("#", ...), ... }
  return function()
    self.ran[#self.ran + 1] = name
    return unpack(answers, 1, answers.n)
  end
end

--- A step that notes that it ran, and answers what `step.answer` gives then.
function Stage:asking(name)
  local step = { answer = function() end }
  step.fn = function(link)
    self.ran[#self.ran + 1] = name
    return step.answer(link)
  end
  return step
end

--- Puts steps before `provision`, which answers as said, and behind it.
function Stage:waiting(...)
  local step, answer = self:asking("provision"), { n = select("#", ...), ... }
  step.answer = function() return unpack(answer, 1, answer.n) end
  self.shop:after("confirm", "first", self:noting("first", 7))
  self.shop:after("confirm", "provision", step.fn)
  self.shop:after("confirm", "third", self:noting("third"))
  return step
end

--- Puts a step at every place, and returns the flow.
function Stage:whole()
  self.shop:before("confirm", "check-plan", self:noting("check-plan"))
  self.shop:after("confirm", "provision", self:noting("provision"))
  self.shop:after("configure", "warm-up", self:noting("warm-up"))
  self.shop:before("complete", "last", self:noting("last"))
  self.shop:after("complete", "welcome", self:noting("welcome"))
  return self.shop
end

--- An unclaimed account and what links it by the flow.
function Stage:begin(more)
  local account, install = self.w:unclaimed(self.client)
  local q = { flow = self.shop }
  for name, value in pairs(more or {}) do q[name] = value end
  return { account = account, install = install, q = self.w.redirect_of(install, nil, q) }
end

return M
