--- Who visits the partner's pages: link tickets and signed-in sessions, each behind a random cookie.
--
-- A ticket keeps what Ring's redirect brought, so that nonce and time never stand in a page, a
-- Referer or the browser's history. A session is made by a sign-in only, and is new each time.
-- Both carry a CSRF token of their own, expire, and are bounded in number.
-- luacheck: globals ngx

local core = require "ringlink.core"

local visitors = {}

local COUNT_MAX = 1000
local TICKET_LIFE_S, SESSION_LIFE_S = 600, 1800

local function random_text() return core.hex(core.random(16)) end

local function new_shelf(life_s) return { life_s = life_s, order = {}, records = {} } end

local tickets, sessions = new_shelf(TICKET_LIFE_S), new_shelf(SESSION_LIFE_S)

local function put(shelf, record)
  local id = random_text()
  record.id, record.csrf, record.until_s = id, random_text(), ngx.now() + shelf.life_s
  shelf.records[id] = record
  shelf.order[#shelf.order + 1] = id
  if #shelf.order > COUNT_MAX then shelf.records[table.remove(shelf.order, 1)] = nil end
  return record
end

local function get(shelf, id)
  local record = id and shelf.records[id]
  return record and record.until_s > ngx.now() and record or nil
end

--- Keeps a redirect's nonce and time.
---@param nonce string
---@param time string
---@return table ticket `{id, csrf, nonce, time}`
function visitors.keep(nonce, time) return put(tickets, { nonce = nonce, time = time }) end

---@param id string|nil a cookie
---@return table|nil ticket
function visitors.ticket(id) return get(tickets, id) end

--- The ticket has been used.
---@param ticket table
function visitors.use(ticket) tickets.records[ticket.id] = nil end

--- Signs a user in.
---@param user table
---@return table session `{id, csrf, user}`
function visitors.sign_in(user) return put(sessions, { user = user }) end

---@param id string|nil a cookie
---@return table|nil session
function visitors.session(id) return get(sessions, id) end

--- Whether a form's token is the record's own; takes the same time for any wrong one.
---@param record table a ticket or a session
---@param given any
---@return boolean
function visitors.is_own_form(record, given)
  return type(given) == "string" and core.secret(record.csrf):equals(given)
end

visitors.TICKET_LIFE_S, visitors.SESSION_LIFE_S = TICKET_LIFE_S, SESSION_LIFE_S

return visitors
