--- The curl command as a browser: cookies, redirects when asked to follow them, forms as they stand on a page.
--
--   local tab = browser.new(server)
--   local page = tab:get("/ring/link?nonce=...&time=...")      -- {status, headers, cookies, body, url}
--   page = tab:submit(page, { email = "..." })
--
-- Each browser has a cookie jar of its own. `follow` follows redirects as a browser does, by GET.

local curl = require "support.curl"
local html_page = require "support.page"
local process = require "ringlink.sandbox.process"
local shell = require "support.shell"

local unpack = table.unpack or unpack

local Browser = {}
Browser.__index = Browser

local M = {}

local HOPS_MAX = 6

local opened = {}

--- A browser that has been nowhere yet.
---@param server table origin and ca_file
function M.new(server)
  local self = setmetatable({ server = server, directory = shell.make_directory() }, Browser)
  self.jar = self.directory .. "/cookies"
  opened[#opened + 1] = self
  return self
end

local function read_head(text)
  local status, headers, cookies = text:match("^HTTP/[%d.]+ (%d+)"), {}, {}
  for name, value in text:gmatch("\n([^:\n]+): ?([^\n]*)") do
    name = name:lower()
    headers[name] = value
    if name == "set-cookie" then cookies[#cookies + 1] = value end
  end
  return tonumber(status), headers, cookies
end

local function read_answer(said, url)
  local text = said:gsub("\r", "") .. "\n\n"            -- the command's last empty lines are lost
  local head, body = text:match("^(HTTP/.-)\n\n(.*)\n\n$")
  if not head then head, body = text:match("^(HTTP/[^\n]*.-)\n\n"), "" end
  if not head then return { status = 0, headers = {}, cookies = {}, body = text, url = url } end
  local status, headers, cookies = read_head(head)
  return { status = status, headers = headers, cookies = cookies, body = body, url = url }
end

--- Sends a request.
---@param method string
---@param path string a path of the server, or a URL
---@param options table? form (a table, or text as it is), headers, args
function Browser:send(method, path, options)
  options = options or {}
  local url = path:find("^https?://") and path or self.server.origin .. path
  local words = { "curl", "-q", "-sS", "-i", "--noproxy", "*", "--max-time", "20", "--cacert", self.server.ca_file,
    "-b", self.jar, "-c", self.jar }
  local function add(...) for _, word in ipairs { ... } do words[#words + 1] = word end end
  if method == "HEAD" then add("-I") else add("-X", method) end
  local request = { url = url, headers = options.headers }
  if type(options.form) == "string" then                   -- by a file: it may be large
    request.body_file = self.directory .. "/body"
    shell.write(request.body_file, options.form)
  else
    request.form = options.form
  end
  shell.write(self.directory .. "/input", curl.config(request))
  add("-K", self.directory .. "/input")
  add(unpack(options.args or {}))
  local _, said = process.run(process.line(unpack(words)))
  return read_answer(said, url)
end

function Browser:get(path, options) return self:send("GET", path, options) end

function Browser:post(path, form, options)
  local all = { form = form }
  for name, value in pairs(options or {}) do all[name] = value end
  return self:send("POST", path, all)
end

--- Follows redirects from an answer to the page at their end.
function Browser:follow(answer)
  for _ = 1, HOPS_MAX do
    if answer.status ~= 303 and answer.status ~= 302 then return answer end
    answer = self:get(answer.headers.location)
  end
  error("too many redirects")
end

--- The forms of a page: `{action, fields}` each, hidden fields as they stand.
function M.forms(page)
  local forms = html_page.forms(page.body)
  for _, form in ipairs(forms) do form.action = form.action or page.url end
  return forms
end

--- Posts a page's form, filled in; the first one, or the one that has a field with this value.
function Browser:submit(page, filled, choose)
  for _, form in ipairs(M.forms(page)) do
    if choose == nil or form.fields[choose[1]] == choose[2] then
      for name, value in pairs(filled or {}) do form.fields[name] = value end
      return self:post(form.action, form.fields)
    end
  end
  error("the page has no such form:\n" .. page.body)
end

--- The secret of a cookie in the jar.
function Browser:cookie(pattern)
  for line in (process.read(self.jar) or ""):gmatch("[^\n]+") do
    local name, value = line:match("\t([^\t]+)\t([^\t]*)$")
    if name and name:find(pattern) then return value, name end
  end
end

--- Removes what the browsers kept.
function M.close_all()
  for _, browser in ipairs(opened) do shell.remove_directory(browser.directory) end
  opened = {}
end

return M
