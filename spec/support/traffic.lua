--- What Chromium asked for and complained of, out of the logs of its driver.
--
--   local traffic = traffic.new(driver)
--   traffic:read()                        -- takes what has come since
--   traffic.documents                     -- {url, status} of each page, redirects too, in order
--   traffic.requests                      -- {url, headers}: what was sent, cookies and Referer included
--   traffic.complaints                    -- the console's errors and warnings, and cookies that were refused, as text
--
-- A page that is answered with 4xx or 5xx is no complaint: that is what many of ours are.

local cjson = require "cjson"

local M = {}

---@class support.Traffic
local Traffic = {}
Traffic.__index = Traffic

--- The traffic of a driver from now on.
function M.new(driver)
  return setmetatable({ driver = driver }, Traffic):forget()
end

--- Begins anew.
function Traffic:forget()
  self.documents, self.requests, self.complaints, self.by_id = {}, {}, {}, {}
  return self
end

local function add_document(self, response)
  self.documents[#self.documents + 1] = { url = response.url, status = math.floor(response.status) }
end

local function lowered(headers)
  local lower = {}
  for name, value in pairs(headers) do lower[name:lower()] = value end
  return lower
end

local ON = {}

-- A redirect has the request's id again.
ON["Network.requestWillBeSent"] = function(self, p)
  if p.redirectResponse and p.type == "Document" then add_document(self, p.redirectResponse) end
  local request = { url = p.request.url, headers = lowered(p.request.headers) }
  self.requests[#self.requests + 1], self.by_id[p.requestId] = request, request
end

-- The headers as they were sent. A request without it was not.
ON["Network.requestWillBeSentExtraInfo"] = function(self, p)
  local request = self.by_id[p.requestId]
  if request then request.headers = lowered(p.headers) end
end

ON["Network.responseReceived"] = function(self, p)
  if p.type == "Document" then add_document(self, p.response) end
end

ON["Network.responseReceivedExtraInfo"] = function(self, p)
  for _, blocked in ipairs(p.blockedCookies) do
    self.complaints[#self.complaints + 1] = "a cookie was refused: " .. table.concat(blocked.blockedReasons, ", ")
  end
end

local function read_console(self)
  for _, entry in ipairs(self.driver:call("POST", "/se/log", { type = "browser" })) do
    local is_page = entry.message:find("Failed to load resource: the server responded with a status of", 1, true)
    if not is_page and (entry.level == "SEVERE" or entry.level == "WARNING") then
      self.complaints[#self.complaints + 1] = entry.message
    end
  end
end

--- Takes what has come since it was last asked.
function Traffic:read()
  for _, entry in ipairs(self.driver:call("POST", "/se/log", { type = "performance" })) do
    local message = cjson.decode(entry.message).message
    local on = ON[message.method]
    if on then on(self, message.params) end
  end
  read_console(self)
  return self
end

--- Whether an address was asked for.
function Traffic:has(url)
  for _, request in ipairs(self.requests) do
    if request.url == url then return true end
  end
  return false
end

--- The status that the last page came with.
function Traffic:page_status()
  local page = self:read().documents[#self.documents]
  return page and page.status
end

return M
