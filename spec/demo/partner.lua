--- The partner: the example backend that ringlink ships, in a real nginx, and a script on the same machine.
--
-- The backend is lua/ringlink/resty/example (nginx.conf and app.lua) as it stands: only places, ports and
-- Ring's addresses are replaced (support/resty_server.lua), for a user of its own with a password of this
-- run. The script is a second ringlink client, of this process, over the same sealed file.
--
-- Everything lies in one private directory; the sandbox's goes into it too. A watcher, in a session of its
-- own, holds the end of a pipe: when `stop` closes it, or this process is gone for whatever reason, it ends
-- both and removes the directory. It is the only way either of them is ended.

local core = require "ringlink.core"
local page = require "support.page"
local process = require "ringlink.sandbox.process"
local resty_server = require "support.resty_server"
local ringlink = require "ringlink"

local Partner = {}
Partner.__index = Partner

local NAME_BYTES, SECRET_BYTES, PASSWORD_BYTES, KEY_BYTES = 6, 16, 6, 32

-- Whatever names the directory in its command line still works in it: nginx is ended, a command that was on
-- its way when this process died is waited for (it may be about to start nginx), but not for ever. The
-- directory comes as the first line, so that the watcher itself does not name it.
local WATCH = [[
exec >/dev/null 2>&1
trap '' HUP INT TERM
read -r directory
cat
signal=TERM
for turn in $(seq 500); do
  pids=$(echo "$directory" | grep -Fals -f - /proc/[0-9]*/cmdline | cut -d/ -f3)
  test -n "$pids" || break
  test "$turn" -lt 400 || signal=KILL
  for pid in $pids; do grep -qs nginx /proc/$pid/cmdline && kill -$signal $pid; done
  sleep 0.02
done
rm -rf "$directory"]]

local partner = {}

local function start_watcher(directory)
  local watch = assert(io.popen("exec $(command -v setsid) sh -c " .. process.quote(WATCH), "w"))
  watch:write(directory, "\n")
  watch:flush()
  return watch
end

-- The watcher knows of the directory before there is one.
local function make_directory(self)
  self.directory = (os.getenv("TMPDIR") or "/tmp") .. "/ringlink-demo." .. core.hex(core.random(NAME_BYTES))
  self.watch = start_watcher(self.directory)
  local ok, said = process.run(process.line("mkdir", "-m", "700", self.directory))
  assert(ok, said)
end

--- Chooses addresses and starts the watcher; the backend needs `start`.
---@return table partner `{directory, at, user}`
function partner.new()
  local self = setmetatable({ at = resty_server.reserve(core.hex(core.random(SECRET_BYTES))) }, Partner)
  self.user = { email = "demo.user@partner.example.com", password = core.hex(core.random(PASSWORD_BYTES)) }
  make_directory(self)
  return self
end

-- What nginx.conf names too; Ring's addresses stay nil where ringlink's own are meant.
local function open_client(self, ring)
  local function file(name) return "file:" .. self.directory .. "/" .. name end
  return ringlink.new {
    client_id = file "client_id", client_secret = file "client_secret", hmac_key = file "hmac_key",
    store = "sqlite:" .. self.directory .. "/store/ringlink.db", store_key = file "store_key",
    api_url = ring.api_url, oauth_url = ring.oauth_url, ca_file = ring.ca_file,
  }
end

--- Starts the backend and opens the script's client.
---@param ring table `{client_id, client_secret, hmac_key, api_url, oauth_url, ca_file}`, the last three if need be
function Partner:start(ring)
  self.server = resty_server.start(ring, { directory = self.directory, at = self.at,
    users = { self.user.email }, password = self.user.password,
    store_key = core.base64url(core.random(KEY_BYTES)):gsub("-", "+"):gsub("_", "/") .. "=" })
  self.client = open_client(self, ring)
end

--- The addresses of those who run it.
---@param name "status"|"metrics"
---@return string url
function Partner:admin(name) return self.server.admin .. "/" .. name end

--- Reads Prometheus text: `figures[metric][labels]`, labels without the app, joined by spaces.
---@param text string
---@return table<string, table<string, number>>
function partner.figures(text)
  local figures = setmetatable({}, { __index = function() return {} end })
  for metric, labels, value in text:gmatch("\n([%w_]+){([^}]*)} (%S+)") do
    local words = {}
    for label, word in labels:gmatch('(%w+)="([^"]*)"') do
      if label ~= "app" then words[#words + 1] = word end
    end
    if not rawget(figures, metric) then figures[metric] = {} end
    figures[metric][table.concat(words, " ")] = tonumber(value)
  end
  return figures
end

--- The status page's list of failures, newest first.
---@param html string
---@return { code: string, advice: string }[]
function partner.failures(html)
  local failures = {}
  for item in html:gmatch("<li>(.-)</li>") do
    failures[#failures + 1] = { code = page.words(item, "h3"), advice = page.words(item:match(".*(<p>.*)"), "p") }
  end
  return failures
end

--- Looks for texts in everything that the backend wrote: rows and logs.
---@param secrets table<string, string> what they are, and how they read
---@return integer files
---@return string|nil found the name of one, and where
function Partner:search(secrets)
  local _, list = process.run("find " .. process.line(self.directory .. "/store", self.directory .. "/logs")
    .. " -type f")
  local files = 0
  for path in list:gmatch("[^\n]+") do
    local text = process.read(path) or ""
    files = files + 1
    for name, secret in pairs(secrets) do
      if text:find(secret, 1, true) then return files, name .. " in " .. path:match("[^/]*$") end
    end
  end
  return files, nil
end

--- The newest lines of nginx's error log that complain.
---@param count integer
---@return string[]
function Partner:complaints(count)
  local lines = {}
  for line in (self.server and self.server:log() or ""):gmatch("[^\n]+") do
    if not line:find("%[notice%]") then lines[#lines + 1] = line end
  end
  while #lines > count do table.remove(lines, 1) end
  return lines
end

--- Ends everything and removes the directory.
---@return boolean gone
function Partner:stop()
  if self.client then self.client:close() end
  self.watch:close()
  return not process.run("test -e " .. process.quote(self.directory))
end

return partner
