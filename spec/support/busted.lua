-- Runs busted under whichever interpreter runs this file; the `busted` command picks its own.
require("busted.runner")({ standalone = false })
