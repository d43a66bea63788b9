--- What the parts of spec/browser share: a strict Ring, the example backend in nginx, and Chromium in front of both.
--
--   local stage = browser_stage.of_this_file()       -- inside describe: hooks of busted are set
--   stage.me:go(stage.w.ring.page_url)
--   stage:switch("veto", true)                        -- the partner's hook says no from now on
--
-- The partner's own code can be switched by files: `veto` and `unready` make its hooks refuse, `clock` moves
-- its clock by so many seconds, `bug` makes authenticate raise, `no_sign_in` leaves it without an address.
-- After each test nothing may have complained: no console error, no refused style, no foreign address, no
-- Referer. Where there is no browser, every test is skipped and says what lacks.

local browser_looks = require "support.browser_looks"
local busted = require "busted"
local child = require "support.child"
local curl_browser = require "support.browser"
local nginx_host = require "support.nginx_host"
local note = require "support.note"
local resty_server = require "support.resty_server"
local shell = require "support.shell"
local surfer = require "support.surfer"
local webdriver = require "support.webdriver"
local world = require "support.world"

local M = {}

---@class support.BrowserStage
local Stage = {}
Stage.__index = Stage

local OPTIONS = [[rate_limit_per_s = 100, max_attempts = 2,
      clock = function() return ngx.now() + (tonumber(require("switches").read("clock")) or 0) end,]]
local SWITCHES = [[
return { read = function(name)
  local file = io.open("%s/switch." .. name)
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end }
]]
local INIT = [[
    local switch, client = require("switches").read, require("ringlink.resty").client()
    client:on("before_confirm", function() return not switch("veto") end)
    client:on("configure", function() return not switch("unready") end)]]
local AUTHENTICATE = [[
          authenticate = function(return_to)
            if require("switches").read("bug") then error("a bug of the partner's") end
            local user, url = require("app").authenticate(return_to)
            return user, not require("switches").read("no_sign_in") and url or nil
          end, label = "Demo Partner", wait_s = 0.5,
          limits = { link = { each = { count = 5, window_s = 3600 } } },
          sign_out_url = function(back) return "/sign-out?next=" .. ngx.escape_uri(back) end, continue_url]]
local LOCATIONS = [[
    location = /sign-out {
      content_by_lua_block {
        ngx.header["Set-Cookie"] = "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        local back = ngx.req.get_uri_args().next
        ngx.redirect(require("ringlink.resty").is_local_path(back) and back or "/ring/home", 303)
      }
    }
    location /elsewhere/ { root %s; default_type text/html; }]]

local function start_server(self, at)
  self.elsewhere = shell.make_directory()
  shell.run(("chmod 711 %s && mkdir %s/elsewhere"):format(self.elsewhere, self.elsewhere))
  shell.write(self.elsewhere .. "/switches.lua", SWITCHES:format(self.elsewhere))
  self.server = resty_server.start(self.w.ring, { at = at, setup = OPTIONS, init = INIT,
    locations = LOCATIONS:format(self.elsewhere), change = {
      { 'lua_package_path "', ('lua_package_path "%s/?.lua;'):format(self.elsewhere) },
      { "rate=20r/m", "rate=1000r/s" },
      { 'authenticate = require("app").authenticate, label = "Demo Partner", continue_url', AUTHENTICATE } } })
end

-- The one certificate that the browser is to trust besides the usual ones.
local function pin_of(server)
  local said = shell.run(("openssl x509 -in %s/tls.pem -noout -pubkey | openssl pkey -pubin -outform der | "
    .. "openssl dgst -sha256 -binary | openssl base64"):format(shell.quote(server.directory)))
  return "--ignore-certificate-errors-spki-list=" .. said:gsub("%s+$", "")
end

--- Another browser, of somebody else's.
function Stage:another()
  local driver = assert(webdriver.start { arguments = { pin_of(self.server) } })
  self.drivers[#self.drivers + 1] = driver
  return surfer.new(driver)
end

local function setup(self)
  local at = resty_server.reserve()
  self.w = world.start { token_exchange_url = at.token_exchange_url, account_link_url = at.account_link_url,
    webhook_url = at.webhook_url }
  start_server(self, at)
  self.me = self:another()
end

local function teardown(self)
  for _, driver in ipairs(self.drivers) do driver:stop() end
  curl_browser.close_all()
  if self.server then self.server:stop() end
  if self.elsewhere then shell.remove_directory(self.elsewhere) end
  if self.w then self.w:stop() end
end

--- Turns something of the partner's on, or off by nil.
function Stage:switch(name, value)
  local path = self.elsewhere .. "/switch." .. name
  if value == nil then os.remove(path) else shell.write(path, tostring(value)) end
end

--- Puts a page onto the partner's host, for what other sites and other people do; returns its path.
function Stage:put(name, text)
  shell.write(self.elsewhere .. "/elsewhere/" .. name, text)
  return "/elsewhere/" .. name
end

local function before_each(self)
  self.w:reset()
  self.client = nil
  for _, name in ipairs { "veto", "unready", "clock", "bug", "no_sign_in" } do self:switch(name, nil) end
  self.expected = {}
  self.me:begin_anew()
  self.user = self.server:new_user()
end

--- A complaint of the browser that a test is about.
function Stage:expect(pattern)
  self.expected[#self.expected + 1] = pattern
end

local function is_expected(self, complaint)
  for _, pattern in ipairs(self.expected) do
    if complaint:find(pattern) then return true end
  end
  return false
end

local function check_traffic(self)
  local wrong, traffic = {}, self.me.traffic:read()
  for _, complaint in ipairs(traffic.complaints) do
    if not is_expected(self, complaint) then wrong[#wrong + 1] = complaint end
  end
  for _, request in ipairs(traffic.requests) do
    local at_home = request.url:find("^https://127%.0%.0%.1:" .. self.server.at.port .. "/")
      or request.url:find("^http://127%.0%.0%.1:" .. self.w.ring.control_port .. "/") or request.url:find("^data:")
    if not at_home and not is_expected(self, request.url) then wrong[#wrong + 1] = "asked for " .. request.url end
    local referer = request.headers.referer or ""
    local is_others = referer:find("^https://localhost:") or referer:find("/elsewhere/", 1, true)
    if referer ~= "" and not is_others then
      wrong[#wrong + 1] = "a Referer: " .. referer
    end
  end
  assert(#wrong == 0, table.concat(wrong, "\n"))
end

-- What nginx complained of stands beside what failed.
local function tell_log(self, problem)
  for _, line in ipairs(nginx_host.complaints(self.server:log())) do note(line) end
  error(problem, 0)
end

-- Every test is skipped.
local function without_browser(self, lacks)
  busted.setup(function() note("skipped: " .. lacks) end)
  self.it = busted.pending
  return self
end

--- A stage that lives as long as the `describe` around; `stage.it` is busted's, and looks at the traffic afterwards.
---@return support.BrowserStage
function M.of_this_file()
  local self = setmetatable({ drivers = {}, looks = browser_looks.new() }, Stage)
  local found, lacks = webdriver.commands()
  if not found then return without_browser(self, lacks) end
  busted.setup(function() setup(self) end)
  busted.teardown(function() teardown(self) end)
  busted.before_each(function() before_each(self) end)
  function self.it(name, fn)
    busted.it(name, function()
      local ok, problem = pcall(fn)
      if not ok then tell_log(self, problem) end
      check_traffic(self)
    end)
  end
  return self
end

-- Short ways ------------------------------------------------------------------------------------

--- Ring delivers a code and says where its user's browser goes.
function Stage:install(options)
  local answer = assert(self.w.ring:control("install", options or {}))
  answer.url = self:redirect_url(answer)
  return answer
end

--- Where Ring sends its user's browser.
function Stage:redirect_url(answer)
  return self.server.origin .. "/ring/link?nonce=" .. answer.nonce .. "&time=" .. answer.time
end

--- The state that an account has in the partner's store; nil when it is not there.
function Stage:state_of(account)
  self.client = self.client or self.w:client { store_key = resty_server.store_key,
    store = "sqlite:" .. self.server.directory .. "/store/ringlink.db" }
  return (self.client:account(account):state())
end

--- Ring delivers a code only now.
function Stage:deliver(code)
  local answer = curl_browser.new(self.server):post(self.server.exchange_url, { code = code })
  assert(answer.status == 200, answer.body)
end

--- Nothing of the partner's is under way: what was delivered is exchanged.
function Stage:settled(account)
  child.wait_until("the exchange", function() return self:state_of(account) == "unclaimed" end)
end

--- Signs in on the partner's form.
function Stage:sign_in(who, user)
  who:sees("Sign in", 200)
  who:fill("E-mail", user or self.user)
  who:fill("Password", resty_server.password)
  who:press("Sign in")
end

--- Follows Ring's redirect to the question, through the sign-in when nobody is signed in.
function Stage:arrive(who, url, user)
  who:go(url)
  if who:heading() == "Sign in" then self:sign_in(who, user) end
  who:wait_until("the question", function() return who:heading():find("^Connect Ring to ") end)
end

--- This page is the one of that name: heading, status; and it reads well on every screen.
function Stage:at(name, heading, status)
  self.me:sees(heading, status)
  self.looks:inspect(self.me, name)
end

return M
