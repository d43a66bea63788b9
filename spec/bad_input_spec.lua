-- Bad input to every public call. What may come from the wire or a session comes back as an
-- invalid_request that names the field and does not repeat the value: nothing is raised, stored or
-- sent. Mistakes of the program are raised at its own line.

local deliveries = require "support.deliveries"
local errors = require "ringlink.errors"
local offline = require "support.offline"

local MARK = "QZ7"                     -- stands in every bad text; must not stand in any message
local MISSING = {}                     -- stands for nil

local TEXTS = { ["an empty text"] = "", ["a NUL"] = MARK .. "\0", ["a line break"] = MARK .. "\r\nX: y",
  ["bytes that are not UTF-8"] = MARK .. "\255\254", ["a mebibyte"] = MARK .. ("x"):rep(2 ^ 20) }
local OTHERS = { ["a number"] = 1771130906289, ["a boolean"] = true, ["a table"] = { MARK }, ["a function"] = print }

--- Values by their name: what is bad for every text, and `more`.
local function bad_values(more)
  local values = {}
  for _, list in ipairs({ TEXTS, OTHERS, more or {} }) do
    for name, value in pairs(list) do values[name] = value end
  end
  return values
end

local REQUIRED = bad_values({ nothing = MISSING })
local OPTIONAL = bad_values()
local NONCES = bad_values({ nothing = MISSING, ["42 characters"] = ("a"):rep(42), ["44 characters"] = ("a"):rep(44),
  ["padding"] = ("a"):rep(42) .. "=" })
local TIMES = bad_values({ nothing = MISSING, ["no digits"] = MARK, ["a sign"] = "-1771130906289",
  ["a fraction"] = "1771130906.289", ["21 digits"] = ("1"):rep(21), ["spaces"] = " 1771130906289" })
local STATUSES = bad_values({ ["an unknown word"] = MARK, ["another case"] = "Completed" })

describe("bad input", function()
  local client, account, fresh

  before_each(function()
    client = offline.client()
    offline.grant(client, { account = "ring-1" })
    offline.grant(client, { account = "ring-2", state = "unclaimed" })
    account, fresh = client:account("ring-1"), offline.redirect(client, "ring-2")
  end)

  --- Asserts that `call` refuses and that nothing has changed.
  local function refuses(call, code, field)
    local before = offline.snapshot(client)
    local result, err = call()
    assert.is_nil(result)
    assert.is_true(errors.is(err), tostring(err))
    assert.equal(code, err.code)
    if field then assert.truthy(err.message:find(field, 1, true), err.message) end
    assert.is_nil(tostring(err):find(MARK, 1, true), err.message)
    assert.same(before, offline.snapshot(client))
    offline.assert_silent(client)
  end

  --- One test a value: `call(value)` is refused by a message with `field`.
  local function each(what, values, field, call)
    describe(what, function()
      for name, value in pairs(values) do
        it("may not be " .. name, function()
          local given = value
          if value == MISSING then given = nil end
          refuses(function() return call(given) end, "invalid_request", field)
        end)
      end
    end)
  end

  --- The arguments of a good link, with one of them replaced.
  local function link_with(name, value)
    local q = { nonce = fresh.nonce, time = fresh.time, user = "user-1", account_identifier = "a@b.example" }
    q[name] = value
    return q
  end

  local function claim()
    return { account = client:account("ring-2"), nonce = fresh.nonce, time = fresh.time }
  end

  each("exchange: a code", REQUIRED, "code", function(value) return client:exchange(value) end)
  each("exchange: a code with spaces", { ["a text with them"] = MARK .. " x" }, "code",
    function(value) return client:exchange(value) end)
  each("exchange: a verifier", OPTIONAL, "code_verifier",
    function(value) return client:exchange("a-code", { code_verifier = value }) end)
  each("exchange: a redirect_uri", OPTIONAL, "redirect_uri",
    function(value) return client:exchange("a-code", { redirect_uri = value }) end)

  each("match: a nonce", NONCES, "nonce", function(value) return client:match({ nonce = value, time = fresh.time }) end)
  each("match: a time", TIMES, "time", function(value) return client:match({ nonce = fresh.nonce, time = value }) end)

  each("confirm: a nonce", NONCES, "nonce", function(value)
    local matched = claim()
    matched.nonce = value
    return client:confirm(matched, { user = "user-1" })
  end)
  each("confirm: a time", TIMES, "time", function(value)
    local matched = claim()
    matched.time = value
    return client:confirm(matched, { user = "user-1" })
  end)
  each("confirm: a user", REQUIRED, "user", function(value) return client:confirm(claim(), { user = value }) end)
  each("confirm: an identifier", OPTIONAL, "account_identifier",
    function(value) return client:confirm(claim(), { user = "user-1", account_identifier = value }) end)

  each("link: a nonce", NONCES, "nonce", function(value) return client:link(link_with("nonce", value)) end)
  each("link: a time", TIMES, "time", function(value) return client:link(link_with("time", value)) end)
  each("link: a user", REQUIRED, "user", function(value) return client:link(link_with("user", value)) end)
  each("link: an identifier", OPTIONAL, "account_identifier",
    function(value) return client:link(link_with("account_identifier", value)) end)
  each("link: an unmasked identifier", OPTIONAL, "account_identifier", function(value)
    local q = link_with("account_identifier", value)
    q.unmasked = true
    return client:link(q)
  end)

  each("update: a status", STATUSES, "status", function(value) return client:update(account, { status = value }) end)
  each("update: an identifier", OPTIONAL, "account_identifier",
    function(value) return client:update(account, { account_identifier = value }) end)
  each("complete: an identifier", OPTIONAL, "account_identifier",
    function(value) return client:complete(account, { account_identifier = value }) end)

  each("forget_user: a user", REQUIRED, "user", function(value) return client:forget_user(value) end)
  each("account: an id", REQUIRED, "account id", function(value) return client:account(value):info() end)
  each("account: a user", OPTIONAL, "user",
    function(value) return client:account("ring-1", { user = value }):info() end)
  each("accounts: a user", OPTIONAL, "user", function(value)
    local ok, raised = pcall(function()
      for _ in client:accounts({ user = value }) do error("an account") end
    end)
    return ok or nil, raised
  end)

  -- Where a table of arguments belongs.
  local TABLES = { nothing = MISSING, ["a text"] = MARK, ["a number"] = 12, ["a boolean"] = true }
  each("match: its argument", TABLES, "match", function(value) return client:match(value) end)
  each("link: its argument", TABLES, "link", function(value) return client:link(value) end)
  each("confirm: the claim", TABLES, "confirm", function(value) return client:confirm(value, { user = "user-1" }) end)
  each("confirm: its argument", TABLES, "confirm", function(value) return client:confirm(claim(), value) end)
  each("update: its argument", TABLES, "update", function(value) return client:update(account, value) end)

  it("update needs something to update", function()
    refuses(function() return client:update(account, {}) end, "invalid_request", "status or account_identifier")
  end)

  describe("webhook", function()
    for name, value in pairs(REQUIRED) do
      local given = value
      if value == MISSING then given = nil end

      it("is refused with " .. name .. " as signature", function()
        refuses(function() return client:webhook("{}", given) end, "signature")
        refuses(function() return client:verify_webhook("{}", given) end, "signature")
      end)

      it("is refused with " .. name .. " as body", function()
        local signature = client.options.hmac_key:sign(type(given) == "string" and given or "")
        local code = type(given) == "string" and "invalid_request" or "signature"
        refuses(function() return client:webhook(given, signature) end, code)
        refuses(function() return client:verify_webhook(given, signature) end, code)
      end)
    end
  end)

  describe("a program's mistake", function()
    local function misuse(fn, ...)
      local text = offline.misuse(fn)
      for _, piece in ipairs({ ... }) do assert.truthy(text:find(piece, 1, true), text) end
      offline.assert_silent(client)
    end

    it("is an unknown argument", function()
      misuse(function() client:match({ nonse = "x" }) end, "match", "nonse", "nonce, time")
      misuse(function() client:link({ identifier = "x" }) end, "link", "identifier", "account_identifier")
      misuse(function() client:confirm(claim(), { identifer = "x" }) end, "confirm", "account_identifier")
      misuse(function() client:update(account, { state = "x" }) end, "update", "status")
      misuse(function() client:complete(account, { status = "x" }) end, "complete", "account_identifier")
      misuse(function() client:exchange("a-code", { verifier = "x" }) end, "exchange", "code_verifier")
      misuse(function() client:work({ max = 1 }) end, "work", "limit")
      misuse(function() client:accounts({ status = "x" }) end, "accounts", "state")
      misuse(function() client:account("ring-1", { usr = "x" }) end, "account", "user")
      misuse(function() account:refresh({ forced = true }) end, "refresh", "force")
      misuse(function() account:forget({ tell = true }) end, "forget", "notify")
    end)

    it("is an argument of a wrong type", function()
      misuse(function() client:link({ configure = "x" }) end, "link", "configure must be a function")
      misuse(function() client:work({ limit = 0 }) end, "work", "limit")
      misuse(function() client:work({ limit = 1.5 }) end, "work", "limit")
      misuse(function() client:work({ limit = "all" }) end, "work", "limit")
    end)

    for _, wait_s in ipairs({ -1, 61, 0 / 0, 1 / 0, "5", true }) do
      it("is a wait_s of " .. tostring(wait_s), function()
        misuse(function() client:link({ wait_s = wait_s }) end, "link", "wait_s")
      end)
    end

    it("is something else where an account belongs", function()
      misuse(function() client:update(nil, { status = "awaiting" }) end, "update", "account")
      misuse(function() client:complete("ring-1") end, "complete", "account")
      misuse(function() client:complete({ id = "ring-1" }) end, "complete", "account")
    end)

    it("is a user that does not stand in a table, which would let everybody in", function()
      misuse(function() client:account("ring-1", "user-2") end, "account")
      misuse(function() client:accounts("completed") end, "accounts")
      misuse(function() account:forget("notify") end, "forget")
      misuse(function() account:refresh(true) end, "refresh")
    end)
  end)

  describe("an account that is not known yet", function()
    it("stands for none, never for everybody's", function()
      local handle = client:account(nil)
      refuses(function() return client:complete(handle) end, "invalid_request", "account id")
      refuses(function() return client:update(handle, { status = "awaiting" }) end, "invalid_request", "account id")
      refuses(function() return handle:state() end, "invalid_request", "account id")
      refuses(function() return handle:forget() end, "invalid_request", "account id")
      refuses(function() return handle:access_token() end, "invalid_request", "account id")
    end)

    it("is its own grant only, while it is identified", function()
      local key = offline.grant(client, { state = "identifying" })
      local handle = client:handle(key, (client.store:get(key)))
      refuses(function() return client:complete(handle) end, "not_found")
      refuses(function() return client:update(handle, { status = "awaiting" }) end, "not_found")
      assert.equal("identifying", handle:state())
    end)
  end)

  describe("after close", function()
    it("every call says so", function()
      client:close()
      local body, signature = deliveries.sign(client, deliveries.event(client, "motion_detected"))
      for name, call in pairs({
        exchange = function() return client:exchange("a-code") end,
        match = function() return client:match(fresh) end,
        link = function() return client:link(link_with("user", "user-1")) end,
        confirm = function() return client:confirm(claim(), { user = "user-1" }) end,
        update = function() return client:update(account, { status = "awaiting" }) end,
        complete = function() return client:complete(account) end,
        work = function() return client:work() end,
        webhook = function() return client:webhook(body, signature) end,
        forget_user = function() return client:forget_user("user-1") end,
        state = function() return account:state() end,
        info = function() return account:info() end,
        get = function() return account:get("/v1/devices") end,
        access_token = function() return account:access_token() end,
        refresh = function() return account:refresh() end,
        me = function() return account:me() end,
        forget = function() return account:forget() end,
        accounts = function()
          local _, raised = pcall(client:accounts())
          return nil, raised
        end,
      }) do
        local result, err = call()
        assert.is_nil(result, name)
        assert.equal("closed", errors.is(err) and err.code, name)
      end
    end)

    it("closing again does no harm", function()
      client:close()
      client:close()
      assert.is_nil(client.transport)
    end)
  end)
end)
