--- The page where a Ring user allows a partner-initiated app (contract 11): what it is asked, and what it
-- answers. Second-hand knowledge: strict in what RFC 6749 and RFC 7636 say, where the contract is unsure.
--
-- Pure. Nobody sees a form: whoever opens the page has said yes, as a user of their own; another user, or
-- a no, comes from control.lua's `authorize`.

local grants = require "ringlink.sandbox.rules.grants"
local reply = require "ringlink.sandbox.rules.reply"
local target = require "ringlink.sandbox.rules.target"
local text = require "ringlink.sandbox.rules.text"
local users = require "ringlink.sandbox.rules.users"

local authorize = {}

authorize.PATH = "account/integrations/partner-link/authorize"

local SCOPE = "ava.v1:read"
local CHALLENGE = "^" .. ("[%w_-]"):rep(43) .. "$"         -- S256 in base64url, without padding

local function usable_redirect(ring, uri)
  if type(uri) ~= "string" or uri:find("[%c%s#]") then return false end
  if ring.settings.redirect_uri then return uri == ring.settings.redirect_uri end
  return uri:find("^https://[^/]") ~= nil or target.parse(uri) ~= nil
end

-- field -> whether it is as it must be; in the order in which they are told
local CHECKS = {
  { "client_id", function(ring, value) return value == ring.settings.client_id end },
  { "redirect_uri", usable_redirect },
  { "response_type", function(_, value) return value == "code" end },
  { "scope", function(_, value) return value == SCOPE end },
  { "code_challenge_method", function(_, value) return value == "S256" end },
  { "code_challenge", function(_, value) return value ~= nil and value:find(CHALLENGE) ~= nil end },
  { "state", function(_, value) return value ~= nil and value ~= "" end },
}

--- What is wrong with a request for the page, if anything is.
---@param ring table
---@param target_text string path and query
---@return table|nil asked its fields
---@return string|nil problem
function authorize.read(ring, target_text)
  local path, _, query = text.target((target_text:gsub("^%a+://[^/]+", "")))
  local asked, repeated = text.form(query)
  if repeated then return nil, repeated .. " came twice in the authorize URL" end
  for _, check in ipairs(CHECKS) do
    if not check[2](ring, asked[check[1]]) then
      return nil, check[1] .. " is missing or wrong in the authorize URL"
    end
  end
  if path ~= "/" .. authorize.PATH then return nil, "the authorize URL's path is /" .. authorize.PATH end
  return asked
end

--- The user says yes.
---@param ring table
---@param asked table as `read` gave it
---@param account string|nil
---@param now_ms number
---@return table answer `{account, code, state, redirect}`
function authorize.allow(ring, asked, account, now_ms)
  local user = users.ensure(ring, account, now_ms)
  user.devices_chosen = true
  local code = grants.mint_code(ring, user, now_ms, asked.code_challenge, asked.redirect_uri).text
  return { account = user.id, code = code, state = asked.state,
    redirect = text.with_query(asked.redirect_uri, { code = code, state = asked.state }) }
end

--- The user says no (RFC 6749, 4.1.2.1).
---@param asked table
---@return table answer `{error, state, redirect}`
function authorize.deny(asked)
  local answer = { error = "access_denied", state = asked.state }
  return { error = answer.error, state = asked.state, redirect = text.with_query(asked.redirect_uri, answer) }
end

--- The page, for a browser.
---@param ring table
---@param visit table
---@param now_ms number
---@return table reply
function authorize.page(ring, visit, now_ms)
  local asked, problem = authorize.read(ring, visit.request.target)
  if not asked then return reply.bytes(400, "text/plain", problem .. "\n") end
  local answer = authorize.allow(ring, asked, nil, now_ms)
  visit.row.account = answer.account
  return reply.bytes(302, "text/plain", "", { Location = answer.redirect, ["Cache-Control"] = "no-store" })
end

return authorize
