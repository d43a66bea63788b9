--- The client: one app integration, its store, its connections and its hooks.
--
-- It holds everything that lives as long as the client does and hands each call to the module that
-- knows how. Nothing is opened before it is needed, so that a client may be made before a fork.

local core = require "ringlink.core"
local account = require "ringlink.account"
local authorize = require "ringlink.authorize"
local check = require "ringlink.check"
local errors = require "ringlink.errors"
local exchange = require "ringlink.exchange"
local face = require "ringlink.face"
local flow = require "ringlink.flow"
local grants = require "ringlink.grants"
local guard = require "ringlink.store.guard"
local histogram = require "ringlink.histogram"
local hooks = require "ringlink.hooks"
local importing = require "ringlink.import"
local in_use = require "ringlink.in_use"
local link = require "ringlink.link"
local log = require "ringlink.log"
local options_reader = require "ringlink.options"
local pair = require "ringlink.pair"
local pool = require "ringlink.pool"
local reseal = require "ringlink.reseal"
local runtime = require "ringlink.runtime"
local sqlite = require "ringlink.store.sqlite"
local steps = require "ringlink.steps"
local unreadable = require "ringlink.unreadable"
local vault = require "ringlink.vault"
local webhook = require "ringlink.webhook"
local work = require "ringlink.work"

local M = {}

local CIRCUIT = { threshold = 5, open_ms = 60000, open_ms_max = 900000 }
local PAGE = 256

---@class ringlink.Client
local Client = {}
Client.__index = Client
Client.__name = "ringlink.client"

local function default_clock()
  return { now_ms = core.now_ms, monotonic_ms = core.monotonic_ms }
end

-- The store and what seals its rows. Only a store in memory may see them unsealed.
local function choose_store(self)
  local options = self.options
  if sqlite.is(options.store) then options.store:carry_by(self.runtime.store) end
  if not options.store_key then
    self.store, self.vault = options.store, vault.memory()
    return
  end
  self.vault = vault.sealed(options.store_key)
  self.store = guard.new(options.store, self.vault, options)
end

--- A new client; mistakes in the options raise.
---@param given table see the README's table of options
---@return ringlink.Client
function M.new(given)
  local options = options_reader.read(given, default_clock())
  local waiting = runtime.new(options.runtime, options)
  options.clock.sleep = options.clock.sleep or waiting.sleep
  local self = setmetatable({
    options = options, clock = options.clock, log = log.new(options.log), runtime = waiting,
    limiter = waiting.limiter({ per_s = options.rate_limit_per_s,
      burst = math.max(1, math.ceil(options.rate_limit_per_s)) }),
    circuit = core.circuit(CIRCUIT),
    instance = core.hex(core.random(16)), flights = {}, unsaved = {}, flows = {},
    sections = setmetatable({}, { __mode = "k" }), conducts = setmetatable({}, { __mode = "v" }),
    in_use = in_use.new(), unreadable = unreadable.new(),
    event_owners = 0, calls = {}, times = {}, closing = false, closed = false,
  }, Client)
  choose_store(self)
  self.hooks = hooks.new(self.log)
  self.pool = pool.new(self)
  return self
end

-- For the other modules -----------------------------------------------------------------------

--- The connections to Ring, opened at first use. Raises where their answers cannot be waited for.
---@return userdata? transport
---@return ringlink.Error?
function Client:open_transport()
  if self.closed then return errors.fail("closed") end
  self.runtime.check_may_wait()
  if self.transport then return self.transport end
  local options = self.options
  local transport, code, detail = self.runtime.open_transport({
    ca_file = options.ca_file, proxy = options.proxy, client_cert = options.client_cert,
    client_key = options.client_key, connect_timeout_ms = options.connect_timeout_ms,
    allow_http_loopback = options.allow_http_loopback, user_agent = options.user_agent,
    response_bytes_max = options.response_bytes_max,
  })
  if not transport then return errors.fail(code, { detail = detail }) end
  if self.transport or self.closed then              -- while the runtime had to be started
    self.runtime.drop_transport(transport)
    return self:open_transport()
  end
  self.transport = transport
  return transport
end

--- Gives up a transport that failed as a whole; the next call opens another.
---@param transport userdata
function Client:drop_transport(transport)
  if transport == nil or self.transport ~= transport then return end
  self.transport = nil
  self.runtime.drop_transport(transport)
end

--- Who this client is to others that share its store. A process that was forked is another one.
---@return string
function Client:owner()
  return ("%s-%d"):format(self.instance, core.process_id())
end

--- A random number in [0, 1).
---@return number
function Client:random_unit()
  local a, b, c, d = core.random(4):byte(1, 4)
  return (((a * 256 + b) * 256 + c) * 256 + d) / 2 ^ 32
end

--- Counts a call's outcome for `metrics`, and how long its answer took.
---@param stage string
---@param outcome string|integer
---@param time_ms number? nil when no answer came
function Client:count(stage, outcome, time_ms)
  local name = ("%s %s"):format(stage, outcome)
  self.calls[name] = (self.calls[name] or 0) + 1
  if time_ms then histogram.add(self.times, stage, time_ms) end
end

--- A handle for a stored grant.
---@param key string
---@param row table
---@param user string? whose it must be, at each call anew
---@return ringlink.Account
function Client:handle(key, row, user)
  return account.new(self, { id = row.account, key = key, user = user })
end

--- The identifier that the Ring user sees: as Ring answered it, or as it was sent.
---@param key string
---@param row table
---@return string?
function Client:identifier_of(key, row)
  return self.vault:open(key, "identifier_shown", row.identifier_shown)
    or self.vault:open(key, "identifier", row.identifier)
end

--- What partners see of a link.
---@param key string
---@param row table
---@return ringlink.Link
function Client:link_of(key, row)
  return {
    account = self:handle(key, row), user = self.vault:open(key, "user", row.user_sealed),
    status = row.state == "completed" and "completed" or row.status or row.state,
    account_identifier = self:identifier_of(key, row), updated_at = row.updated_at,
    waiting_for = row.stopped, results = row.flow and steps.results(self, key, row) or nil,
  }
end

-- What users call -----------------------------------------------------------------------------

--- Exchanges an authorization code for an unclaimed account.
---@param code any
---@param options { code_verifier: string?, redirect_uri: string? }?
---@return ringlink.Account?
---@return ringlink.Error?
function Client:exchange(code, options)
  if self.closed then return errors.fail("closed") end
  return exchange.exchange(self, code, options)
end

--- Takes over a refresh token that other code of the partner's has obtained; it is used up by that. With
--- a user the account is linked to them, when Ring has it linked.
---@param q { refresh_token: string, user: string?, account_identifier: string?, unmasked: boolean?,
--- configured: boolean?, from: string? }
---@return ringlink.Account?
---@return ringlink.Error?
function Client:import(q)
  if self.closed then return errors.fail("closed") end
  return importing.import(self, q)
end

--- Where to send a user who begins at the partner's, by invitation (contract 11). Pure.
---@param q { redirect_uri: string, state: string? }
---@return string? url
---@return { code_verifier: string, state: string, redirect_uri: string }|ringlink.Error pending for the session
function Client:authorize_url(q)
  return authorize.url(self, q)
end

--- What Ring's page sent the user back with: the account, when it belongs to this session.
---@param query any the query's fields: code, state, error
---@param pending any what `authorize_url` gave
---@return ringlink.Account?
---@return ringlink.Error?
function Client:authorized(query, pending)
  if self.closed then return errors.fail("closed") end
  return authorize.accept(self, query, pending)
end

--- Finds the unclaimed account of a redirect's nonce; reads the store only.
---@param q { nonce: any, time: any }
---@return { account: ringlink.Account, nonce: string, time: string }?
---@return ringlink.Error?
function Client:match(q)
  if self.closed then return errors.fail("closed") end
  return link.match(self, q)
end

--- The POST: claims a matched account for a signed-in user.
---@param claim table what `match` returned
---@param q { user: string, account_identifier: string?, unmasked: boolean? }
---@return { status: string, account_identifier: string? }?
---@return ringlink.Error?
function Client:confirm(claim, q)
  if self.closed then return errors.fail("closed") end
  return link.confirm(self, claim, q)
end

local function check_handle(call, handle)
  if not account.is(handle) then
    errors.misuse(call .. ": needs an account, as exchange, link or account return it")
  end
end

--- The PATCH: status or identifier of a link that exists.
---@param handle ringlink.Account
---@param q { status: string?, account_identifier: string?, unmasked: boolean? }
---@return { status: string, account_identifier: string?, updated_at: string? }?
---@return ringlink.Error?
function Client:update(handle, q)
  if self.closed then return errors.fail("closed") end
  check_handle("update", handle)
  return link.update(self, handle, q)
end

--- The PATCH that completes: the partner's configuration is done.
---@param handle ringlink.Account
---@param q { account_identifier: string?, unmasked: boolean?, step: string?,
--- result: string|number|boolean|table|nil }?
---@return ringlink.Link?
---@return ringlink.Error?
function Client:complete(handle, q)
  if self.closed then return errors.fail("closed") end
  check_handle("complete", handle)
  return link.complete(self, handle, q)
end

--- The whole link after the sign-in.
---@param q table nonce, time, user, account_identifier, configure, wait_s, unmasked, from
---@return ringlink.Link?
---@return ringlink.Error?
function Client:link(q)
  if self.closed then return errors.fail("closed") end
  return link.link(self, q)
end

--- A lazy handle; with `user`, calls answer `not_found` unless the account is theirs. Options without
--- a user raise: a session that has none must not open everybody's account.
---@param id string
---@param options { user: string }?
---@return ringlink.Account
function Client:account(id, options)
  local user = check.options("account", options, { "user" }).user
  if options and user == nil then
    errors.misuse("account: options need a user; leave them out to reach any account")
  end
  local _, problem = check.account_id(id)
  if user ~= nil and not problem then _, problem = check.user(user) end
  return account.new(self, { id = id, user = user, problem = problem })
end

local STATES = {}
for _, state in ipairs(core.link_states) do STATES[state] = true end

local function query_of(self, filter)
  local query = { state = filter.state, limit = PAGE }
  if query.state ~= nil and not STATES[query.state] then
    errors.misuse(("accounts: unknown state %q; %s"):format(tostring(query.state),
      options_reader.hint(tostring(query.state), core.link_states)))
  end
  if filter.user ~= nil then
    local user, err = check.user(filter.user)
    if not user then err:raise() end
    query.user = grants.user_tag(self, user)
  end
  return query
end

local function speaks_for_account(self, entry)
  local row = entry.row
  if row.kind ~= "grant" then return false end
  if row.account == nil then return true end
  local speaker = grants.representative(grants.of_account(self, row.account))
  return speaker ~= nil and speaker.key == entry.key    -- nil: forgotten meanwhile
end

--- Iterates over accounts, each once; raises the error object. Asked for a user's, the handles are
--- theirs only: once an account is somebody else's they answer `not_found`.
---@param filter { state: string?, user: string? }?
---@return fun(): ringlink.Account?
function Client:accounts(filter)
  filter = check.options("accounts", filter, { "state", "user" })
  local query, page, at = query_of(self, filter), nil, 0
  return function()
    if self.closed then errors.new("closed"):raise() end
    while true do
      if page == nil or at == #page then
        if page and #page < PAGE then return nil end
        query.after = page and page[#page].key
        page, at = self.store:find(query), 0
        if #page == 0 then return nil end
      end
      at = at + 1
      local entry = page[at]
      if speaks_for_account(self, entry) then return self:handle(entry.key, entry.row, filter.user) end
    end
  end
end

--- Does what is due, a bounded amount of it.
---@param options { limit: integer? }?
---@return ringlink.Report?
---@return ringlink.Error?
function Client:work(options)
  if self.closed then return errors.fail("closed") end
  return work.work(self, options)
end

--- Verifies a webhook and reads it; nothing is stored.
---@param body any
---@param signature any
---@return ringlink.Event?
---@return ringlink.Error?
function Client:verify_webhook(body, signature)
  return webhook.verify(self, body, signature)
end

--- Verifies, stores and acts on a webhook.
---@param body any
---@param signature any
---@return "processed"|"duplicate"|nil
---@return ringlink.Error?
function Client:webhook(body, signature)
  if self.closed then return errors.fail("closed") end
  return webhook.receive(self, body, signature)
end

--- Takes a flow: from now on links may go by it, and `work` goes on with those that do.
---@param given ringlink.Flow
---@return ringlink.Flow
function Client:flow(given)
  if not flow.is(given) then errors.misuse("flow: needs a flow, as ringlink.flow makes it") end
  local known = self.flows[given.name]
  if known and known ~= given then
    errors.misuse(("flow: this client has another flow named %s"):format(given.name))
  end
  self.flows[given.name] = given
  return given
end

--- Adds a hook; the function returned takes it off.
---@param name string
---@param fn function
---@return fun()
function Client:on(name, fn)
  if not hooks.known(name) then
    errors.misuse(("on: unknown hook %q; %s"):format(tostring(name),
      options_reader.hint(tostring(name), hooks.names())))
  end
  if type(fn) ~= "function" then errors.misuse("on: the hook must be a function") end
  return self.hooks:on(name, fn)
end

-- A grant that waits beside another user's living link goes alone.
local function forget_entry(self, entry)
  if not self.store:get(entry.key) then return nil end        -- went with another of the same account
  return account.wipe(self, entry.row.account, entry.row.user)
end

--- Forgets every account of a partner user.
---@param user string
---@return integer? forgotten how many accounts
---@return ringlink.Error?
function Client:forget_user(user)
  if self.closed then return errors.fail("closed") end
  local checked, err = check.user(user)
  if not checked then return nil, err end
  local forgotten = 0
  for _, entry in ipairs(self.store:find({ user = grants.user_tag(self, checked) })) do
    local done, problem = forget_entry(self, entry)
    if problem and problem.code ~= "not_found" then return nil, problem end
    if done then forgotten = forgotten + 1 end
  end
  return forgotten
end

--- Seals everything in the store under the newest key, so that older ones can be dropped. What a
--- call that was interrupted has done stays done; the next one does the rest.
---@param progress (fun(done: integer, total: integer))? told at the beginning and now and then
---@return integer? resealed how many rows and events
---@return ringlink.Error? err some could not be opened and were left as they are
function Client:reseal(progress)
  if self.closed then return errors.fail("closed") end
  if progress ~= nil and type(progress) ~= "function" then
    errors.misuse("reseal: progress must be a function")
  end
  return reseal.reseal(self, progress)
end

--- Counts since the client was made: calls by stage and outcome, how long answers took by stage,
--- connections; and how long the queues of the threads are, where there are any.
---@return { calls: table<string, integer>, times: table<string, ringlink.Histogram>, transport: table,
--- store: table }
function Client:metrics()
  local calls = {}
  for name, count in pairs(self.calls) do calls[name] = count end
  return { calls = calls, times = histogram.copy(self.times),
    transport = self.transport and self.transport:stats() or {},
    store = self.store.stats and self.store:stats() or {} }
end

-- A section that ends may be followed by the next one of the same flow.
local function await_sections(self)
  local _, flight = next(self.flights)
  while flight do
    local ok, problem = pcall(self.runtime.join, flight.task)
    if not ok and not flight.task.done then error(problem, 0) end
    _, flight = next(self.flights)
  end
end

--- Waits for open critical sections, then gives everything back. Later calls answer `closed`.
function Client:close()
  if self.closed then return end
  self.closing = true                          -- what only waits for another process's lease ends
  repeat
    await_sections(self)
    pair.flush(self)
  until next(self.flights) == nil              -- others go on while the store is waited for
  if self.closed then return end               -- one of them closed it
  self.closed = true
  if next(self.unsaved) then
    self.log("error", "closed with tokens that the store did not take; they are lost")
  end
  self:drop_transport(self.transport)
  for _, secret in ipairs(self.options.client_secret) do secret:wipe() end
  self.vault:close()
  self.store:close()
end

--- Shows no option: some are secret.
function Client:__tostring()
  return "ringlink.client(" .. self.options.environment .. ")"
end

local RETURNING = { "exchange", "import", "authorized", "match", "confirm", "update", "complete", "link", "work",
  "webhook", "forget_user", "reseal", "close" }
face.cover(Client, RETURNING)
face.check_self(Client, "client", RETURNING)
face.check_self(Client, "client", { "account", "accounts", "verify_webhook", "on", "flow", "metrics",
  "authorize_url" })

return M
