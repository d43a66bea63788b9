-- Ninety days in the life of a thousand accounts; SEED chooses what goes wrong.

require("support.life_contract") {
  accounts = 1000, days = 90, seed = assert(tonumber(os.getenv("SEED")), "SEED is a number"),
}
