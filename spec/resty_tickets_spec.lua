--- Tickets: one redirect, one browser, ten minutes, one use.
local csrf = require "ringlink.resty.csrf"
local offline = require "support.offline"
local search = require "support.search"
local stores = require "support.stores"
local tickets = require "ringlink.resty.tickets"

local LIFE_MS = 600000

local function nobody() return nil end
local function holder(secret) return function() return secret end end

for _, kind in ipairs { "memory", "sqlite" } do
  describe("a ticket in " .. kind, function()
    local client, clock, redirect
    before_each(function()
      local options = kind == "sqlite"
        and { store = "sqlite:" .. stores.new_path(), store_key = ("QUFB"):rep(10) .. "QUE=" } or nil
      client, clock = offline.client(options)
      redirect = offline.redirect(client, "ring-1")
    end)
    after_each(function() client:close() end)
    teardown(stores.remove_all)

    it("keeps what the redirect brought for whoever has its secret", function()
      local id, secret = tickets.open(client, redirect, nobody)
      assert.is_true(tickets.is_id(id))
      assert.is_true(#secret >= 32)
      local ticket = tickets.find(client, id, secret)
      assert.equal(redirect.nonce, ticket.nonce)
      assert.equal(redirect.time, ticket.time)
      for _, wrong in ipairs { "", "x", secret .. "x", secret:sub(1, -2), 1, true } do
        assert.is_nil(tickets.find(client, id, wrong))
      end
      assert.is_nil(tickets.find(client, id, nil))
      assert.is_nil(tickets.find(client, ("0"):rep(32), secret))
    end)

    it("hands the same browser no second one", function()
      local id, secret = tickets.open(client, redirect, nobody)
      assert.same({ id }, { tickets.open(client, redirect, holder(secret)) })
    end)

    it("may be taken over until its browser has come back with the secret, and not after", function()
      local id, preview = tickets.open(client, redirect, nobody)
      local _, browser = tickets.open(client, redirect, nobody)
      assert.is_nil(tickets.find(client, id, preview))
      local ticket = tickets.find(client, id, browser)
      assert.is_true(tickets.hold(client, ticket))
      local again, err = tickets.open(client, redirect, nobody)
      assert.is_nil(again)
      assert.equal("in_progress", err.code)
      assert.truthy(tickets.find(client, id, browser))
      assert.is_true(tickets.hold(client, tickets.find(client, id, browser)))
    end)

    it("is not held by somebody from whom it was taken meanwhile", function()
      local id, preview = tickets.open(client, redirect, nobody)
      local stale = tickets.find(client, id, preview)
      local _, browser = tickets.open(client, redirect, nobody)
      assert.is_false(tickets.hold(client, stale))
      assert.is_true(tickets.hold(client, tickets.find(client, id, browser)))
    end)

    it("is over after ten minutes, and work takes it away", function()
      local id, secret = tickets.open(client, redirect, nobody)
      clock.advance(LIFE_MS - 1)
      assert.truthy(tickets.find(client, id, secret))
      clock.advance(1)
      assert.is_nil(tickets.find(client, id, secret))
      assert.equal(1, assert(client:work()).pruned)
      assert.is_nil(client.store:get(client.options.client_id .. "/ticket/" .. id))
    end)

    it("is marked by its use, and gives the nonce away no more", function()
      local id, secret = tickets.open(client, redirect, nobody)
      local ticket = tickets.find(client, id, secret)
      assert.is_false((tickets.was_used(client, ticket, "user-1")))
      tickets.use(client, ticket, "user-1")
      ticket = tickets.find(client, id, secret)
      assert.same({ true, true }, { tickets.was_used(client, ticket, "user-1") })
      assert.same({ true, false }, { tickets.was_used(client, ticket, "user-2") })
      assert.is_nil(ticket.nonce)
    end)

    it("is not made for a redirect that is malformed, old or from the future", function()
      local now_ms = clock.now_ms()
      local wrong = {
        { { nonce = redirect.nonce }, "invalid_request" }, { { time = redirect.time }, "invalid_request" },
        { { nonce = redirect.nonce .. "x", time = redirect.time }, "invalid_request" },
        { { nonce = ("<"):rep(43), time = redirect.time }, "invalid_request" },
        { { nonce = redirect.nonce, time = "1\r\n2" }, "invalid_request" },
        { offline.redirect(client, "ring-1", now_ms - 600001), "link_expired" },
        { offline.redirect(client, "ring-1", now_ms + 60001), "link_in_future" },
      }
      for _, case in ipairs(wrong) do
        local id, err = tickets.open(client, case[1], nobody)
        assert.is_nil(id)
        assert.equal(case[2], err.code)
      end
      assert.same({}, client.store:find({ state = "ticket" }))
    end)

    it("holds neither nonce nor secret in the clear, and is nobody's account", function()
      local _, secret = tickets.open(client, redirect, nobody)
      local row = client.store:find({ state = "ticket" })[1].row
      assert.is_nil(search.find(row, redirect.nonce))
      assert.is_nil(search.find_opened(row, secret))
      assert.is_nil(client:accounts()())
    end)

    it("survives a new store key", function()
      if kind == "memory" then return end
      local id, secret = tickets.open(client, redirect, nobody)
      local path = client.options.store.path
      client:close()
      local newer = { ("QkJC"):rep(10) .. "QkI=", ("QUFB"):rep(10) .. "QUE=" }
      client = offline.client({ store = "sqlite:" .. path, store_key = newer, clock = clock })
      assert(client:reseal())
      client:close()
      client = offline.client({ store = "sqlite:" .. path, store_key = newer[1], clock = clock })
      assert.equal(redirect.nonce, tickets.find(client, id, secret).nonce)
    end)
  end)
end

describe("a form's token", function()
  local client = offline.client()
  local user = { id = "user-1", session = "s" }
  local token = csrf.token(client, user, "ticket-1")

  it("is this user's, session's and form's alone", function()
    assert.is_true(csrf.matches(token, token))
    assert.equal(token, csrf.token(client, { id = "user-1", session = "s" }, "ticket-1"))
    for _, other in ipairs { csrf.token(client, { id = "user-2", session = "s" }, "ticket-1"),
      csrf.token(client, { id = "user-1", session = "t" }, "ticket-1"),
      csrf.token(client, { id = "user-1" }, "ticket-1"), csrf.token(client, user, "ticket-2"), "",
      token:sub(1, -2), token .. "0", token:upper() } do
      assert.is_false(csrf.matches(token, other))
    end
    for _, value in ipairs { 1, true, {} } do assert.is_false(csrf.matches(token, value)) end
    assert.is_false(csrf.matches(token, nil))
  end)

  it("cannot be had by moving text from one part to another", function()
    assert.are_not.equal(csrf.token(client, { id = "a", session = "bc" }, "d"),
      csrf.token(client, { id = "ab", session = "c" }, "d"))
    assert.are_not.equal(csrf.token(client, { id = "a", session = "b" }, "cd"),
      csrf.token(client, { id = "a", session = "bc" }, "d"))
  end)

  it("of another store is another", function()
    assert.are_not.equal(token, csrf.token(offline.client(), user, "ticket-1"))
  end)
end)
