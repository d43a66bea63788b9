--- A flow: which of the partner's own steps a link goes through, around the two that are Ring's.
--
--     local flow = ringlink.flow { name = "shop" }
--     flow:after("confirm", "provision", function(link) ... end)
--
-- A flow is a plan, not a run: it knows no client, no account and no state, so one serves any number
-- of links at once. What a link has gone through stands in its grant (steps).
-- Invariants: `confirm` and `complete` are there once, in this order, whatever is asked; every step has
-- a name of its own; from the first link on a flow does not change, for stored links name its steps.

local errors = require "ringlink.errors"
local face = require "ringlink.face"
local options = require "ringlink.options"

local M = {}

local unpack = table.unpack or unpack

local NAME_BYTES_MAX = 64
local RINGS = { confirm = true, complete = true }

--- How many steps a flow may have, Ring's two included.
M.STEPS_MAX = 32

---@class ringlink.Flow
---@field name string?       none: that of links which name no flow
---@field nodes table<string, table> by name: `fn`, `skipped`, and what stands `ahead` of it and `behind` it
---@field count integer
---@field places table<string, table[]>? what a link goes through; there from the first link on
local Flow = {}
Flow.__index = Flow
Flow.__name = "ringlink.flow"

---@class ringlink.Step
---@field name string
---@field fn (fun(link: ringlink.Link): any, any)? none: the `configure` hook

local ROOT = { "confirm", "configure", "complete" }

local function node_of(name, fn)
  return { name = name, fn = fn, ahead = {}, behind = {} }
end

local function bare(name)
  local self = setmetatable({ name = name, nodes = {}, count = #ROOT }, Flow)
  for _, root in ipairs(ROOT) do self.nodes[root] = node_of(root) end
  return self
end

-- What a program may write ----------------------------------------------------------------------

local function check_name(call, what, name)
  if type(name) ~= "string" or #name > NAME_BYTES_MAX or not name:find("^%w[%w_.-]*$") then
    errors.misuse(("%s: %s must be 1 to %d letters, digits, and - _ . between them")
      :format(call, what, NAME_BYTES_MAX))
  end
end

local function check_function(call, fn)
  if type(fn) ~= "function" then errors.misuse(call .. ": the step must be a function") end
end

local function check_open(self, call)
  if self.places then
    errors.misuse(("%s: links go by the flow %s already; make a new one, with from = this one")
      :format(call, self.name))
  end
end

local function names_of(self)
  local names = {}
  for name in pairs(self.nodes) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function known(self, call, name)
  local node = self.nodes[name]
  if node then return node end
  errors.misuse(("%s: the flow %s has no step %q; %s"):format(call, self.name, tostring(name),
    options.hint(tostring(name), names_of(self))))
end

local function partners_own(self, call, name)
  local node = known(self, call, name)
  if RINGS[name] then
    errors.misuse(("%s: %s is Ring's own step and stays as it is; put steps before or after it")
      :format(call, name))
  end
  return node
end

local function add(self, call, side, anchor, name, fn)
  check_open(self, call)
  local node = known(self, call, anchor)
  check_name(call, "a step's name", name)
  check_function(call, fn)
  if self.nodes[name] then
    errors.misuse(("%s: the flow %s has a step %s already; replace changes it"):format(call, self.name, name))
  end
  if self.count >= M.STEPS_MAX then
    errors.misuse(("%s: a flow has at most %d steps"):format(call, M.STEPS_MAX))
  end
  self.nodes[name] = node_of(name, fn)
  self.count = self.count + 1
  table.insert(node[side], name)
  return self
end

--- Puts a step before another one, behind those that were put before it already.
---@param anchor string `confirm`, `configure`, `complete` or a step of the partner's
---@param name string
---@param fn fun(link: ringlink.Link): any, any
---@return ringlink.Flow
function Flow:before(anchor, name, fn)
  return add(self, "before", "ahead", anchor, name, fn)
end

--- Puts a step after another one, behind those that were put after it already.
---@param anchor string
---@param name string
---@param fn fun(link: ringlink.Link): any, any
---@return ringlink.Flow
function Flow:after(anchor, name, fn)
  return add(self, "after", "behind", anchor, name, fn)
end

--- Has another function do a step: one of the partner's, or `configure` in place of the hook.
---@param name string
---@param fn fun(link: ringlink.Link): any, any
---@return ringlink.Flow
function Flow:replace(name, fn)
  check_open(self, "replace")
  local node = partners_own(self, "replace", name)
  check_function("replace", fn)
  node.fn, node.skipped = fn, nil
  return self
end

--- Leaves a step out; what stands before and after it stays.
---@param name string
---@return ringlink.Flow
function Flow:skip(name)
  check_open(self, "skip")
  partners_own(self, "skip", name).skipped = true
  return self
end

-- The order -------------------------------------------------------------------------------------

local function each(self, name, visit)
  local node = self.nodes[name]
  for _, other in ipairs(node.ahead) do each(self, other, visit) end
  if not node.skipped then visit(node) end
  for _, other in ipairs(node.behind) do each(self, other, visit) end
end

local function each_in_order(self, visit)
  for _, root in ipairs(ROOT) do each(self, root, visit) end
end

--- The names of all steps, Ring's too, in the order in which a link goes through them.
---@return string[]
function Flow:steps()
  local names = {}
  each_in_order(self, function(node) names[#names + 1] = node.name end)
  return names
end

local function sorted_into_places(self)
  local places, place = { before = {}, between = {}, after = {} }, "before"
  each_in_order(self, function(node)
    if node.name == "confirm" then
      place = "between"
    elseif node.name == "complete" then
      place = "after"
    else
      table.insert(places[place], { name = node.name, fn = node.fn })
    end
  end)
  return places
end

--- Whether a flow has a step of this name that is the partner's.
---@param flow ringlink.Flow
---@param name any
---@return boolean
function M.has(flow, name)
  return flow.nodes[name] ~= nil and not RINGS[name]
end

--- The partner's steps before the POST, between it and the PATCH, and after that. The flow does not
--- change any more.
---@param flow ringlink.Flow
---@return { before: ringlink.Step[], between: ringlink.Step[], after: ringlink.Step[] }
function M.places(flow)
  if not flow.places then flow.places = sorted_into_places(flow) end
  return flow.places
end

--- Whether a flow has `configure` done by the hook, as a call that brings its own function expects.
---@param flow ringlink.Flow
---@return boolean
function M.asks_hook(flow)
  local node = flow.nodes.configure
  return not node.skipped and node.fn == nil
end

-- Making them -----------------------------------------------------------------------------------

local function copy(from, name)
  local self = bare(name)
  self.count = from.count
  for step, node in pairs(from.nodes) do
    local own = node_of(step, node.fn)
    own.skipped, own.ahead, own.behind = node.skipped, { unpack(node.ahead) }, { unpack(node.behind) }
    self.nodes[step] = own
  end
  return self
end

--- Whether a value is a flow.
---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Flow
end

local OPTIONS = { name = true, from = true }

--- A new flow: `confirm`, `configure`, `complete`, or what another one has.
---@param given { name: string, from: ringlink.Flow? }
---@return ringlink.Flow
function M.new(given)
  if type(given) ~= "table" then errors.misuse("flow: needs a table with a name") end
  for option in pairs(given) do
    if not OPTIONS[option] then
      errors.misuse(("flow: unknown option %q; known are from, name"):format(tostring(option)))
    end
  end
  check_name("flow", "name", given.name)
  if given.from ~= nil and not M.is(given.from) then errors.misuse("flow: from must be a flow") end
  return given.from and copy(given.from, given.name) or bare(given.name)
end

--- What a link goes by that names no flow: the `configure` hook between Ring's two.
M.default = bare(nil)
M.places(M.default)

function Flow:__tostring()
  return ("ringlink.flow(%s)"):format(self.name)
end

face.check_self(Flow, "flow", { "before", "after", "replace", "skip", "steps" })

return M
