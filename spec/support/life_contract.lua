--- What months of simulated time must not do to accounts, as tests for any number of both.
--
--   require("support.life_contract") { accounts = 20, days = 90, seed = 7 }

local assert = require "luassert"
local busted = require "busted"
local lives = require "support.life"
local note = require "support.note"
local shell = require "support.shell"
local world = require "support.world"

local describe, it = busted.describe, busted.it
local HOUR_MS = 3600 * 1000
local INTERVAL_H = 24
local INTERVAL_H_MIN = 0.9 * INTERVAL_H       -- daily refreshes are spread over the last tenth
local INTERVAL_H_MAX = INTERVAL_H + 3         -- two steps of the clock back, and a sleep

local function both(first, second)
  local list = {}
  for _, faults in ipairs { first, second } do
    for _, fault in ipairs(faults) do list[#list + 1] = fault end
  end
  return list
end

return function(size)
  describe(("%d accounts after %d days #network #ownstore"):format(size.accounts, size.days), function()
    local w, directory, life

    -- HTTP/1.1: a connection that is dropped takes no answer along but its own, which the journal shows.
    busted.setup(function() w = world.start { limits = { per_s = false }, http2 = false } end)
    busted.teardown(function() w:stop() end)
    busted.before_each(function()
      w:reset()
      directory = shell.make_directory()
    end)
    busted.after_each(function()
      if life then life:close() end
      life = nil
      shell.remove_directory(directory)
    end)

    local function live(options)
      options.accounts, options.seed = size.accounts, size.seed
      life = lives.begin(w, directory, options)
      life:pass(size.days)
      life:settle()
      note(("%d accounts, %d days: %d refreshes, %d faults, %d clock steps, %d restarts"):format(size.accounts,
        size.days, life:rotations_in_all(), life.faults, life.steps, life.restarts))
      assert.is_true(life.faults > size.accounts * size.days / 400, "hardly any fault came")
    end

    -- What is asked of the partner, and what Ring's journal says, for each account.
    local function assert_lost_are_those_whose_answer_was()
      local lost = 0
      for _, id in ipairs(life.ids) do
        local is_lost = life.lost[id] or false
        local account = life.client:account(id)
        assert.equal(is_lost and "relink" or "completed", account:state(), id)
        assert.equal(is_lost and "refresh_outcome_unknown" or nil, life.told[id], id)
        assert.equal(not is_lost, account:me() ~= nil, id)
        if is_lost then lost = lost + 1 end
      end
      return lost
    end

    -- A step back brings a refresh forward by what it is; nothing else does.
    local function assert_no_more_refreshes_than_needed()
      local hours = (size.days + 3) * INTERVAL_H + life.steps
      for id, count in pairs(life.rotations) do
        assert.is_true(count <= math.ceil(hours / INTERVAL_H_MIN) + 1, ("%s: %d"):format(id, count))
      end
    end

    it("are all linked: faults came before Ring did anything, and the clock was set now and then", function()
      live { faults = lives.BEFORE, clock_steps = true }
      assert.equal(0, assert_lost_are_those_whose_answer_was())
      assert.is_true(life.steps > size.days / 10)
      assert.is_true(life.pause_ms_max <= INTERVAL_H_MAX * HOUR_MS, life.pause_ms_max .. " ms")
      assert_no_more_refreshes_than_needed()
    end)

    it("are linked but for those whose answer was lost, each of which is told", function()
      live { faults = both(lives.BEFORE, lives.AFTER) }
      local lost = assert_lost_are_those_whose_answer_was()
      note(("%d links lost, as many answers with a pair"):format(lost))
      assert.is_true(lost > 0)
      assert_no_more_refreshes_than_needed()
    end)
  end)
end
