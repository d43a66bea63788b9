-- `client:import`: refresh tokens that a partner's earlier code has obtained (contract 4, 5, 7).

local grants = require "ringlink.grants"
local planted = require "support.planted"
local ringlink = require "ringlink"
local scripts = require "support.scripts"
local world = require "support.world"

describe("import #network", function()
  local w, client, clock, earlier

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
    earlier = scripts.earlier(w)
  end)

  local function import(line, more)
    local q = { refresh_token = line.refresh_token, user = line.user }
    for name, value in pairs(more or {}) do q[name] = value end
    return client:import(q)
  end

  local function refused(code, line, more)
    local account, err = import(line, more)
    assert.is_nil(account)
    assert.equal(code, err.code, tostring(err))
    assert.is_nil(planted.find(tostring(err)))
    return err
  end

  it("takes over a link that Ring has completed, without a POST", function()
    local line = earlier:linked("7")
    local account = assert(import(line, { account_identifier = "user@partner.example.com" }))
    assert.equal(line.account, account.id)
    local info = assert(account:info())
    assert.same({ "completed", "7", "u***r@partner.example.com" }, { info.state, info.user, info.account_identifier })
    assert.same({ 1, 1, "completed" }, { w:count("refresh"), w:count("confirm"), w:status(line.account) })
    assert.equal(2, #assert(account:get("/v1/devices")).data)
    assert.is_nil(w:stored(client, line.refresh_token))
  end)

  it("completes one that Ring has confirmed only", function()
    local line = earlier:linked("7")
    assert(earlier.client:update(earlier.client:account(line.account), { status = "awaiting" }))
    assert.equal("completed", assert(import(line)):state())
    assert.equal("completed", w:status(line.account))
  end)

  it("leaves one unclaimed that Ring has not confirmed, for the next nonce", function()
    local line, install = earlier:unclaimed("7")
    assert.equal("unclaimed", assert(import(line)):state())
    assert.equal(0, w:count("complete"))
    local link = assert(client:link(w.redirect_of(install, "7")))
    assert.same({ "completed", line.account, 1 }, { link.status, link.account.id, w:count("confirm") })
  end)

  it("leaves one unclaimed of which nobody says whose it is", function()
    local line = earlier:linked("7")
    line.user = nil
    assert.equal("unclaimed", assert(import(line)):state())
    line.user = "7"
    assert.equal("completed", assert(import(line)):state())
    assert.equal(1, w:count("refresh"))
  end)

  it("POSTs when the user signs in again", function()
    local line = earlier:linked("7")
    assert(import(line))
    local link = assert(client:link(w.redirect_of(w:sign_in_again(line.account), "7")))
    assert.same({ "completed", 2 }, { link.status, w:count("confirm") })
  end)

  it("asks the hooks, but for configure when that is done", function()
    local asked = {}
    for _, name in ipairs { "exchanged", "before_confirm", "configure", "before_complete", "completed" } do
      client:on(name, function()
        asked[#asked + 1] = name
        return true
      end)
    end
    assert(import(earlier:linked("7"), { configured = true }))
    assert.same({ "exchanged", "before_confirm", "before_complete", "completed" }, asked)
    assert(import(earlier:linked("8")))
    assert.equal("configure", asked[7])
  end)

  it("goes on after a refusal of configure", function()
    local line, ready = earlier:linked("7"), false
    client:on("configure", function() return ready, "not ready" end)
    refused("configure_failed", line)
    ready = true
    assert.equal("completed", assert(import(line)):state())
    assert.equal(1, w:count("refresh"))
  end)

  it("does nothing the second time, nor once it was paused", function()
    local line = earlier:linked("7")
    local account = assert(import(line))
    local before = #w:journal()
    assert.equal(account.id, assert(import(line)).id)
    assert.equal(before, #w:journal())
    assert(client:update(account, { status = "awaiting" }))
    assert(import(line))
    assert.equal("awaiting", w:status(line.account))
  end)

  it("of many at once does it once", function()
    local line, ids = earlier:linked("7"), {}
    ringlink.run(function()
      for i = 1, 8 do ringlink.spawn(function() ids[i] = assert(import(line)).id end) end
    end)
    assert.equal(8, #ids)
    assert.same({ 1, 1 }, { w:count("refresh"), #client.store:find({ account = line.account }) })
  end)

  it("does not touch an account that has a living link here", function()
    local link = w:linked(client, "7")
    local entry = assert(client:account(link.account.id):grant())
    w:linked(earlier.client, "7", { account = link.account.id })
    local line = { user = "7", account = link.account.id }
    local theirs = assert(earlier.client:account(link.account.id):grant())
    line.refresh_token = earlier.client.vault:open(theirs.key, "refresh", theirs.row.refresh)
    assert.equal("completed", assert(import(line)):state())
    assert.equal(entry.row.fingerprint, client.store:get(entry.key).fingerprint)
    assert.equal("completed", client.store:get(entry.key).state)
    assert.equal(1, #client.store:find({ account = link.account.id, state = "unclaimed" }))
    line.user = "8"
    refused("already_linked", line)
  end)

  it("stands in for a link whose tokens are refused", function()
    local link = w:linked(client, "7")
    local entry = assert(client:account(link.account.id):grant())
    assert(grants.apply(client, {}, entry.key, "relink"))
    w:linked(earlier.client, "7", { account = link.account.id })
    local theirs = assert(earlier.client:account(link.account.id):grant())
    assert(import { user = "7", refresh_token = earlier.client.vault:open(theirs.key, "refresh", theirs.row.refresh) })
    assert.equal("superseded", client.store:get(entry.key).state)
    assert.equal("completed", client:account(link.account.id):state())
  end)

  it("is refused for a token that Ring does not take, and does not ask again", function()
    local line = earlier:linked("7")
    assert(earlier.client:account(line.account):refresh { force = true })
    refused("relink_required", line)
    refused("relink_required", line)
    line.user = nil
    refused("relink_required", line)
    assert.equal(2, w:count("refresh"))
  end)

  it("is refused for what the user has taken out of the app since", function()
    local line = earlier:linked("7")
    assert(import(line))
    local entry = assert(client:account(line.account):grant())
    assert(grants.apply(client, {}, entry.key, "unlink"))
    refused("unlinked", line)
  end)

  it("says so when Ring used the token up and its answer was lost", function()
    local line = earlier:linked("7")
    w:fault { call = "refresh", drop = "after" }
    assert.is_true(refused("refresh_outcome_unknown", line).ambiguous)
    refused("refresh_outcome_unknown", line)
  end)

  it("keeps what Ring could not be asked about", function()
    local line = earlier:linked("7")
    w:fault { call = "refresh", status = 503, count = "always" }
    refused("refresh_failed", line)
    w:fault { off = true }
    assert.equal("completed", assert(import(line)):state())
  end)

  it("is finished by work when it was left half way", function()
    local line = earlier:linked(nil)
    w:fault { call = "me", status = 503, count = "always" }
    refused("ring_error", line)
    w:fault { off = true }
    w:pass_time(clock, 61000)
    assert.equal(1, assert(client:work()).resumed)
    assert.equal("unclaimed", client:account(line.account):state())
    assert.equal(1, w:count("refresh"))
  end)

  it("refuses what is no token, user or identifier", function()
    refused("invalid_request", { user = "7" })
    refused("invalid_request", { refresh_token = "two words" })
    refused("invalid_request", { refresh_token = "t", user = 7 })
    refused("invalid_request", { refresh_token = "t" }, { account_identifier = "" })
    assert.equal(0, #w:journal())
  end)
end)
