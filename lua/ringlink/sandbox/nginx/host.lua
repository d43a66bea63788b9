--- The worker's Ring and what it needs from nginx: clock, sleep, sending, timers.
--
-- One worker, one Lua VM, one ring: made in init_by_lua, before nginx goes to the background.
-- Owns the movable clock: real time plus an offset.
-- luacheck: globals ngx

local cjson = require "cjson"
local core = require "ringlink.core"
local delivery = require "ringlink.sandbox.nginx.delivery"
local http = require "ringlink.sandbox.nginx.http"
local ring = require "ringlink.sandbox.ring"

local host = {}

local offset_ms = 0

--- Reads the settings the starter wrote and makes the ring.
---@param path string
function host.boot(path)
  local file = assert(io.open(path, "rb"))
  local settings = cjson.decode(file:read("*a"))
  file:close()
  host.settings = settings
  host.ring = ring.new(settings, core.random)
end

---@return integer now_ms Ring's time
function host.now_ms()
  ngx.update_time()
  return math.floor(ngx.now() * 1000 + 0.5) + offset_ms
end

---@param ms number
function host.sleep_ms(ms) ngx.sleep(ms / 1000) end

---@return number
function host.clock_offset_ms() return offset_ms end

---@param new_offset_ms number
function host.move_clock(new_offset_ms) offset_ms = new_offset_ms end

--- Lets deliveries that are due run, in the background.
function host.deliver() delivery.arm(host) end

host.send = http.send

local function send_one(request)
  local answer, problem = http.send(request)
  return { status = answer and answer.status, problem = problem }
end

--- Sends several requests at once and waits for all answers.
---@param requests table[]
---@return table[] results `{status, problem}`, in the same order
function host.send_all(requests)
  local threads, results = {}, {}
  for i, request in ipairs(requests) do threads[i] = ngx.thread.spawn(send_one, request) end
  for i, thread in ipairs(threads) do
    local ok, result = ngx.thread.wait(thread)
    results[i] = ok and result or { problem = "failed" }
  end
  return results
end

--- Runs a function without the caller waiting for it.
---@param fn function
function host.background(fn)
  ngx.timer.at(0, function(premature)
    if not premature then fn() end
  end)
end

return host
