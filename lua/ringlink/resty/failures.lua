--- The last failures, for the status page: what failed, when, and what to do about it.
--
-- On the board, so every worker shows the same. Of an error its code, stage and HTTP status are kept and
-- nothing else: no message, no account, no user.

local errors = require "ringlink.errors"
local json = require "ringlink.json"

local M = {}

local KEPT = 32
local TTL_S = 7 * 24 * 3600

local ADVICE = {}
for _, entry in ipairs(errors.list) do ADVICE[entry.code] = entry end

local function prefix(app)
  return "failure|" .. app .. "|"
end

--- Writes a failure down.
---@param board ringlink.Board
---@param app string
---@param now_ms number
---@param what string which part of this: exchange, link, webhook, refresh
---@param err ringlink.Error
function M.note(board, app, now_ms, what, err)
  local number = board:add("failures|" .. app, 1)
  local entry = { at_ms = now_ms, number = number, what = what, code = err.code, stage = err.stage,
    status = err.status }
  board:put(prefix(app) .. number % KEPT, assert(json.encode(entry)), TTL_S)
end

---@class ringlink.Failure
---@field at_ms number
---@field what string
---@field code string
---@field stage string?
---@field status integer?
---@field meaning string
---@field advice string

--- The last failures, newest first.
---@param board ringlink.Board
---@param app string
---@return ringlink.Failure[]
function M.list(board, app)
  local list = {}
  for _, key in ipairs(board:keys(prefix(app))) do
    local entry = json.decode_table(board:get(key))
    local known = entry and ADVICE[entry.code]
    if known then
      entry.meaning, entry.advice = known.meaning .. ": " .. known.cause, known.cure
      list[#list + 1] = entry
    end
  end
  table.sort(list, function(a, b) return a.number > b.number end)
  return list
end

return M
