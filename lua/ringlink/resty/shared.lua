--- A board (board.lua) over nginx's `lua_shared_dict ringlink`, which all workers share.

local board = require "ringlink.resty.board"

local M = {}

local NAME = "ringlink"

---@class ringlink.SharedBoard
---@field dict table
local Shared = {}
Shared.__index = Shared

--- The board of all workers; without the dictionary each worker has its own.
---@param clock { monotonic_ms: fun(): integer }
---@return ringlink.Board|ringlink.SharedBoard
---@return boolean is_shared
function M.new(clock)
  local dict = ngx.shared[NAME]
  if not dict then return board.new(clock), false end
  return setmetatable({ dict = dict }, Shared), true
end

function Shared:put(key, value, ttl_s)
  self.dict:set(key, value, ttl_s or 0)
end

-- A dictionary without room counts nothing: limits then let through rather than shut everybody out.
function Shared:add(key, n, ttl_s)
  return self.dict:incr(key, n, 0, ttl_s or 0) or n
end

function Shared:get(key)
  return (self.dict:get(key))
end

function Shared:keys(prefix)
  local keys = {}
  for _, key in ipairs(self.dict:get_keys(0)) do
    if key:sub(1, #prefix) == prefix then keys[#keys + 1] = key end
  end
  return keys
end

return M
