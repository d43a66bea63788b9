-- Clips inside somebody else's event loop: others go on while a sink takes its time, and a coroutine that
-- the loop drops takes its transfer with it.

local hosts = require "support.hosts"
local world = require "support.world"

local CLIP_BYTES = 3 * 1024 * 1024
local TURN_S = 0.002
local TURNS_MAX = 10000

describe("sinks in the event loop of #network", function()
  local w

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    assert(w.ring:control("variant", { video_bytes = CLIP_BYTES }))
  end)

  local function start(functions)
    local client = w:client { runtime = functions }
    local account = w:linked(client).account
    local path = { "v1", "devices", assert(account:get("/v1/devices")).data[1].id, "media", "video", "download" }
    return client, function(sink) return account:request { method = "POST", path = path, sink = sink } end
  end

  local function await(host, is_so)
    for _ = 1, TURNS_MAX do
      if is_so() then return end
      host.sleep(TURN_S)
    end
    error("this never happened")
  end

  local function drop_one(host, name)
    local hang = name == "luv" and coroutine.yield or function() host.sleep(3600) end
    host.run(function(functions)
      local client, clip = start(functions)
      local parts = 0
      host.abandon(function()
        clip(function()
          parts = parts + 1
          hang()
        end)
      end, function() return parts == 1 end)
      await(host, function()
        collectgarbage()
        return client:open_transport():stats().in_flight == 0
      end)
      assert.equal(1, parts)
    end)
  end

  for _, name in ipairs { "cqueues", "luv" } do
    local host = hosts[name]

    it(name .. " goes on while one waits in its own way", function()
      host.run(function(functions)
        local _, clip = start(functions)
        local bytes, turn = 0, nil
        host.spawn(function()
          await(host, function() return turn == "other" end)
          turn = "sink"
        end)
        local answer = assert(clip(function(part)
          turn = turn or "other"
          await(host, function() return turn == "sink" end)
          bytes = bytes + #part
        end))
        assert.same({ CLIP_BYTES, CLIP_BYTES }, { answer.written, bytes })
      end)
    end)

    if host.abandon then
      it(name .. " may drop the coroutine of one", function() drop_one(host, name) end)
    end
  end
end)
