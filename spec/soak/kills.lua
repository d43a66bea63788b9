-- Lives full of kills, at places that SEED chooses: what `make soak` runs beside the long lives.

local killing = require "support.killing"
local note = require "support.note"
local storm = require "soak.storm"
local verdict = require "soak.verdict"

local LIVES, KILLS_A_LIFE = 10, 25
local PLACES_IN_FLIGHT = 10
local SEED = assert(tonumber(os.getenv("SEED")), "SEED is the number that chooses where")

describe("killed again and again #network #ownstore", function()
  local k, s

  setup(function()
    k = killing.start { http2 = false }            -- a dropped answer takes no other one along
    s = storm.new(k, SEED)
  end)
  teardown(function() k:stop() end)
  after_each(function() k:finish() end)

  for life = 1, LIVES do
    it(("a partner loses no pair that was stored, and reports what is lost (life %d)"):format(life), function()
      s:live(KILLS_A_LIFE)
      s:calm()
      local found = verdict.of(s)
      note(("%d kills so far; of %d links %d were kept, %d lost in an exchange, %d in a refresh; %d reported")
        :format(s.kills, #s.installs, found.kept, found.exchanges_lost, found.refreshes_lost, found.told))
    end)
  end

  it("two hundred times at least, with every call at Ring and at many steps", function()
    local in_flight, steps = 0, 0
    for place in pairs(s.places) do
      if place:find("with Ring", 1, true) then in_flight = in_flight + 1 else steps = steps + 1 end
    end
    note(("%d kills, at %d places in flight and %d steps"):format(s.kills, in_flight, steps))
    assert.is_true(s.kills >= 200)
    assert.equal(PLACES_IN_FLIGHT, in_flight)
    assert.is_true(steps >= 20)
  end)
end)
