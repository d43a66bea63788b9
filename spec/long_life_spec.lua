-- Ninety days in the life of a few accounts; `make soak` has a thousand.

require("support.life_contract") { accounts = 20, days = 90, seed = 7 }
