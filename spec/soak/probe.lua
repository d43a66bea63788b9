--- What a soak asks a worker of nginx from inside: its memory after a full collection, and a call to Ring
--- with an account's token. Part of the soak's own configuration (site.lua), in a dictionary of its own.
--
-- A worker cannot be addressed by a request; so a question is a number in the dictionary, which each worker
-- sees within moments and answers under its pid.
-- luacheck: globals ngx

local cjson = require "cjson"
local ffi = require "ffi"
local in_use = require "ringlink.in_use"
local resty = require "ringlink.resty"

ffi.cdef [[
struct probe_mallinfo2 {
  size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct probe_mallinfo2 mallinfo2(void);
int malloc_trim(size_t pad);
]]

local M = {}

local TURN_S = 0.2

-- Lua's heap, and what C holds: nginx's pools, OpenSSL, libcurl, SQLite, and ours. What is remembered of tokens
-- in use grows with the accounts, up to a bound that a soak does not reach (early_spec tests it).
local function weigh()
  resty.client().in_use = in_use.new()
  collectgarbage()
  collectgarbage()
  ffi.C.malloc_trim(0)
  local info = ffi.C.mallinfo2()
  return { lua_bytes = collectgarbage("count") * 1024, c_bytes = tonumber(info.uordblks) + tonumber(info.hblkhd),
    timers = ngx.timer.running_count() }
end

--- Answers questions from now on. In init_worker_by_lua.
function M.start()
  local answered = 0
  assert(ngx.timer.every(TURN_S, function(premature)
    local asked = ngx.shared.probe:get("asked") or 0
    if premature or asked == answered then return end
    answered = asked
    ngx.shared.probe:set(("%d|%d"):format(asked, ngx.worker.pid()), cjson.encode(weigh()))
  end))
end

--- Asks all workers; answers the question's number.
function M.ask()
  local number = ngx.shared.probe:incr("asked", 1, 0)
  ngx.print(number)
end

--- The answers to a question so far, by pid.
function M.read()
  local answers = {}
  for _, key in ipairs(ngx.shared.probe:get_keys(0)) do
    local number, pid = key:match("^(%d+)|(%d+)$")
    if number == ngx.var.arg_number then answers[pid] = cjson.decode(ngx.shared.probe:get(key)) end
  end
  ngx.print(cjson.encode(answers))
end

--- Asks Ring for an account's devices.
function M.devices()
  local list, err = resty.client():account(ngx.var.arg_account):get("/v1/devices")
  ngx.status = list and 200 or 502
  ngx.print(list and #list.data or err.code)
end

return M
