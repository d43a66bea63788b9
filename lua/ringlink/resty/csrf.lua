--- Tokens that tie a form to whom it was shown to and what it is about.
--
-- A token is a keyed hash; its key is the store's, so every process that shares the store knows it. It
-- says nothing and opens nothing: it only proves that this page was made for this user.

local core = require "ringlink.core"

local M = {}

--- The token of a form.
---@param client ringlink.Client
---@param user { id: string, session: string? } who is signed in
---@param about string what the form is for: a ticket, an account
---@return string
function M.token(client, user, about)
  local text = ("%d:%s%d:%s%s"):format(#user.id, user.id, #(user.session or ""), user.session or "", about)
  return client.vault:tag("csrf", text)
end

--- Whether a form came back with its token; takes the same time for any wrong one.
---@param expected string
---@param given any
---@return boolean
function M.matches(expected, given)
  return type(given) == "string" and core.secret(expected):equals(given)
end

return M
