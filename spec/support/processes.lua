--- Clients that share a store, a clock and a Ring as a partner's processes do, for specs without
-- network; once over memory, once over a file.
--
--   processes.over_each_store(function(kind, start)
--     it("does so: " .. kind, function()
--       local one, two, ring, clock = start({ max_attempts = 1 })
--   ...
--   after_each(processes.stop)

local answers = require "support.answers"
local offline = require "support.offline"
local planted = require "support.planted"
local stores = require "support.stores"

local M = {}

local clients = {}

local function keep(client)
  clients[#clients + 1] = client
  return client
end

local function copy(options)
  local out = {}
  for name, value in pairs(options or {}) do out[name] = value end
  return out
end

local function start(in_file, options)
  options = copy(options)
  if in_file then
    options.store, options.store_key = "sqlite:" .. stores.new_path(), planted.store_key(1)
  end
  local one, clock = offline.client(options)
  options.clock = clock
  local two = offline.client(options)
  if not in_file then two.store, two.vault = one.store, one.vault end
  local ring = answers.serve(keep(one))
  answers.serve(keep(two), ring)
  return one, two, ring, clock
end

--- Calls fn(kind, start) for each kind of store; `start` makes two clients.
function M.over_each_store(fn)
  fn("memory", function(options) return start(false, options) end)
  fn("SQLite", function(options) return start(true, options) end)
end

--- Ends what was started.
function M.stop()
  for _, client in ipairs(clients) do client:close() end
  clients = {}
  stores.remove_all()
end

return M
