--- What the sites of the latency benchmark answer, each in its one worker: exchanges, links, another
--- location that has nothing to do with them, and figures of the worker.
-- luacheck: globals ngx

local cjson = require "cjson"
local ffi = require "ffi"
local in_use = require "ringlink.in_use"
local resty = require "ringlink.resty"

ffi.cdef [[ int malloc_trim(size_t); ]]

local M = {}

local pages = {}

--- The other location.
pages["/other"] = function() return "here" end

pages["/exchange"] = function(query)
  local account, err = resty.client():exchange(query.code)
  return account and "exchanged" or err.code
end

pages["/link"] = function(query)
  local link, err = resty.client():link { nonce = query.nonce, time = query.time, user = query.user,
    account_identifier = "user@partner.example.com" }
  return link and link.status or err.code
end

local function rss_bytes()
  local file = assert(io.open("/proc/self/status", "rb"))
  local text = file:read("*a")
  file:close()
  return 1024 * text:match("VmRSS:%s*(%d+)")
end

--- The worker's memory and what it has under way. With `rest`, first goes what it remembers of the tokens
--- in use (of so many accounts at most, and not for good), Lua's garbage, and what the C library has free.
pages["/figures"] = function(query)
  if query.rest then
    resty.client().in_use = in_use.new()
    collectgarbage()
    collectgarbage()
    ffi.C.malloc_trim(0)
  end
  local metrics = resty.client():metrics()
  return cjson.encode { lua_bytes = 1024 * collectgarbage("count"), rss_bytes = rss_bytes(),
    transport = metrics.transport, store = metrics.store }
end

--- Answers, with the length that load.c wants to know.
function M.serve()
  local text = pages[ngx.var.uri](ngx.req.get_uri_args())
  ngx.header["Content-Length"] = #text + 1
  ngx.say(text)
end

return M
