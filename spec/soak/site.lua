--- The example backend with several workers in a real nginx, over TLS, a strict Ring behind it, and a crowd in
--- front: what the soaks of nginx share.
--
--   local site = sites.start { seed = 7, workers = 4, reloads = true }
--   site:crowd(12)                       -- so many visitors at a time, from now on
--   site:run(function() return site.traffic.answers >= 1000 end)
--   site:calm()                          -- nobody comes any more; whoever is inside leaves
--   site:stop()                          -- in good order; raises when nginx complained or left files
--
-- It is the example's own configuration with the soak's additions: a dictionary and two locations (probe.lua),
-- each visitor's address from a header, and a log of who ended which request when. Connections are kept for
-- as long as visitors want: nginx would end one under a POST, which is not sent again. Failures surface in `run`.

local child = require "support.child"
local cjson = require "cjson"
local core = require "ringlink.core"
local dice = require "ringlink.sandbox.rules.dice"
local process = require "ringlink.sandbox.process"
local resty_server = require "support.resty_server"
local ringlink = require "ringlink"
local shell = require "support.shell"
local traffics = require "soak.traffic"
local walks = require "soak.walks"
local world = require "support.world"

local M = {}

local USERS = 8000                     -- unless told; one is taken by each journey
local SETUP = "rate_limit_per_s = 500, refresh_interval_s = 60,"
local READ_MS = 10000
local EXPIRES_S = 100                  -- of access tokens: many are refreshed while the soak lasts

local HTTP = [[
  lua_shared_dict probe 1m;
  set_real_ip_from 127.0.0.1;
  real_ip_header X-Real-IP;
  keepalive_requests 100000000;
  keepalive_timeout 3600;
  log_format ends '$pid $msec';
  access_log logs/ends.log ends;
]]
local LOCATIONS = [[
    location = /soak/ask     { content_by_lua_block { require("soak.probe").ask() } }
    location = /soak/answers { content_by_lua_block { require("soak.probe").read() } }
    location = /soak/devices { content_by_lua_block { require("soak.probe").devices() } }
]]
local LOGGED = { "access_log off;", "access_log logs/ends.log ends;" }
local PROBED = { '.start() }', '.start() require("soak.probe").start() }' }

-- Lines of nginx's error log that must not be there, whatever was asked.
local COMPLAINTS = { "%[error%]", "%[crit%]", "%[alert%]", "%[emerg%]", "stack traceback" }

---@class soak.Site
---@field accounts table[]   what walks made of whom: { id, wanted, taken, visitor }
---@field counts table<string, integer> how many walks of which kind there were
---@field journal table[]    Ring's rows with a code or a refresh token
---@field read integer       how many rows Ring's journal has had
---@field faulty integer     how many of them met a fault
---@field faults boolean?    Ring is in trouble now and then
---@field users string[]     who can sign in; the first of them never does
---@field users_taken integer
local Site = {}
Site.__index = Site

local function people(count)
  local users = {}
  for i = 1, count do users[i] = ("user.%d@partner.example.com"):format(i) end
  return users
end

-- Ring delivers webhooks to the site; codes are brought by the visitors.
local function open(self, options)
  local at = resty_server.reserve()
  self.w = world.start { account_link_url = at.account_link_url, webhook_url = at.webhook_url,
    token_exchange_url = at.token_exchange_url, limits = { per_s = false }, http2 = options.http2 }
  self.w.ring:control("variant", { expires_in = EXPIRES_S })
  self.users, self.users_taken = people(options.users or USERS), 1
  self.server = resty_server.start(self.w.ring, { at = at, workers = options.workers, users = self.users,
    setup = SETUP, http = HTTP, locations = LOCATIONS, main = ("env TMPDIR=%s;"):format(self.tmp),
    change = { LOGGED, LOGGED, PROBED } })
end

--- Starts Ring, with or without HTTP/2, and the site.
---@param options { seed: integer, workers: integer, users: integer?, reloads: boolean?, http2: boolean? }
---@return soak.Site
function M.start(options)
  local self = setmetatable({ throw = dice.new(options.seed), options = options, accounts = {}, visits = 0,
    crowded = 0, counts = {}, journal = {}, read = 0, faulty = 0, read_ms = core.monotonic_ms() }, Site)
  self.tmp = shell.make_directory()
  open(self, options)
  self.traffic = traffics.new { ca_file = self.server.ca_file, reloads = options.reloads }
  return self
end

-- The crowd -------------------------------------------------------------------------------------

--- How many visitors there are to be at a time.
function Site:crowd(count)
  self.crowded = count
end

--- Somebody who can sign in and has no link. Nobody comes twice: with two links on one homepage a visitor could
--- not tell which of them is theirs.
---@return string email
function Site:new_user()
  self.users_taken = self.users_taken + 1
  return assert(self.users[self.users_taken], "everybody has a link already: the site needs more users")
end

-- Of the journal, which forgets its oldest rows, what was done with codes and refresh tokens.
local function read_journal(self)
  self.read_ms = core.monotonic_ms()
  for _, row in ipairs(assert(self.w.ring:control("requests", { since = tostring(self.read) }))) do
    self.read, self.faulty = row.n, self.faulty + (row.fault and 1 or 0)
    if row.code or row.refresh_token then self.journal[#self.journal + 1] = row end
  end
end

--- Turns until a condition holds; new visitors come for those who left. Raises what a visitor met.
---@param condition fun(): any
function Site:run(condition)
  repeat
    while self.traffic.inside < self.crowded do self.traffic:send_in(walks.take, walks.visitor(self)) end
    self.traffic:turn()
    self.traffic:check()
    if core.monotonic_ms() - self.read_ms > READ_MS then read_journal(self) end
  until condition()
end

--- How much there is of something by the site's own figures.
function Site:metric(name)
  local sum = 0
  local text = self:fetch(self.server.admin .. "/metrics")
  for value in text:gmatch("\n" .. name .. "{[^\n]-} (%d+)") do sum = sum + tonumber(value) end
  return sum
end

--- A request of nobody's; its body.
function Site:fetch(url)
  local body
  self.traffic:send_in(function()
    local answer = self.traffic:ask("GET", url, {})
    assert(answer.status == 200, url .. ": " .. tostring(answer.status or answer.detail))
    body = answer.body
  end)
  local crowded = self.crowded
  self.crowded = 0
  self:run(function() return body end)
  self.crowded = crowded
  return body
end

--- Nobody comes any more; what is under way is done, and all connections end.
function Site:calm()
  self:crowd(0)
  self:run(function() return self.traffic.inside == 0 end)
  child.wait_until("nothing is under way", function()
    return self:metric("ringlink_token_exchanges_in_flight") + self:metric("ringlink_calls_in_flight") == 0
  end)
  read_journal(self)
  self.traffic:close()
  self.traffic = traffics.new { ca_file = self.server.ca_file, reloads = self.options.reloads }
end

--- A client at the site's store, of this process.
function Site:client()
  local ring = self.w.ring
  return ringlink.new { client_id = ring.client_id, client_secret = ring.client_secret, hmac_key = ring.hmac_key,
    api_url = ring.api_url, oauth_url = ring.oauth_url, ca_file = ring.ca_file,
    store = "sqlite:" .. self.server.directory .. "/store/ringlink.db", store_key = resty_server.store_key }
end

-- Processes -------------------------------------------------------------------------------------

--- The pids of the workers, those that are on their way out too.
---@return string[]
function Site:workers()
  local pids = {}
  local text = process.read(("/proc/%s/task/%s/children"):format(self.server.pid, self.server.pid)) or ""
  for pid in text:gmatch("%d+") do
    if process.alive(pid) then pids[#pids + 1] = pid end
  end
  return pids
end

--- What a process has open: sockets, and everything else.
---@param pid string
---@return { sockets: integer, others: integer }
function Site.open_files(_, pid)
  local open_files = { sockets = 0, others = 0 }
  for target in shell.run("ls -l /proc/" .. pid .. "/fd"):gmatch("%-> ([^\n]*)") do
    local kind = target:find("^socket:") and "sockets" or "others"
    open_files[kind] = open_files[kind] + 1
  end
  return open_files
end

--- A number of /proc/PID/status.
function Site.status(_, pid, name)
  return tonumber((process.read("/proc/" .. pid .. "/status") or ""):match("\n" .. name .. ":%s*(%d+)"))
end

--- Every worker's memory after a full collection, by pid (probe.lua).
---@return table<string, { lua_bytes: number, c_bytes: number, timers: integer }>
function Site:weigh()
  local number = self:fetch(self.server.origin .. "/soak/ask")
  local wanted, answers = #self:workers(), {}
  child.wait_until("every worker has answered", function()
    answers = cjson.decode(self:fetch(self.server.origin .. "/soak/answers?number=" .. number))
    local count = 0
    for _ in pairs(answers) do count = count + 1 end
    return count == wanted
  end)
  return answers
end

-- The end ---------------------------------------------------------------------------------------

--- What nginx complained of.
---@return string[]
function Site:complaints()
  local lines = {}
  for line in self.server:log():gmatch("[^\n]+") do
    for _, pattern in ipairs(COMPLAINTS) do
      if line:find(pattern) then lines[#lines + 1] = line break end
    end
  end
  return lines
end

--- Files and folders that the site left where temporary ones are.
function Site:left_behind()
  return shell.run(("find %s %s/body -mindepth 1"):format(self.tmp, self.server.directory))
end

--- Ends the site in good order; raises when it complained or left something behind.
function Site:stop()
  self.traffic:close()
  local pids = self:workers()
  self.server:signal("QUIT")
  child.wait_until("the end of nginx", function() return not process.alive(self.server.pid) end)
  for _, pid in ipairs(pids) do assert(not process.alive(pid), "a worker outlived its master") end
  local complaints, left = self:complaints(), self:left_behind()
  self:remove()
  assert(#complaints == 0, "nginx complains:\n" .. table.concat(complaints, "\n"))
  assert(left == "", "left behind:\n" .. left)
end

--- Removes what is left, whatever happened; harmless when done twice.
function Site:remove()
  if self.removed then return end
  self.removed = true
  if process.alive(self.server.pid) then process.stop(self.server.pid, 200) end
  shell.remove_directory(self.server.directory)
  shell.remove_directory(self.tmp)
  self.w:stop()
end

return M
