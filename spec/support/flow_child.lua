-- A process of a partner whose links go by a flow. flow_child.lua MODE DIRECTORY API_URL CA_FILE, and what
-- the mode needs as lines of its input. Says a line for each thing it does; the steps and hooks that ran
-- are lines of DIRECTORY/ran, for all processes in one order.

local core = require "ringlink.core"
local partner = require "support.partner"
local ringlink = require "ringlink"

local mode, directory, api_url, ca_file = arg[1], arg[2], arg[3], arg[4]
local LONG_MS, TURN_MS, TURNS_MAX = 600000, 2, 100000
local DEADLINE_MS = 20000                          -- a machine may be busy while two wait for each other

local function say(line)
  io.write(line, "\n")
  io.flush()
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local function note(name)
  local file = assert(io.open(directory .. "/ran", "ab"))
  assert(file:write(name, "\n"))
  assert(file:close())
end

local client = partner.client(directory, { api_url = api_url, oauth_url = api_url, ca_file = ca_file,
  deadline_ms = DEADLINE_MS })

local function wait_for_leave()
  for _ = 1, TURNS_MAX do
    if exists(directory .. "/go") then return end
    core.sleep_ms(TURN_MS)
  end
  error("nobody said that it may go on")
end

local function say_results(by, results)
  for name, value in pairs(results or {}) do
    say(("%s %s %s"):format(by, name, type(value) == "table" and value.id or value))
  end
end

-- What else a step does, by its name.
local doing = {}

local function step(name)
  return function(link)
    note(name)
    say_results(name, link.results)
    if doing[name] then return doing[name](link) end
    return name .. "'s value"
  end
end

local function flow()
  return ringlink.flow { name = "shop" }
    :before("confirm", "check-plan", step("check-plan"))
    :after("confirm", "provision", step("provision"))
    :after("configure", "warm-up", step("warm-up"))
    :after("complete", "welcome", step("welcome"))
end

local function listen()
  client:on("configure", step("configure"))
  for _, name in ipairs { "before_complete", "completed" } do
    client:on(name, function() note("(" .. name .. ")") end)
  end
end

local function show(link, err)
  if not link then return say(("refused %s %s"):format(err.code, err.step or err.flow or "-")) end
  say(("linked %s %s"):format(link.status, link.waiting_for or "-"))
  say_results("result", link.results)
end

local function link(code, nonce, time)
  listen()
  assert(client:exchange(code))
  return client:link { nonce = nonce, time = time, user = "user-1", account_identifier = "user@partner.example.com",
    flow = flow() }
end

local modes = {}

-- Links, and stands still in a step until it is killed.
function modes.stuck(name, ...)
  doing[name] = function()
    say("stuck")
    core.sleep_ms(LONG_MS)
  end
  link(...)
end

-- Links, and waits in a step until it may go on.
function modes.slow(name, ...)
  doing[name] = function()
    say("waiting")
    wait_for_leave()
  end
  show(link(...))
end

local function tell_sleeps()
  local sleep = client.clock.sleep
  client.clock.sleep = function(seconds)
    say("sleeping")
    sleep(seconds)
  end
end

-- Links; says when it has to wait.
function modes.link(...)
  tell_sleeps()
  show(link(...))
end

-- Links, with a step that says later.
function modes.later(name, ...)
  doing[name] = function() return "later" end
  show(link(...))
end

-- Links without a flow.
function modes.plain(code, nonce, time)
  listen()
  assert(client:exchange(code))
  show(client:link { nonce = nonce, time = time, user = "user-1" })
end

-- The same with a configure hook that says later.
function modes.days(code, nonce, time)
  client:on("configure", function()
    note("configure")
    return "later"
  end)
  assert(client:exchange(code))
  show(client:link { nonce = nonce, time = time, user = "user-1" })
end

local function report()
  local done = assert(client:work())
  say(("resumed %d refreshed %d"):format(done.resumed, done.refreshed))
  for _, name in ipairs(done.missing_flows or {}) do say("lacks " .. name) end
end

-- Does what is due; says when it has to wait.
function modes.work()
  tell_sleeps()
  listen()
  client:flow(flow())
  report()
end

-- The same without the flow.
function modes.work_without()
  listen()
  report()
end

local function show_info(account)
  local info = assert(account:info())
  say(("state %s %s %s"):format(info.state, info.status, info.account_identifier or "-"))
end

-- The configuration is done.
function modes.complete(account_id)
  listen()
  client:flow(flow())
  show(client:complete(client:account(account_id)))
end

-- A step is done that went on elsewhere, and this is what came of it.
function modes.result(account_id, name, value)
  listen()
  client:flow(flow())
  show(client:complete(client:account(account_id), { step = name, result = { id = value } }))
end

-- PATCHes, and tells what is known then.
function modes.update(account_id, status, identifier)
  listen()
  client:flow(flow())
  local account = client:account(account_id)
  client:on("audit", function(event) say("audit " .. event.what) end)
  assert(client:update(account, { status = status ~= "-" and status or nil,
    account_identifier = identifier ~= "-" and identifier or nil }))
  show_info(account)
end

function modes.info(account_id) show_info(client:account(account_id)) end

local given = {}
for line in io.lines() do given[#given + 1] = line end
modes[mode]((table.unpack or unpack)(given))
client:close()
