-- The flow object: where steps stand, which mistakes it tells, and that it stays as it is once used.

local flow = require "ringlink.flow"
local offline = require "support.offline"
local ringlink = require "ringlink"

local function nothing() end

describe("a flow", function()
  local shop

  before_each(function() shop = ringlink.flow { name = "shop" } end)

  local function order() return table.concat(shop:steps(), " ") end

  local function places()
    local names = {}
    for place, list in pairs(flow.places(shop)) do
      names[place] = {}
      for i, step in ipairs(list) do names[place][i] = step.name end
    end
    return names
  end

  it("begins with Ring's two steps and configure between them", function()
    assert.equal("confirm configure complete", order())
    assert.equal("ringlink.flow(shop)", tostring(shop))
    assert.same({ before = {}, between = { "configure" }, after = {} }, places())
  end)

  it("keeps several at one place in the order in which they were put there", function()
    shop:after("confirm", "a", nothing):after("confirm", "b", nothing)
    shop:before("complete", "c", nothing):before("complete", "d", nothing)
    shop:before("configure", "e", nothing):after("configure", "f", nothing)
    assert.equal("confirm a b e configure f c d complete", order())
  end)

  it("puts steps around steps", function()
    shop:after("confirm", "b", nothing):before("b", "a", nothing):after("b", "c", nothing):after("c", "d", nothing)
    assert.equal("confirm a b c d configure complete", order())
  end)

  it("sorts them by what of Ring's they stand before and behind", function()
    shop:before("confirm", "plan", nothing):after("confirm", "make", nothing):after("complete", "greet", nothing)
    assert.same({ before = { "plan" }, between = { "make", "configure" }, after = { "greet" } }, places())
  end)

  it("leaves a skipped step out, and not what stands around it", function()
    shop:after("confirm", "b", nothing):before("b", "a", nothing):after("b", "c", nothing):skip("b"):skip("configure")
    assert.equal("confirm a c complete", order())
  end)

  it("puts a skipped step back by replacing it", function()
    shop:skip("configure"):replace("configure", nothing)
    assert.equal("confirm configure complete", order())
    assert.is_false(flow.asks_hook(shop))
  end)

  it("replaces what a step does, and not where", function()
    local function other() end
    shop:after("confirm", "a", nothing):after("confirm", "b", nothing):replace("a", other)
    assert.equal("confirm a b configure complete", order())
    assert.equal(other, flow.places(shop).between[1].fn)
  end)

  it("is the beginning of another one, which it does not hear of again", function()
    shop:after("confirm", "a", nothing):skip("configure")
    local eu = ringlink.flow { name = "shop-eu", from = shop }
    eu:after("a", "vat", nothing):skip("a")
    assert.equal("confirm vat complete", table.concat(eu:steps(), " "))
    assert.equal("confirm a complete", order())
  end)

  it("asks the hook unless configure is skipped or replaced", function()
    assert.is_true(flow.asks_hook(shop))
    assert.is_false(flow.asks_hook(shop:skip("configure")))
  end)

  describe("tells the mistake", function()
    local MISTAKES = {
      ["no table"] = { function() ringlink.flow("shop") end, "flow: needs a table with a name" },
      ["no name"] = { function() ringlink.flow {} end, "flow: name must be 1 to 64 letters, digits" },
      ["a name that is none"] = { function() ringlink.flow { name = "a b" } end, "flow: name must be" },
      ["a long name"] = { function() ringlink.flow { name = ("x"):rep(65) } end, "flow: name must be" },
      ["an unknown option"] = { function() ringlink.flow { name = "x", form = 1 } end, 'unknown option "form"' },
      ["a base that is no flow"] = { function() ringlink.flow { name = "x", from = {} } end, "from must be a flow" },
      ["skipping confirm"] = { function() shop:skip("confirm") end, "skip: confirm is Ring's own step" },
      ["skipping complete"] = { function() shop:skip("complete") end, "skip: complete is Ring's own step" },
      ["replacing confirm"] = { function() shop:replace("confirm", nothing) end, "replace: confirm is Ring's own" },
      ["replacing complete"] = { function() shop:replace("complete", nothing) end, "replace: complete is Ring's" },
      ["moving confirm"] = { function() shop:after("complete", "confirm", nothing) end, "has a step confirm already" },
      ["moving complete"] = { function() shop:before("confirm", "complete", nothing) end, "has a step complete" },
      ["an unknown anchor"] = { function() shop:after("confrim", "a", nothing) end,
        'no step "confrim"; did you mean confirm?' },
      ["an anchor that is no text"] = { function() shop:after(nil, "a", nothing) end, 'no step "nil"; known are' },
      ["skipping what is not there"] = { function() shop:skip("welcome") end, 'no step "welcome"; known are' },
      ["replacing what is not there"] = { function() shop:replace("welcome", nothing) end, 'no step "welcome"' },
      ["a step's name that is none"] = { function() shop:after("confirm", "a:b", nothing) end, "a step's name must" },
      ["a step that is no function"] = { function() shop:after("confirm", "a", 7) end, "must be a function" },
      ["a replacement that is no function"] = { function() shop:replace("configure", 7) end, "must be a function" },
      ["a name twice"] = { function() shop:after("confirm", "a", nothing):before("complete", "a", nothing) end,
        "has a step a already; replace changes it" },
      ["a dot for a colon"] = { function() shop.after("confirm", "a", nothing) end, "with a colon: flow:after" },
    }
    for name, row in pairs(MISTAKES) do
      it("of " .. name, function()
        local text = offline.misuse(row[1])
        assert.truthy(text:find(row[2], 1, true), text)
      end)
    end

    it("of too many steps", function()
      for i = 1, flow.STEPS_MAX - 3 do shop:after("confirm", "s" .. i, nothing) end
      assert.truthy(offline.misuse(function() shop:after("confirm", "one-more", nothing) end)
        :find("at most 32 steps", 1, true))
    end)

    it("of a change once links go by it", function()
      flow.places(shop)
      for _, change in ipairs {
        function() shop:after("confirm", "a", nothing) end, function() shop:before("confirm", "a", nothing) end,
        function() shop:replace("configure", nothing) end, function() shop:skip("configure") end,
      } do
        local text = offline.misuse(change)
        assert.truthy(text:find("links go by the flow shop already; make a new one", 1, true), text)
      end
    end)
  end)

  describe("and a client", function()
    local client = offline.client()

    it("know each other once, and again", function()
      assert.equal(shop, client:flow(shop))
      assert.equal(shop, client:flow(shop))
      local other = ringlink.flow { name = "shop" }
      assert.truthy(offline.misuse(function() client:flow(other) end):find("another flow named shop", 1, true))
    end)

    it("tell what is no flow", function()
      assert.truthy(offline.misuse(function() client:flow { name = "x" } end):find("needs a flow", 1, true))
    end)

    local q = { nonce = ("n"):rep(43), time = "1771130906289", user = "user-1" }
    local function link_with(more)
      local all = {}
      for name, value in pairs(q) do all[name] = value end
      for name, value in pairs(more) do all[name] = value end
      return offline.misuse(function() client:link(all) end)
    end

    it("tell a name that is not known, and what is no name", function()
      assert.truthy(link_with({ flow = "nothing" }):find("link: flow must be a flow, or the name of one", 1, true))
      assert.truthy(link_with({ flow = 7 }):find("link: flow must be a flow", 1, true))
    end)

    it("tell a configure for which the flow leaves no room", function()
      local own = client:flow(ringlink.flow { name = "own" }:skip("configure"))
      assert.truthy(link_with({ flow = own, configure = nothing }):find("leaves no room for configure", 1, true))
    end)
  end)
end)
