--- What the shell is told in the end: one number for every error code.
--
-- Invariant: every code of the list of errors has exactly one number here.

local errors = require "ringlink.errors"

local M = {}

M.DONE = 0             -- done
M.REFUSED = 1          -- Ring refused it, or the link's own state does
M.USAGE = 2            -- the command, a setting or a value is wrong
M.NETWORK = 3          -- the network, or Ring in trouble: the same may work later
M.RELINK = 4           -- only the user can go on: by linking again
M.HERE = 5             -- this machine: the store, a hook or a script
M.INTERRUPTED = 130    -- Ctrl-C

local CODES = {
  [M.REFUSED] = { "invalid_nonce", "no_unclaimed_match", "link_expired", "link_in_future", "already_linked",
    "not_found", "exchange_refused", "refresh_circuit_open", "invalid_transition", "forbidden",
    "device_unavailable", "range_not_satisfiable", "signature", "event_too_old" },
  [M.USAGE] = { "invalid_request", "invalid_option", "response_too_large" },
  [M.NETWORK] = { "timeout", "connect", "dns", "tls", "network", "rate_limited", "ring_error", "bad_response",
    "refresh_failed", "too_early", "busy", "in_progress" },
  [M.RELINK] = { "relink_required", "unlinked", "unauthorized", "confirm_outcome_unknown", "refresh_outcome_unknown",
    "exchange_outcome_unknown" },
  [M.HERE] = { "vetoed", "configure_failed", "hook_failed", "store_error", "store_busy",
    "store_belongs_elsewhere", "store_key", "store_corrupt", "sink_failed", "runtime_not_started", "foreign_coroutine",
    "not_here", "closed", "no_memory" },
  [M.INTERRUPTED] = { "cancelled" },
}

--- The exit status of each error code; of the network's, while the same may work later.
---@type table<string, integer>
M.of_code = {}
for status, codes in pairs(CODES) do
  for _, code in ipairs(codes) do M.of_code[code] = status end
end

-- Wrong credentials are refused, too; but what they were refused for is no answer about the account.
local function is_refused(err)
  return err.code == "refresh_failed" and err.status ~= nil and err.status >= 400 and err.status < 500
    and err.status ~= 429
end

-- Trouble of the network that stays: a certificate that the settings do not accept, else Ring's no.
local function lasting(err)
  return err.code == "tls" and M.USAGE or M.REFUSED
end

--- Whether a raised value is Ctrl-C, with or without a traceback below it.
---@param problem any
---@return boolean
function M.is_interruption(problem)
  return type(problem) == "string" and errors.is_interruption(problem:match("^[^\n]*"))
end

--- The exit status of whatever ended a command: an error object, or anything else that was raised.
---@param problem any
---@return integer
function M.of(problem)
  if M.is_interruption(problem) then return M.INTERRUPTED end
  if not errors.is(problem) then return M.HERE end
  if is_refused(problem) then return M.REFUSED end
  local status = M.of_code[problem.code]
  return status == M.NETWORK and not problem.retryable and lasting(problem) or status
end

return M
