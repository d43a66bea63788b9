--- Chromium before the sandbox and the example backend: the parts beside this file share one browser and one site.
--
-- One part alone: --filter="in a browser: NAME".

local browser_stage = require "support.browser_stage"
local busted = require "busted"

local PARTS = { "journey", "outcomes", "guards", "status" }

describe("in a browser: #browser #network", function()
  local stage = browser_stage.of_this_file()
  for _, name in ipairs(PARTS) do
    busted.describe(name .. ":", function() require("browser." .. name)(stage) end)
  end
end)
