-- Accounts without network: going through them, what a handle shows, forgetting.

local core = require "ringlink.core"
local grants = require "ringlink.grants"
local offline = require "support.offline"

describe("accounts", function()
  local client, clock

  before_each(function() client, clock = offline.client() end)

  local function put(id, state, user)
    clock.advance(1)
    return offline.grant(client, { account = id, state = state, user = user })
  end

  local function ids(filter)
    local list = {}
    for account in client:accounts(filter) do list[#list + 1] = account.id or "?" end
    table.sort(list)
    return list
  end

  describe("iteration", function()
    it("is over at once when there are none", function()
      assert.same({}, ids())
    end)

    it("goes through each account once, however many grants it has", function()
      put("a", "completed")
      put("a", "unclaimed")
      put("a", "failed")
      put("b", "unclaimed")
      assert.same({ "a", "b" }, ids())
    end)

    it("goes through more than fit on a page", function()
      for i = 1, 600 do put(("ring-%03d"):format(i), "unclaimed") end
      local list = ids({ state = "unclaimed" })
      assert.equal(600, #list)
      assert.same({ "ring-001", "ring-600" }, { list[1], list[600] })
    end)

    for _, state in ipairs(core.link_states) do
      it("finds those that are " .. state, function()
        put("other", state == "completed" and "awaiting" or "completed")
        local key = put("wanted", state)
        local found = {}
        for account in client:accounts({ state = state }) do found[#found + 1] = account end
        assert.equal(1, #found)
        assert.equal(key, found[1].key)
        assert.equal(state, found[1]:state())
      end)
    end

    it("means the state of the current grant", function()
      put("a", "completed")
      put("a", "unclaimed")
      assert.same({}, ids({ state = "unclaimed" }))
      assert.same({ "a" }, ids({ state = "completed" }))
    end)

    it("finds a user's", function()
      put("a", "completed", "user-1")
      put("b", "completed", "user-2")
      put("c", "awaiting", "user-1")
      assert.same({ "a", "c" }, ids({ user = "user-1" }))
      assert.same({ "a" }, ids({ user = "user-1", state = "completed" }))
      assert.same({}, ids({ user = "user-3" }))
    end)

    it("of a user gives handles that are theirs only", function()
      local key = put("a", "completed", "user-1")
      local account = client:accounts({ user = "user-1" })()
      assert.equal("user-1", assert(account:info()).user)
      assert(grants.apply(client, {}, key, "unlink"))
      put("a", "completed", "user-2")
      assert.equal("not_found", select(2, account:info()).code)
      assert.equal("user-2", assert(client:accounts()():info()).user)
    end)

    it("shows no row that is no account", function()
      client:exchange("a-code")
      put("a", "completed")
      assert(client:account("a"):forget())
      put("b", "completed")
      assert.same({ "?", "b" }, ids())
    end)

    it("lets each be forgotten on the way", function()
      for i = 1, 10 do
        for _, state in ipairs({ "completed", "unclaimed", "failed" }) do put("ring-" .. i, state) end
      end
      local count = 0
      for account in client:accounts() do
        assert(account:forget())
        count = count + 1
      end
      assert.equal(10, count)
      assert.same({}, ids())
    end)

    it("knows no other states", function()
      local text = offline.misuse(function() client:accounts({ state = "complete" }) end)
      assert.equal('ringlink: accounts: unknown state "complete"; did you mean completed?', text)
    end)
  end)

  it("says so when a method is called with a dot", function()
    local account = client:account("ring-1")
    for name, call in pairs({ exchange = client.exchange, account = client.account, on = client.on }) do
      local text = offline.misuse(function() call("code") end)
      assert.equal(("ringlink: %s: call it with a colon: client:%s(...)"):format(name, name), text)
    end
    for name, call in pairs({ get = account.get, pages = account.pages }) do
      local text = offline.misuse(function() call("/v1/devices") end)
      assert.equal(("ringlink: %s: call it with a colon: account:%s(...)"):format(name, name), text)
    end
  end)

  describe("a handle", function()
    it("means the current grant, and the newest when none is", function()
      local account = client:account("a")
      put("a", "unclaimed")
      assert.equal("unclaimed", account:state())
      put("a", "completed")
      put("a", "unclaimed")
      assert.equal("completed", account:state())
    end)

    it("tells what is known, and no secret", function()
      put("a", "completed", "user-1")
      put("a", "unclaimed")
      local info = assert(client:account("a"):info())
      assert.same({ "a", "completed", "completed", "devices", "user-1", "u***r@partner.example.com", "unclaimed", 0 },
        { info.id, info.state, info.status, info.scope, info.user, info.account_identifier, info.pending,
          info.refresh_failures })
      for name, value in pairs(info) do
        assert.is_nil(tostring(value):find("planted", 1, true), name)
        assert.truthy(type(value) == "string" or type(value) == "number", name)
      end
    end)

    it("exports each grant, and no secret", function()
      put("a", "completed")
      put("a", "unclaimed")
      local export = assert(client:account("a"):export())
      assert.equal("a", export.account.id)
      assert.same({ "unclaimed", "completed" }, { export.grants[1].state, export.grants[2].state })
    end)

    it("hands out the token as a secret", function()
      put("a", "completed")
      local access = assert(client:account("a"):access_token())
      assert.equal("secret(****)", tostring(access))
      assert.truthy(access:reveal():find("^planted%-access%-token"))
      offline.assert_silent(client)
    end)

    it("with options needs a user: a session without one opens nothing", function()
      put("a", "completed", "user-1")
      local session = {}
      local text = offline.misuse(function() client:account("a", { user = session.user }) end)
      assert.truthy(text:find("options need a user", 1, true))
    end)

    it("with a user is theirs only", function()
      put("a", "completed", "user-1")
      assert.equal("completed", client:account("a", { user = "user-1" }):state())
      local other = client:account("a", { user = "user-2" })
      for _, call in ipairs({ "state", "info", "access_token", "refresh", "me", "export", "forget" }) do
        local result, err = other[call](other)
        assert.is_nil(result, call)
        assert.equal("not_found", err.code)
      end
      assert.equal("not_found", select(2, client:update(other, { status = "awaiting" })).code)
      assert.equal("not_found", select(2, client:complete(other)).code)
      assert.equal("completed", client:account("a"):state())
      offline.assert_silent(client)
    end)

    it("shows nothing but its id when it is printed", function()
      assert.equal("ringlink.account(a)", tostring(client:account("a")))
    end)
  end)

  describe("forget", function()
    it("leaves a keyed hash and nothing else", function()
      put("a", "completed")
      put("a", "unclaimed")
      assert.is_true(client:account("a"):forget())
      local rows = client.store:find({})
      assert.equal(1, #rows)
      assert.equal(grants.tombstone_key(client, "a"), rows[1].key)
      for name, value in pairs(rows[1].row) do assert.not_equal("a", value, name) end
      assert.equal("not_found", select(2, client:account("a"):state()).code)
    end)

    it("tells audit, with the id masked", function()
      local told
      client:on("audit", function(event) told = event end)
      put("ring-account-1", "completed")
      assert(client:account("ring-account-1"):forget())
      assert.same({ what = "forgotten", account = "r***1", at_ms = clock.now_ms() }, told)
    end)

    it("twice is not_found", function()
      put("a", "completed")
      assert(client:account("a"):forget())
      assert.equal("not_found", select(2, client:account("a"):forget()).code)
    end)

    it("of a user takes all that is theirs, and counts accounts", function()
      put("a", "completed", "user-1")
      put("b", "awaiting", "user-1")
      put("b", "completed", "user-1")
      put("c", "completed", "user-2")
      assert.equal(2, client:forget_user("user-1"))
      assert.equal(0, client:forget_user("user-1"))
      assert.same({ "c" }, ids())
    end)
  end)
end)
