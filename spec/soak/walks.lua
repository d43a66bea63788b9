--- What the visitors of a soak do, and which answers they may get. Whoever gets another one raises.
--
-- A visitor has an address, cookies and dice of their own; a walk asks, follows, fills in forms as a browser
-- does. What a walk made of an account is noted in `site.accounts`: `wanted` is the state that Ring and the
-- store have to agree on in the end (agreement.lua). An account is `taken` while somebody changes it.
-- With `site.faults` Ring is in trouble now and then: a page may say so and offer to try again, which the
-- visitor does; without, it may not.

local browser = require "support.browser"
local core = require "ringlink.core"
local deliveries = require "support.deliveries"
local dice = require "ringlink.sandbox.rules.dice"
local json = require "ringlink.json"
local offline = require "support.offline"
local resty_server = require "support.resty_server"
local url = require "ringlink.url"
local world = require "support.world"

local HOPS_MAX = 8
local TRIES_MAX, TRY_MS = 8, 1500
local PICKS = 20
local FORM = "Content-Type: application/x-www-form-urlencoded"

local M = {}

---@class soak.Visitor
local Visitor = {}
Visitor.__index = Visitor

local signer = offline.client { hmac_key = world.hmac_key }

--- Somebody new.
---@param site soak.Site
---@return soak.Visitor
function M.visitor(site)
  site.visits = site.visits + 1
  local n = site.visits
  return setmetatable({ site = site, jar = {}, throw = dice.new(math.floor(site.throw() * 2 ^ 30)),
    address = ("10.%d.%d.%d"):format(math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256) }, Visitor)
end

-- Requests --------------------------------------------------------------------------------------

local function heading(answer)
  return ((answer.body or ""):match("<h1>(.-)</h1>") or ""):gsub("<[^>]*>", "")
end

-- An address without what must not be shown.
local function shown(address)
  return (address:gsub("%?.*", ""):gsub("/ring/token/.*", "/ring/token/"))
end

local function keep_cookies(self, answer)
  for name, value, more in (answer.headers["set-cookie"] or ""):gmatch("(__Host%-[^=]+)=([^;]*)([^,]*)") do
    self.jar[name] = not more:find("Max%-Age=0") and value or nil
  end
end

local function headers_of(self, more)
  local lines, cookies = { "X-Real-IP: " .. self.address }, {}
  for name, value in pairs(self.jar) do cookies[#cookies + 1] = name .. "=" .. value end
  if #cookies > 0 then lines[#lines + 1] = "Cookie: " .. table.concat(cookies, "; ") end
  for _, line in ipairs(more or {}) do lines[#lines + 1] = line end
  return lines
end

local function is_among(list, value)
  for _, one in ipairs(list) do
    if one == value then return true end
  end
  return false
end

--- A request; any other answer than these is a failure.
---@param method string
---@param address string a path of the site, or a URL
---@param statuses integer[]
---@param more { body: string?, headers: string[]? }?
---@return table answer with its url
function Visitor:ask(method, address, statuses, more)
  more = more or {}
  local full = address:find("^https?://") and address or self.site.server.origin .. address
  local answer = self.site.traffic:ask(method, full, { headers = headers_of(self, more.headers), body = more.body })
  local about = ("%s %s"):format(method, shown(full))
  if answer.error then error(("%s was not answered: %s, %s"):format(about, answer.error, answer.detail)) end
  if not is_among(statuses, answer.status) then
    error(("%s was answered %d: %s"):format(about, answer.status, heading(answer)))
  end
  answer.url = full
  keep_cookies(self, answer)
  return answer
end

function Visitor:get(address, ...)
  return self:ask("GET", address, { ... })
end

function Visitor:post(address, fields, ...)
  return self:ask("POST", address, { ... }, { body = url.form(fields), headers = { FORM } })
end

--- Follows redirects to the page at their end.
function Visitor:follow(answer)
  for _ = 1, HOPS_MAX do
    if answer.status ~= 303 then return answer end
    answer = self:get(answer.headers.location, 200, 303)
  end
  error("too many redirects")
end

--- Posts the form of a page that has a field with a value; the first one without such a wish.
function Visitor:submit(page, filled, field, value, ...)
  for _, form in ipairs(browser.forms(page)) do
    if field == nil or form.fields[field] == value then
      for name, text in pairs(filled) do form.fields[name] = text end
      return self:post(form.action, form.fields, ...)
    end
  end
  error(("no such form on the page %q"):format(heading(page)))
end

--- What the Ring user, or the tester, does at Ring.
function Visitor:control(name, fields)
  local ring = self.site.w.ring
  local answer = self.site.traffic:ask("POST", ring.control_url .. "/_sandbox/" .. name, { body = json.encode(fields),
    headers = { "X-Sandbox-Token: " .. ring.token, "Content-Type: application/json" } })
  assert(answer.status == 200, name)
  return json.decode_table(answer.body)
end

local function count(self, what)
  self.site.counts[what] = (self.site.counts[what] or 0) + 1
end

-- A page that says to try again, where that may be.
local function pause_for_trouble(self, page)
  count(self, "asked to try again")
  if not self.site.faults then error(("%s says %q"):format(shown(page.url), heading(page))) end
  self.site.traffic:pause(TRY_MS * self.throw())
end

-- Steps -----------------------------------------------------------------------------------------

local function sign_in(self, page)
  if not page.url:find("/sign-in", 1, true) then return page end
  return self:follow(self:submit(page, { email = self.user, password = resty_server.password }, nil, nil, 303))
end

local function deliver_code(self, code)
  self:post(self.site.server.exchange_url, { code = code }, 200)
end

local function install(self)
  local answer = self:control("install", { deliver = false })
  local account = { id = answer.account, wanted = "unclaimed", visitor = self, taken = true }
  table.insert(self.site.accounts, account)
  deliver_code(self, answer.code)
  if self.throw() < 0.3 then deliver_code(self, answer.code) end
  return account, answer
end

local function assert_heading(page, wanted)
  if heading(page) ~= wanted then error(("the page says %q and not %q"):format(heading(page), wanted)) end
end

-- Presses Connect, and again where the page asks for it.
local function connect(self, page)
  for try = 1, TRIES_MAX do
    local answer = self:submit(page, {}, nil, nil, 303, 409, 503)
    if answer.status == 303 then return self:follow(answer) end
    if try == TRIES_MAX then error("tried again and again, but: " .. heading(answer)) end
    pause_for_trouble(self, answer)
    page = answer
  end
end

-- Does something on the homepage until it works.
local function press(self, operation)
  for _ = 1, TRIES_MAX do
    local page = sign_in(self, self:follow(self:get("/ring/home", 200, 303)))
    local answer = self:submit(page, {}, "do", operation, 200, 303, 503)
    if answer.status ~= 503 then return self:follow(answer) end
    pause_for_trouble(self, answer)
  end
  error("tried again and again")
end

-- Somebody's link that is completed, theirs until it is given back.
local function take_linked(self)
  local accounts = self.site.accounts
  for _ = 1, #accounts > 0 and PICKS or 0 do
    local account = accounts[math.floor(self.throw() * #accounts) + 1]
    if account.wanted == "completed" and not account.taken then
      account.taken = true
      return account
    end
  end
end

-- Walks -----------------------------------------------------------------------------------------

local walk = {}

-- From the Ring app to a completed link.
function walk.journey(self)
  self.user = self.site:new_user()
  local account, redirect = install(self)
  local page = self:follow(self:get(("/ring/link?nonce=%s&time=%s"):format(redirect.nonce, redirect.time), 303))
  page = sign_in(self, page)
  assert_heading(page, "Connect Ring to " .. core.mask(self.user):gsub("&", "&amp;") .. "?")
  assert_heading(connect(self, page), "Ring is connected")
  account.wanted, account.taken = "completed", false
end

-- The code comes, the user never does.
function walk.abandoned(self)
  install(self)
end

function walk.home(self)
  local account = take_linked(self)
  if not account then return end
  local owner = account.visitor
  press(owner, "pause")
  account.wanted = "paused"
  if self.throw() < 0.7 then
    press(owner, "resume")
    account.wanted, account.taken = "completed", false
  end
end

function walk.forget(self)
  local account = take_linked(self)
  if not account then return end
  local owner = account.visitor
  local asked = press(owner, "forget")
  for try = 1, TRIES_MAX do
    local answer = owner:submit(asked, {}, "do", "forget_now", 303, 503)
    if answer.status == 303 then break end
    pause_for_trouble(owner, answer)
    asked = assert(try < TRIES_MAX and press(owner, "forget"), "tried again and again")
  end
  account.wanted = "forgotten"
end

-- The user removes the app at Ring, which tells so by a webhook.
function walk.removed(self)
  local account = take_linked(self)
  if not account then return end
  self:control("unlink", { account = account.id })
  account.wanted = "unlinked"
end

-- The partner uses a token, now and then one that has just expired.
function walk.use(self)
  local account = take_linked(self)
  if not account then return end
  if self.throw() < 0.2 then self:control("expire", { account = account.id, tokens = "access" }) end
  local answer = self:ask("GET", "/soak/devices?account=" .. account.id, self.site.faults and { 200, 502 } or { 200 })
  if answer.status == 502 then count(self, "told of trouble: " .. answer.body) else assert(answer.body == "2") end
  account.taken = false
end

local function send_event(self, body, signature, status, said)
  local answer = self:ask("POST", "/ring/webhook", { status }, { body = body,
    headers = { "Content-Type: application/json", "X-Signature: " .. signature } })
  if said and not answer.body:find(said, 1, true) then error("a webhook was answered " .. answer.body) end
end

function walk.webhook(self)
  local account = take_linked(self)
  if not account then return end
  local body, signature = deliveries.sign(signer,
    deliveries.event(signer, "motion_detected", { account = account.id, time_ms = core.now_ms() }))
  send_event(self, body, signature, 200, "accepted")
  send_event(self, body, signature, 200, "duplicate")
  send_event(self, body, "sha256=" .. ("0"):rep(64), 401)
  account.taken = false
end

-- Ring itself tells of something.
function walk.event(self)
  local account = take_linked(self)
  if not account then return end
  self:control("event", { account = account.id, type = "motion_detected", times = math.floor(self.throw() * 2) + 1 })
  account.taken = false
end

function walk.junk(self)
  local there = self.site.server.exchange_url
  local code = core.hex(core.random(20))
  self:post(there, { code = code }, 200)
  self:post(there, { code = code }, 200)
  self:post(there, { code = "not a code" }, 400)
  self:post(there, {}, 400)
  self:post(there .. "x", { code = code }, 404)
  self:get(there, 405)
end

function walk.stranger(self)
  self:get("/ring/link?nonce=x&time=1", 400)
  self:get("/ring/link?attempt=" .. ("0"):rep(32), 409)
  self:post("/ring/link", { attempt = ("0"):rep(32), csrf = "x" }, 409)
  self:get("/ring/home", 303)
  self:get("/", 303)
  self:ask("PUT", "/ring/link", { 405 }, { body = "x" })
  local page = self:get("/sign-in", 200)
  assert_heading(self:submit(page, { email = self.site.users[1], password = "wrong" }, nil, nil, 200), "Sign in")
end

function walk.operator(self)
  self:get(self.site.server.admin .. "/status", 200)
  self:get(self.site.server.admin .. "/metrics", 200)
end

local WALKS = {
  { "journey", 30 }, { "abandoned", 4 }, { "home", 6 }, { "forget", 4 }, { "removed", 3 }, { "use", 25 },
  { "webhook", 12 }, { "event", 4 }, { "junk", 4 }, { "stranger", 4 }, { "operator", 4 },
}

local SUM = 0
for _, entry in ipairs(WALKS) do SUM = SUM + entry[2] end

--- Takes one of the walks, as the visitor's dice say.
---@param visitor soak.Visitor
function M.take(visitor)
  local at = visitor.throw() * SUM
  for _, entry in ipairs(WALKS) do
    at = at - entry[2]
    if at <= 0 then
      count(visitor, entry[1])
      return walk[entry[1]](visitor)
    end
  end
end

return M
