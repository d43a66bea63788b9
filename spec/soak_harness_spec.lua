-- What the soaks rest on: every visitor who links is somebody new, and the verdict in the end is neither hasty
-- nor blind.

local agreement = require "soak.agreement"
local sites = require "soak.site"
local walks = require "soak.walks"

local USERS = 4                                -- one of whom never signs in
local PATIENCE_MS = 2500                       -- a few looks

describe("the site of a soak #network", function()
  local site

  setup(function() site = sites.start { seed = 1, workers = 1, http2 = false, users = USERS } end)
  teardown(function() site:remove() end)

  local function journey()
    local visitor = walks.visitor(site)
    visitor.throw = function() return 0 end    -- the first of the walks
    site.traffic:send_in(walks.take, visitor)
    site:run(function() return site.traffic.inside == 0 end)
    return visitor.user
  end

  -- Before each look at Ring something happens.
  local function check_while(happens)
    local look = site.w.state
    function site.w.state(w)
      happens()
      return look(w)
    end
    local ok, problem = pcall(agreement.check, site, PATIENCE_MS)
    site.w.state = nil
    return ok, problem
  end

  it("lets nobody link twice", function()
    local users = {}
    for _ = 2, USERS do
      local user = journey()
      assert.is_nil(users[user])
      users[user] = true
    end
    assert.error_matches(journey, "the site needs more users")
    site.traffic.failures = {}
  end)

  it("is in agreement although tokens are renewed all the time", function()
    local client, looks = site:client(), 0
    local ok, problem = check_while(function()
      looks = looks + 1
      local account = site.accounts[looks % #site.accounts + 1]
      assert(client:account(account.id):refresh { force = true })
    end)
    client:close()
    assert.is_true(ok, problem)
  end)

  it("is in no agreement when a pair was lost", function()
    local client = site:client()
    local account = client:account(site.accounts[1].id)
    local before = assert(account:grant())
    assert(account:refresh { force = true })
    local _, version = client.store:get(before.key)
    assert(client.store:put_if(before.key, before.row, version))
    client:close()
    local ok, problem = pcall(agreement.check, site, PATIENCE_MS)
    assert.is_false(ok)
    assert.matches("1 accounts .* the store has another refresh token than Ring", problem)
  end)
end)
