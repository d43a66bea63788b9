-- The options of `ringlink.new`: defaults, forms, bounds, where secrets come from, and that every
-- mistake is raised at the caller's line by a message that names the option and shows no secret.

local disks = require "support.disk"
local guard = require "ringlink.store.guard"
local offline = require "support.offline"
local ringlink = require "ringlink"
local shell = require "support.shell"
local swapped = require "support.swapped"

local SECRET = "planted-secret-QZ7"
local KEY = disks.key(1)

--- What `new` makes of one changed option.
local function with(name, value)
  return ringlink.new(offline.options({ [name] = value })).options
end

--- Asserts that an option is refused, at the caller's line, by a message that has these pieces.
local function refuses(name, value, ...)
  local options = offline.options()
  options[name] = value
  local text = offline.misuse(function() ringlink.new(options) end)
  assert.truthy(text:find("ringlink: option " .. name, 1, true), text)
  for _, piece in ipairs({ ... }) do assert.truthy(text:find(piece, 1, true), text) end
  assert.is_nil(text:find(SECRET, 1, true), text)
end

--- Asserts that changed options are refused at the caller's line, showing no key; returns the rest of
--- the message.
local function refused(changes)
  local options = offline.options(changes)
  local text = offline.misuse(function() ringlink.new(options) end)
  assert.is_nil(text:find(KEY:sub(1, 12), 1, true), text)
  return text
end

local function without(name)
  local options = offline.options()
  options[name] = nil
  return options
end

local files = {}

local function file_with(text)
  local path = os.tmpname()
  files[#files + 1] = path
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

describe("options", function()
  teardown(function()
    for _, path in ipairs(files) do os.remove(path) end
  end)

  describe("defaults", function()
    local options = ringlink.new({ client_id = "a", client_secret = "b", hmac_key = "c", store = "memory" }).options

    for name, value in pairs({ api_url = "https://api.amazonvision.com", oauth_url = "https://oauth.ring.com",
      environment = "production", runtime = "auto", connect_timeout_ms = 5000, timeout_ms = 20000,
      deadline_ms = 60000, max_attempts = 5, refresh_early_s = 300, refresh_interval_s = 86400,
      unclaimed_max_age_s = 2592000, clock_skew_s = 60, link_window_s = 600, rate_limit_per_s = 100,
      response_bytes_max = 1048576, allow_http_loopback = false, user_agent = "ringlink/" .. ringlink._VERSION }) do
      it("has " .. name, function() assert.equal(value, options[name]) end)
    end

    it("leaves the rest out", function()
      for _, name in ipairs({ "ca_file", "proxy", "client_cert", "client_key", "log" }) do
        assert.is_nil(options[name], name)
      end
    end)
  end)

  describe("the table", function()
    it("must be one", function()
      assert.truthy(offline.misuse(function() ringlink.new() end):find("table of options", 1, true))
      assert.truthy(offline.misuse(function() ringlink.new("memory") end):find("table of options", 1, true))
    end)

    it("is not changed", function()
      local given = offline.options()
      ringlink.new(given)
      assert.same(offline.options(), given)
    end)

    it("holds names, not a list", function()
      refuses(1, "memory", "is a table of names")
    end)

    for _, name in ipairs({ "client_id", "client_secret", "hmac_key", "store" }) do
      it("must have " .. name, function()
        local options = without(name)
        local text = offline.misuse(function() ringlink.new(options) end)
        assert.truthy(text:find("option " .. name .. " is required", 1, true), text)
      end)
    end

    for wrong, right in pairs({ client_ID = "client_id", clientid = "client_id", hmackey = "hmac_key",
      timeout = "timeout_ms", dead_line_ms = "deadline_ms", apiurl = "api_url", refresh_early = "refresh_early_s",
      max_atempts = "max_attempts", cafile = "ca_file", alow_http_loopback = "allow_http_loopback" }) do
      it("has no " .. wrong .. " but " .. right, function()
        refuses(wrong, "x", "is unknown; did you mean " .. right .. "?")
      end)
    end

    it("suggests none that is far away, but lists them all", function()
      for _, name in ipairs({ ("x"):rep(2 ^ 16), "", "retries", "ca" }) do
        refuses(name, "x", "is unknown; known are allow_http_loopback, clock, log, client_id, ")
      end
    end)
  end)

  describe("numbers", function()
    for _, name in ipairs({ "connect_timeout_ms", "timeout_ms", "deadline_ms", "max_attempts", "refresh_early_s",
      "refresh_interval_s", "unclaimed_max_age_s", "clock_skew_s", "link_window_s", "rate_limit_per_s",
      "response_bytes_max" }) do
      it(name .. " must be a number", function()
        refuses(name, "12", "must be a number")
        refuses(name, 0 / 0, "must be a number")
        refuses(name, {}, "must be a number")
      end)

      it(name .. " has bounds", function()
        refuses(name, -1, "must lie between")
        refuses(name, 1 / 0, "must lie between")
        refuses(name, -1 / 0, "must lie between")
      end)
    end

    it("are whole where parts make no sense", function()
      refuses("timeout_ms", 1.5, "must be a whole number")
      refuses("max_attempts", 2.5, "must be a whole number")
    end)

    it("may have parts where they do", function()
      assert.equal(0.5, with("rate_limit_per_s", 0.5).rate_limit_per_s)
    end)

    it("may have parts in a link's window, also when it is told", function()
      local client, clock = offline.client({ link_window_s = 90.5 })
      local redirect = offline.redirect(client, "ring-1")
      clock.advance(90501)
      local _, err = client:match(redirect)
      assert.equal("link_expired", err.code)
      assert.truthy(err.message:find("90.5 s old, 90.5 s are allowed", 1, true), err.message)
    end)

    it("reach from the least to the greatest", function()
      assert.equal(1, with("max_attempts", 1).max_attempts)
      assert.equal(16, with("max_attempts", 16).max_attempts)
      refuses("max_attempts", 17, "must lie between 1 and 16")
      refuses("rate_limit_per_s", 0, "must lie between 0.01 and 100000")
    end)

    it("never let a link's window grow beyond Ring's", function()
      refuses("link_window_s", 601, "must lie between 1 and 600")
    end)
  end)

  describe("text, booleans, functions", function()
    it("must be of their type", function()
      refuses("environment", 12, "must be text")
      refuses("user_agent", {}, "must be text")
      refuses("allow_http_loopback", "yes", "must be true or false")
      refuses("log", "stdout", "must be a function")
    end)

    it("are one line", function()
      refuses("user_agent", "a\r\nX-Evil: 1", "must be one line")
      refuses("user_agent", "a\0b", "must be one line")
      refuses("environment", "", "must be one line")
      refuses("user_agent", ("x"):rep(1025), "1 to 1024 bytes")
    end)

    it("name a runtime that is there", function()
      for _, name in ipairs({ "auto", "loop", "blocking", "cqueues", "luv" }) do
        assert.equal(name, with("runtime", name).runtime)
      end
      for _, wrong in ipairs({ "libuv", 1, true }) do
        refuses("runtime", wrong, "must be one of: auto, loop, blocking, ngx, cqueues, luv; or a table of an event "
          .. "loop's functions: wait_fd, sleep, spawn")
      end
    end)

    it("give a runtime as a table of an event loop's functions", function()
      local function fn() end
      local host = { wait_fd = fn, sleep = fn, spawn = fn }
      assert.equal(host, with("runtime", host).runtime)
      refuses("runtime", { sleep = fn, spawn = fn }, "lacks the function wait_fd(fd, seconds)")
      refuses("runtime", { wait_fd = fn, spawn = fn }, "lacks the function sleep(seconds)")
      refuses("runtime", { wait_fd = fn, sleep = fn, spawn = "x" }, "lacks the function spawn(fn)")
      for _, name in ipairs({ "condition", "running", "resume" }) do
        refuses("runtime", { wait_fd = fn, sleep = fn, spawn = fn, [name] = true },
          ("has a %s that is no function"):format(name))
      end
    end)
  end)

  describe("URLs", function()
    it("are https, and lose a slash at the end", function()
      assert.equal("https://ring.example:8443/base", with("api_url", "https://ring.example:8443/base//").api_url)
    end)

    for _, url in ipairs({ "ring.example", "/v1", "https://", "https://u:p@ring.example", "https://ring.example?x",
      "https://ring.example/#x", "https://ring .example", "" }) do
      it("are not like " .. ("%q"):format(url), function() refuses("api_url", url) end)
    end

    for _, url in ipairs({ "http://127.0.0.1:8080", "http://localhost", "http://[::1]:80" }) do
      it("may be " .. url .. " when that is allowed", function() assert.equal(url, with("api_url", url).api_url) end)

      it("may not be " .. url .. " otherwise", function()
        local options = offline.options({ allow_http_loopback = false, api_url = url, oauth_url = "https://x" })
        assert.truthy(offline.misuse(function() ringlink.new(options) end):find("option api_url must begin with https"))
      end)
    end

    it("may name this machine in capitals, which become what the transport knows", function()
      assert.equal("http://localhost:8080/Base", with("api_url", "HTTP://LocalHost:8080/Base/").api_url)
      assert.equal("https://Ring.example", with("api_url", "https://Ring.example").api_url)
    end)

    for _, url in ipairs({ "http://ring.example", "http://127.0.0.1.ring.example", "http://localhost.ring.example",
      "ftp://127.0.0.1", "http://[::1].ring.example", "http://localhost:x" }) do
      it("are never " .. url, function() refuses("oauth_url", url, "must begin with https://") end)
    end

    for _, url in ipairs({ "http://127.0.0.1@ring.example", "http://localhost?x", "http://127.0.0.1:80#f" }) do
      it("are never " .. url .. " either", function() refuses("oauth_url", url, "without user, query or fragment") end)
    end
  end)

  describe("files of certificates", function()
    it("must be readable", function()
      local path = file_with("x")
      assert.equal(path, with("ca_file", path).ca_file)
      refuses("ca_file", path .. ".missing", "cannot be read")
    end)

    it("come as a pair", function()
      refuses("client_cert", file_with("x"), "client_key must be given together")
    end)
  end)

  describe("secrets", function()
    it("are kept out of Lua's printing", function()
      local options = with("client_secret", SECRET)
      assert.equal("secret(****)", tostring(options.client_secret[1]))
      assert.equal(SECRET, options.client_secret[1]:reveal())
      assert.equal("hmac_key(****)", tostring(options.hmac_key))
    end)

    it("come from the environment", function()
      assert.equal(os.getenv("PATH"), with("client_secret", "env:PATH").client_secret[1]:reveal())
    end)

    it("come from a file, without the line end of its last line", function()
      assert.equal(SECRET, with("client_secret", "file:" .. file_with(SECRET .. "\n")).client_secret[1]:reveal())
      assert.equal(SECRET, with("client_secret", "file:" .. file_with(SECRET .. "\r\n")).client_secret[1]:reveal())
      assert.equal(SECRET, with("client_secret", "file:" .. file_with(SECRET)).client_secret[1]:reveal())
    end)

    it("may be a list, newest first", function()
      local list = with("client_secret", { "newest", "file:" .. file_with("older") }).client_secret
      assert.same({ "newest", "older" }, { list[1]:reveal(), list[2]:reveal() })
    end)

    it("verify with every key of the list and sign with the newest", function()
      local client = ringlink.new(offline.options({ hmac_key = { "newest", "older" } }))
      local older = ringlink.new(offline.options({ hmac_key = "older" })).options.hmac_key
      assert.is_true(client.options.hmac_key:verify("body", older:sign("body")))
      assert.is_false(older:verify("body", client.options.hmac_key:sign("body")))
    end)

    for _, name in ipairs({ "client_secret", "hmac_key" }) do
      describe("in " .. name, function()
        it("must be text", function()
          refuses(name, 12, "must be text")
          refuses(name, true, "must be text")
        end)

        it("must be there", function()
          refuses(name, "env:RINGLINK_SPEC_UNSET", "RINGLINK_SPEC_UNSET, which is not set")
          refuses(name, "env:", "not set")
          refuses(name, "file:" .. file_with("") .. ".missing", "cannot be read")
          refuses(name, "file:", "cannot be read")
          refuses(name, "file:" .. file_with(""), "1 to 4096 bytes")
          refuses(name, "", "1 to 4096 bytes")
        end)

        it("are one line of bounded length", function()
          refuses(name, SECRET .. "\nmore", "one line")
          refuses(name, SECRET .. "\0", "one line")
          refuses(name, "file:" .. file_with(SECRET .. "\nmore\n"), "one line")
          refuses(name, SECRET .. ("x"):rep(4096), "1 to 4096 bytes")
          refuses(name, "file:" .. file_with(SECRET .. ("x"):rep(10000)), "1 to 4096 bytes")
        end)

        it("are at most eight", function()
          refuses(name, {}, "1 to 8 values")
          refuses(name, { "1", "2", "3", "4", "5", "6", "7", "8", "9" }, "1 to 8 values")
          refuses(name, { "1", 2 }, name .. "[2]", "must be text")
        end)
      end)
    end

    it("show nothing when the client is printed", function()
      assert.equal("ringlink.client(production)", tostring(ringlink.new(offline.options())))
    end)
  end)

  describe("the clock", function()
    it("may be a table of three functions", function()
      local clock = offline.clock()
      assert.equal(clock, with("clock", clock).clock)
    end)

    it("may be a function that returns epoch seconds", function()
      local clock = with("clock", function() return 1771130906.289 end).clock
      assert.equal(1771130906289, clock.now_ms())
      assert.equal("function", type(clock.monotonic_ms))
      assert.equal("function", type(clock.sleep))
    end)

    it("is complete", function()
      for _, part in ipairs({ "now_ms", "monotonic_ms", "sleep" }) do
        local clock = offline.clock()
        clock[part] = nil
        refuses("clock", clock, "lacks the function " .. part)
      end
      refuses("clock", 12, "must be {now_ms, monotonic_ms, sleep} or a function")
    end)

    it("is the machine's by default, and each client's own", function()
      local one, other = ringlink.new(offline.options()).clock, ringlink.new(offline.options()).clock
      assert.not_equal(one, other)
      assert.truthy(one.now_ms() > 1.7e12)
    end)
  end)

  describe("the store", function()
    it("is one that this version has", function()
      for _, value in ipairs({ 12, true, "redis:x", "postgres:host=x", "", "sqlite", "Memory" }) do
        local text = refused({ store = value, store_key = KEY })
        assert.truthy(text:find('option store must be "sqlite:PATH", "memory", or a table', 1, true), text)
      end
    end)

    it("in a file must name one", function()
      for _, value in ipairs({ "sqlite:", "sqlite:a\nb", "sqlite:a\0b", "sqlite:" .. ("x"):rep(4097) }) do
        local text = refused({ store = value, store_key = KEY })
        assert.truthy(text:find("option store must name a file: sqlite:PATH", 1, true), text)
      end
    end)

    it("of one's own fills the port, and every function that lacks is named", function()
      local text = refused({ store = {}, store_key = KEY })
      for _, name in ipairs(guard.PORT) do assert.truthy(text:find(name, 1, true), name) end
      local store = disks.new():store()
      assert.truthy(ringlink.new(offline.options({ store = store, store_key = KEY })))
      store.due, store.lease = nil, "yes"
      text = refused({ store = store, store_key = KEY })
      assert.truthy(text:find("option store lacks the functions due, lease", 1, true), text)
    end)

    it("in memory has no key", function()
      refuses("store_key", SECRET, "seals nothing")
      refuses("store_key", KEY, "seals nothing")
    end)

    it("is each client's own", function()
      assert.not_equal(ringlink.new(offline.options()).store, ringlink.new(offline.options()).store)
    end)
  end)

  describe("the store key", function()
    local function with_key(key)
      return ringlink.new(offline.options({ store = disks.new():store(), store_key = key })).options.store_key
    end

    local function refuses_key(key, ...)
      local text = refused({ store = disks.new():store(), store_key = key })
      assert.truthy(text:find("option store_key", 1, true), text)
      for _, piece in ipairs({ ... }) do assert.truthy(text:find(piece, 1, true), text) end
      assert.is_nil(text:find(SECRET, 1, true), text)
    end

    local function key_file(mode, text)
      local path = file_with(text or KEY .. "\n")
      assert(os.execute(("chmod %s '%s'"):format(mode, path)))
      return path
    end

    it("must be there for a store that outlives the process", function()
      for _, store in ipairs({ "sqlite:/tmp/ringlink-spec-never-made.db", disks.new():store() }) do
        local text = refused({ store = store })
        assert.truthy(text:find("option store_key is required", 1, true), text)
        assert.truthy(text:find("openssl rand -base64 32", 1, true), text)
      end
    end)

    it("is 32 bytes as Base64", function()
      assert.equal("vault(****)", tostring(with_key(KEY)))
      for _, key in ipairs({ KEY:sub(1, -2), KEY .. "=", KEY:gsub("=", ""), "x" .. KEY, KEY .. " ", SECRET,
        disks.base64(("k"):rep(31)), disks.base64(("k"):rep(33)), disks.base64(("k"):rep(24)),
        disks.base64(("\255"):rep(32)):gsub("/", "_"), ("k"):rep(32), ("0a"):rep(32) }) do
        refuses_key(key, "must be 32 bytes as Base64, 44 characters", "openssl rand -base64 32")
      end
    end)

    it("must be text, or a list of it", function()
      refuses_key(12, "must be text")
      refuses_key(true, "must be text")
      refuses_key("", "one line")
      refuses_key({}, "1 to 8 values")
      refuses_key({ KEY, 12 }, "store_key[2] must be text")
      refuses_key({ KEY, "x" }, "store_key[2] must be 32 bytes")
      refuses_key({ KEY, KEY }, "holds one key twice")
    end)

    it("may be a list, newest first", function()
      local two = with_key({ disks.key(2), KEY })
      assert.same({ with_key(disks.key(2)):ids()[1], with_key(KEY):ids()[1] }, two:ids())
      local eight = {}
      for n = 1, 9 do eight[n] = disks.key(n) end
      refuses_key(eight, "1 to 8 values")
      eight[9] = nil
      assert.equal(8, #with_key(eight):ids())
    end)

    it("comes from the environment", function()
      refuses_key("env:RINGLINK_SPEC_UNSET", "RINGLINK_SPEC_UNSET, which is not set")
      refuses_key("env:PATH", "must be 32 bytes")
    end)

    it("comes from a file that only its owner can read", function()
      for _, mode in ipairs({ "600", "400" }) do
        assert.same(with_key(KEY):ids(), with_key("file:" .. key_file(mode)):ids())
      end
      for _, mode in ipairs({ "640", "604", "644", "660", "620", "611" }) do
        local path = key_file(mode)
        refuses_key("file:" .. path, "open to others (mode 0" .. mode .. "): chmod 600 " .. path)
        refuses_key({ KEY, "file:" .. path }, "store_key[2]", "chmod 600")
      end
      refuses_key("file:" .. key_file("600") .. ".missing", "cannot be read")
      local theirs = key_file("600")
      if shell.succeeds("chown 1 " .. theirs) then           -- only root can give files away
        refuses_key("file:" .. theirs, "belongs to another user: chown")
      end
      refuses_key("file:" .. key_file("600", KEY .. "\n" .. KEY), "one line")
    end)

    it("comes from the file that was looked at, should another take its place", function()
      local path = key_file("600")
      local good, problem = swapped.during("before", path, key_file("644"), function() with_key("file:" .. path) end)
      assert.is_false(good)
      assert.truthy(tostring(problem):find("open to others", 1, true), tostring(problem))
    end)
  end)

  it("opens nothing", function()
    offline.assert_silent(ringlink.new(offline.options()))
  end)
end)
