--- What the worker of worker.lua answers: each address does something many times, and answers with what
--- that took (course.lua).
-- luacheck: globals ngx

local job_log = require "bench.job_log"              -- first: it stands before core.store_worker
local cjson = require "cjson"
local contestants = require "bench.contestants"
local core = require "ringlink.core"
local course = require "bench.course"
local ringlink = require "ringlink"

local M = {}

local settings
local made = {}                        -- contestants, and clients with a store, by name and version
local installed = {}                   -- what links need, in the order of their exchanges
local exchanged, linked = 0, 0

--- Reads what worker.lua wrote; for init_by_lua.
function M.setup()
  local file = assert(io.open(ngx.config.prefix() .. "settings.json", "rb"))
  settings = cjson.decode(file:read("*a"))
  file:close()
  if settings.resty_http then package.path = settings.resty_http .. "/?.lua;" .. package.path end
end

local function once(name, version, make)
  local key = name .. " " .. version
  made[key] = made[key] or make(settings, version)
  return made[key]
end

local function client_of(version)
  return once("client", version, function()
    local options = contestants.client_options(settings, version)
    options.store, options.store_key = "sqlite:" .. settings.place .. version .. ".ours", settings.store_key
    return ringlink.new(options)
  end)
end

local address = {}

--- Pairs of calls by a contestant.
function address.calls(q)
  return course.run(once(q.who, q.version, contestants[q.who]), q.concurrent, q.count)
end

--- Nobody is at work.
function address.idle(q)
  return course.run(function() ngx.sleep(q.seconds) end, 1, 1)
end

-- Runs something of whose store jobs a log is kept, in groups.
local function logged(q, act)
  job_log.begin(true)
  local figures = course.run(act, q.concurrent, q.count)
  job_log.write(q.log, q.concurrent)
  return figures
end

--- Codes come; what their links will need is kept.
function address.exchange(q)
  local client = client_of(q.version)
  return logged(q, function()
    exchanged = exchanged + 1
    local account, time = assert(client:exchange("code-" .. exchanged)), ("%d"):format(core.now_ms())
    installed[#installed + 1] = { nonce = ringlink.nonce(settings.hmac_key, time, account.id), time = time }
  end)
end

--- Whole links, of the accounts that wait.
function address.links(q)
  local client, waiting = client_of(q.version), installed
  installed = {}
  return logged(q, function(i)
    linked = linked + 1
    local link = assert(client:link { nonce = waiting[i].nonce, time = waiting[i].time,
      user = "user-" .. linked, account_identifier = "user@partner.example.com" })
    assert(link.status == "completed")
  end)
end

--- Answers /NAME with arguments.
function M.serve()
  local q = ngx.req.get_uri_args()
  for name, value in pairs(q) do
    if name ~= "version" then q[name] = tonumber(value) or value end
  end
  ngx.print(cjson.encode(address[ngx.var.uri:sub(2)](q)))
end

return M
