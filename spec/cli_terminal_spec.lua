-- `ringlink` at a terminal: what is asked for is not shown, long work has a line, and Ctrl-C at any time
-- leaves nothing half-done.

local children = require "support.child"
local cli = require "support.cli"
local planted = require "support.planted"
local terminal = require "support.terminal"

describe("ringlink at a terminal #network #ownstore", function()
  local w, stage, screen
  local asked = 0

  cli.with_ring(function(ring, fresh)
    w, stage = ring, fresh
    screen = terminal.open(stage)
  end)

  -- The exit status of what ran last, and that what is typed shows again.
  local function status()
    asked = asked + 1
    screen:line(("echo status%d $?"):format(asked))
    local answer = ("\nstatus%d (%%d+)\n"):format(asked)
    local shown = screen:wait_for(answer)
    assert.truthy(shown:find("echo status" .. asked, 1, true), "the terminal does not echo any more")
    return tonumber(shown:match(answer))
  end

  local function wait_for_call(call, processed)
    children.wait_until(call .. " at Ring", function()
      local row = w:journal(call)[1]
      return row and (row.processed or not processed)
    end)
  end

  it("asks for a code and does not show it", function()
    local install = w:install()
    screen:line("ringlink exchange")
    screen:wait_for("Authorization code %(not shown%):\n$")
    screen:paste(install.code)
    local shown = screen:wait_for("  unclaimed\n")
    assert.truthy(shown:find(install.account, 1, true))
    assert.is_nil(planted.find(shown))
    assert.is_nil(planted.find(screen:written("unclaimed")))
    assert.equal(0, status())
  end)

  it("obeys nothing that a name, an answer or a script holds: what would is shown", function()
    local account = stage:linked(w)
    stage:write("hostile.lua", [[
      local client, _, progress = ...
      client.log("error", "said\27]0;title\7", { name = "\194\155Z" })
      progress("far\27[9A\nend")
    ]])
    w:fault { call = "devices", body = "raw", raw = "name\27[2J\194\1552J\8" }
    screen:line("ringlink run hostile.lua; ringlink accounts; ringlink request GET /v1/devices --account " .. account)
    local shown = screen:wait_for("name%?%[2J%?2J%?")
    assert.truthy(shown:find("said?]0;title? name=?Z", 1, true), shown)
    assert.truthy(screen:written("far?[9A?end"))
  end)

  it("asks for all that a link needs, of which the nonce does not show", function()
    local install = stage:exchanged(w)
    screen:line("ringlink link")
    screen:wait_for("nonce %(not shown%):\n$")
    screen:paste(install.nonce)
    screen:wait_for("Its time %(digits%):\n$")
    screen:line(install.time)
    screen:wait_for("Your id of the user:\n$")
    screen:line("7")
    local shown = screen:wait_for("  completed  7\n")
    assert.is_nil(planted.find(shown))
    assert.truthy(shown:find(install.time, 1, true))
    assert.equal(0, status())
  end)

  it("ends at Ctrl-C while it asks, and the terminal is as before", function()
    screen:line("ringlink exchange")
    screen:wait_for("not shown%):\n$")
    screen:key("C-c")
    screen:wait_for("ringlink: interrupted\n")
    assert.equal(130, status())
    assert.equal(0, w:count("token"))
  end)

  it("can be stopped while it asks, and asks again when it goes on", function()
    local install = w:install()
    screen:line("ringlink exchange")
    screen:wait_for("not shown%):\n$")
    screen:key("C-z")
    screen:wait_for("Stopped .*ready>\n$")
    screen:line("echo vis''ible")
    screen:wait_for("echo vis''ible\nvisible\n")
    screen:line("fg")
    screen:wait_for("\nringlink exchange\nAuthorization code %(not shown%):\n$")
    screen:paste(install.code)
    assert.is_nil(planted.find(screen:wait_for("  unclaimed\n")))
    assert.equal(0, status())
  end)

  it("takes an end of file for no answer", function()
    screen:line("ringlink exchange")
    screen:wait_for("not shown%):\n$")
    screen:key("C-d")
    screen:wait_for("nothing was typed")
    assert.equal(2, status())
  end)

  it("asks before it forgets", function()
    local account = stage:linked(w)
    screen:line("ringlink forget " .. account)
    screen:wait_for("Forget .* for good%? %(yes/no%)\n$")
    screen:line("no")
    screen:wait_for("it was not confirmed")
    assert.equal(2, status())
    screen:line("clear; ringlink forget " .. account)
    screen:wait_for("%(yes/no%)\n$")
    screen:line("yes")
    screen:wait_for("\n1 forgotten\n")
    assert.equal(0, status())
  end)

  it("shows a line while it works, which goes away", function()
    local account = stage:linked(w)
    w:fault { call = "refresh", delay_ms = 1500 }
    screen:line("ringlink refresh --force " .. account)
    screen:wait_for("\nrefreshing %.%.%.\n$")
    local shown = screen:wait_for("fresh until .*ready>\n$")
    assert.is_nil(shown:find("refreshing", 1, true))
  end)

  it("says what each column of a list is, and where nobody looks does not", function()
    local account = stage:linked(w)
    screen:line("clear; ringlink accounts")
    local shown = screen:wait_for("ACCOUNT +STATE +USER +IDENTIFIER +LINKED %(UTC%) +REFRESHED %(UTC%)\n[^\n]+\n")
    local header, row = shown:match("(ACCOUNT[^\n]*)\n([^\n]*)")
    local INSTANT = "%d%d%d%d%-%d%d%-%d%d %d%d:%d%d"
    for column, cell in pairs { ACCOUNT = account, STATE = "completed", USER = "7", IDENTIFIER = "u%*%*%*r@",
      LINKED = INSTANT, REFRESHED = INSTANT } do
      local at = header:find(column, 1, true)
      assert.equal(at, row:find(cell, at), column)
    end
    screen:line("clear; ringlink accounts | cat")
    assert.is_nil(screen:wait_for("completed.*ready>\n$"):find("ACCOUNT", 1, true))
  end)

  it("says that it waits for another process, which may have died, and for how long", function()
    local account = stage:linked(w)
    w:fault { call = "refresh", delay_ms = 600000 }
    local other = stage:start("ringlink refresh --force " .. account)
    wait_for_call("refresh")
    other:signal("KILL")
    assert.equal(128 + 9, (other:wait()))
    screen:line("ringlink refresh --force " .. account)
    local shown = screen:wait_for("\nanother process is at this link: waiting, %d+ s at most if it has died\n$")
    local seconds = tonumber(shown:match("waiting, (%d+) s"))
    assert.is_true(seconds <= 135 and seconds > 0)
    screen:key("C-c")
    screen:wait_for("ringlink: interrupted\n")
    assert.equal(130, status())
  end)

  it("shows how long it waits, and ends at Ctrl-C", function()
    screen:line("ringlink work --watch")
    screen:wait_for("nothing was due.*\nwaiting %d+ s\n$")
    screen:key("C-c")
    local shown = screen:wait_for("ringlink: interrupted\n")
    assert.is_nil(shown:find("waiting", 1, true))
    assert.equal(130, status())
  end)

  it("shows no line when asked not to", function()
    local account = stage:linked(w)
    screen:line("ringlink --quiet refresh --force " .. account)
    screen:wait_for("fresh until")
    assert.is_nil(screen:written("fresh until"):find("refreshing", 1, true))
    screen:line("ringlink refresh --force " .. account)
    screen:written("refreshing")
    assert.equal(0, status())
  end)

  describe("interrupted", function()
    it("while Ring confirms a link, has stored what Ring did; the next run goes on", function()
      local install = stage:exchanged(w)
      stage:write("redirect.txt", cli.redirect_text(install))
      w:fault { call = "confirm", delay_ms = 700, after = true }
      screen:line("ringlink link --user 7 --input redirect.txt")
      wait_for_call("confirm", true)
      screen:key("C-c")
      screen:wait_for("ringlink: interrupted\n")
      assert.equal(130, status())
      assert.equal("awaiting", stage:json({ "accounts" }).values[1].state)
      assert.equal(0, w:count("complete"))
      assert.equal(0, stage:run({ "link", "--user", "7", "--input", "redirect.txt" }).status)
      assert.same({ 1, 1, "completed" }, { w:count("confirm"), w:count("complete"), w:status(install.account) })
    end)

    it("while Ring exchanges a code, has the tokens; the next run finds the account", function()
      local install = w:install()
      stage:write("code.txt", install.code)
      w:fault { call = "token", delay_ms = 700, after = true }
      screen:line("ringlink exchange --input code.txt")
      wait_for_call("token", true)
      screen:key("C-c")
      screen:wait_for("ringlink: interrupted\n")
      assert.equal(130, status())
      local done = stage:json { "exchange", "--input", "code.txt" }
      assert.same({ install.account, "unclaimed" }, { done.values[1].account, done.values[1].state })
      assert.equal(1, w:count("token"))
    end)

    it("while Ring refreshes tokens, has the new ones", function()
      local account = stage:linked(w)
      w:fault { call = "refresh", delay_ms = 700, after = true }
      screen:line("ringlink refresh --force " .. account)
      wait_for_call("refresh", true)
      screen:key("C-c")
      screen:wait_for("ringlink: interrupted\n")
      assert.equal(130, status())
      assert.equal(0, stage:run({ "request", "GET", "/v1/devices", "--account", account }).status)
      assert.equal(1, w:count("refresh"))
      assert.equal(w:state().integrations[1].access_token, w:journal("devices")[1].bearer)
    end)

    it("while work takes a link on, leaves it to the next run", function()
      local install = stage:exchanged(w)
      stage:write("die.lua", "local client = ...\n"
        .. "client:on('configure', function() os.execute('kill -9 $PPID') end)\n")
      stage:write("slow.lua", "local client = ...\nclient:on('configure', function() "
        .. "io.stderr:write('configuring\\n') require('ringlink').sleep(600) end)\n")
      stage:set { RINGLINK_DEADLINE_MS = "300" }
      stage:run { "link", "--user", "7", "--hooks", "die.lua", input = cli.redirect_text(install) }
      screen:line("while ringlink work --hooks slow.lua; do :; done")
      screen:wait_for("configuring\n")
      screen:key("C-c")
      screen:wait_for("ringlink: interrupted\n")
      assert.equal(0, status())                        -- of the loop
      assert.equal("awaiting", stage:json({ "accounts" }).values[1].state)
      children.wait_until("the link is due again", function()
        return stage:json({ "work" }).values[1].resumed == 1
      end)
      assert.same({ 1, "completed" }, { w:count("confirm"), w:status(install.account) })
    end)

    it("while a script runs, ends it", function()
      stage:write("script.lua", "local _, _, progress = ...\nlocal ringlink = require 'ringlink'\n"
        .. "for i = 1, 600 do progress('step ' .. i) ringlink.sleep(0.2) end\n")
      screen:line("ringlink run script.lua")
      screen:wait_for("\nstep %d+\n$")
      screen:key("C-c")
      local shown = screen:wait_for("ringlink: interrupted\n")
      assert.is_nil(shown:find("step", 1, true))
      assert.equal(130, status())
    end)
  end)
end)
