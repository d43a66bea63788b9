-- Partner-initiated linking against a strict Ring: its page, the code that comes back, the exchange with
-- the verifier, the link without a POST (contract 11; README "Partner-initiated").

local core = require "ringlink.core"
local grants = require "ringlink.grants"
local readme = require "support.readme"
local ringlink = require "ringlink"
local sender = require "ringlink.sandbox.client"
local world = require "support.world"

local BACK = "https://partner.example.com/ring/callback"

local w

describe("a link that begins at the partner's #network", function()
  local client, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client { account_url = w.ring.account_url }
  end)

  --- A user is sent to Ring's page and says yes: what comes back, and what the session keeps.
  local function allowed(account)
    local url, pending = assert(client:authorize_url { redirect_uri = BACK })
    local answer = assert(w.ring:control("authorize", { url = url, account = account }))
    return { code = answer.code, state = answer.state }, pending, answer
  end

  local function account_of()
    local query, pending = allowed()
    return assert(client:authorized(query, pending))
  end

  local function link(account, more)
    local q = { account = account, user = "user-1", account_identifier = "user@partner.example.com" }
    for name, value in pairs(more or {}) do q[name] = value end
    return client:link(q)
  end

  -- The way -------------------------------------------------------------------------------------

  it("comes back with a code, is exchanged, configured and completed, without a POST", function()
    local query, pending, answer = allowed()
    local account = assert(client:authorized(query, pending))
    assert.equal(answer.account, account.id)
    assert.equal("unclaimed", account:state())
    local completed = assert(link(account))
    assert.same({ "completed", "user-1", "u***r@partner.example.com" },
      { completed.status, completed.user, completed.account_identifier })
    assert.same({ 0, 1, "completed" }, { w:count("confirm"), w:count("complete"), w:status(account.id) })
    assert.equal(2, #assert(completed.account:get("/v1/devices")).data)
  end)

  it("is written as the README says", function()
    local session, sent, said, query = {}, nil, nil, {}
    readme.example("authorize", { client = client, session = session, query = query,
      user = { id = "user-1", email = "user@partner.example.com" },
      redirect = function(url)
        sent = url
        local answer = assert(w.ring:control("authorize", { url = url }))
        query.code, query.state = answer.code, answer.state
      end,
      print = function(text) said = text end })()
    assert.is_string(sent)
    assert.equal("completed", said)
    assert.is_nil(session.ring)
  end)

  it("tells the hooks as every link does, but for the POST", function()
    local account, told = account_of(), {}
    for _, name in ipairs { "matched", "before_confirm", "awaiting", "configure", "before_complete", "completed" } do
      client:on(name, function(of) told[#told + 1] = name .. " " .. of.user end)
    end
    client:on("transition", function(_, from, to) told[#told + 1] = from .. ">" .. to end)
    client:on("audit", function(event) told[#told + 1] = event.what .. " from " .. event.from end)
    assert(link(account, { from = "203.0.113.7" }))
    assert.same({ "unclaimed>matched", "matched user-1", "before_confirm user-1", "matched>awaiting",
      "awaiting user-1", "configure user-1", "before_complete user-1", "awaiting>completed", "completed user-1",
      "linked from 203.0.113.7" }, told)
  end)

  it("is the same however often it is asked for", function()
    local account = account_of()
    assert(link(account))
    assert.equal("completed", assert(link(account)).status)
    assert.equal("completed", assert(link(client:account(account.id))).status)
    assert.equal(1, w:count("complete"))
  end)

  it("goes on from a handle that another process made", function()
    local id = account_of().id
    local other = w:client_beside(client, { clock = clock })
    assert.equal("completed", assert(other:link { account = other:account(id), user = "user-1" }).status)
  end)

  it("may be paused, resumed and get another identifier", function()
    local account = account_of()
    assert(link(account))
    assert.equal("awaiting", assert(client:update(account, { status = "awaiting" })).status)
    assert(client:update(account, { account_identifier = "second@partner.example.com" }))
    assert.equal("completed", assert(client:complete(account)).status)
    assert.equal("s***d@partner.example.com", w:state().integrations[1].account_identifier)
  end)

  it("runs a flow's steps, those before confirm too, each once", function()
    local ran = {}
    local function step(name) return function() ran[#ran + 1] = name end end
    local shop = ringlink.flow { name = "shop" }:before("confirm", "check-plan", step("check-plan"))
      :after("confirm", "provision", step("provision")):after("complete", "welcome", step("welcome"))
    local account = account_of()
    assert(link(account, { flow = shop }))
    assert(link(account, { flow = shop }))
    assert.same({ "check-plan", "provision", "welcome" }, ran)
  end)

  it("keeps what a step did for a claim that is over out of the next one", function()
    local account, other = account_of(), w:client_beside(client, { clock = clock })
    other:on("before_confirm", function() error("lua: interrupted!", 0) end)
    local shop = ringlink.flow { name = "shop" }
    shop:before("confirm", "check-plan", function()
      w:pass_time(clock, 601000)
      assert(other:work())                                   -- gives the claim back
      pcall(other.link, other, { account = other:account(account.id), user = "user-2", flow = "other" })
      return "user-1's"
    end)
    other:flow(shop)
    other:flow(ringlink.flow { name = "other" })
    assert.is_nil((link(account, { flow = shop })))
    local row = client.store:get(account:grant().key)
    assert.same({ "matched", nil, "other" }, { row.state, row.steps, row.flow })
  end)

  it("is finished by work when the process stopped half way", function()
    local account = account_of()
    local off = client:on("before_confirm", function() error("lua: interrupted!", 0) end)
    assert.is_false(pcall(link, account))
    off()
    assert.equal("matched", account:state())
    w:pass_time(clock, 61000)
    assert.equal(1, assert(client:work()).resumed)
    assert.equal("completed", w:status(account.id))
  end)

  it("waits for configure as long as that takes", function()
    local account = account_of()
    assert.equal("awaiting", assert(link(account, { configure = function() return "later" end })).status)
    w:pass_time(clock, 2 * 86400000)
    assert(client:work())
    assert.equal("completed", assert(client:complete(account)).status)
  end)

  -- No ------------------------------------------------------------------------------------------

  it("is nobody's again after a veto, and may be asked for again", function()
    local account = account_of()
    local off = client:on("before_confirm", function() return false, "no" end)
    assert.equal("vetoed", select(2, link(account)).code)
    assert.equal("unclaimed", account:state())
    assert.is_nil(account:info().user)
    off()
    assert.equal("completed", assert(link(account)).status)
  end)

  it("is the user's who has it", function()
    local account = account_of()
    assert(link(account))
    assert.equal("already_linked", select(2, link(account, { user = "user-2" })).code)
    client:on("reassign", function() return true end)
    assert.equal("user-2", assert(link(account, { user = "user-2" })).user)
    assert.equal("completed", w:status(account.id))
    assert.equal(0, w:count("confirm"))
  end)

  local function states_of(account_id)
    local states = {}
    for _, entry in ipairs(client.store:find { account = account_id }) do states[#states + 1] = entry.row.state end
    table.sort(states)
    return table.concat(states, " ")
  end

  --- The user allows the app once more, and is linked by what `of` makes of the handle.
  local function again(account, of)
    local fresh = assert(client:authorized(allowed(account.id)))
    return assert(link(of and of(fresh) or fresh))
  end

  local EARLIER = {
    ["whose link is completed"] = function() return link(account_of()).account end,
    ["whose link began in the Ring app"] = function() return w:linked(client).account end,
    ["who must link again, for Ring refuses the tokens"] = function()
      local account = link(account_of()).account
      assert(grants.apply(client, {}, account:grant().key, "relink"))
      return account
    end,
  }
  for who, begin in pairs(EARLIER) do
    for how, of in pairs { ["by the handle"] = false, ["by the account's id"] = true } do
      it(("is made anew, %s, for a user %s"):format(how, who), function()
        local account = begin()
        local patched = w:count("complete")
        local new = again(account, of and function(one) return client:account(one.id) end)
        assert.same({ "completed", account.id }, { new.status, new.account.id })
        if not (of and who == "whose link is completed") then
          assert.equal("completed superseded", states_of(account.id))
          assert.equal(patched + 1, w:count("complete"))
        end
        assert(new.account:get("/v1/devices"))
      end)
    end
  end

  it("is not for accounts of the one-way flow: they need their nonce", function()
    local account = w:unclaimed(client)
    local _, err = link(account)
    assert.equal("invalid_request", err.code)
    assert.truthy(err.message:find("others need nonce and time", 1, true), err.message)
    assert.equal("unclaimed", account:state())
  end)

  it("needs an account, not its id, and no nonce beside it", function()
    local account = account_of()
    for _, wrong in ipairs { { account = account.id }, { account = {} } } do
      local ok, said = pcall(link, nil, wrong)
      assert.is_false(ok)
      assert.truthy(said:find("link: needs an account", 1, true), said)
    end
    local ok, said = pcall(link, account, { nonce = ("n"):rep(43) })
    assert.is_false(ok)
    assert.truthy(said:find("link: account takes the place of nonce and time", 1, true), said)
  end)

  it("ends where the user says no", function()
    local url, pending = assert(client:authorize_url { redirect_uri = BACK })
    local answer = assert(w.ring:control("authorize", { url = url, deny = true }))
    assert.equal(BACK .. "?error=access_denied&state=" .. pending.state, answer.redirect)
    local _, err = client:authorized({ error = answer.error, state = answer.state }, pending)
    assert.same({ "forbidden", "access_denied" }, { err.code, err.title })
    assert.equal(0, w:count("token"))
  end)

  -- The code ------------------------------------------------------------------------------------

  it("is exchanged for the session that began it, and no other", function()
    local query = allowed()
    local _, foreign = assert(client:authorize_url { redirect_uri = BACK })
    assert.equal("invalid_request", select(2, client:authorized(query, foreign)).code)
    assert.equal(0, w:count("token"))
  end)

  local WRONG = {
    ["a wrong verifier"] = function(kept) kept.code_verifier = ("w"):rep(43) end,
    ["another redirect_uri"] = function(kept) kept.redirect_uri = BACK .. "/" end,
  }
  for what, spoil in pairs(WRONG) do
    it("is refused with " .. what, function()
      local query, pending = allowed()
      spoil(pending)
      local account, err = client:authorized(query, pending)
      assert.is_nil(account)
      assert.same({ "exchange_refused", "invalid_grant" }, { err.code, err.title })
      assert.truthy(err.message:find("begin again with authorize_url", 1, true), err.message)
      assert.is_nil(tostring(err):find(query.code, 1, true))
    end)
  end

  it("uses no code up for a session that lost its verifier: nothing would prove it", function()
    for _, lost in ipairs { false, "" } do
      local query, pending = allowed()
      pending.code_verifier = lost or nil
      assert.equal("invalid_request", select(2, client:authorized(query, pending)).code)
    end
    assert.equal(0, w:count("token"))
  end)

  it("may leave redirect_uri out, or not: Ring's page is not clear, and what we send fits both", function()
    for _, variant in ipairs { "optional", "required" } do
      assert(w.ring:control("variant", { redirect_uri = variant }))
      local query, pending = allowed()
      assert(client:authorized(query, pending))
      query, pending = allowed()
      local account = client:exchange(query.code, { code_verifier = pending.code_verifier })
      assert.equal(variant == "optional", account ~= nil)
    end
  end)

  it("gives one account however often the browser brings the code", function()
    local query, pending = allowed()
    local first = assert(client:authorized(query, pending))
    assert.equal(first.id, assert(client:authorized(query, pending)).id)
    assert.equal(1, w:count("token"))
  end)

  it("is revoked when somebody else uses the code again", function()
    local query, pending = allowed()
    local account = assert(client:authorized(query, pending))
    local other = w:quick_client()
    assert.equal("exchange_refused", select(2, other:authorized(query, pending)).code)
    assert.equal("relink_required", select(2, account:refresh { force = true }).code)
  end)

  it("has ten minutes for the code, and not more", function()
    local query, pending = allowed()
    w:pass_time(clock, 599000)
    assert(client:authorized(query, pending))
    query, pending = allowed()
    w:pass_time(clock, 601000)
    assert.equal("exchange_refused", select(2, client:authorized(query, pending)).code)
  end)

  it("is exchanged when Ring answers again, within those minutes", function()
    local query, pending = allowed()
    w:fault { call = "token", status = 503, count = 5 }
    assert.is_nil((client:authorized(query, pending)))
    w:pass_time(clock, 300000)
    assert.equal("unclaimed", assert(client:authorized(query, pending)):state())
  end)

  -- Ring's page ---------------------------------------------------------------------------------

  local function open_page(url)
    local transport = assert(core.transport { ca_file = w.ring.ca_file, response_bytes_max = 65536 })
    local page = assert(sender.send(transport, { method = "GET", url = url }))
    transport:close()
    return page
  end

  it("goes by the page itself, too, as a browser does", function()
    local url, pending = assert(client:authorize_url { redirect_uri = BACK })
    local page = open_page(url)
    assert.equal(302, page.status)
    local code, state = page.headers.location:match("^" .. BACK:gsub("%p", "%%%0") .. "%?code=([^&]+)&state=([^&]+)$")
    local account = assert(client:authorized({ code = code, state = state }, pending))
    assert.equal("completed", assert(link(account)).status)
  end)

  local SPOILT = {
    client_id = { "client_id=[^&]+", "client_id=another" }, redirect_uri = { "https%%3A", "http%%3A" },
    response_type = { "response_type=code", "response_type=token" }, scope = { "ava.v1%%3Aread", "all" },
    code_challenge_method = { "=S256", "=plain" }, code_challenge = { "(code_challenge=[^&]+)", "%1A" },
    state = { "state=[^&]+", "state=" },
  }
  for name, change in pairs(SPOILT) do
    it("is refused by the page when " .. name .. " is wrong, and when it is missing", function()
      local url = assert(client:authorize_url { redirect_uri = BACK })
      for _, wrong in ipairs { (url:gsub(change[1], change[2])), (url:gsub("([?&])" .. name .. "=[^&]*", "%1x=")) } do
        assert.not_equal(url, wrong)
        local page = open_page(wrong)
        assert.same({ 400, name .. " is missing or wrong in the authorize URL\n" }, { page.status, page.body })
        assert.is_nil((w.ring:control("authorize", { url = wrong })))
      end
    end)
  end

  it("is refused by the page when a field comes twice, or the path is another", function()
    local url = assert(client:authorize_url { redirect_uri = BACK })
    assert.equal("state came twice in the authorize URL\n", open_page(url .. "&state=x").body)
    local _, problem = w.ring:control("authorize", { url = (url:gsub("partner%-link", "link")) })
    assert.truthy(problem:find("the authorize URL's path is", 1, true), problem)
  end)

  it("may be led back to one place only, when that was registered", function()
    local strict = world.start { redirect_uri = BACK }
    local other = strict:quick_client { account_url = strict.ring.account_url }
    local url = assert(other:authorize_url { redirect_uri = BACK .. "/elsewhere" })
    local _, problem = strict.ring:control("authorize", { url = url })
    assert.equal("redirect_uri is missing or wrong in the authorize URL", problem)
    assert(strict.ring:control("authorize", { url = (assert(other:authorize_url { redirect_uri = BACK })) }))
    strict:stop()
  end)
end)
