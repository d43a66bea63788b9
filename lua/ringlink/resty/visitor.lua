--- Who is signed in at the partner's, as `authenticate` says.
--
-- `authenticate(return_to)` returns `{id, identifier}` (and `session`, when forms shall be tied to more
-- than the user), or nil and the address of the sign-in. `return_to` is where the sign-in should send the
-- browser afterwards, a path of this host. It is believed in who the user is, and checked in everything
-- else: a sign-in's address leads to this host or to one of `sign_in_origins`.

local check = require "ringlink.check"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local form = require "ringlink.resty.form"

local M = {}

---@class ringlink.Visitor
---@field id string
---@field identifier string?  as it is
---@field shown string?       masked
---@field session string?

local function misuse(problem)
  errors.misuse("authenticate " .. problem)
end

local function text_or_nil(name, value)
  if value ~= nil and type(value) ~= "string" then misuse(("returned a %s that is no text"):format(name)) end
  return value
end

local function read_user(user)
  if type(user) ~= "table" then misuse("must return {id, identifier}, or nil and where to sign in") end
  if not check.user(user.id) then misuse("returned an id that is no text of 1 to 256 bytes") end
  local identifier, err = check.identifier(text_or_nil("identifier", user.identifier))
  if err then misuse("returned an identifier that cannot be shown: " .. err.message) end
  return { id = user.id, identifier = identifier, shown = identifier and core.mask(identifier),
    session = text_or_nil("session", user.session) }
end

--- Asks who is signed in.
---@param options { authenticate: function, sign_in_origins: string[]? }
---@param return_to string
---@return ringlink.Visitor?
---@return string? sign_in where to send the browser
function M.ask(options, return_to)
  if type(options.authenticate) ~= "function" then errors.misuse("the option authenticate must be a function") end
  local user, url = options.authenticate(return_to)
  if user then return read_user(user) end
  if url == nil then return nil end
  if form.may_go_to(url, options.sign_in_origins) then return nil, url end
  misuse("returned an address that is neither a path of this host nor of sign_in_origins")
end

return M
