--- The whole journey by clicks: from the sandbox's page as the Ring user to a link, and what its user does with it.

local assert = require "luassert"
local resty_server = require "support.resty_server"

local masked = require("ringlink").mask

return function(stage)
  local it = stage.it

  -- Installs the app on the sandbox's page and follows Ring's redirect, which opens a window.
  local function install_by_hand(me)
    me:go(stage.w.ring.page_url)
    me:reads("Ready")
    me:tap("Install the app")
    me:reads("Token Exchange URL answered 200")
    me:tap("Continue to the partner's sign-in page")
    me:to_new_window()
  end

  it("goes from the Ring app to a link, mistypes the password once, and looks after the link", function()
    local me = stage.me
    install_by_hand(me)
    me:scripts(false)                               -- from here on nothing needs a script
    me:sees("Sign in", 200)
    assert.falsy(me:url():find("nonce", 1, true))
    me:fill("E-mail", stage.user)
    me:fill("Password", "wrong horse")
    me:press("Sign in")
    me:reads("do not belong together")
    stage:at("sign_in_form", "Sign in", 200)
    me:fill("E-mail", stage.user)
    me:fill("Password", resty_server.password)
    me:press("Sign in")
    stage:at("confirm", "Connect Ring to " .. masked(stage.user) .. "?", 200)
    local account = stage.w:state().accounts[1].id
    assert.equal("unclaimed", stage:state_of(account))
    assert.equal(0, stage.w:count("confirm"))

    me:press("Connect")
    stage:at("linked", "Ring is connected", 200)
    assert.equal("completed", stage.w:status(account))
    assert.equal("completed", stage:state_of(account))
    me:press("Continue")
    stage:at("home", "Ring and Demo Partner", 200)
    me:reads("Connected since")

    me:press("Pause")
    me:reads("Paused")
    stage:at("home_paused", "Ring and Demo Partner", 200)
    assert.equal("awaiting", stage.w:status(account))
    me:press("Resume")
    me:reads("The connection works")
    assert.equal("completed", stage.w:status(account))
    me:press("Disconnect")
    stage:at("forget", "Disconnect Ring?", 200)
    me:press("Keep it")
    me:sees("Ring and Demo Partner", 200)
    assert.equal("completed", stage:state_of(account))
    me:press("Disconnect")
    me:press("Yes, disconnect")
    stage:at("home_empty", "Ring is not connected", 200)
    assert.is_nil(stage:state_of(account))
    assert.equal("awaiting", stage.w:status(account))
  end)
end
