--- Faults a test ordered: the next calls of a name are refused, delayed, cut or garbled.
--
-- Pure. A fault is used up by the calls it meets: `skip` calls pass first, then `count` are hit
-- ("always": all of them), each one or, with `rate`, that part of them. Which part depends on `seed`
-- alone. Several faults stand in line; the first that fits is taken.

local dice = require "ringlink.sandbox.rules.dice"
local text = require "ringlink.sandbox.rules.text"
local reply = require "ringlink.sandbox.rules.reply"

local faults = {}

local DEFAULT_HUGE_BYTES = 4 * 1024 * 1024
local HTML = "<html><head><title>%d</title></head><body><h1>%d from a proxy in between</h1></body></html>"

--- What a fault may say (checked by control.lua). See `faults.describe` for what each does.
faults.FIELDS = {
  call = "string", kind = "string", count = "count", skip = "whole", rate = "rate", seed = "whole", off = "boolean",
  status = "status", title = "string", detail = "string",
  delay_ms = "whole", drop = { "before", "after" }, raw = "string", content_type = "string",
  body = { "html", "truncated", "cut", "huge", "empty", "raw" }, bytes = "whole",
  retry_after = "retry_after", retry_after_form = { "seconds", "date" }, after = "boolean", headers = "table",
}

-- Longer than any client waits.
local FOR_EVER_MS = 660000

-- kind = the fields it stands for
local KINDS = {
  dropped = { drop = "before" }, lost = { drop = "after" }, timeout = { drop = "after", delay_ms = FOR_EVER_MS },
  html = { body = "html" }, truncated = { body = "truncated" }, cut = { body = "cut" }, huge = { body = "huge" },
  empty = { body = "empty" },
}
local KINDS_SAID = '"400" to "599", alone or with " after"; cut, dropped, empty, html, huge, lost, timeout, truncated'

local function of_status(kind)
  local status, after = kind:match("^(%d%d%d)(.*)$")
  status = tonumber(status)
  if not status or status < 400 or status > 599 or (after ~= "" and after ~= " after") then return nil end
  return { status = status, after = after ~= "" or nil, retry_after = status == 429 and 1 or nil }
end

--- Puts what a kind of fault stands for in the place of its name; what a fault says itself goes first.
---@param fault table changed in place
---@return table|nil fault
---@return string|nil problem
function faults.expand(fault)
  if fault.kind == nil then return fault end
  local said = KINDS[fault.kind] or of_status(fault.kind)
  if not said then return nil, ("unknown kind %s; known are %s"):format(fault.kind, KINDS_SAID) end
  for name, value in pairs(said) do
    if fault[name] == nil then fault[name] = value end
  end
  fault.kind = nil
  return fault
end

---@param list table
---@param fault table
function faults.add(list, fault)
  list[#list + 1] = {
    fault = fault, skip = fault.skip or 0,
    left = fault.count == "always" and math.huge or fault.count or 1,
    throw = fault.rate and dice.new(fault.seed),
  }
end

--- Takes the fault for a call, if one fits.
---@param list table
---@param call string
---@return table|nil fault
function faults.pick(list, call)
  for i, row in ipairs(list) do
    local fits = row.fault.call == "*" or row.fault.call == call
    if fits and row.skip > 0 then
      row.skip = row.skip - 1
    elseif fits and (not row.throw or row.throw() < row.fault.rate) then
      row.left = row.left - 1
      if row.left <= 0 then table.remove(list, i) end
      return row.fault
    end
  end
  return nil
end

--- Whether Ring does the work of a call that meets this fault.
---@param fault table
---@return boolean
function faults.processes(fault)
  if fault.drop == "before" then return false end
  if fault.drop == "after" or fault.after then return true end
  return fault.status == nil
end

--- One line for the journal.
---@param fault table
---@return string
function faults.describe(fault)
  local parts = {}
  if fault.status then parts[#parts + 1] = "status " .. ("%d"):format(fault.status) end
  if fault.body then parts[#parts + 1] = "body " .. fault.body end
  if fault.delay_ms then parts[#parts + 1] = ("delay %d ms"):format(fault.delay_ms) end
  if fault.retry_after then parts[#parts + 1] = "retry-after" end
  if fault.drop then parts[#parts + 1] = "drop " .. fault.drop end
  if fault.after then parts[#parts + 1] = "after processing" end
  return table.concat(parts, ", ")
end

local TITLES = {
  [400] = "Bad Request", [401] = "Invalid Client", [403] = "Out of Scope Access", [404] = "Not Found",
  [429] = "Rate Limit Exceeded", [500] = "Internal Server Error", [503] = "Service Unavailable",
}

local function refusal(ring, visit, fault)
  local title = fault.title or TITLES[fault.status] or "Error"
  if visit.oauth and fault.status < 500 and fault.status ~= 429 then
    local code = fault.title or (fault.status == 401 and "invalid_client" or "invalid_grant")
    return reply.oauth_error(fault.status, code, fault.detail or "ordered by a fault")
  end
  return reply.error(ring, fault.status, title, fault.detail or "ordered by a fault")
end

local function retry_after(fault, now_ms)
  local value = fault.retry_after
  if type(value) == "string" then return value end
  if fault.retry_after_form == "date" then return text.http_date(now_ms + value * 1000 + 999) end
  return ("%d"):format(value)
end

-- Each takes the reply and the fault and changes the reply's body.
local GARBLERS = {
  html = function(answer)
    answer.headers["Content-Type"] = "text/html"
    answer.body = HTML:format(answer.status, answer.status)
  end,
  truncated = function(answer) answer.body = answer.body:sub(1, math.floor(#answer.body / 2)) end,
  cut = function(answer) answer.cut = true end,
  huge = function(answer, fault) answer.pad_bytes = fault.bytes or DEFAULT_HUGE_BYTES end,
  empty = function(answer) answer.body = "" end,
  raw = function(answer, fault) answer.body = fault.raw or "" end,
}

--- Turns the true reply (nil when nothing was processed) into what the fault says.
---@param ring table
---@param visit table
---@param fault table
---@param answer table|nil
---@param now_ms number
---@return table reply
function faults.garble(ring, visit, fault, answer, now_ms)
  if fault.status then answer = refusal(ring, visit, fault) end
  if fault.body then GARBLERS[fault.body](answer, fault) end
  if fault.retry_after then answer.headers["Retry-After"] = retry_after(fault, now_ms) end
  if fault.content_type then answer.headers["Content-Type"] = fault.content_type end
  for name, value in pairs(fault.headers or {}) do answer.headers[name] = tostring(value) end
  return answer
end

return faults
