--- Chance that a seed repeats: the same numbers under every Lua.
--
-- Lehmer's generator ("minimal standard"), exact in doubles. Pure; not for secrets.

local dice = {}

local MULTIPLIER, MODULUS = 16807, 2147483647
local WARM_UP = 3                    -- the first numbers of small seeds are small themselves

--- Dice of a seed.
---@param seed number|nil whole and not negative; default 0
---@return fun(): number throw a number above 0 and below 1
function dice.new(seed)
  local state = (seed or 0) % (MODULUS - 1) + 1
  local function throw()
    state = state * MULTIPLIER % MODULUS
    return state / MODULUS
  end
  for _ = 1, WARM_UP do throw() end
  return throw
end

return dice
