-- What a hook says about a link counts for that claim only: when it comes back late and the link is another
-- user's, or another attempt's, by then, it is not heard (README "Hooks").

local claim = require "ringlink.claim"
local world = require "support.world"

local WINDOW_MS = 601000

local w

describe("a hook that comes back late #network", function()
  local client, other, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
    other = w:client_beside(client, { clock = clock })
    other:on("reassign", function() return true end)
  end)

  local function again_for(account, user)
    return w.redirect_of(w:sign_in_again(account.id), user)
  end

  --- The next hook of this name moves the link elsewhere before it answers.
  local function meanwhile(name, fn, ...)
    local answers, done = { n = select("#", ...), ... }, false
    client:on(name, function(link)
      if done then return end
      done = true
      fn(link.account)
      return (table.unpack or unpack)(answers, 1, answers.n)
    end)
  end

  local function refused(code, link, err)
    assert.is_nil(link)
    assert.equal(code, err.code)
  end

  local function row_of(account) return client.store:get(account:grant().key) end

  -- The claim of user-1 has run out and is given back; user-2 brings a fresh nonce, and no more yet.
  local function claimed_by_other(account)
    w:pass_time(clock, WINDOW_MS)
    assert(other:work())
    assert.equal("unclaimed", account:state())
    local q = again_for(account, "user-2")
    assert(claim.claim(other, account:grant().key, account.id, q))
  end

  local function is_untouched(account)
    local row = row_of(account)
    assert.same({ "matched", "user-2" }, { row.state, other.vault:open(account:grant().key, "user", row.user_sealed) })
    assert.truthy(row.nonce)
    assert.equal(0, w:count("confirm"))
  end

  it("with a yes to the POST of a claim that is over begins none for the next one", function()
    local account, install = w:unclaimed(client)
    meanwhile("before_confirm", claimed_by_other)
    refused("already_linked", client:link(w.redirect_of(install)))
    is_untouched(account)
  end)

  it("with a no to the POST of a claim that is over does not give the next one back", function()
    local account, install = w:unclaimed(client)
    meanwhile("before_confirm", claimed_by_other, false, "too late")
    local link, err = client:link(w.redirect_of(install))
    assert.is_nil(link)
    assert.truthy(err)
    is_untouched(account)
  end)

  -- user-2 has it, and their before_complete says no.
  local function vetoed_for_other(account)
    other:on("before_complete", function(link) if link.user == "user-2" then return false, "not yet" end end)
    refused("vetoed", other:link(again_for(account, "user-2")))
  end

  it("with a yes to the PATCH says nothing about whose it is now", function()
    local account, install = w:unclaimed(client)
    meanwhile("before_complete", vetoed_for_other)
    refused("already_linked", client:link(w.redirect_of(install)))
    refused("vetoed", other:complete(account))
    assert.same({ "awaiting", 0 }, { w:status(account.id), w:count("complete") })
  end)

  it("with a later is not shown whose it is now, nor does that one wait", function()
    local account, install = w:unclaimed(client)
    meanwhile("configure", vetoed_for_other, "later")
    refused("already_linked", client:link(w.redirect_of(install)))
    assert.is_nil(row_of(account).stopped)
  end)

  it("with a no keeps nobody else's link from being taken on", function()
    local account, install = w:unclaimed(client)
    meanwhile("configure", function(one)
      vetoed_for_other(one)
      local row, version = client.store:get(one:grant().key)
      row.conducted = true                         -- user-2 comes again, and `work` is to finish it
      assert(client.store:put_if(one:grant().key, row, version))
    end, false, "too late")
    assert.is_nil(client:link(w.redirect_of(install)))
    local row = row_of(account)
    assert.same({ true }, { row.conducted, row.stopped })
  end)
end)
