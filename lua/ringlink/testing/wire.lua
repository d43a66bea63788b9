--- A client's connections to a Ring in the same process: requests in, results out, as the transport's.
--
-- Each request is a coroutine on Ring's side: it waits there while a fault delays it, and goes on when
-- the client has given up, as a server would. Nothing leaves the process; whatever host a URL names, this
-- Ring answers.
-- Invariants: every ticket is told its last once: by an answer, by its time-out, or when it is closed.

local sinks = require "ringlink.sink"

local M = {}

local LATENCY_MS = 1
local PART_BYTES = 16384               -- what a sink is given at a time

---@class ringlink.testing.Wire
---@field time ringlink.testing.Time
---@field serve fun(request: table): table? yields how many ms it waits; nil: no answer
---@field config table         as the transport takes it
---@field calls table<integer, table> those under way
local Wire = {}
Wire.__index = Wire

--- Connections to a Ring.
---@param time ringlink.testing.Time
---@param serve fun(request: table): table? yields how many ms it waits; nil: no answer
---@param config table
---@return ringlink.testing.Wire
function M.new(time, serve, config)
  return setmetatable({ time = time, serve = serve, config = config, calls = {}, started = 0, in_flight = 0 }, Wire)
end

-- As Ring sees it -----------------------------------------------------------------------------

local function request_for_ring(request)
  local authority, target = request.url:match("^%a[%w+.-]*://([^/?#]*)([^#]*)")
  local headers = { host = authority }
  for _, line in ipairs(request.headers or {}) do
    local name, value = line:match("^([^:]+):%s*(.-)%s*$")
    headers[name:lower()] = value
  end
  if target:sub(1, 1) ~= "/" then target = "/" .. target end
  return { method = request.method, target = target, headers = headers, body = request.body or "",
    connection = 1, http = "2" }
end

-- As the client sees it -----------------------------------------------------------------------

local function finish(self, call, result)
  if not self.calls[call.ticket] then return end
  self.calls[call.ticket] = nil
  self.in_flight = self.in_flight - 1
  if call.patience then self.time:drop(call.patience) end
  self.time:tell(call.ticket, result)
end

local function result_of(self, call, fields)
  fields.sent, fields.reused = true, call.reused
  fields.time_ms = self.time.mono_ms - call.began_ms
  return fields
end

local function fail(self, call, code, detail)
  finish(self, call, result_of(self, call, { error = code, detail = detail }))
end

local BODILESS = { [204] = true, [304] = true }

local function body_of(call, reply)
  if call.request.method == "HEAD" or BODILESS[reply.status] then return "" end
  return reply.body .. (" "):rep(reply.pad_bytes or 0)
end

local function answer_of(self, call, reply, body)
  local headers = {}
  for name, value in pairs(reply.headers) do headers[name:lower()] = tostring(value) end
  if not reply.pad_bytes and not BODILESS[reply.status] then headers["content-length"] = ("%d"):format(#reply.body) end
  return result_of(self, call, { status = reply.status, headers = headers, http = "2", body = body })
end

local function cut_off(self, call)
  fail(self, call, "network", "the answer broke off")
end

-- There whole or not at all, as the transport does it.
local function write_file(path, body)
  local beside = path .. ".part"
  local file, problem = io.open(beside, "wb")
  if not file then return nil, problem end
  local written = file:write(body) and file:close()
  if written and os.rename(beside, path) then return true end
  os.remove(beside)
  return nil, "the file cannot be written"
end

local function into_file(self, call, reply, body)
  if reply.cut then return cut_off(self, call) end
  local ok, problem = write_file(call.request.sink_path, body)
  if not ok then return fail(self, call, "sink_failed", problem) end
  local result = answer_of(self, call, reply, "")
  result.written = #body
  finish(self, call, result)
end

-- The next part for a function; the client asks for each that follows.
local function pour(self, call)
  local from = call.poured + 1
  local upto = math.min(call.poured + PART_BYTES, #call.body)
  call.poured = upto
  local result = answer_of(self, call, call.reply, call.body:sub(from, upto))
  if upto < #call.body or call.reply.cut then
    result.more = true
    return self.time:tell(call.ticket, result, true)
  end
  finish(self, call, result)
end

local function into_function(self, call, reply, body)
  call.reply, call.poured = reply, 0
  if call.patience then self.time:drop(call.patience) end
  call.body = reply.cut and body:sub(1, math.floor(#body / 2)) or body
  pour(self, call)
end

local function into_memory(self, call, reply, body)
  if #body > (call.request.response_bytes_max or self.config.response_bytes_max) then
    return fail(self, call, "response_too_large", "the answer is too large")
  end
  if reply.cut then return cut_off(self, call) end
  finish(self, call, answer_of(self, call, reply, body))
end

local function answer(self, call, reply)
  if not self.calls[call.ticket] then return end
  if not reply then return fail(self, call, "network", "the connection ended without an answer") end
  local request, body = call.request, body_of(call, reply)
  local pours = request.stall_ms and sinks.is_success(reply)
  if not pours then return into_memory(self, call, reply, body) end
  if request.sink_path then return into_file(self, call, reply, body) end
  into_function(self, call, reply, body)
end

-- In between ----------------------------------------------------------------------------------

local function wait_no_longer_than(self, call, ms)
  return self.time:after(ms, function()
    fail(self, call, "timeout", ("no answer within %d ms"):format(call.request.timeout_ms))
  end)
end

-- Ring's side: from one wait of it to the next, then the answer.
local function go_on(self, call, co, request)
  local ok, value = coroutine.resume(co, request)
  if not ok then error(debug.traceback(co, value), 0) end
  if coroutine.status(co) == "dead" then return answer(self, call, value) end
  call.patience = call.patience or wait_no_longer_than(self, call, call.request.timeout_ms - LATENCY_MS)
  self.time:after(value, function() go_on(self, call, co) end)
end

--- Sends a request, as a transport does.
---@param request table
---@return integer ticket
function Wire:start(request)
  local call = { ticket = self.time:ticket(), request = request, began_ms = self.time.mono_ms,
    reused = self.started > 0 }
  self.calls[call.ticket] = call
  self.started, self.in_flight = self.started + 1, self.in_flight + 1
  self.time:after(LATENCY_MS, function()
    go_on(self, call, coroutine.create(self.serve), request_for_ring(request))
  end)
  return call.ticket
end

--- Asks for the next part of an answer.
---@param ticket integer
---@return boolean open
function Wire:proceed(ticket)
  local call = self.calls[ticket]
  if not call then return false end
  if call.poured == #call.body and call.reply.cut then cut_off(self, call) else pour(self, call) end
  return true
end

--- Gives a request up; Ring may do it all the same.
---@param ticket integer
function Wire:cancel(ticket)
  local call = self.calls[ticket]
  if call then finish(self, call, { error = "cancelled", detail = "the call was cancelled", sent = true }) end
end

--- Gives up everything that is under way.
function Wire:close()
  local open = {}
  for ticket in pairs(self.calls) do open[#open + 1] = ticket end
  table.sort(open)
  for _, ticket in ipairs(open) do self:cancel(ticket) end
end

--- Counts, as a transport's.
---@return table
function Wire:stats()
  return { started = self.started, reused = math.max(0, self.started - 1), connections = math.min(1, self.started),
    in_flight = self.in_flight }
end

return M
