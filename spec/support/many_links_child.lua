--- A process that links many accounts at once: many_links_child.lua COUNT DIRECTORY, with a line of JSON about
--- the sandbox on its standard input.
--
-- Every flow has begun, and waits, before the first one ends. What it found it prints as lines `name number`:
-- completed; waited_at_once; threads and descriptors, in the middle of it; flow_bytes and coroutine_bytes,
-- what a waiting flow holds of memory, and a coroutine that merely waits; the process's growth in all,
-- peak_bytes, for each flow.

local cjson = require "cjson"
local control = require "ringlink.sandbox.client"
local planted = require "support.planted"
local ringlink = require "ringlink"

local count, directory = assert(tonumber(arg[1])), assert(arg[2])
local ring = cjson.decode(io.read("*l"))

local BYTES_A_KB = 1024
local CLOCK_S = 1
local SIGNED_AGO_MS = 2 * CLOCK_S * 1000

local function of_process(name)
  local file = assert(io.open("/proc/self/status"))
  local value = file:read("*a"):match("\n" .. name .. ":%s+(%d+)")
  file:close()
  return tonumber(value)
end

-- One of them is the pipe's own.
local function descriptors()
  local pipe = assert(io.popen("ls /proc/$PPID/fd | wc -l"))
  local number = tonumber(pipe:read("*a"))
  pipe:close()
  return number - 1
end

local function lua_bytes()
  collectgarbage()
  collectgarbage()
  return collectgarbage("count") * BYTES_A_KB
end

local function bytes_of_coroutine()
  local waiting, before = {}, lua_bytes()
  for i = 1, count do
    waiting[i] = coroutine.create(function() coroutine.yield() end)
    assert(coroutine.resume(waiting[i]))
  end
  return (lua_bytes() - before) / count
end

local client = ringlink.new {
  client_id = ring.client_id, client_secret = planted.client_secret, hmac_key = planted.hmac_key,
  api_url = ring.api_url, oauth_url = ring.oauth_url, ca_file = ring.ca_file,
  store = "sqlite:" .. directory .. "/many.db", store_key = planted.store_key(1),
  rate_limit_per_s = 100000, deadline_ms = 600000, timeout_ms = 60000,
}

local found = { completed = 0, waited_at_once = 0, coroutine_bytes = bytes_of_coroutine() }
local begun, ended = 0, 0
local before_bytes, before_kb

local function link_one(number)
  local install = assert(control.call(ring, "install", { deliver = false, time_offset_ms = -SIGNED_AGO_MS }))
  begun = begun + 1
  assert(client:exchange(install.code))
  local link = assert(client:link { nonce = install.nonce, time = install.time, user = "user-" .. number,
    account_identifier = "user@partner.example.com" })
  ended = ended + 1
  if link.status == "completed" then found.completed = found.completed + 1 end
end

-- In the first moment in which connections are busy, and all have begun.
local function measure()
  while begun < count or client:metrics().transport.in_flight == 0 do ringlink.sleep(0.001) end
  found.waited_at_once = begun - ended
  found.flow_bytes = (lua_bytes() - before_bytes) / count
  found.threads, found.descriptors = of_process("Threads"), descriptors()
end

-- A code lives a minute, however busy the machine is: Ring's clock all but stands still. It goes back a little
-- each second, which is why a redirect is older than that: none is signed in the future.
local function hold_clock()
  while ended < count do
    ringlink.sleep(CLOCK_S)
    assert(control.call(ring, "clock", { advance_ms = -CLOCK_S * 1000 }))
  end
end

assert(client:accounts()() == nil)     -- the store is open
before_bytes, before_kb = lua_bytes(), of_process("VmRSS")
ringlink.run({ on_error = "cancel" }, function()
  ringlink.spawn(measure)
  ringlink.spawn(hold_clock)
  for i = 1, count do ringlink.spawn(link_one, i) end
end)
found.peak_bytes = (of_process("VmHWM") - before_kb) * BYTES_A_KB / count
client:close()
for name, number in pairs(found) do print(("%s %.0f"):format(name, number)) end
