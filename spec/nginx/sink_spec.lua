-- Clips in a worker: it goes on while they come, ends when they have, and forgets those whose client
-- went away.

local core = require "ringlink.core"
local nginx_stage = require "support.nginx_stage"
local shell = require "support.shell"

local CLIP_BYTES = 8 * 1024 * 1024
local LOOKS_MS = 1600

describe("a clip in a worker #network #nginx", function()
  local stage = nginx_stage.of_this_file()
  local host, account

  before_each(function()
    host = stage:start { http = "lua_check_client_abort on;" }
    account = stage:linked()
    assert(stage.w.ring:control("variant", { video_bytes = CLIP_BYTES }))
  end)

  local function go() return stage.directory .. "/go" end
  local function release() shell.write(go(), "") end
  local function start_slow() return host:start("clip_slow", { account = account, file = go() }) end

  local function wait_for_part()
    host:wait_until("a part", function() return host:call("parts").parts == 1 end)
  end

  it("goes into a file", function()
    local path = stage.directory .. "/clip.mp4"
    local answer = host:call("clip_file", { account = account, file = path })
    assert.equal(CLIP_BYTES, answer.written, answer.message)
    assert.equal(CLIP_BYTES, #shell.read(path))
    host:stop()
  end)

  it("waits for a slow function, and nobody waits for that", function()
    local slow = start_slow()
    wait_for_part()
    assert.equal(2, host:call("devices", { account = account }).count)
    assert.equal(1, host:call("parts").in_flight)
    release()
    local answer = host:result(slow).json
    assert.same({ CLIP_BYTES, CLIP_BYTES }, { answer.written, answer.given })
    host:stop()
  end)

  it("comes to its end when the worker is to end", function()
    local slow = start_slow()
    wait_for_part()
    local old = host:workers()[1]
    host:signal("HUP")
    host:wait_until("the new worker", function() return host:call("parts").pid ~= old end)
    local until_ms = core.monotonic_ms() + LOOKS_MS      -- the old one looks whether it may end
    host:wait_until("its looks", function() return core.monotonic_ms() > until_ms end)
    assert.is_false(host:has_arrived(slow))
    release()
    local answer = host:result(slow).json
    assert.equal(CLIP_BYTES, answer.given, answer.message)
    host:stop()
  end)

  it("is given up when its client goes away", function()
    local slow = start_slow()
    wait_for_part()
    host:abort(slow)
    host:wait_until("the aborted request", function() return host:call("seen").aborted == 1 end)
    host:wait_until("the end of the transfer", function()
      host:call("collect")
      return host:call("parts").in_flight == 0
    end)
    assert.equal(1, host:call("parts").parts)
    host:stop()
  end)

  it("holds up no end of its worker once its client went away", function()
    local slow = start_slow()
    wait_for_part()
    host:abort(slow)
    host:wait_until("the aborted request", function() return host:call("seen").aborted == 1 end)
    host:stop()
  end)

  it("is believed to be abandoned when it looks so twice in the same wait", function()
    assert.same({ true, false, true, false }, host:call("doubts").looks)
    host:stop()
  end)
end)
