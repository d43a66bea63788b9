--- A Ring of a few lines for clients of support.offline: every call is answered in place, by a
--- function that the test may change, and the clock stays the test's own.
--
--   local ring = answers.serve(client)
--   ring.on.confirm = function(n) return { status = 503 } end        -- n: how often it was called
--   assert.same({ "confirm", "complete" }, ring.calls)
--
-- Calls are token, refresh, me, confirm, complete, pause, update, devices. An answer is fields of a
-- transport's result, with `json` in place of `body`; nil is what Ring says when all is well.

local json = require "ringlink.json"
local ringlink = require "ringlink"

local M = {}

local TURNS_MAX = 5000

--- Lets other tasks run until something holds; fails when it never does.
function M.wait_until(what, holds)
  for _ = 1, TURNS_MAX do
    if holds() then return end
    ringlink.sleep(0.001)
  end
  error("waited in vain for " .. what)
end

local BY_STATUS = { completed = "complete", awaiting = "pause" }

local function name_of(request)
  if request.url:find("/oauth/token", 1, true) then
    return request.body:find("refresh_token", 1, true) and "refresh" or "token"
  elseif request.url:find("/users/me", 1, true) then
    return "me"
  elseif request.url:find("/app-integrations", 1, true) then
    if request.method == "POST" then return "confirm" end
    return BY_STATUS[json.decode(request.body).status or ""] or "update"
  end
  return "devices"
end

local function tokens(n)
  return { access_token = "served-access-" .. n, refresh_token = "served-refresh-" .. n, expires_in = 14400 }
end

local function well(ring)
  return {
    token = tokens, refresh = tokens,
    me = function() return { data = { id = ring.account, attributes = {} } } end,
    confirm = function() return { status = "awaiting" } end,
    complete = function() return { status = "completed" } end,
    pause = function() return { status = "awaiting" } end,
    update = function() return { status = "awaiting" } end,
    devices = function() return { data = {} } end,
  }
end

local function answer(ring, request)
  local name = name_of(request)
  ring.calls[#ring.calls + 1] = name
  local n = ring:count(name)
  local given = ring.on[name] and ring.on[name](n, request) or {}
  local result = { headers = { ["content-type"] = "application/json" }, sent = true, time_ms = 1, http = "1.1" }
  for field, value in pairs(given) do result[field] = value end
  if not result.error then
    result.status = result.status or 200
    result.body = result.body or assert(json.encode(given.json or ring.well[name](n)))
  end
  return result
end

--- Answers a client's calls from now on; clients that share a `ring` share its Ring.
function M.serve(client, ring)
  ring = ring or { calls = {}, on = {}, account = "ring-1" }
  ring.well = well(ring)
  function ring.count(_, name)
    local n = 0
    for _, one in ipairs(ring.calls) do n = one == name and n + 1 or n end
    return n
  end
  local sent
  client.open_transport = function()
    return { start = function(_, request)
      sent = request
      return 1
    end }
  end
  client.runtime.await = function() return answer(ring, sent) end
  return ring
end

--- The answer to a call that Ring refuses.
function M.refusal(status, title)
  return { status = status, json = { errors = { { title = title } } } }
end

--- OAuth's own form of it.
function M.invalid_grant()
  return { status = 400, json = { error = "invalid_grant" } }
end

return M
