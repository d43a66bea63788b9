--- What an error of a link means for the person in front of the browser: which page, which status.
--
-- Pure. Pages say what happened and what to do next; details are for the log.

local M = {}

---@type table<string, string> error code -> name of a page
local PAGES = {
  invalid_request = "broken",
  link_expired = "expired", link_in_future = "expired", invalid_nonce = "expired",
  no_unclaimed_match = "no_match", already_linked = "held",
  vetoed = "declined", configure_failed = "unfinished",
  relink_required = "again", refresh_outcome_unknown = "again", confirm_outcome_unknown = "again",
  not_found = "again", unlinked = "again", invalid_transition = "again", forbidden = "again",
  unauthorized = "again",
}

---@type table<string, integer> name of a page -> HTTP status
M.STATUS = {
  confirm = 200, linked = 200, already = 200, home = 200, forget = 200,
  broken = 400, elsewhere = 409, expired = 410, no_match = 409, held = 409, declined = 403,
  unfinished = 409, again = 409, trouble = 503, failed = 500, forged = 403, sign_in = 401, busy = 429,
}

--- The page of an error.
---@param err ringlink.Error
---@return string name
function M.of(err)
  if err.code == "hook_failed" then return err.retryable and "unfinished" or "expired" end  -- the nonce is spent
  return PAGES[err.code] or (err.retryable and "trouble" or "failed")
end

--- Whether an error is the partner's or Ring's trouble, so that whoever runs this should hear of it;
--- the others are what people do.
---@param err ringlink.Error
---@return boolean
function M.is_trouble(err)
  local page = M.of(err)
  return page == "trouble" or page == "again" or page == "unfinished" or page == "failed" or err.code == "hook_failed"
end

return M
