-- The pool of unclaimed accounts over a store that is made up: who asks it when, what is tried in which
-- order, and that a long search lets others run. What a link makes of it is in claim_spec.lua and
-- link_nonce_spec.lua.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local pool = require "ringlink.pool"
local ringlink = require "ringlink"
local runtime = require "ringlink.runtime"

local TIME = "1700000000"
local MANY = 2000

describe("the pool", function()
  local key, store, client, subject, turns

  --- A store whose answers to `unclaimed` are the list `answers`, one for each question, each after a
  --- turn of the loop; and which has the accounts `held`, all in one state.
  local function new_store(answers, held)
    return {
      asked = {}, pages = 0,
      unclaimed = function(self, change)
        self.asked[#self.asked + 1] = change
        local answer = answers[#self.asked] or { rows = {}, gone = {}, change = change }
        ringlink.sleep(0.001)
        return answer
      end,
      find = function(self, query)
        local list = {}
        for i, entry in ipairs(held or {}) do
          local fits = entry.row.state == query.state or entry.row.account == query.account
          if fits and (not query.after or entry.key > query.after) and #list < (query.limit or MANY) then
            list[#list + 1] = held[i]
          end
        end
        self.pages = self.pages + 1
        return list
      end,
    }
  end

  local function open(answers, held)
    store = new_store(answers, held)
    client = { store = store, options = { hmac_key = key, store_key = true }, runtime = runtime.new("loop", {}),
      clock = { sleep = function(seconds)
        turns = turns + 1
        ringlink.sleep(seconds)
      end } }
    subject = pool.new(client)
  end

  local function row(id, created_ms, grant)
    return { key = grant or "grant-" .. id, row = { account = id, created_ms = created_ms } }
  end

  local function nonce(id) return assert(key:nonce(TIME, id)) end

  local function match(id)
    return ringlink.run(function() return subject:match(nonce(id), TIME) end)
  end

  before_each(function()
    key, turns = core.hmac_key { "a key for the specs" }, 0
  end)

  it("finds what the store has told of, and nothing that is gone", function()
    open { { rows = { row("b", 2), row("a", 1) }, gone = {}, change = 5 },
      { rows = {}, gone = { "grant-a" }, change = 6 } }
    assert.equal("grant-a", match("a").key)
    assert.is_nil(match("a"))
    assert.equal("grant-b", match("b").key)
    assert.same({ 0, 5, 6 }, store.asked)
  end)

  it("prefers the newest of an account, in whatever order they came", function()
    for _, order in ipairs { { 1, 2, 3 }, { 3, 1, 2 }, { 2, 3, 1 } } do
      local rows = {}
      for i, created_ms in ipairs(order) do rows[i] = row("a", created_ms, "grant-" .. created_ms) end
      open { { rows = rows, gone = {}, change = 1 }, { rows = {}, gone = { "grant-3" }, change = 2 } }
      assert.equal("grant-3", match("a").key)
      assert.equal("grant-2", match("a").key)
    end
  end)

  it("takes over a row that has changed, and has it once", function()
    open { { rows = { row("a", 1, "g") }, gone = {}, change = 1 },
      { rows = { row("b", 1, "g") }, gone = {}, change = 2 } }
    assert.equal("g", match("a").key)
    assert.is_nil(match("a"))
    assert.equal(1, #subject.list)
  end)

  it("begins anew with a store that was set back", function()
    open { { rows = { row("a", 1) }, gone = {}, change = 9 }, { rows = {}, gone = {}, change = 3 },
      { rows = { row("b", 1) }, gone = {}, change = 3 } }
    assert.equal("grant-a", match("a").key)
    assert.equal("grant-b", match("b").key)
    assert.is_nil(match("a"))
  end)

  it("asks once for all who come at the same time, and once more for those who came meanwhile", function()
    open { { rows = {}, gone = {}, change = 1 }, { rows = { row("a", 1) }, gone = {}, change = 2 } }
    local found = {}
    ringlink.run(function()
      for i = 1, 20 do
        ringlink.spawn(function() found[i] = subject:match(nonce("a"), TIME) or "nothing" end)
      end
    end)
    assert.equal(2, #store.asked)
    local later = 0
    for i = 1, 20 do later = later + (found[i] ~= "nothing" and 1 or 0) end
    assert.equal(19, later)                        -- all but the one whose question came before the account
  end)

  it("tells those who wait of a store that fails, and asks it again for the next", function()
    open { { rows = { row("a", 1) }, gone = {}, change = 1 } }
    local answer = store.unclaimed
    store.unclaimed = function() errors.new("store_busy"):raise() end
    for _ = 1, 2 do
      local ok, problem = pcall(match, "a")
      assert.same({ false, "store_busy" }, { ok, problem.code })
    end
    store.unclaimed = answer
    assert.equal("grant-a", match("a").key)
  end)

  it("lets others run during a long search, which goes on where it was", function()
    local rows = {}
    for i = 1, MANY do rows[i] = row("id-" .. i, MANY - i) end
    open { { rows = rows, gone = {}, change = 1 },
      { rows = { row("new", MANY + 1) }, gone = { "grant-id-5" }, change = 2 } }
    local found
    ringlink.run(function()
      ringlink.spawn(function() found = subject:match(nonce("id-" .. MANY), TIME) end)
      while turns == 0 do ringlink.sleep(0.001) end
      assert.truthy(subject:match(nonce("new"), TIME))
    end)
    assert.equal("grant-id-" .. MANY, found.key)
    assert.is_true(turns >= 3)
    assert.is_nil(match("nobody"))
  end)

  it("finds an account among those that are held, however many pages there are", function()
    local held = {}
    for i = 1, MANY do
      held[i] = { key = ("g-%05d"):format(i), row = { account = "id-" .. i, state = "completed", created_ms = i } }
    end
    held[#held + 1] = { key = "h", row = { account = "id-7", state = "unlinked", created_ms = MANY + 1 } }
    held[#held + 1] = { key = "i", row = { account = "id-7", state = "awaiting", created_ms = MANY } }
    open({}, held)
    assert.equal("g-02000", subject:match_held(nonce("id-2000"), TIME).key)
    assert.is_true(store.pages > 10)
    assert.equal("i", subject:match_held(nonce("id-7"), TIME).key)       -- the newest that is held
    assert.is_nil(subject:match_held(nonce("nobody"), TIME))
  end)
end)
