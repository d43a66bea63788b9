--- Tickets: what a redirect of Ring's brought, kept on this side until its user has confirmed it.
--
-- A ticket is a row of the store, so that any worker or machine can take the next request: one row a
-- redirect, under a keyed hash of nonce and time. The browser gets the row's name in the address and a
-- random secret in a cookie; the row keeps the nonce sealed and of the secret a keyed hash.
-- Invariants: making one links nothing; whoever brings the secret first keeps the ticket, so that an
-- address that was mailed, previewed or intercepted opens nothing any more once its user's browser has
-- followed it; a ticket lives for ten minutes and is used once.

local claim = require "ringlink.claim"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local grants = require "ringlink.grants"

local M = {}

local LIFE_MS = 600000
local ID_DIGITS = 32
local SECRET_BYTES = 24
local CONFLICTS_MAX = 8

M.LIFE_S = LIFE_MS / 1000

---@class ringlink.Ticket
---@field id string
---@field key string
---@field nonce string?   until it is used
---@field time string
---@field user string?    tag of the user who used it
---@field held boolean?   its browser has come back with the secret
---@field secret string   tag of the secret

local function key_of(client, id)
  return client.options.client_id .. "/ticket/" .. id
end

local function is_over(client, row)
  return client.clock.now_ms() >= row.due_ms
end

local function secret_tag(client, id, secret)
  return client.vault:tag("ticket", id .. secret)
end

local function is_holder(client, id, row, secret)
  return type(secret) == "string" and core.secret(row.secret):equals(secret_tag(client, id, secret))
end

--- Whether a text can be a ticket's name.
---@param id any
---@return boolean
function M.is_id(id)
  return type(id) == "string" and #id == ID_DIGITS and id:find("^%x+$") ~= nil
end

local function fresh_row(client, key, q)
  local now_ms = client.clock.now_ms()
  return { kind = "ticket", state = "ticket", client_id = client.options.client_id, created_ms = now_ms,
    due_ms = now_ms + LIFE_MS, nonce = client.vault:seal(key, "nonce", q.nonce), time = q.time }
end

local function hand_out(client, id, key, row, version)
  local secret = core.base64url(core.random(SECRET_BYTES))
  row.secret = secret_tag(client, id, secret)
  return client.store:put_if(key, row, version) and secret
end

--- Keeps a redirect, or finds the ticket that this browser already has for it.
---@param client ringlink.Client
---@param q { nonce: any, time: any }
---@param cookie_of fun(id: string): string? the secret that the browser brought for a ticket
---@return string? id
---@return string|ringlink.Error|nil secret a new one; the error otherwise
function M.open(client, q, cookie_of)
  local fresh, err = claim.check(client, q)
  if not fresh then return nil, err end
  local id = client.vault:tag("redirect", q.nonce .. q.time):sub(1, ID_DIGITS)
  local key = key_of(client, id)
  for _ = 1, CONFLICTS_MAX do
    local row, version = client.store:get(key)
    if row and is_holder(client, id, row, cookie_of(id)) then return id end
    if row and row.held then return errors.fail("in_progress", { stage = "match" }) end
    local secret = hand_out(client, id, key, row or fresh_row(client, key, q), version or 0)
    if secret then return id, secret end
  end
  return errors.fail("store_busy", { stage = "match" })
end

--- The ticket of a browser that brought its secret; nil when there is none, or it is over.
---@param client ringlink.Client
---@param id string
---@param secret any
---@return ringlink.Ticket?
function M.find(client, id, secret)
  local key = key_of(client, id)
  local row = client.store:get(key)
  if not row or is_over(client, row) or not is_holder(client, id, row, secret) then return nil end
  return { id = id, key = key, nonce = client.vault:open(key, "nonce", row.nonce), time = row.time,
    user = row.used_by, held = row.held, secret = row.secret }
end

-- Nothing is written once another browser has the ticket. Two requests of one browser may meet: the
-- later one finds it written already.
local function mark(client, ticket, change)
  for _ = 1, CONFLICTS_MAX do
    local row, version = client.store:get(ticket.key)
    if not row or row.secret ~= ticket.secret then return false end
    change(row)
    if client.store:put_if(ticket.key, row, version) then return true end
  end
  return false
end

--- The browser has brought its secret back: nobody else can take the ticket over any more.
---@param client ringlink.Client
---@param ticket ringlink.Ticket
---@return boolean held false: somebody else was faster
function M.hold(client, ticket)
  return ticket.held or mark(client, ticket, function(row) row.held = true end)
end

--- The ticket has done its work, for this user; the nonce goes.
---@param client ringlink.Client
---@param ticket ringlink.Ticket
---@param user string
function M.use(client, ticket, user)
  local tag = grants.user_tag(client, user)
  mark(client, ticket, function(row) row.used_by, row.nonce = tag, nil end)
end

--- Whether it was used, and whether by this user.
---@param client ringlink.Client
---@param ticket ringlink.Ticket
---@param user string
---@return boolean used
---@return boolean by_them
function M.was_used(client, ticket, user)
  return ticket.user ~= nil, ticket.user == grants.user_tag(client, user)
end

return M
