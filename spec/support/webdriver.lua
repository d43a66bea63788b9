--- Drives Chromium by the W3C WebDriver protocol: JSON over HTTP to a chromedriver on this machine.
--
--   local driver = webdriver.start { arguments = { "--lang=en" } }    -- nil, what lacks
--   driver:call("POST", "/url", { url = "https://127.0.0.1:8443/" })
--   driver:cdp("Emulation.setEmulatedMedia", { media = "print" })     -- what WebDriver has no word for
--   driver:stop()
--
-- One driver is one chromedriver with one session, which is one Chromium with a profile of its own in a
-- private directory. chromedriver chooses a free port. Both are ended by their process ids, and the
-- directory is removed, whatever happened before.
-- RINGLINK_CHROMEDRIVER and RINGLINK_CHROMIUM name the commands; else they are searched on PATH.

local cjson = require "cjson"
local client = require "ringlink.sandbox.client"
local core = require "ringlink.core"
local child = require "support.child"
local process = require "ringlink.sandbox.process"
local shell = require "support.shell"

local M = {}

local RESPONSE_BYTES_MAX = 64 * 1024 * 1024          -- screenshots
local STOP_TRIES = 100
local LIFE_S = 1200                                  -- should whoever started it be killed
local ELEMENT = "element-6066-11e4-a52e-4f735466cecf"   -- the protocol's name for a reference to an element

local ARGUMENTS = {
  "--headless=new",
  "--no-sandbox",                      -- it does not start otherwise as root, nor in most containers
  "--disable-dev-shm-usage",           -- containers give little room there
  "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-extensions",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
  "--hide-scrollbars", "--force-color-profile=srgb",
  "--remote-debugging-pipe",           -- no port; and the browser ends with its driver
}

---@class support.Driver
local Driver = {}
Driver.__index = Driver

local function find(variable, ...)
  local named = os.getenv(variable)
  for _, name in ipairs(named and { named } or { ... }) do
    local ok, path = process.run("command -v " .. process.quote(name))
    if ok and path ~= "" then return path end
  end
end

--- Where the two commands are; nil and what lacks.
---@return string? chromium
---@return string driver_or_problem
function M.commands()
  local chromium = find("RINGLINK_CHROMIUM", "chromium", "chromium-browser", "google-chrome")
  local driver = find("RINGLINK_CHROMEDRIVER", "chromedriver")
  if chromium and driver then return chromium, driver end
  return nil, ("%s not found (Debian: apt-get install chromium chromium-driver; elsewhere name the commands "
    .. "in RINGLINK_CHROMIUM and RINGLINK_CHROMEDRIVER)"):format(
    chromium and "chromedriver was" or driver and "chromium was" or "chromium and chromedriver were")
end

local function raise(what, value)
  error(("%s: %s: %s"):format(what, tostring(value.error), tostring(value.message):match("[^\n]*")), 0)
end

-- A request to chromedriver, with a body of JSON; raises what it complained of, `{error, message}`.
local function ask(self, method, path, text)
  local result, problem = client.send(self.transport, { method = method, url = self.origin .. path,
    headers = text and { "Content-Type: application/json" } or nil, body = text })
  if not result then error("chromedriver: " .. problem, 0) end
  local value = cjson.decode(result.body).value
  if result.status ~= 200 then raise(method .. " " .. path:gsub("^/session/%w+", ""), value) end
  return value
end

local function launch(self, command)
  local log, pid_file = self.directory .. "/driver.log", self.directory .. "/driver.pid"
  shell.run(("TMPDIR=%s timeout --foreground %d %s --port=0 >%s 2>&1 </dev/null & echo $! >%s"):format(
    shell.quote(self.directory), LIFE_S, shell.quote(command), shell.quote(log), shell.quote(pid_file)))
  self.pids[1] = shell.read(pid_file):match("%d+")
  local port = child.wait_until("chromedriver says its port", function()
    return shell.read(log):match("started successfully on port (%d+)")
      or not process.alive(self.pids[1]) and error("chromedriver: " .. shell.read(log), 0)
  end)
  self.origin = "http://127.0.0.1:" .. port
end

local function capabilities(chromium, options)
  local arguments = {}
  for i, argument in ipairs(ARGUMENTS) do arguments[i] = argument end
  for _, argument in ipairs(options.arguments or {}) do arguments[#arguments + 1] = argument end
  return { alwaysMatch = {
    browserName = "chrome", pageLoadStrategy = "normal", timeouts = { pageLoad = 30000, script = 20000 },
    ["goog:loggingPrefs"] = { browser = "ALL", performance = "ALL" },
    ["goog:chromeOptions"] = { binary = chromium, args = arguments },
  } }
end

local function open_session(self, chromium, options)
  local opened = ask(self, "POST", "/session", cjson.encode { capabilities = capabilities(chromium, options) })
  self.session = opened.sessionId
  self.pids[2] = tostring(math.floor(opened.capabilities["goog:processID"]))
end

--- Starts chromedriver and a browser. Raises what went wrong, with nothing left behind.
---@param options { arguments: string[]? }
---@return support.Driver?
---@return string? lacks which command there is not
function M.start(options)
  local chromium, command = M.commands()
  if not chromium then return nil, command end
  local self = setmetatable({ directory = shell.make_directory(), pids = {} }, Driver)
  self.transport = assert(core.transport { allow_http_loopback = true, http_version = "1.1",
    response_bytes_max = RESPONSE_BYTES_MAX })
  local ok, problem = pcall(function()
    launch(self, command)
    open_session(self, chromium, options or {})
  end)
  if ok then return self end
  self:stop()
  error(problem, 0)
end

--- Calls a command of the session.
---@param method string
---@param path string after /session/ID
---@param body table|string|nil of a POST; text is JSON already
---@return any value
function Driver:call(method, path, body)
  local text = type(body) == "string" and body or method == "POST" and cjson.encode(body or {}) or nil
  return ask(self, method, "/session/" .. self.session .. path, text)
end

--- Calls a command of the DevTools protocol, for the current window.
---@param name string
---@param parameters table?
---@return any result
function Driver:cdp(name, parameters)
  return self:call("POST", "/goog/cdp/execute", { cmd = name, params = parameters or {} })
end

--- Runs a function's body in the page and returns its value; scripts of the driver run although pages'
--- own are off.
---@param text string
---@param ... any its `arguments`
---@return any
function Driver:run(text, ...)
  local arguments = {}
  for i, argument in ipairs { ... } do arguments[i] = cjson.encode(argument) end
  return self:call("POST", "/execute/sync",                          -- cjson writes {} for an empty list
    ('{"script":%s,"args":[%s]}'):format(cjson.encode(text), table.concat(arguments, ",")))
end

--- The elements that a selector finds, as paths for `call`.
---@param css string
---@return string[]
function Driver:find(css)
  local elements = {}
  for i, reference in ipairs(self:call("POST", "/elements", { using = "css selector", value = css })) do
    elements[i] = "/element/" .. reference[ELEMENT]
  end
  return elements
end

--- The element that has the focus.
---@return string
function Driver:active()
  return "/element/" .. self:call("GET", "/element/active")[ELEMENT]
end

local function end_session(self)
  if not self.session then return end
  local session = self.session
  self.session = nil
  ask(self, "DELETE", "/session/" .. session)
end

--- Ends both processes and removes what they wrote.
function Driver:stop()
  pcall(end_session, self)
  self.transport:close()
  for _, pid in ipairs(self.pids) do
    if process.alive(pid) then assert(process.stop(pid, STOP_TRIES), "process " .. pid .. " does not end") end
  end
  shell.remove_directory(self.directory)
end

return M
