--- Somebody in front of Chromium: finds things by their role and name as a screen reader has them, reads, types,
--- presses.
--
--   local me = surfer.new(driver)
--   me:go("https://127.0.0.1:8443/ring/home")
--   me:fill("E-mail", "user.1@partner.example.com")
--   me:press("Sign in")                  -- a button or a link, by its whole name; waits for the next page
--   me:sees("Connect Ring?", 200)        -- heading, and the status the page came with

local child = require "support.child"
local traffic = require "support.traffic"

local M = {}

---@class support.Surfer
local Surfer = {}
Surfer.__index = Surfer

local PRESSABLE = "a[href], button"
local FILLABLE = "input:not([type=hidden]), select, textarea"
local MAIN_HEADING = "const h = document.querySelector('h1'); return h ? h.innerText.replace(/\\s+/g, ' ') : ''"

local ANEW = "data:text/html,<title>anew</title>"

--- Somebody with a browser.
---@param driver support.Driver
---@return support.Surfer
function M.new(driver)
  return setmetatable({ driver = driver, traffic = traffic.new(driver) }, Surfer)
end

--- Opens an address, as if typed.
function Surfer:go(url)
  self.driver:call("POST", "/url", { url = url })
end

function Surfer:url() return self.driver:call("GET", "/url") end
function Surfer:reload() self.driver:call("POST", "/refresh") end
function Surfer:back() self.driver:call("POST", "/back") end

--- What can be read on the page.
function Surfer:text() return self.driver:run("return document.body.innerText") end

--- The main heading.
function Surfer:heading() return self.driver:run(MAIN_HEADING) end

local function name_of(self, element)
  return self.driver:call("GET", element .. "/computedlabel")
end

local function named(self, css, name)
  for _, element in ipairs(self.driver:find(css)) do
    if name_of(self, element) == name and self.driver:call("GET", element .. "/displayed") then return element end
  end
end

-- A page that is just leaving still answers, or its elements are gone while they are asked.
local function find(self, css, name)
  local element
  self:wait_until(("something called %q"):format(name), function()
    local ok, found = pcall(named, self, css, name)
    element = ok and found or nil
    return element
  end)
  return element
end

--- Presses a button, or follows a link, that leaves the page where it is.
function Surfer:tap(name)
  local element = find(self, PRESSABLE, name)
  self.driver:call("POST", element .. "/click")
  return element
end

--- Presses a button, or follows a link, that leads to another page, and waits until this one is left: what is
--- seen from then on is the answer, though it may look the same.
function Surfer:press(name)
  local element = self:tap(name)
  self:wait_until(("the page after %q"):format(name), function()
    return not pcall(self.driver.call, self.driver, "GET", element .. "/name")
  end)
end

--- Types into a field with this label, in place of what was there.
function Surfer:fill(label, text)
  local element = find(self, FILLABLE, label)
  if self.driver:call("GET", element .. "/property/value") ~= "" then self.driver:call("POST", element .. "/clear") end
  self.driver:call("POST", element .. "/value", { text = text })
end

--- Presses keys, as at a keyboard; names of keys are the protocol's characters.
function Surfer:keys(text)
  local actions = {}
  for char in text:gmatch("[%z\1-\127\194-\244][\128-\191]*") do
    actions[#actions + 1] = { type = "keyDown", value = char }
    actions[#actions + 1] = { type = "keyUp", value = char }
  end
  self.driver:call("POST", "/actions", { actions = { { type = "key", id = "keyboard", actions = actions } } })
end

--- Waits until something holds; what the page says instead is told when it never does.
function Surfer:wait_until(what, condition)
  child.wait_until(function() return ("%s; the page says:\n%s"):format(what, self:text()) end, condition)
end

--- Waits for a page with this heading, and compares the status that it came with.
function Surfer:sees(heading, status)
  self:wait_until(("the heading %q"):format(heading), function() return self:heading() == heading end)
  if not status then return end
  self:wait_until(("the status %d"):format(status), function() return self.traffic:page_status() == status end)
end

--- Waits for a text on the page.
function Surfer:reads(text)
  self:wait_until(("%q"):format(text), function() return self:text():find(text, 1, true) end)
end

--- Goes on in the window that was opened last.
function Surfer:to_new_window()
  local before, windows = self.driver:call("GET", "/window"), nil
  child.wait_until("a second window", function()
    windows = self.driver:call("GET", "/window/handles")
    return #windows > 1
  end)
  for _, window in ipairs(windows) do
    if window ~= before then self.driver:call("POST", "/window", { handle = window }) end
  end
end

--- Opens a tab beside this one and goes on there.
function Surfer:new_tab()
  self.driver:call("POST", "/window", { handle = self.driver:call("POST", "/window/new", { type = "tab" }).handle })
end

--- Goes on in the other one of two tabs.
function Surfer:other_tab()
  local here = self.driver:call("GET", "/window")
  for _, window in ipairs(self.driver:call("GET", "/window/handles")) do
    if window ~= here then return self.driver:call("POST", "/window", { handle = window }) end
  end
end

--- Goes on in the first window of an empty browser: no other window, no cookies, no cache, nothing seen.
function Surfer:begin_anew()
  local windows = self.driver:call("GET", "/window/handles")
  for i = #windows, 2, -1 do
    self.driver:call("POST", "/window", { handle = windows[i] })
    self.driver:call("DELETE", "/window")
  end
  if #windows > 1 then self.driver:call("POST", "/window", { handle = windows[1] }) end
  self.driver:cdp("Network.clearBrowserCookies")
  self.driver:cdp("Network.clearBrowserCache")
  self:scripts(true)
  self:go(ANEW)
  child.wait_until("the end of earlier traffic", function() return self.traffic:read():has(ANEW) end)
  self.traffic:forget()
end

--- Lets pages of this window run scripts, or not.
function Surfer:scripts(on)
  self.driver:cdp("Emulation.setScriptExecutionDisabled", { value = not on })
end

--- The cookies of the browser: `{name, value, httpOnly, secure, sameSite, path, expires}`.
function Surfer:cookies()
  return self.driver:cdp("Network.getAllCookies").cookies
end

--- Loses a cookie whose name has this pattern.
function Surfer:lose_cookie(pattern)
  for _, cookie in ipairs(self:cookies()) do
    if cookie.name:find(pattern) then
      self.driver:cdp("Network.deleteCookies", { name = cookie.name, domain = cookie.domain, path = cookie.path })
    end
  end
end

return M
