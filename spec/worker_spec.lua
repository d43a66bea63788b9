-- The threads that carry requests and jobs, from a program that does nothing else than read their
-- wake: what they give is what core.transport and core.store_sqlite give. What C makes fail is in
-- spec/core/test_wake.c and test_worker*.c.

local carriers = require "support.carriers"
local children = require "support.child"
local core = require "ringlink.core"
local raw_server = require "support.raw_server"
local shell = require "support.shell"
local stores = require "support.stores"
local transfers = require "support.transfers"
local world = require "support.world"

describe("a worker", function()
  local loop, server

  before_each(function() loop = carriers.open() end)

  after_each(function()
    carriers.stop_all()
    transfers.close_all()
    stores.remove_all()
    if server then server:stop() end
    server = nil
  end)

  --- Answers everything: 200, with the method and body it got.
  local function serve_echo()
    server = raw_server.start(raw_server.each_request(function(connection, request)
      connection:answer(200, request.method .. " " .. request.body, { "X-One: 1", "x-one: 2" })
    end))
  end

  local function post(body)
    return { method = "POST", url = server.url .. "/", body = body, headers = { "X-A: b" } }
  end

  local function there(path) return shell.succeeds("test -e " .. shell.quote(path)) end

  describe("'s wake", function()
    it("listens in a private folder until somebody came", function()
      local wake = core.wake()
      local path = wake:path()
      local folder = path:match("^(.*)/[^/]+$")
      assert.equal(tonumber("700", 8), core.file_mode(folder))
      assert.same({ nil, "connect", "nobody has connected" }, { wake:accept() })
      wake:close()
      assert.is_nil(wake:path())
      assert.is_false(there(folder))
      assert.same({ nil, "closed", "the wake is closed" }, { wake:accept() })
      wake:close()
    end)

    it("leaves nothing behind when it is collected", function()
      local path = core.wake():path()
      collectgarbage()
      collectgarbage()
      assert.is_false(there(path:match("^(.*)/[^/]+$")))
    end)

    it("is accepted once", function()
      assert.is_nil(loop.wake:path())
      assert.equal("closed", select(2, loop.wake:accept()))
    end)

    it("goes on as long as a worker has it", function()
      serve_echo()
      local worker = loop:transport()
      loop.wake = { close = function() end } -- the userdata is collected
      collectgarbage()
      collectgarbage()
      assert.equal(200, loop:call(worker, post("x"), server).status)
    end)

    it("is told of by the end of the connection when it is closed", function()
      local worker = loop:transport()
      loop.wake:close()
      assert.is_nil(loop:read(10))
      assert.has_error(function() core.transport_worker({}, loop.wake) end)
      worker:close()
    end)

    it("can be rung by the loop itself", function()
      loop.wake:signal()
      assert.equal(1, loop:read(10))
      loop.wake:close()
      loop.wake:signal()
    end)

    it("must be one", function()
      assert.has_error(function() core.transport_worker({}) end)
      assert.has_error(function() core.store_worker({ path = "x", client_id = "a" }, {}) end)
    end)
  end)

  describe("with a transport", function()
    --- Without what differs from one exchange to the next.
    local function settled(result)
      result.time_ms = nil
      return result
    end

    it("answers as a transport does", function()
      serve_echo()
      local direct = transfers.open()
      local worker = loop:transport()
      for _, request in ipairs({ post("one"), post(""), { method = "GET", url = server.url .. "/a?b=c" },
        { method = "HEAD", url = server.url } }) do
        assert.same(settled(transfers.call(direct, server, request)), settled(loop:call(worker, request, server)))
      end
      local counts = worker:stats()
      assert.same({ 0, 0, 0 }, { counts.queued, counts.at_work, counts.done })
      counts.queued, counts.at_work, counts.done = nil, nil, nil
      assert.same(direct:stats(), counts)
      local nowhere = { method = "GET", url = "http://127.0.0.1:" .. raw_server.free_port() }
      local expected = settled(transfers.call(direct, nil, nowhere))
      local got = settled(loop:call(worker, nowhere))
      expected.detail, got.detail = expected.detail:gsub("%d+ ms", ""), got.detail:gsub("%d+ ms", "")
      assert.same(expected, got)
    end)

    it("refuses what a transport refuses, in its words", function()
      local direct = transfers.open()
      local worker = loop:transport()
      for _, request in ipairs({ { method = "BREW", url = "https://a.example" }, { method = "GET", url = "ftp://a" },
        { method = "GET", url = "https://a.example", headers = { "A: b\r\nC: d" } } }) do
        local refusal = { direct:start(request) }
        assert.is_nil(refusal[1])
        assert.same(refusal, { worker:start(request) })
      end
      for _, wrong in ipairs({ {}, { method = "GET" }, { method = "GET", url = "https://a", more = 1 } }) do
        assert.has_error(function() worker:start(wrong) end)
      end
      assert.equal(0, worker:stats().started)
    end)

    it("knows a transport's options, and queue_max", function()
      assert.has_error(function() core.transport_worker({ queue = 1 }, loop.wake) end)
      assert.has_error(function() core.transport_worker({ queue_max = 0 }, loop.wake) end)
      assert.has_error(function() core.transport({ queue_max = 1 }) end)
      local none, code, detail = core.transport_worker({ ca_file = "/does/not/exist" }, loop.wake)
      assert.is_nil(none)
      assert.equal("invalid_option", code)
      assert.truthy(detail:find("ca_file", 1, true))
    end)

    it("takes no more than queue_max, those counted that nobody took", function()
      serve_echo()
      local worker = loop:transport({ queue_max = 2 })
      local first = assert(worker:start(post("a")))
      assert(worker:start(post("b")))
      assert.same({ nil, "busy", "the queue is full" }, { worker:start(post("c")) })
      loop:await(worker, first, server)
      assert.truthy(worker:start(post("c")))
    end)

    it("carries many at once, each answered once", function()
      serve_echo()
      local worker = loop:transport({ http_version = "1.1" })
      local bodies = {}
      for i = 1, 200 do bodies[assert(worker:start(post("b" .. i)))] = "POST b" .. i end
      for ticket, body in pairs(bodies) do assert.equal(body, loop:await(worker, ticket, server).body) end
      assert.equal(200, worker:stats().started)
      assert.equal(0, worker:stats().in_flight)
    end)

    it("cancels, and says what was sent", function()
      server = raw_server.start(function(connection)
        connection:read()
        connection:wait_closed()
      end)
      local worker = loop:transport()
      local ticket = worker:start(post("x"))
      while #server.requests == 0 do
        server:step()
        loop:read(0.005)
      end
      assert.is_true(worker:cancel(ticket))
      local result = loop:await(worker, ticket, server)
      assert.equal("cancelled", result.error)
      assert.is_true(result.sent)
      assert.is_false(worker:cancel(ticket))
      assert.has_error(function() worker:cancel("x") end)
    end)

    it("gives what was out when it is closed, and takes nothing new", function()
      serve_echo()
      local worker = loop:transport()
      local tickets = { worker:start(post("a")), worker:start(post("b")) }
      worker:close()
      worker:close()
      local none, code = worker:start(post("c"))
      assert.is_nil(none)
      assert.equal("closed", code)
      loop:collect()
      for _, ticket in ipairs(tickets) do assert.equal("cancelled", loop.results[worker][ticket].error) end
      assert.is_nil(worker:take())
      assert.is_false(worker:cancel(tickets[1]))
    end)
  end)

  describe("with a store", function()
    local ROW = { op = "put_if", key = "k", version = 0, state = "unclaimed", data = "d\0ta" }
    local JOBS = {
      { op = "get", key = "k" }, ROW, ROW, { op = "get", key = "k" }, { op = "find", state = "unclaimed" },
      { op = "unclaimed", change = 0 }, { op = "delete", key = "k", now_ms = 1 }, { op = "get", key = "k" },
      { op = "lease", key = "k" }, { op = "lease", key = "k", owner = "o", boot = "b", boot_ms = 1, ttl_ms = 5 },
      { op = "event_add", key = "e", received_ms = 1, data = "" }, { op = "event_pending", limit = 5 },
      { op = "meta_add", kind = "file", key = "m", data = "1" }, { op = "meta_get", kind = "file", key = "m" },
    }

    local function settings(more)
      local options = { path = stores.new_path(), client_id = "app" }
      for name, value in pairs(more or {}) do options[name] = value end
      return options
    end

    it("answers as a store does", function()
      local direct = assert(core.store_sqlite(settings()))
      local worker = loop:store(settings())
      for _, job in ipairs(JOBS) do
        local expected = direct:run({ job })[1]
        assert.same(expected, loop:call(worker, job), job.op)
      end
      direct:close()
    end)

    it("answers many jobs at once, each once and in order", function()
      local options = settings()
      local worker = loop:store(options)
      local last
      for i = 1, 1000 do
        last = assert(worker:start({ op = "put_if", key = "k" .. i, version = 0, data = "d" }))
      end
      loop:await(worker, last)
      for ticket = 1, last do assert.is_true(loop.results[worker][ticket].yes) end
      worker:close()
      local direct = assert(core.store_sqlite(options))
      assert.equal(1000, #direct:run({ { op = "find" } })[1].entries)
      direct:close()
    end)

    it("refuses wrong jobs at the caller's line", function()
      local worker = loop:store(settings())
      local job_errors = {
        { { op = "drop" }, "op: unknown" }, { {}, "op: string expected" },
        { { op = "get", key = 1 }, "key: string expected" },
        { { op = "get", now_ms = 1.5 }, "now_ms: whole number expected" },
      }
      for _, case in ipairs(job_errors) do
        local ok, message = pcall(worker.start, worker, case[1])
        assert.is_false(ok)
        assert.truthy(message:find(case[2], 1, true), message)
        assert.is_nil(message:find("job", 1, true))
      end
      assert.has_error(function() worker:start("get") end)
    end)

    it("tells what is wrong with its options at once", function()
      for _, wrong in ipairs({ { path = "" }, { path = ":memory:" }, { client_id = "" } }) do
        local none, code = core.store_worker(settings(wrong), loop.wake)
        assert.is_nil(none)
        assert.equal("invalid_option", code)
      end
      assert.has_error(function() core.store_worker(settings({ queue_max = 0 }), loop.wake) end)
      assert.has_error(function() core.store_worker({ client_id = "app" }, loop.wake) end)
    end)

    it("tells what is wrong with the file by results, and tries again", function()
      local folder = stores.new_directory() .. "/later"
      local worker = loop:store(settings({ path = folder .. "/ringlink.db" }))
      local result = loop:call(worker, JOBS[1])
      assert.equal("store_error", result.error)
      assert.truthy(result.detail:find("folder", 1, true))
      assert.equal(0, result.sqlite_code)
      shell.run("mkdir " .. folder)
      assert.is_false(loop:call(worker, JOBS[1]).yes)
    end)

    it("takes no more than queue_max, those counted that nobody took", function()
      local worker = loop:store(settings({ queue_max = 2 }))
      local first = worker:start(ROW)
      assert(worker:scrub())
      assert.same({ nil, "busy", "the queue is full" }, { worker:start(ROW) })
      assert.same({ nil, "busy", "the queue is full" }, { worker:scrub() })
      loop:await(worker, first)
      assert.truthy(worker:scrub())
    end)

    it("says how many jobs were started and where those are that nobody took", function()
      local worker = loop:store(settings())
      assert.same({ started = 0, queued = 0, at_work = 0, done = 0 }, worker:stats())
      for _ = 1, 3 do worker:start(ROW) end
      worker:close()
      assert.same({ started = 3, queued = 0, at_work = 0, done = 3 }, worker:stats())
      worker:take()
      assert.equal(2, worker:stats().done)
    end)

    it("scrubs", function()
      local options = settings()
      local worker = loop:store(options)
      loop:call(worker, { op = "put_if", key = "k", version = 0, data = "f1nd-m3" })
      worker:start({ op = "delete", key = "k", now_ms = 1 })
      assert.is_true(loop:await(worker, worker:scrub()).yes)
      for name, bytes in pairs(stores.files_beside(options.path)) do
        assert.is_nil(bytes:find("f1nd-m3", 1, true), name)
      end
    end)

    it("stores what was started before it is closed, or collected", function()
      local options = settings()
      local worker = loop:store(options)
      for i = 1, 500 do worker:start({ op = "put_if", key = "a" .. i, version = 0, data = "d" }) end
      worker:close()
      assert.equal("closed", select(2, worker:start(ROW)))
      assert.equal("closed", select(2, worker:scrub()))
      loop:collect()
      assert.is_true(loop.results[worker][500].yes)
      do
        local lost = core.store_worker(options, loop.wake)
        for i = 1, 500 do lost:start({ op = "put_if", key = "b" .. i, version = 0, data = "d" }) end
      end
      collectgarbage()
      collectgarbage()
      local direct = assert(core.store_sqlite(options))
      assert.equal(1000, #direct:run({ { op = "find" } })[1].entries)
      direct:close()
    end)
  end)

  it("has a thread of its own while it lives, and none afterwards", function()
    local function threads(name)
      local said = shell.run(("cat /proc/%d/task/*/comm"):format(core.process_id()))
      return select(2, said:gsub(name, ""))
    end
    local transport = loop:transport()
    local store = loop:store({ path = stores.new_path(), client_id = "app" })
    assert.equal(1, threads("ringlink%-http"))
    assert.equal(1, threads("ringlink%-store"))
    transport:close()
    store:close()
    assert.equal(0, threads("ringlink%-http"))
    assert.equal(0, threads("ringlink%-store"))
    assert(core.transport_worker({}, loop.wake))
    assert(core.store_worker({ path = stores.new_path(), client_id = "app" }, loop.wake))
    collectgarbage()
    collectgarbage()
    assert.equal(0, threads("ringlink%-%w+"))
  end)

  describe("in another process", function()
    --- Runs worker_child.lua to its end; returns its lines as a table.
    local function child(environment, ...)
      local words = {}
      for i, word in ipairs({ ... }) do words[i] = shell.quote(word) end
      local said = shell.run(("env LUA_PATH=%s LUA_CPATH=%s %s timeout 30 %s %s %s"):format(
        shell.quote(package.path), shell.quote(package.cpath), environment, children.interpreter(),
        "spec/support/worker_child.lua", table.concat(words, " ")))
      local lines = {}
      for name, value in said:gmatch("([%w_]+) ([^\n]+)\n") do lines[name] = value end
      return lines
    end

    it("is joined when the program ends, and loses no job", function()
      local path = stores.new_path()
      assert.same({ started = "501" }, child("", "leave", path))
      local direct = assert(core.store_sqlite({ path = path, client_id = "app" }))
      assert.equal(500, #direct:run({ { op = "find" } })[1].entries)
      direct:close()
    end)

    it("can be closed while a resolver never answers", function()
      local shim = stores.new_directory() .. "/silent_resolver.so"
      shell.run("cc -shared -fPIC -o " .. shell.quote(shim) .. " spec/support/silent_resolver.c -ldl")
      local told = child("ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD=" .. shell.quote(shim), "resolver")
      assert.same({ other = "200", cancelled = "cancelled", late = "timeout", closed = "cancelled",
        closed_sent = "false" }, told)
    end)
  end)
end)

describe("a worker #network", function()
  local w, loop

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function() loop = carriers.open() end)
  after_each(carriers.stop_all)

  it("speaks to Ring over TLS", function()
    local worker = loop:transport({ ca_file = w.ring.ca_file })
    local result = loop:call(worker, { method = "GET", url = w.ring.api_url .. "/v1/devices" })
    assert.equal(401, result.status)
    assert.equal("2", result.http)
    local distrusting = loop:transport()
    assert.equal("tls", loop:call(distrusting, { method = "GET", url = w.ring.api_url .. "/" }).error)
  end)
end)
