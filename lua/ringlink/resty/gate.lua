--- Who may come in, and how often: limits per address and in all, over a board that workers share.
--
-- A limit is `{count, window_s}`: so many in each window. An address that is over its limit does not
-- use up what all share.

local M = {}

local EVERYBODY = "*"

local function within(board, now_ms, name, who, limit)
  local window = math.floor(now_ms / 1000 / limit.window_s)
  local key = ("gate|%s|%s|%d"):format(name, who, window)
  return board:add(key, 1, 2 * limit.window_s) <= limit.count
end

--- Counts one try and says whether it may go on.
---@param board ringlink.Board
---@param now_ms number
---@param name string which gate
---@param limits { each: { count: integer, window_s: integer }?, all: { count: integer, window_s: integer }? }
---@param who string an address or a user; it is not shown anywhere
---@return boolean
function M.pass(board, now_ms, name, limits, who)
  if limits.each and not within(board, now_ms, name, who, limits.each) then return false end
  return limits.all == nil or within(board, now_ms, name, EVERYBODY, limits.all)
end

return M
