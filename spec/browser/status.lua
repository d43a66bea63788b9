--- The pages of those who run things, in a browser: the status page, and the sandbox's own with its buttons.



return function(stage)
  local it = stage.it

  local function linked()
    local installed = stage:install()
    stage:arrive(stage.me, installed.url)
    stage.me:press("Connect")
    return installed.account
  end

  it("the status page shows how accounts stand and what failed", function()
    stage:expect("^" .. stage.server.admin:gsub("%p", "%%%0"))
    local lost = linked()
    stage.me:sees("Ring is connected", 200)
    stage.w.ring:control("expire", { account = lost, tokens = "both" })
    stage.me:go(stage.server.origin .. "/ring/home")
    stage.me:press("Pause")
    stage.me:reads("Needs your attention")
    linked()
    stage.me:sees("Ring is connected", 200)
    stage:install()
    stage:switch("unready", true)
    linked()
    stage.me:sees("Almost there", 409)
    stage:switch("unready", nil)
    stage.w:fault { call = "confirm", status = 503, count = 2 }
    linked()
    stage.me:sees("That did not work just now", 503)
    stage.me:go(stage.server.admin .. "/status")
    stage:at("status", "ringlink: default", 200)
    stage.me:reads("configure_failed")
  end)

  it("the sandbox's page plays the Ring user", function()
    local me = stage.me
    me:new_tab()                                     -- the token lives as long as its tab
    me:go(stage.w.ring.control_url .. "/")
    stage:at("sandbox_key", "Ring sandbox", 200)
    me:fill("Token", stage.w.ring.token)
    me:tap("Use it")
    me:reads("Ready")
    stage:at("sandbox_empty", "Ring sandbox", 200)
    local account = linked()
    me:sees("Ring is connected", 200)
    me:go(stage.w.ring.page_url)
    me:reads("Ready")
    me:tap("Motion")
    me:reads("motion_detected")
    me:tap("+ 1 min")
    me:tap("Order the fault")
    me:tap("Install the app")
    me:reads("Token Exchange URL answered")
    stage:at("sandbox", "Ring sandbox", 200)
    me:tap("Remove the app")
    me:wait_until("the end of the link", function() return stage:state_of(account) == "unlinked" end)
    me:tap("Reset everything")
    me:reads("None yet: install the app.")
  end)
end
