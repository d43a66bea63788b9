-- Answers that are not gathered: handed out in parts at their taker's pace, or written to a file.

local carriers = require "support.carriers"
local core = require "ringlink.core"
local cqueues = require "cqueues"
local raw_server = require "support.raw_server"
local shell = require "support.shell"
local transfers = require "support.transfers"

local PART_BYTES_MAX = 256 * 1024
local STALL_MS = 150
local CLIP = ("0123456789abcdef"):rep(4096)          -- 64 KiB

describe("transport", function()
  local server, directory, loop

  before_each(function() directory = shell.make_directory() end)

  after_each(function()
    transfers.close_all()
    carriers.stop_all()
    if server then server:stop() end
    server, loop = nil, nil
    shell.remove_directory(directory)
  end)

  local function take_out(results, ticket)
    local result = results[ticket]
    results[ticket] = nil
    return result
  end

  -- A way to run a transfer: the transport in this thread, and the one on a thread of its own.
  local KINDS = {}

  KINDS["in the caller's thread"] = function()
    local transport, results = transfers.open(), {}
    return transport, function(ticket)
      transfers.drive(transport, server, function()
        for number, result in transport.take, transport do results[number] = result end
        return results[ticket]
      end)
      return take_out(results, ticket)
    end
  end

  KINDS["on a thread of its own"] = function()
    loop = carriers.open()
    local worker = loop:transport()
    return worker, function(ticket)
      loop:await(worker, ticket, server)
      return take_out(loop.results[worker], ticket)
    end
  end

  local function head(status, length, more)
    return ("HTTP/1.1 %d Status\r\nContent-Length: %d\r\n%s\r\n"):format(status, length, more or "")
  end

  --- Serves one answer's pieces; what it wrote so far is in `server.written`.
  local function serve(first, ...)
    local pieces = { ... }
    server = raw_server.start(raw_server.each_request(function(connection)
      server.written = 0
      connection:write(first)
      for _, piece in ipairs(pieces) do
        connection:write(piece)
        server.written = server.written + #piece
      end
    end))
  end

  local function request(more)
    local r = { method = "GET", url = server.url .. "/clip", stall_ms = 10000 }
    for name, value in pairs(more or {}) do r[name] = value end
    return r
  end

  local function times(text, count)
    local list = {}
    for i = 1, count do list[i] = text end
    return (table.unpack or unpack)(list)
  end

  local function files() return shell.run("ls -A " .. shell.quote(directory)) end

  for kind, open in pairs(KINDS) do
    describe(kind, function()
      local transport, await

      local function take_all(ticket)
        local parts, result = {}, await(ticket)
        while result.more do
          parts[#parts + 1] = result
          assert(transport:proceed(ticket))
          result = await(ticket)
        end
        return parts, result
      end

      local function text_of(parts, last)
        local list = {}
        for i, part in ipairs(parts) do list[i] = part.body end
        return table.concat(list) .. (last.body or "")
      end

      it("hands out an answer in parts, the head with the first", function()
        serve(head(200, 20 * #CLIP, "X-One: 1\r\n"), times(CLIP, 20))
        transport, await = open()
        local parts, last = take_all(assert(transport:start(request())))
        assert.is_nil(last.error, last.detail)
        assert.truthy(#parts > 1)
        assert.equal(CLIP:rep(20), text_of(parts, last))
        for i, part in ipairs(parts) do
          assert.equal(200, part.status)
          assert.equal(i == 1 and "1" or nil, part.headers["x-one"])
          assert.truthy(#part.body > 0 and #part.body <= PART_BYTES_MAX)
        end
        assert.equal(0, transport:stats().in_flight)
      end)

      it("reads no more than a few parts ahead of who takes them", function()
        serve(head(200, 2000 * #CLIP), times(CLIP, 2000))
        transport, await = open()
        local ticket = assert(transport:start(request()))
        assert.is_true(await(ticket).more)
        for _ = 1, 200 do
          if transport.poll then transport:poll(1) end
          server:step()
        end
        local written = server.written
        assert.truthy(written < 500 * #CLIP, "written: " .. written)
        assert.is_true(transport:cancel(ticket))
        local last = await(ticket)
        assert.equal("cancelled", last.error)
        assert.is_nil(last.more)
        assert.is_false(transport:proceed(ticket))
      end)

      it("gathers what is no success", function()
        serve(head(404, 9), "no", "t ", "there")
        transport, await = open()
        local parts, last = take_all(assert(transport:start(request { sink_path = directory .. "/clip" })))
        assert.same({ 0, 404, "not there" }, { #parts, last.status, last.body })
        assert.is_nil(last.written)
        assert.equal("", files())
      end)

      it("bounds what it gathers", function()
        serve(head(500, 100), ("x"):rep(100))
        transport, await = open()
        local _, last = take_all(assert(transport:start(request { response_bytes_max = 10 })))
        assert.equal("response_too_large", last.error)
      end)

      it("tells an answer that breaks off, after the parts that came", function()
        server = raw_server.start(function(connection)
          connection:read()
          connection:write(head(200, 21 * #CLIP) .. CLIP:rep(20))
        end)
        transport, await = open()
        local parts, last = take_all(assert(transport:start(request())))
        assert.truthy(#parts > 0)
        assert.equal("network", last.error)
        assert.is_true(last.sent)
      end)

      -- So long that it would be given up for standing still.
      local function hesitate()
        local until_ms = core.monotonic_ms() + 3 * STALL_MS
        while core.monotonic_ms() < until_ms do
          if transport.poll then transport:poll(10) else core.sleep_ms(10) end
          server:step()
        end
      end

      local function rest_after(result, ticket)
        while result.more do
          assert(transport:proceed(ticket))
          result = await(ticket)
        end
        return result
      end

      it("counts no time while a part is out", function()
        serve(head(200, 20 * #CLIP), times(CLIP, 20))
        transport, await = open()
        local ticket = assert(transport:start(request { stall_ms = STALL_MS }))
        local result = await(ticket)
        assert.is_true(result.more)
        hesitate()
        assert.is_nil(rest_after(result, ticket).error)
      end)

      it("counts anew from then on", function()
        server = raw_server.start(function(connection)
          connection:read()
          connection:write(head(200, 8) .. "some")
          repeat cqueues.sleep(0.005) until server.go
          connection:write("more")
        end)
        transport, await = open()
        local ticket = assert(transport:start(request { stall_ms = STALL_MS }))
        local result = await(ticket)
        assert.equal("some", result.body)
        hesitate()
        assert(transport:proceed(ticket))
        server.go = true
        result = rest_after(await(ticket), ticket)
        assert.is_nil(result.error, result.detail)
      end)

      it("gives up when an answer stands still", function()
        server = raw_server.start(function(connection)
          connection:read()
          connection:write(head(200, 100) .. "some")
          connection:wait_closed()
        end)
        transport, await = open()
        local _, last = take_all(assert(transport:start(request { stall_ms = STALL_MS })))
        assert.equal("timeout", last.error)
      end)

      it("takes a byte now and then for standing still", function()
        server = raw_server.start(function(connection)
          connection:read()
          connection:write(head(200, 100))
          repeat
            connection:write("x")
            cqueues.sleep(STALL_MS / 5000)
          until server.tired
        end)
        transport, await = open()
        local parts, last = take_all(assert(transport:start(request { stall_ms = STALL_MS,
          sink_path = directory .. "/clip" })))
        server.tired = true
        assert.same({ 0, "timeout" }, { #parts, last.error })
      end)

      it("writes a file, and its name only when it is whole", function()
        local path = directory .. "/clip.mp4"
        shell.write(path, "old")
        serve(head(206, 20 * #CLIP), times(CLIP, 20))
        transport, await = open()
        local result = await(assert(transport:start(request { sink_path = path })))
        assert.same({ 206, "", 20 * #CLIP }, { result.status, result.body, result.written })
        assert.equal(CLIP:rep(20), shell.read(path))
        assert.equal(tonumber("600", 8), (core.file_mode(path)))
        assert.equal("clip.mp4\n", files())
      end)

      it("writes an empty file too", function()
        serve(head(200, 0))
        transport, await = open()
        local result = await(assert(transport:start(request { sink_path = directory .. "/empty" })))
        assert.equal(0, result.written)
        assert.equal("", shell.read(directory .. "/empty"))
      end)

      it("leaves the old file and nothing else when an answer breaks off or is given up", function()
        local path = directory .. "/clip.mp4"
        shell.write(path, "old")
        for _, way in ipairs { "breaks", "stalls", "cancelled" } do
          server = raw_server.start(function(connection)
            connection:read()
            connection:write(head(200, 2 * #CLIP) .. CLIP)
            if way ~= "breaks" then connection:wait_closed() end
          end)
          transport, await = open()
          local ticket = assert(transport:start(request { sink_path = path,
            stall_ms = way == "stalls" and STALL_MS or nil }))
          if way == "cancelled" then
            for _ = 1, 1000 do
              if files():find(".part", 1, true) then break end
              if transport.poll then transport:poll(1) else core.sleep_ms(1) end
              server:step()
            end
            assert.truthy(files():find(".part", 1, true))
            transport:cancel(ticket)
          end
          local result = await(ticket)
          assert.equal(({ breaks = "network", stalls = "timeout", cancelled = "cancelled" })[way], result.error)
          assert.same({ "old", "clip.mp4\n" }, { shell.read(path), files() })
          server:stop()
        end
      end)

      it("leaves nothing when it is closed meanwhile", function()
        server = raw_server.start(function(connection)
          connection:read()
          connection:write(head(200, 2 * #CLIP) .. CLIP)
          connection:wait_closed()
        end)
        transport = open()
        assert(transport:start(request { sink_path = directory .. "/clip" }))
        for _ = 1, 1000 do
          if files() ~= "" then break end
          if transport.poll then transport:poll(1) else core.sleep_ms(1) end
          server:step()
        end
        assert.truthy(files():find(".part", 1, true))
        transport:close()
        assert.equal("", files())
      end)

      it("gives back what is out when it is closed", function()
        serve(head(200, 100 * #CLIP), times(CLIP, 100))
        transport, await = open()
        local taken, waiting = assert(transport:start(request())), assert(transport:start(request()))
        await(taken)
        await(waiting)
        assert(transport:proceed(waiting))
        for _ = 1, 100 do
          if transport.poll then transport:poll(1) else core.sleep_ms(1) end
          server:step()
        end
        transport:close()
        assert.is_false(transport:proceed(taken))
        if loop then
          assert.equal("cancelled", await(taken).error)
          assert.equal("cancelled", await(waiting).error)
          assert.equal(0, transport:stats().in_flight)
        end
      end)
    end)
  end

  it("tells at once where no file can be", function()
    serve(head(200, 0))
    local transport = transfers.open()
    for path, complaint in pairs { [directory .. "/none/clip"] = "its directory cannot be opened",
      [directory] = "it is a directory", [directory .. "/"] = "a file's name is missing" } do
      assert.same({ nil, "sink_failed", complaint }, { transport:start(request { sink_path = path }) })
    end
    assert.has_error(function() transport:start { method = "GET", url = server.url, sink_path = "x" } end)
    assert.has_error(function() transport:start(request { sink_path = "a\0b" }) end)
  end)

  describe("keeps to public addresses when asked to", function()
    it("and then sends nothing to this machine", function()
      serve(head(200, 0))
      local transport = transfers.open()
      local result = transfers.call(transport, server, { method = "GET", url = server.url, public_only = true })
      assert.same({ "bad_response", "the address is not a public one", false },
        { result.error, result.detail, result.sent })
      assert.equal(0, #server.requests)
    end)

    it("not even over a connection that others use", function()
      serve(head(200, 0))
      local transport = transfers.open()
      assert.equal(200, transfers.call(transport, server, { method = "GET", url = server.url }).status)
      local result = transfers.call(transport, server, { method = "GET", url = server.url, public_only = true })
      assert.equal("bad_response", result.error)
      assert.equal(1, #server.requests)
    end)
  end)
end)
