--- A partner's backend for the specs in spec/nginx: each call of a client is an address.
--
-- POST /app/NAME with a JSON object of arguments; answers JSON: what the call returned, and always
-- `pid`, or `error` (a code) and `message`. The client is made in init_by_lua of client.json in
-- nginx's own directory.
-- luacheck: globals ngx

local channel = require "ringlink.runtime.ngx.channel"
local cjson = require "cjson"
local core = require "ringlink.core"
local flight = require "ringlink.flight"
local ringlink = require "ringlink"

local M = { aborted = 0 }

local FINGERPRINT_DIGITS = 12

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

-- A clock that a file in a directory moves, or whose monotonic time stands still.
local function clock_of(settings)
  if settings.clock == "still" then
    return { now_ms = core.now_ms, monotonic_ms = function() return 5000 end, sleep = ringlink.sleep }
  end
  return settings.clock and require("support.shared_clock").at(settings.clock)
end

local function options_of(settings)
  local options = settings.client
  options.clock = clock_of(settings)
  return options
end

--- Makes the client, of client.json; for init_by_lua.
function M.setup()
  M.client = ringlink.new(options_of(cjson.decode(assert(read(ngx.config.prefix() .. "client.json")))))
end

local function fingerprint(token)
  return core.hex(core.sha256(token:reveal())):sub(1, FINGERPRINT_DIGITS)
end

local calls = {}

function calls.exchange(q)
  local account, err = M.client:exchange(q.code)
  return account and { account = account.id }, err
end

-- How long each of many is to wait who ask for a turn at the same instant.
function calls.turns(q)
  local waits_ms = {}
  for i = 1, q.count do waits_ms[i] = M.client.limiter:take(q.at_ms) end
  return { waits_ms = waits_ms }
end

function calls.link(q)
  local link, err = M.client:link { nonce = q.nonce, time = q.time, user = q.user or "user-1",
    account_identifier = "user@partner.example.com" }
  return link and { account = link.account.id, status = link.status }, err
end

function calls.confirm(q)
  local claim, err = M.client:match { nonce = q.nonce, time = q.time }
  if not claim then return nil, err end
  local answer
  answer, err = M.client:confirm(claim, { user = "user-1", account_identifier = "user@partner.example.com" })
  return answer and { status = answer.status }, err
end

function calls.complete(q)
  local answer, err = M.client:complete(M.client:account(q.account))
  return answer and { status = answer.status }, err
end

function calls.refresh(q)
  local done, err = M.client:account(q.account):refresh { force = true }
  return done and { done = true }, err
end

function calls.token(q)
  local token, err = M.client:account(q.account):access_token()
  return token and { token = fingerprint(token) }, err
end

function calls.devices(q)
  local list, err = M.client:account(q.account):get("/v1/devices")
  return list and { count = #list.data }, err
end

--- Waits for a file, then asks for the devices.
function calls.devices_later(q)
  while not read(q.file) do ngx.sleep(0.01) end
  return calls.devices(q)
end

local function clip_of(q, sink)
  local account = M.client:account(q.account)
  local list, err = account:get("/v1/devices")
  if not list then return nil, err end
  local answer
  answer, err = account:request { method = "POST", sink = sink,
    path = { "v1", "devices", list.data[1].id, "media", "video", "download" } }
  return answer and { written = answer.written, status = answer.status }, err
end

--- A clip in a file.
function calls.clip_file(q)
  return clip_of(q, q.file)
end

--- A clip for a function that waits, at its first part, for a file.
function calls.clip_slow(q)
  local bytes = 0
  local answer, err = clip_of(q, function(part)
    M.parts = (M.parts or 0) + 1
    bytes = bytes + #part
    while not read(q.file) do ngx.sleep(0.005) end
  end)
  if answer then answer.given = bytes end
  return answer, err
end

--- What a channel says of a visitor that seems gone, each time it looks: twice in one wait, then in another.
function calls.doubts()
  local one = assert(channel.open())
  local visitor = { signal = {}, is_gone = function() return true end }
  local carrier = one:carry(function() return { take = function() end, close = function() end } end)
  channel.attend(carrier, visitor)
  local looks = { one:is_waited_for(), one:is_waited_for() }
  visitor.signal = {}
  looks[3], looks[4] = one:is_waited_for(), one:is_waited_for()
  one:close("the end")
  return { looks = looks }
end

function calls.parts()
  return { parts = M.parts or 0, in_flight = M.client:open_transport():stats().in_flight }
end

function calls.state(q)
  local state, err = M.client:account(q.account):state()
  return state and { state = state }, err
end

function calls.ping()
  return { pong = true }
end

--- Is in what nobody waits for, for a minute.
function calls.in_background()
  M.is_inside = true
  flight.in_background(M.client, nil, ringlink.sleep, 60)
  return {}
end

--- Whether somebody is in there, and whether this request is.
function calls.is_background()
  return { begun = M.is_inside, background = flight.is_background(M.client) }
end

--- Waits for the call `release`.
function M.hold()
  while not M.released do ngx.sleep(0.005) end
end

--- Begins a refresh in a light thread and kills that, once released.
function calls.refresh_killed(q)
  local thread = ngx.thread.spawn(calls.refresh, q)
  M.hold()
  return { killed = ngx.thread.kill(thread) }
end

--- Calls inside a task that nobody waits for, and writes down how it ended.
function calls.refresh_later(q)
  ringlink.spawn(function()
    local _, err = calls.refresh(q)
    ngx.log(ngx.WARN, "later: ", err and tostring(err) or "done")
  end)
  return { begun = true }
end

function calls.fail_later()
  ringlink.spawn(function() error("failed on purpose") end)
  return { begun = true }
end

--- Lets those go on that wait for it.
function calls.release()
  M.released = true
  return {}
end

function calls.seen()
  return { aborted = M.aborted, timers = ngx.timer.running_count() }
end

function calls.collect()
  collectgarbage()
  collectgarbage()
  return { kb = collectgarbage("count") }
end

--- Raises what a call returned.
function calls.raise(q)
  local _, err = M.client:exchange(q.code)
  err:raise()
end

local function answer_of(name, q)
  local value, err = calls[name](q)
  if not value then value = { error = err.code, message = err.message, stage = err.stage, attempts = err.attempts } end
  value.pid = ngx.worker.pid()
  return value
end

--- Answers /app/NAME.
function M.serve()
  ngx.req.read_body()
  local q = cjson.decode(ngx.req.get_body_data() or "{}")
  ngx.print(cjson.encode(answer_of(ngx.var.uri:match("^/app/([%w_]+)$"), q)))
end

--- Counts the requests whose client went away; for log_by_lua.
function M.count()
  if ngx.status == 499 then M.aborted = M.aborted + 1 end
end

--- A call in whatever phase this is; what came of it, as text.
function M.probe()
  local ok, value, err = pcall(M.client.exchange, M.client, "no-such-code")
  if not ok then return "raised " .. tostring(value) end
  return value and "worked" or "returned " .. err.code
end

return M
