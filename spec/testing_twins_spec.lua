-- The Ring inside the process and the one under nginx are one: what becomes of a scenario is the same with
-- both, as a client sees it and as Ring does.

local core = require "ringlink.core"
local twins = require "support.twins"
local world = require "support.world"

local SHORT = { timeout_ms = 300 }                   -- for what nobody answers: under nginx that is real time

local function plain(p)
  local link, visit = p:linked()
  p:note("link", link)
  p:note("again", p:link(visit))
  p:note("devices", link.account:get("/v1/devices", { include = "status" }))
end

local scenarios = { plain = plain }

scenarios["a code twice"] = function(p)
  local visit = p:install()
  p:note("first", p.client:exchange(visit.code))
  p:note("second", p.client:exchange(visit.code))
  p:note("strange", p.client:exchange("sandbox-code-that-nobody-made"))
end

scenarios["a code after a minute"] = function(p)
  local visit = p:install()
  p.pass(61000)
  p:note("exchange", p.client:exchange(visit.code))
end

for name, offset_ms in pairs { old = -601000, ["of the future"] = 120000 } do
  scenarios["a link that is " .. name] = function(p)
    local visit = p:install { time_offset_ms = offset_ms }
    assert(p.client:exchange(visit.code))
    p:note("link", p:link(visit))
  end
end

scenarios["a nonce that expires on the way"] = function(p)
  local visit = p:install()
  assert(p.client:exchange(visit.code))
  p.control("clock", { advance_ms = 700000 })
  p:note("link", p:link(visit))
end

scenarios["a hook that fails, and the link again"] = function(p)
  local visit = p:install()
  assert(p.client:exchange(visit.code))
  local off = p.client:on("configure", function() error("no space left") end)
  p:note("link", p:link(visit))
  off()
  p:note("again", p:link(visit))
end

scenarios["a pause"] = function(p)
  local link = p:linked()
  p:note("pause", p.client:update(link.account, { status = "awaiting" }))
  p:note("complete", p.client:complete(link.account))
end

scenarios["a user who removes the app"] = function(p)
  local link, visit = p:linked()
  p.control("unlink", { account = visit.account })
  p:note("devices", link.account:get("/v1/devices"))
end

scenarios["an integration that is gone"] = function(p)
  local link, visit = p:linked()
  p.control("unlink", { account = visit.account, keep_tokens = true })
  p:note("pause", p.client:update(link.account, { status = "awaiting" }))
end

scenarios["tokens that expire"] = function(p)
  local link, visit = p:linked()
  p.control("expire", { account = visit.account })
  p:note("access", link.account:get("/v1/devices"))
  p.pass(5 * 3600 * 1000)
  p:note("hours later", link.account:get("/v1/devices"))
  p.control("expire", { account = visit.account, tokens = "both" })
  p:note("both", link.account:get("/v1/devices"))
end

scenarios["webhooks"] = function(p)
  local _, visit = p:linked()
  for _, signature in ipairs { "good", "wrong", "none" } do
    local one = p.control("webhook", { account = visit.account, type = "motion_detected", signature = signature })
    p:note(signature, p.client:webhook(one.body, one.signature))
    p:note("again", p.client:webhook(one.body, one.signature))
  end
  local gone = p.control("webhook", { account = visit.account, type = "app_integration_removed" })
  p:note("removed", p.client:webhook(gone.body, gone.signature))
end

local function first_device(account)
  return assert(account:get("/v1/devices")).data[1].id
end

scenarios["what a device has"] = function(p)
  local link = p:linked()
  local path = { "v1", "devices", first_device(link.account) }
  local function at(...) return { path[1], path[2], path[3], ... } end
  p:note("one", link.account:request { method = "GET", path = at() })
  p:note("status", link.account:request { method = "GET", path = at("status") })
  p:note("image", link.account:request { method = "POST", path = at("media", "image", "download"), follow = true })
  local head = assert(link.account:request { method = "HEAD", path = "/v1/devices" })
  p:note("head", head)
  p:note("its body", head.body)
  p:note("no such", link.account:request { method = "GET", path = { "v1", "devices", "none" } })
  p:note("no call", link.account:request { method = "GET", path = "/v2/anything" })
end

for _, form in ipairs { "path", "name", "absolute", "elsewhere" } do
  scenarios["a session, named by " .. form] = function(p)
    p.control("variant", { whep_location = form })
    local link = p:linked()
    local path = { "v1", "devices", first_device(link.account), "media", "streaming", "whep", "sessions" }
    local session = assert(link.account:request { method = "POST", path = path, body = "v=0\r\n",
      headers = { ["Content-Type"] = "application/sdp" } })
    p:note("session", session)
    p:note("has a place", session.location ~= nil)
    if session.location then p:note("end", link.account:request { method = "DELETE", path = session.location }) end
  end
end

scenarios["a clip"] = function(p)
  p.control("variant", { video_bytes = 100000 })
  local link = p:linked()
  local path = { "v1", "devices", first_device(link.account), "media", "video", "download" }
  for _, range in ipairs { "bytes=0-99", "bytes=99990-", "bytes=200000-" } do
    p:note(range, link.account:request { method = "POST", path = path, json = {}, headers = { Range = range } })
  end
  local bytes = 0
  local answer = assert(link.account:request { method = "POST", path = path, json = {},
    sink = function(part) bytes = bytes + #part end })
  p:note("status", answer.status)
  p:note("bytes", bytes)
  p:note("written", answer.written)
  p:note("refused", link.account:request { method = "POST", path = path, json = {},
    sink = function() return false, "enough" end })
  local file = os.tmpname()
  p:note("file", assert(link.account:request { method = "POST", path = path, json = {}, sink = file }).written)
  local handle = assert(io.open(file, "rb"))
  p:note("hash", core.hex(core.sha256(handle:read("*a"))))
  handle:close()
  p.control("faults", { call = "video", kind = "cut" })
  p:note("cut", link.account:request { method = "POST", path = path, json = {}, sink = file })
  os.remove(file)
end

scenarios["an answer that is too large"] = function(p)
  local link = p:linked()
  p.control("faults", { call = "devices", kind = "huge" })
  p:note("devices", link.account:get("/v1/devices"))
end

scenarios["pages"] = function(p)
  local link = p:linked()
  local seen = 0
  local path = { "v1", "history", "devices", first_device(link.account), "events" }
  for page in link.account:pages(path) do seen = seen + #page.data end
  p:note("events", seen)
end

for name, value in pairs { wrapped = true, me_refusal = 401, devices = "after", awaiting = "redirect",
  old_refresh = "grace", pages = "ends" } do
  scenarios[("variant %s = %s"):format(name, tostring(value))] = function(p)
    p.control("variant", { [name] = value })
    plain(p)
  end
end

local KINDS = { "400", "401", "403", "404", "429", "500", "503", "429 after", "500 after", "lost", "dropped", "timeout",
  "html", "truncated", "cut", "empty" }

for _, call in ipairs { "token", "me", "confirm", "complete", "devices" } do
  for _, kind in ipairs(KINDS) do
    scenarios[call .. ": " .. kind] = function(p)
      p.control("faults", { call = call, kind = kind })
      local visit = p:install()
      local account, err = p.client:exchange(visit.code)
      p:note("exchange", account, err)
      if not account then return p:note("again", p.client:exchange(visit.code)) end
      local link, problem = p:link(visit)
      p:note("link", link, problem)
      p:note("again", p:link(visit))
      p:note("devices", account:get("/v1/devices"))
    end
  end
end

for _, kind in ipairs { "400", "401", "429", "500", "lost", "dropped", "html", "truncated" } do
  scenarios["refresh: " .. kind] = function(p)
    local link = p:linked()
    p.control("faults", { call = "refresh", kind = kind })
    p:note("refresh", link.account:refresh { force = true })
    p:note("devices", link.account:get("/v1/devices"))
  end
end

scenarios["what fails for ever"] = function(p)
  local link = p:linked()
  p.control("faults", { call = "devices", kind = "503", count = "always", retry_after = 2 })
  p:note("devices", link.account:get("/v1/devices"))
end

describe("the Ring in the process and the one under nginx #network #ownstore", function()
  local w

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function() w:reset() end)

  local names = {}
  for name in pairs(scenarios) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    it("agree about " .. name, function()
      local options = name:find("timeout", 1, true) and SHORT or {}
      local there = twins.play(twins.nginx(w, options), scenarios[name])
      assert.same(there, twins.play(twins.inside(options), scenarios[name]))
    end)
  end
end)
