-- ringlink's side of the store's benchmark: does what it is told by lines on its input, and answers
-- each with a line, like bare_sqlite.c.
--
-- ours.lua PATH API_URL CA_FILE. What the commands do is said beside them below.

local job_log = require "bench.job_log"              -- first: it stands before core.store_sqlite
local accounts = require "bench.accounts"
local core = require "ringlink.core"
local grants = require "ringlink.grants"
local partner = require "support.partner"
local ring = require "ringlink.ring"
local ringlink = require "ringlink"
local world = require "support.world"

local PATH, API_URL, CA_FILE = arg[1], arg[2], arg[3]
local DAY_MS = 24 * 3600 * 1000
local PER_S = 100000                     -- the benchmark is not to wait for the rate limit

local unpack = table.unpack or unpack

local client
local linked = {}                        -- keys of the accounts that the sandbox knows, once looked for
local loose = {}                         -- refresh tokens of the sandbox that no store has
local template                           -- what accounts that are made up have in common
local keep_path                          -- where the next timed command's jobs are to be written

local function open()
  client = ringlink.new { client_id = world.client_id, client_secret = world.client_secret,
    hmac_key = world.hmac_key, store = "sqlite:" .. PATH, store_key = partner.store_key, rate_limit_per_s = PER_S,
    api_url = API_URL, oauth_url = API_URL, ca_file = CA_FILE }
end

-- Times what a function does, and counts its jobs; they are written to `keep_path` if there is one.
local function timed(fn, ...)
  job_log.begin(keep_path ~= nil)
  local began_ms = core.monotonic_ms()
  fn(...)
  local took_s = (core.monotonic_ms() - began_ms) / 1000
  if keep_path then job_log.write(keep_path) end
  keep_path = nil
  return { took_s = took_s, jobs = job_log.jobs, batches = job_log.batches }
end

-- Runs `each(i)` for 1 to count in as many tasks as are wanted; outside of any when that is none.
local function in_tasks(tasks, count, each)
  if tasks == 0 then
    for i = 1, count do each(i) end
    return
  end
  local next_one = 0
  local function task()
    while next_one < count do
      next_one = next_one + 1
      each(next_one)
    end
  end
  ringlink.run(function()
    for _ = 1, tasks do ringlink.spawn(task) end
  end)
end

-- The same ones for the same seed, in the order of asking.
local function chooser(seed, total)
  math.randomseed(seed)
  return function() return math.random(total) end
end

local command = {}

--- Opens the store, up to the first row that is looked for. With a count, closes and opens it so often.
function command.open(count)
  local answer = { took_s = 0 }
  for _ = 1, count or 1 do
    if client then client:close() end
    local once = timed(function()
      open()
      client:account(accounts.id(1)):state()
    end)
    answer.took_s = answer.took_s + once.took_s
  end
  return answer
end

function command.close()
  return timed(client.close, client)
end

--- The next command's jobs are written to a file.
function command.keep(path)
  keep_path = path
  return {}
end

local function user_of_linked(number)
  return "linked-" .. number
end

local function key_of_linked(number)
  linked[number] = linked[number] or client:accounts({ user = user_of_linked(number) })().key
  return linked[number]
end

--- Links an account that the sandbox has installed; they are numbered from 1.
function command.link(number, code, nonce, time)
  assert(client:exchange(code))
  assert(client:link { nonce = nonce, time = ("%d"):format(time), user = user_of_linked(number),
    account_identifier = "user@partner.example.com" })
  return {}
end

--- Gets a pair of tokens that is kept in a variable only.
function command.loose(code)
  local pair = assert(ring.token(client, { grant_type = "authorization_code", code = code },
    { stage = "exchange", need_refresh = true }))
  loose[#loose + 1] = pair.refresh_token
  return {}
end

local function pattern()
  template = template or accounts.template(client, key_of_linked(1))
  return template
end

--- Stores accounts, from one number on, by so many tasks.
function command.fill(first, count, tasks)
  local common = pattern()
  return timed(in_tasks, tasks, count, function(i) accounts.insert(client, common, first + i - 1) end)
end

function command.plain()
  return { bytes = accounts.plain_bytes(pattern()) }
end

--- access_token() of accounts chosen at random.
function command.read(count, seed, total)
  local choose = chooser(seed, total)
  return timed(function()
    for _ = 1, count do assert(client:account(accounts.id(choose())):access_token()) end
  end)
end

--- The accounts of users chosen at random.
function command.users(count, seed, total)
  local choose = chooser(seed, total)
  return timed(function()
    for _ = 1, count do
      local found = 0
      for _ in client:accounts { user = accounts.user(choose()) } do found = found + 1 end
      assert(found == 1)
    end
  end)
end

--- Changes rows of accounts chosen at random, by so many tasks; by none, outside of the loop.
function command.write(tasks, count, seed, total)
  local choose, keys = chooser(seed, total), {}
  for i = 1, count do keys[i] = assert(client:account(accounts.id(choose())):grant()).key end
  return timed(in_tasks, tasks, count, function(i)
    assert(grants.update(client, keys[i], function() return { scope = "devices" } end))
  end)
end

--- The first accounts that the sandbox knows are due.
function command.overdue(count)
  local long_ago = core.now_ms() - 2 * DAY_MS
  for i = 1, count do key_of_linked(i) end
  return timed(function()
    for i = 1, count do
      assert(grants.update(client, linked[i], function() return { refreshed_ms = long_ago } end))
    end
  end)
end

--- So many passes of `work`; how many accounts they refreshed.
function command.work(count, limit)
  local refreshed = 0
  local answer = timed(function()
    for _ = 1, count do refreshed = refreshed + assert(client:work { limit = limit }).refreshed end
  end)
  answer.refreshed = refreshed
  return answer
end

--- The requests of such a pass without a store, as many at once: every pair that is in a variable.
function command.refresh(tasks)
  return timed(in_tasks, tasks, #loose, function(i)
    loose[i] = assert(ring.token(client, { grant_type = "refresh_token", refresh_token = loose[i] },
      { stage = "refresh", need_refresh = true })).refresh_token
  end)
end

local function answer_of(line)
  local words = {}
  for word in line:gmatch("%S+") do words[#words + 1] = word:match("^%d+$") and tonumber(word) or word end
  return command[table.remove(words, 1)](unpack(words))
end

for line in io.lines() do
  local parts = {}
  for name, value in pairs(answer_of(line)) do parts[#parts + 1] = name .. "=" .. tostring(value) end
  io.write(table.concat(parts, " "), "\n")
  io.flush()
end
