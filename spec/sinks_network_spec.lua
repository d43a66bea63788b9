-- Clips that are not gathered: into a file or a function, whole, in part, by a redirect; and what a
-- function may do meanwhile.

local core = require "ringlink.core"
local readme = require "support.readme"
local ringlink = require "ringlink"
local shell = require "support.shell"
local world = require "support.world"

local CLIP_BYTES = 3 * 1024 * 1024
local LARGE_BYTES = 200 * 1024 * 1024
local HELD_KB_MAX = 16 * 1024

describe("sinks #network", function()
  local w, client, account, path, directory, target

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client = w:quick_client()
    account = w:linked(client).account
    local device = assert(account:get("/v1/devices")).data[1]
    path = { "v1", "devices", device.id, "media", "video", "download" }
    directory = shell.make_directory()
    target = directory .. "/clip.mp4"
    assert(w.ring:control("variant", { video_bytes = CLIP_BYTES }))
  end)
  after_each(function() shell.remove_directory(directory) end)

  local function clip(more)
    local spec = { method = "POST", path = path }
    for name, value in pairs(more or {}) do spec[name] = value end
    return account:request(spec)
  end

  local function whole_clip() return assert(clip({ timeout_ms = 20000 })).body end

  local function gather()
    local parts = {}
    return parts, function(part) parts[#parts + 1] = part end
  end

  local function files() return shell.run("ls -A " .. shell.quote(directory)) end

  local function in_flight() return client:open_transport():stats().in_flight end

  -- What was cancelled has ended; where a thread does it, soon.
  local function is_idle()
    for _ = 1, 1000 do
      if in_flight() == 0 then return true end
      ringlink.sleep(0.01)
    end
    return false
  end

  local function patient(more)
    client = w:client(more)
    account = w:linked(client, "user-2").account
    path[3] = assert(account:get("/v1/devices")).data[1].id
    w.ring:control("variant", { video_bytes = CLIP_BYTES, video = "direct" })
  end

  describe("that are files", function()
    it("hold the clip", function()
      client = w:quick_client { response_bytes_max = 2 * CLIP_BYTES }
      account = w:linked(client, "user-2").account
      path[3] = assert(account:get("/v1/devices")).data[1].id
      local expected = whole_clip()
      assert.equal(CLIP_BYTES, #expected)
      local answer = assert(clip { sink = target })
      assert.same({ 200, "", CLIP_BYTES }, { answer.status, answer.body, answer.written })
      assert.equal("video/mp4", answer.headers["content-type"])
      assert.is_true(expected == shell.read(target))
      assert.equal(tonumber("600", 8), (core.file_mode(target)))
    end)

    it("may be larger than an answer in memory", function()
      local none, err = clip()
      assert.is_nil(none)
      assert.equal("response_too_large", err.code)
      assert.equal(CLIP_BYTES, assert(clip { sink = target }).written)
    end)

    it("hold the part that was asked for, by a redirect too", function()
      for _, way in ipairs { "direct", "redirect" } do
        assert(w.ring:control("variant", { video = way }))
        local answer = assert(clip { sink = target, follow = true, headers = { Range = "bytes=4-7" } })
        assert.same({ first = 4, last = 7, total = CLIP_BYTES }, answer.range)
        assert.same({ 206, 4, "ftyp" }, { answer.status, answer.written, shell.read(target) })
      end
      assert.equal(1, w:count("presigned"))
      assert.is_nil(w:journal("presigned")[1].bearer)
    end)

    it("are fetched again when a pre-signed answer breaks off", function()
      assert(w.ring:control("variant", { video = "redirect" }))
      w:fault { call = "presigned", body = "cut" }
      assert.equal(CLIP_BYTES, assert(clip { sink = target, follow = true }).written)
      assert.equal(2, w:count("presigned"))
      assert.equal("clip.mp4\n", files())
    end)

    it("stay as they were when a clip breaks off", function()
      shell.write(target, "old")
      w:fault { call = "video", body = "cut" }
      local none, err = clip { sink = target }
      assert.is_nil(none)
      assert.equal("network", err.code)
      assert.same({ "old", "clip.mp4\n" }, { shell.read(target), files() })
      assert.equal(1, w:count("video"))
    end)

    it("stay as they were when Ring refuses", function()
      shell.write(target, "old")
      for _, fault in ipairs { { status = 404 }, { status = 425, title = "Too Early" }, { status = 403 } } do
        fault.call = "video"
        w:fault(fault)
        local none, err = clip { sink = target }
        assert.is_nil(none)
        assert.equal(fault.status, err.status)
      end
      assert.same({ "old", "clip.mp4\n" }, { shell.read(target), files() })
    end)

    it("are written once the access token was renewed", function()
      w:fault { call = "video", status = 401 }
      assert.equal(CLIP_BYTES, assert(clip { sink = target }).written)
      assert.equal(1, w:count("refresh"))
    end)
  end)

  describe("that are functions", function()
    it("are given the clip in order", function()
      local parts, sink = gather()
      local answer = assert(clip { sink = sink })
      assert.same({ 200, "", CLIP_BYTES }, { answer.status, answer.body, answer.written })
      assert.equal("video/mp4", answer.headers["content-type"])
      local text = table.concat(parts)
      assert.equal(CLIP_BYTES, #text)
      assert.truthy(#parts > 1)
      assert(clip { sink = target })
      assert.is_true(text == shell.read(target))
      assert.is_true(is_idle())
    end)

    it("are given nothing of a refusal, and of what is gathered to tell it", function()
      local parts, sink = gather()
      w:fault { call = "video", status = 404, detail = "gone" }
      local none, err = clip { sink = sink }
      assert.is_nil(none)
      assert.same({ "not_found", 0 }, { err.code, #parts })
      assert.truthy(tostring(err):find("gone", 1, true))
    end)

    it("are given nothing of a redirect", function()
      assert(w.ring:control("variant", { video = "redirect" }))
      local parts, sink = gather()
      assert.equal(CLIP_BYTES, assert(clip { sink = sink, follow = true }).written)
      assert.equal(CLIP_BYTES, #table.concat(parts))
    end)

    it("are given nothing twice: what breaks off is not begun again", function()
      assert(w.ring:control("variant", { video = "redirect" }))
      w:fault { call = "presigned", body = "cut", count = "always" }
      local parts, sink = gather()
      local none, err = clip { sink = sink, follow = true }
      assert.is_nil(none)
      assert.same({ "network", 1 }, { err.code, w:count("presigned") })
      assert.is_nil(err.ambiguous)
      assert.truthy(#table.concat(parts) < CLIP_BYTES)
    end)

    it("know of a POST whose clip breaks off that it was done", function()
      w:fault { call = "video", body = "cut" }
      local none, err = clip { sink = function() end }
      assert.is_nil(none)
      assert.same({ "network", 1 }, { err.code, err.attempts })
      assert.is_nil(err.ambiguous)
    end)

    for what, fn in pairs {
      ["says false"] = function() return false, "enough" end,
      ["raises"] = function() error("enough", 0) end,
    } do
      it("end the transfer when one " .. what, function()
        local count = 0
        local none, err = clip { sink = function()
          count = count + 1
          return fn()
        end }
        assert.is_nil(none)
        assert.same({ "cancelled", 1, "request" }, { err.code, count, err.stage })
        assert.equal("enough", err.cause)
        assert.truthy(tostring(err):find("enough", 1, true))
        assert.is_true(is_idle())
        assert.equal(2, #assert(account:get("/v1/devices")).data)
      end)
    end

    it("end the transfer when the program is interrupted in one", function()
      local ok, raised = pcall(clip, { sink = function() error("interrupted!", 0) end })
      assert.is_false(ok)
      assert.equal("interrupted!", raised)
      assert.is_true(is_idle())
    end)

    it("have a connection of their own, which holds up nobody's HTTP/2", function()
      local spoken = {}
      client:on("response", function(answer) spoken[answer.path] = answer.http end)
      assert(account:get("/v1/devices"))
      assert(clip { sink = function() end })
      assert.equal("2", spoken["/v1/devices"])
      for path_said, http in pairs(spoken) do assert.equal(path_said:find("video") and "1.1" or "2", http) end
    end)

    it("may make calls of their own meanwhile", function()
      local count = 0
      assert(clip { sink = function()
        count = count + #assert(account:get("/v1/devices")).data
      end })
      assert.truthy(count > 2)
    end)

    it("that are slow hold up nobody else, and time out nothing", function()
      patient { timeout_ms = 300 }
      local order = {}
      ringlink.run(function()
        ringlink.spawn(function()
          local first = true
          assert(clip { sink = function()
            if first then ringlink.sleep(0.9) end
            first = false
          end })
          order[#order + 1] = "clip"
        end)
        for _ = 1, 20 do assert(account:get("/v1/devices")) end
        order[#order + 1] = "devices"
      end)
      assert.same({ "devices", "clip" }, order)
    end)

    it("that stand where Ring falls silent are told of a time-out", function()
      patient { timeout_ms = 200 }
      w:fault { call = "video", delay_ms = 2000 }
      local parts, sink = gather()
      local none, err = clip { sink = sink }
      assert.is_nil(none)
      assert.same({ "timeout", 0 }, { err.code, #parts })
    end)

    it("in a task that its loop cancels are left alone, and the transfer with them", function()
      patient()
      local given = 0
      local ok, raised = pcall(ringlink.run, { on_error = "cancel" }, function()
        ringlink.spawn(function()
          clip { sink = function()
            given = given + 1
            ringlink.sleep(60)
          end }
        end)
        repeat ringlink.sleep(0.01) until given > 0
        error("over", 0)
      end)
      assert.is_false(ok)
      assert.truthy(tostring(raised):find("^over"))
      assert.equal(1, given)
      assert.is_true(is_idle())
    end)

    it("let go of a transfer whose coroutine was dropped", function()
      patient { runtime = "blocking" }
      local co = coroutine.create(function()
        clip { sink = function() coroutine.yield("part") end }
      end)
      assert.same({ true, "part" }, { coroutine.resume(co) })
      assert.equal(1, in_flight())
      co = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
      assert.is_true(is_idle())
    end)

    it("hold no more than a few parts, of 200 MB, however slow they are", function()
      w:fault { call = "video", body = "huge", bytes = LARGE_BYTES }
      local bytes, count, most_kb = 0, 0, 0
      collectgarbage()
      local before_kb, resident_kb = collectgarbage("count"), nil
      local function resident()
        return tonumber(shell.read("/proc/self/status"):match("VmRSS:%s*(%d+)"))
      end
      local answer = assert(clip { sink = function(part)
        bytes, count = bytes + #part, count + 1
        resident_kb = resident_kb or resident()
        if count % 64 == 0 then
          core.sleep_ms(1)
          collectgarbage()
          most_kb = math.max(most_kb, collectgarbage("count") - before_kb)
        end
      end })
      assert.equal(LARGE_BYTES + CLIP_BYTES, bytes)
      assert.equal(bytes, answer.written)
      assert.truthy(most_kb < HELD_KB_MAX, ("%.0f kB in Lua"):format(most_kb))
      local grown_kb = resident() - resident_kb
      if os.getenv("ASAN_OPTIONS") then return end       -- it keeps what was freed, to look for its use
      assert.truthy(grown_kb < 4 * HELD_KB_MAX, ("%.0f kB more in all"):format(grown_kb))
    end)
  end)

  it("do what the README shows", function()
    local said, viewer = {}, { offer = "v=0\r\n", bytes = "" }
    function viewer.send(_, bytes) viewer.bytes = viewer.bytes .. bytes end
    function viewer.answer(_, sdp) viewer.session = sdp end
    readme.example("clips", { account = account, device = { id = path[3] }, folder = directory, viewer = viewer,
      print = function(...) said[#said + 1] = table.concat({ ... }, " ") end })()
    assert.same({ CLIP_BYTES .. " bytes", "0 1023 " .. CLIP_BYTES }, said)
    assert.equal(1024, #viewer.bytes)
    assert.equal(shell.read(target):sub(1, 1024), viewer.bytes)
    assert.truthy(viewer.session:find("^v=0"))
    assert.same({ "POST", "DELETE" }, { w:journal("whep")[1].method, w:journal("whep")[2].method })
  end)

  describe("are typed:", function()
    it("206 says which part it is", function()
      local part = assert(clip { headers = { Range = "bytes=-3" } })
      assert.same({ first = CLIP_BYTES - 3, last = CLIP_BYTES - 1, total = CLIP_BYTES }, part.range)
      assert.equal(3, #part.body)
    end)

    it("416 says how much there is", function()
      local none, err = clip { sink = target, headers = { Range = "bytes=99999999-" } }
      assert.is_nil(none)
      assert.same({ "range_not_satisfiable", 416, CLIP_BYTES, false },
        { err.code, err.status, err.total_bytes, err.retryable })
      assert.equal("", files())
    end)

    it("425 says when to come again", function()
      assert(w.ring:control("variant", { video = "early" }))
      local none, err = clip { sink = target }
      assert.is_nil(none)
      assert.same({ "too_early", 425, 5, true }, { err.code, err.status, err.retry_after, err.retryable })
      assert.equal(1, w:count("video"))
    end)

    for _, value in ipairs { "bytes 1-2", "bytes a-b/c", "bytes 1-2/3x", "items 1-2/3",
      "bytes 1-2/" .. ("9"):rep(60) } do
      it("a Content-Range of " .. value:sub(1, 20) .. " says nothing", function()
        w:fault { call = "devices", status = 206, headers = { ["Content-Range"] = value } }
        assert.is_nil(assert(account:request { path = "/v1/devices" }).range)
      end)
    end

    it("a total that nobody knows is none", function()
      w:fault { call = "devices", status = 206, headers = { ["Content-Range"] = "bytes 1-2/*" } }
      assert.same({ first = 1, last = 2 }, assert(account:request { path = "/v1/devices" }).range)
    end)
  end)

  describe("live sessions", function()
    local function open()
      return assert(account:request { method = "POST", path = { "v1", "devices", path[3], "media", "streaming",
        "whep", "sessions" }, body = "v=0\r\n", headers = { ["Content-Type"] = "application/sdp" } })
    end

    for _, form in ipairs { "path", "name", "absolute" } do
      it("are closed by their location, given as " .. form, function()
        assert(w.ring:control("variant", { whep_location = form }))
        local session = open()
        assert.equal(201, session.status)
        assert.truthy(session.location:match("^/v1/devices/[^/]+/media/streaming/whep/sessions/[%x-]+$"))
        assert.equal(204, assert(account:request { method = "DELETE", path = session.location }).status)
      end)
    end

    it("have none that leads elsewhere", function()
      assert(w.ring:control("variant", { whep_location = "elsewhere" }))
      local session = open()
      assert.same({ 201, nil }, { session.status, session.location })
      assert.truthy(session.headers.location)
      assert.equal("Location leads elsewhere than to Ring", w.log[#w.log].message)
    end)
  end)
end)
