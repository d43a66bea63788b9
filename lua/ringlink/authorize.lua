--- Partner-initiated linking (contract 11, by invitation): the user begins at the partner's, is sent to
-- Ring's own page, and comes back with a code.
--
-- Invariants: the verifier is random, for one attempt, and leaves this process only towards the token
-- call and into the partner's own session; nothing of an answer is looked at, and no code is used up,
-- before its state is the one of this session. Both functions keep nothing.
-- The contract has this page second-hand: the URL, its fields and the 10 minutes of the code.

local check = require "ringlink.check"
local core = require "ringlink.core"
local errors = require "ringlink.errors"
local exchange = require "ringlink.exchange"
local url = require "ringlink.url"

local M = {}

local PAGE = "/account/integrations/partner-link/authorize"
local SCOPE = "ava.v1:read"
local RANDOM_BYTES = 32                -- RFC 7636, 4.1: 43 characters
local STATE_BYTES_MIN = 16             -- of a partner's own: fewer can be guessed
local URI_BYTES_MAX = 2048

-- What stands before an "@" is no host, though it may look like one.
local function names_user(uri)
  return url.origin(uri):find("@", 1, true) ~= nil
end

-- The program's own, and the same at every attempt.
local function check_redirect(client, uri)
  local formed = type(uri) == "string" and #uri <= URI_BYTES_MAX and url.origin(uri)
    and not uri:find("[^\33-\126]") and not uri:find("#", 1, true) and not names_user(uri)
  if formed and url.is_safe(uri, client.options.allow_http_loopback) then return end
  errors.misuse("authorize_url: redirect_uri must be a URL like https://host/path, without a fragment "
    .. "(http only to this machine, with allow_http_loopback)")
end

local function check_state(value)
  local state, err = check.code(value, "state")
  if not state then return nil, err end
  if #state >= STATE_BYTES_MIN then return state end
  return errors.fail("invalid_request", { stage = "authorize",
    detail = ("state must have at least %d bytes that nobody can guess; leave it out and one is made")
      :format(STATE_BYTES_MIN) })
end

--- The challenge that goes with a verifier: S256 of RFC 7636.
---@param verifier string
---@return string challenge
function M.challenge(verifier)
  return core.base64url(core.sha256(verifier))
end

--- Where to send the user, and what to keep for them until they come back.
---@param client ringlink.Client
---@param q { redirect_uri: string, state: string? }
---@return string? url
---@return { code_verifier: string, state: string, redirect_uri: string }|ringlink.Error pending
function M.url(client, q)
  local given = check.options("authorize_url", q, { "redirect_uri", "state" })
  check_redirect(client, given.redirect_uri)
  local state, err = core.base64url(core.random(RANDOM_BYTES)), nil
  if given.state ~= nil then state, err = check_state(given.state) end
  if not state then return nil, err end
  local verifier = core.base64url(core.random(RANDOM_BYTES))
  return url.with_query(client.options.account_url .. PAGE, {
    client_id = client.options.client_id, redirect_uri = given.redirect_uri, response_type = "code",
    scope = SCOPE, state = state, code_challenge = M.challenge(verifier), code_challenge_method = "S256",
  }), { code_verifier = verifier, state = state, redirect_uri = given.redirect_uri }
end

-- The answer -----------------------------------------------------------------------------------

local function foreign(detail)
  return errors.fail("invalid_request", { stage = "authorize", detail = detail,
    cure = "exchange nothing; let the user begin again" })
end

-- Whether the session kept all that `url` gave: without the verifier a code is none that was proved.
local function is_whole(pending)
  if type(pending) ~= "table" then return false end
  for _, name in ipairs({ "state", "code_verifier" }) do
    if type(pending[name]) ~= "string" or pending[name] == "" then return false end
  end
  return true
end

-- In constant time: what was asked for must not be found out byte by byte.
local function is_same_state(pending, given)
  return is_whole(pending) and type(given) == "string" and core.secret(pending.state):equals(given)
end

local function refused(query)
  local title = errors.scrub(query.error)
  return errors.fail("forbidden", { stage = "authorize", title = title,
    detail = ("Ring's page answered %s"):format(title),
    cure = title == "access_denied" and "the user did not allow it; they may begin again"
      or "check what authorize_url was given, and that this app is invited" })
end

--- What came back to the redirect_uri: checks that it belongs to this session, and exchanges the code.
---@param client ringlink.Client
---@param query any the query's fields: code, state, error
---@param pending any what authorize_url gave, from the user's session
---@return ringlink.Account?
---@return ringlink.Error?
function M.accept(client, query, pending)
  if type(query) ~= "table" then return foreign("the query must be a table of its fields") end
  if not is_same_state(pending, query.state) then
    return foreign("the state is not the one of this session: the answer is to somebody else's attempt, or none")
  end
  if query.error ~= nil then return refused(query) end
  return exchange.exchange(client, query.code,
    { code_verifier = pending.code_verifier, redirect_uri = pending.redirect_uri })
end

return M
