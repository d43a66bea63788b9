--- Each way a link or a visit to the homepage can end, reached by what really causes it: what its user reads, and
--- where the account stands afterwards.

local assert = require "luassert"
local busted = require "busted"

local masked = require("ringlink").mask

return function(stage)
  local it = stage.it

  local function question(user)
    return "Connect Ring to " .. masked(user or stage.user) .. "?"
  end

  -- The user stands before the question; its Ring account.
  local function arrive(options)
    local installed = stage:install(options)
    stage:arrive(stage.me, installed.url)
    return installed.account, installed
  end

  local function linked()
    local account, installed = arrive()
    stage.me:press("Connect")
    stage.me:sees("Ring is connected", 200)
    return account, installed
  end

  local function is_linked(account)
    stage.me:sees("Ring is connected", 200)
    assert.equal("completed", stage:state_of(account))
    assert.equal("completed", stage.w:status(account))
  end

  local function is_untouched(account)
    assert.equal("unclaimed", stage:state_of(account))
    assert.equal(0, stage.w:count("confirm"))
  end

  busted.describe("the Account Link page", function()
    it("waits for a code that is late, and links once it is there", function()
      local account, installed = arrive { deliver = false }
      stage.me:press("Connect")
      stage:at("no_match", "Ring is not ready yet", 409)
      stage:deliver(installed.code)
      stage:settled(account)
      stage.me:press("Try again")
      is_linked(account)
    end)

    it("expires before it is opened", function()
      local installed = stage:install { time_offset_ms = -601000 }
      stage.me:go(installed.url)
      stage:at("expired", "This link has expired", 410)
      assert.same({}, stage.me:cookies())
      is_untouched(installed.account)
    end)

    it("expires while it is open", function()
      local account = arrive()
      stage:switch("clock", 601)
      stage.me:press("Connect")
      stage.me:sees("This link has expired", 410)
      is_untouched(account)
    end)

    it("is told in a second tab that the first one has linked", function()
      local account, installed = arrive()
      stage.me:new_tab()
      stage.me:go(installed.url)
      stage.me:sees(question(), 200)
      stage.me:press("Connect")
      is_linked(account)
      stage.me:other_tab()
      stage.me:press("Connect")
      stage:at("already", "Ring is already connected", 200)
      stage.me:reload()
      stage.me:sees("Ring is already connected", 200)
      assert.equal(1, stage.w:count("confirm"))
    end)

    it("does not take a Ring account from the user who has it", function()
      local account = linked()
      local again, other = stage.w:sign_in_again(account), stage.server:new_user()
      stage.me:begin_anew()
      stage:arrive(stage.me, stage:redirect_url(again), other)
      stage.me:press("Connect")
      stage:at("held", "This Ring account is connected already", 409)
      assert.equal(1, stage.w:count("confirm"))
      stage.me:go(stage.server.origin .. "/ring/home")
      stage.me:sees("Ring is not connected", 200)
    end)

    it("lets its user change to another account in the middle, and comes back", function()
      local account = arrive()
      local other = stage.server:new_user()
      stage.me:press("Use another account")
      stage:sign_in(stage.me, other)
      stage.me:sees(question(other), 200)
      stage.me:press("Connect")
      is_linked(account)
      stage.me:reads(masked(other))
    end)

    it("goes on after temporary trouble", function()
      local account = arrive()
      stage.w:fault { call = "confirm", status = 503, count = 2 }
      stage.me:press("Connect")
      stage:at("trouble", "That did not work just now", 503)
      assert.are_not.equal("completed", stage:state_of(account))
      stage.me:press("Try again")
      is_linked(account)
    end)

    it("is declined by the partner", function()
      local account = arrive()
      stage:switch("veto", true)
      stage.me:press("Connect")
      stage:at("declined", "Ring was not connected", 403)
      is_untouched(account)
      stage.me:press("Go back")
      stage.me:sees("Ring is not connected", 200)
    end)

    it("is nearly there while the partner is not ready, and the homepage says so", function()
      local account = arrive()
      stage:switch("unready", true)
      stage.me:press("Connect")
      stage:at("unfinished", "Almost there", 409)
      assert.equal("awaiting", stage:state_of(account))
      assert.equal("awaiting", stage.w:status(account))
      stage.me:new_tab()
      stage.me:go(stage.server.origin .. "/ring/home")
      stage.me:reads("Being set up")
      stage:at("home_pending", "Ring and Demo Partner", 200)
      stage.me:other_tab()
      stage:switch("unready", nil)
      stage.me:press("Try again")
      is_linked(account)
      assert.equal(1, stage.w:count("confirm"))
    end)

    it("has to be begun again when Ring does not know the connection", function()
      arrive()
      stage.w:fault { call = "confirm", status = 404, title = "Integration Not Found" }
      stage.me:press("Connect")
      stage:at("again", "Please connect once more", 409)
    end)

    it("belongs to the browser that opened it", function()
      local account, installed = arrive()
      local stranger = stage:another()
      stranger:go(installed.url)
      stranger:sees("This link belongs to another browser", 409)
      stranger:go(stage.me:url())
      stranger:sees("This link belongs to another browser", 409)
      assert.same({}, stranger:cookies())
      stage.me:press("Connect")
      is_linked(account)
    end)

    it("says so when the browser keeps no cookies", function()
      local account = arrive()
      stage.me:lose_cookie("^__Host%-ringlink")
      stage.me:reload()
      stage:at("elsewhere", "This link belongs to another browser", 409)
      is_untouched(account)
    end)

    it("does not act for a session that has ended, nor for the next one", function()
      local account = arrive()
      stage.me:new_tab()
      stage.me:go(stage.server.origin .. "/sign-out")
      stage:sign_in(stage.me)
      stage.me:sees("Ring is not connected", 200)
      stage.me:other_tab()
      stage.me:press("Connect")
      stage:at("forged", "This page is out of date", 403)
      is_untouched(account)
      stage.me:press("Open it again")
      stage.me:sees(question(), 200)
      stage.me:press("Connect")
      is_linked(account)
    end)

    it("asks whoever was signed out meanwhile to sign in, and then once more", function()
      local account = arrive()
      stage.me:lose_cookie("^__Host%-session")
      stage.me:press("Connect")
      stage:sign_in(stage.me)
      stage.me:sees(question(), 200)
      is_untouched(account)
    end)

    it("asks to sign in where it does not know the way", function()
      stage:switch("no_sign_in", true)
      stage.me:go(stage:install().url)
      stage:at("sign_in", "Please sign in first", 401)
    end)

    it("slows down whoever tries too often", function()
      arrive()
      stage:switch("unready", true)
      stage.me:press("Connect")
      for _ = 1, 12 do
        stage.me:wait_until("an answer", function() return stage.me:heading() ~= question() end)
        if stage.me:heading() == "Too many tries" then break end
        stage.me:press("Try again")
      end
      stage:at("busy", "Too many tries", 429)
    end)

    it("is not complete", function()
      stage.me:go(stage.server.origin .. "/ring/link?nonce=x")
      stage:at("broken", "This link is not complete", 400)
    end)

    it("fails by a bug of the partner's", function()
      local account = arrive()
      stage:switch("bug", true)
      stage.me:press("Connect")
      stage:at("failed", "Something went wrong here", 500)
      is_untouched(account)
    end)
  end)

  busted.describe("the homepage", function()
    local function home()
      stage.me:go(stage.server.origin .. "/ring/home")
    end

    it("says when something did not work, and changes nothing", function()
      local account = linked()
      home()
      stage.w:fault { call = "update", status = 503, count = 2 }
      stage.me:press("Pause")
      stage.me:reads("That did not work just now")
      stage:at("home_trouble", "Ring and Demo Partner", 503)
      assert.equal("completed", stage:state_of(account))
    end)

    it("tells whose link Ring has ended what to do", function()
      local account = linked()
      stage.w.ring:control("expire", { account = account, tokens = "both" })
      home()
      stage.me:press("Pause")
      stage.me:sees("Ring and Demo Partner")
      home()
      stage.me:reads("Needs your attention")
      stage:at("home_relink", "Ring and Demo Partner", 200)
      assert.equal("relink", stage:state_of(account))
    end)

    it("shows several links, each with buttons of its own", function()
      local first, second = linked(), linked()
      home()
      stage:at("home_two", "Ring and Demo Partner", 200)
      stage.me:press("Disconnect")                        -- the first one's
      stage.me:press("Yes, disconnect")
      stage.me:reads("Your Ring account")
      assert.is_nil(stage:state_of(first))
      assert.equal("completed", stage:state_of(second))
    end)

    it("does nothing for a session that has ended", function()
      local account = linked()
      home()
      stage.me:lose_cookie("^__Host%-session")
      stage.me:press("Disconnect")
      stage:sign_in(stage.me)
      stage.me:sees("Ring and Demo Partner", 200)
      assert.equal("completed", stage:state_of(account))
    end)
  end)
end
