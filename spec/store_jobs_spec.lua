-- What a plain link, call, refresh and webhook ask of the store, by the job: under nginx each is a turn of the
-- event loop. And what stands in for the reads that are saved: a row that is known is written only if it
-- still is that version, and is not believed after a hook, which may have changed it.

local answers = require "support.answers"
local deliveries = require "support.deliveries"
local disks = require "support.disk"
local grants = require "ringlink.grants"
local offline = require "support.offline"
local shell = require "support.shell"

local PORT = { "get", "put_if", "delete", "find", "due", "unclaimed", "lease", "release", "remember", "event_add",
  "event_take", "event_release", "event_done" }

describe("what is asked of the store", function()
  local client, ring, folder

  local function start(options)
    client = offline.client(options)
    ring = answers.serve(client)
  end

  before_each(function() start() end)

  after_each(function()
    client:close()
    if folder then shell.remove_directory(folder) end
    folder = nil
  end)

  -- How many jobs a function costs, by their names; `n` of all.
  local function jobs_of(fn)
    local counts, store, original = { n = 0 }, client.store, {}
    for _, name in ipairs(PORT) do
      original[name] = rawget(store, name) or false
      local method = store[name]
      rawset(store, name, function(...)
        counts.n, counts[name] = counts.n + 1, (counts[name] or 0) + 1
        return method(...)
      end)
    end
    fn()
    for name, method in pairs(original) do rawset(store, name, method or nil) end
    return counts
  end

  local function redirect(user, account)
    local q = offline.redirect(client, account or "ring-1")
    q.user, q.account_identifier = user or "user-1", "user@partner.example.com"
    return q
  end

  local function assert_at_most(most, counts)
    for name, count in pairs(counts) do
      assert.is_true(count <= (most[name] or 0), ("%s: %d, at most %d"):format(name, count, most[name] or 0))
    end
  end

  -- After each wait for a lease the row is read, and nothing else reads it.
  local LINK = { n = 18, find = 3, unclaimed = 1, remember = 1, put_if = 7, lease = 2, release = 2, get = 2 }
  local EXCHANGE = { n = 13, put_if = 5, lease = 2, release = 2, get = 4 }

  local function count_a_link()
    ring.account = "ring-0"
    assert(client:exchange("code-of-another-account"))           -- the store is opened, and stamped
    ring.account = "ring-1"
    assert_at_most(EXCHANGE, jobs_of(function() assert(client:exchange("a-code-of-this-account")) end))
    local q, link = redirect(), nil
    assert_at_most(LINK, jobs_of(function() link = assert(client:link(q)) end))
    assert.equal("completed", link.status)
    assert_at_most({ n = 1, find = 1 }, jobs_of(function() assert(client:link(q)) end))
  end

  it("is little for a link, and one look for a reload of it", count_a_link)

  it("is as little with rows in SQLite", function()
    client:close()
    folder = shell.make_directory()
    start({ store = ("sqlite:%s/ringlink.db"):format(folder), store_key = disks.key(1) })
    count_a_link()
  end)

  it("is one look for a call with a fresh token", function()
    offline.grant(client, { account = "ring-1" })
    local account = client:account("ring-1")
    for _, call in ipairs({ "me", "access_token" }) do
      assert.same({ n = 1, find = 1 }, jobs_of(function() assert(account[call](account)) end))
    end
    assert.same({ n = 1, find = 1 }, jobs_of(function() assert(account:get("/v1/devices")) end))
  end)

  it("is, for a refresh, the lease, one look with it, the intent and the pair", function()
    offline.grant(client, { account = "ring-1" })
    assert_at_most({ n = 6, find = 1, lease = 1, get = 1, put_if = 2, release = 1 }, jobs_of(function()
      assert(client:account("ring-1"):refresh({ force = true }))
    end))
  end)

  it("is, for a webhook, that it came, was taken and is done, and what it changes", function()
    offline.grant(client, { account = "ring-1" })
    assert_at_most({ n = 5, get = 2, event_add = 1, event_take = 1, event_done = 1 }, jobs_of(function()
      assert(deliveries.send(client, deliveries.event(client, "motion_detected")))
    end))
    local told_and_settled = { n = 8, get = 2, event_add = 1, event_take = 1, event_done = 1, find = 1, put_if = 2 }
    assert_at_most(told_and_settled, jobs_of(function()
      assert(deliveries.send(client, deliveries.event(client, "app_integration_removed")))
    end))
    assert.equal("unlinked", client:account("ring-1"):state())
  end)

  describe("of a row that is known", function()
    local key, known

    before_each(function()
      key = offline.grant(client, { account = "ring-1", state = "awaiting" })
      known = assert(grants.load(client, key))
    end)

    local function put(columns, row)
      return grants.update(client, key, function() return columns end, row)
    end

    it("is the write alone, and what is known stays as it was", function()
      local row
      local counts = jobs_of(function() row = assert(put({ scope = "new" }, known)) end)
      assert.same({ n = 1, put_if = 1 }, counts)
      assert.equal("new", row.scope)
      assert.equal("devices", known.scope)
      assert.same({ n = 1, put_if = 1 }, jobs_of(function() assert(put({ updated_at = "now" }, row)) end))
      local stored = client.store:get(key)
      assert.same({ "new", "now" }, { stored.scope, stored.updated_at })
    end)

    it("is a look once the row has changed since, and nothing of that change is lost", function()
      assert(put({ updated_at = "elsewhere" }))
      local row = assert(put({ scope = "new" }, known))
      assert.same({ "elsewhere", "new" }, { row.updated_at, row.scope })
      assert.same({ "elsewhere", "new" }, { client.store:get(key).updated_at, client.store:get(key).scope })
    end)

    it("is a look before it is refused: what is known may be stale", function()
      assert(grants.apply(client, {}, key, "configured"))
      assert(grants.apply(client, {}, key, "cleared"))
      assert(grants.apply(client, {}, key, "complete_begin", { known = known }))
      local _, err = grants.apply(client, {}, key, "identified", { known = known })
      assert.equal("invalid_transition", err.code)
    end)

    it("is a look when it is gone", function()
      client.store:delete(key)
      local row, err = put({ scope = "new" }, known)
      assert.is_nil(row)
      assert.equal("not_found", err.code)
    end)
  end)

  describe("after a hook, which may have changed the row, is a look", function()
    before_each(function() assert(client:exchange("a-code-of-this-account")) end)

    local function forget(link) assert(link.account:forget()) end

    it("before anybody is asked whether to confirm", function()
      local asked = 0
      client:on("matched", forget)
      client:on("before_confirm", function() asked = asked + 1 end)
      local _, err = client:link(redirect())
      assert.equal("not_found", err.code)
      assert.same({ 0, 0 }, { asked, ring:count("confirm") })
    end)

    it("before the partner's configure", function()
      local configured = 0
      client:on("awaiting", forget)
      client:on("configure", function() configured = configured + 1 end)
      local _, err = client:link(redirect())
      assert.equal("not_found", err.code)
      assert.equal(0, configured)
    end)

    it("before the link is shown", function()
      client:on("completed", forget)
      local link, err = client:link(redirect())
      assert.is_nil(link)
      assert.equal("not_found", err.code)
    end)
  end)
end)
