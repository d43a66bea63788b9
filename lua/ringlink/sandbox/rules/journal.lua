--- The journal: one row for every request, so that a test can prove what reached Ring.
--
-- Pure. Holds no secret: codes, tokens and nonces appear as fingerprints (text.fingerprint), paths
-- without their query. Keeps the newest ENTRIES_MAX rows; `n` goes on counting.

local text = require "ringlink.sandbox.rules.text"

local journal = {}

local ENTRIES_MAX = 20000
local SECRETS = { "code", "refresh_token", "nonce", "code_verifier" }

---@return table
function journal.new()
  return { rows = {}, n = 0 }
end

--- Opens a row; status and the rest are filled in while the request goes its way.
---@param self table
---@param request table
---@param call string
---@param now_ms number
---@return table row
function journal.open(self, request, call, now_ms)
  self.n = self.n + 1
  local row = {
    n = self.n, call = call, method = request.method, path = request.path, at_ms = now_ms,
    connection = request.connection, http = request.http, processed = false,
  }
  self.rows[#self.rows + 1] = row
  if #self.rows > ENTRIES_MAX then table.remove(self.rows, 1) end
  return row
end

--- Notes the fingerprints of the secrets a request carried.
---@param row table
---@param fields table|nil form or JSON fields
---@param bearer string|nil
function journal.note_secrets(row, fields, bearer)
  for _, name in ipairs(SECRETS) do
    local value = fields and fields[name]
    if type(value) == "string" then row[name] = text.fingerprint(value) end
  end
  if bearer then row.bearer = text.fingerprint(bearer) end
end

--- Selects rows.
---@param self table
---@param filter table `{call, account, since}`, all optional; since: only rows with a greater n
---@return table[] rows
function journal.select(self, filter)
  local since, chosen = tonumber(filter.since) or 0, {}
  for _, row in ipairs(self.rows) do
    local fits = row.n > since and (not filter.call or row.call == filter.call)
    if fits and (not filter.account or row.account == filter.account) then chosen[#chosen + 1] = row end
  end
  return chosen
end

return journal
