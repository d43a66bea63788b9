-- The benchmarks themselves, on a hundred accounts: that they run to their end, that both sides did the
-- same, and that what is wrong is said. Nothing is said about figures.

local child = require "support.child"
local pairs_of = require "bench.pair"
local plain_ring = require "bench.plain_ring"
local reports = require "bench.report"
local shell = require "support.shell"
local side = require "bench.side"
local stores = require "support.stores"

-- The command that runs benchmarks; words with "=" are for its environment.
local function bench(...)
  local words, names = { "env" }, {}
  for _, word in ipairs { ... } do table.insert(word:find("=", 1, true) and words or names, word) end
  table.insert(words, child.interpreter())
  table.insert(words, "spec/bench/run.lua")
  for _, name in ipairs(names) do table.insert(words, name) end
  for i, word in ipairs(words) do words[i] = shell.quote(word) end
  return table.concat(words, " ")
end

describe("a report", function()
  local lines, report

  before_each(function()
    lines = {}
    report = reports.new(function(line) lines[#lines + 1] = line end)
  end)

  it("puts a figure beside its baseline, with their ratio", function()
    report:line("reading", 0.000034567, "s", 0.00001, "a SELECT")
    report:line("the file", 1234567890, "bytes", 617283945, "the rows")
    assert.same({ "reading 34.6 us 10.0 us 3.46 a SELECT", "the file 1.23 GB 617 MB 2.00 the rows" },
      { (lines[1]:gsub("%s+", " "):sub(2)), (lines[2]:gsub("%s+", " "):sub(2)) })
  end)

  it("shows what is less than its unit's least, too", function()
    report:line("nothing", 0, "s", 0.0000001, "little")
    assert.truthy(lines[1]:find("0.00 us", 1, true))
  end)
end)

describe("the benchmarks #network", function()
  after_each(stores.remove_all)

  -- A line for each name, against a baseline whose description matches.
  local function assert_lines(said, names, baseline)
    for _, name in ipairs(names) do
      local ratio = tonumber(said:match("\n  " .. name .. " [^\n]- ([%d.]+)  " .. baseline))
      assert.is_true(ratio and ratio > 0, name .. "\n" .. said)
    end
  end

  local function levels()
    local names = {}
    for _, version in ipairs { "1%.1", "2" } do
      for _, count in ipairs { 1, 16, 64, 256 } do names[#names + 1] = count .. " at once, HTTP/" .. version end
    end
    return names
  end

  it("of the store runs, and reports what it promises", function()
    assert_lines(shell.run(bench("BENCH_ACCOUNTS=100", "store")), { "the file", "memory once open",
      "memory after use[^\n]-", "storing an account", "opening", "access_token%(%), fresh", "a user's accounts",
      "work, nothing due", "work, 100 due", "1 task", "16 tasks", "64 tasks", "256 tasks" }, "[^\n]+")
  end)

  it("of calls runs, and reports what it promises", function()
    local said = shell.run(bench("BENCH_PAIRS=10", "BENCH_ROUNDS=1", "RESTY_HTTP=", "calls"))
    assert_lines(said, levels(), "libcurl's multi loop alone")
    assert_lines(said, levels(), "the same worker idle")
    assert.truthy(said:find("lua-resty-http takes no part", 1, true))
  end)

  it("of links runs, and reports what it promises", function()
    local said = shell.run(bench("BENCH_PAIRS=10", "BENCH_ROUNDS=1", "links"))
    assert_lines(said, levels(), "its calls without state, and SQLite alone")
    assert_lines(said, levels(), "the same worker idle")
  end)

  it("of latency runs, and reports what it promises", function()
    local said = shell.run(bench("BENCH_IN_FLIGHT=10", "BENCH_DELAY_MS=100", "BENCH_ROUNDS=1", "latency"))
    for _, baseline in ipairs { "the same worker, idle", "idle, the links in another nginx here",
      "2 answers of Ring, 0.1 s each" } do
      assert_lines(said, { "p50", "p99", "at most" }, baseline)
    end
    assert_lines(said, { "p99, links in another nginx", "p99, links in the worker" }, "the same, no links anywhere")
    assert_lines(said, { "Lua, with the links", "the whole process, with the links" }, "after the last round")
    assert.truthy(tonumber(said:match("round 1: (%d+) links under way, %d+ calls before Ring at once")) > 0)
  end)

  it("say which there are, when another is asked for", function()
    local ok, said = pcall(shell.run, bench("BENCH_ACCOUNTS=", "speed"))
    assert.is_false(ok)
    assert.truthy(said:find('there is no benchmark "speed"; there is: store', 1, true))
    assert.truthy(said:find("calls, links, latency", 1, true))
  end)

  for _, count in ipairs { "many", "1.5", "99" } do
    it("refuse " .. count .. " accounts", function()
      local ok, said = pcall(shell.run, bench("BENCH_ACCOUNTS=" .. count))
      assert.is_false(ok)
      assert.truthy(said:find("BENCH_ACCOUNTS must be a whole number of at least 100", 1, true))
    end)
  end

  it("say that lua-resty-http is not where it was said to be", function()
    local ok, said = pcall(shell.run, bench("RESTY_HTTP=/nonexistent", "calls"))
    assert.is_false(ok)
    assert.truthy(said:find("RESTY_HTTP must be a folder that has resty/http.lua", 1, true))
  end)

  it("notice when libcurl alone is answered otherwise than by 200", function()
    local directory = stores.new_directory()
    local ring = plain_ring.start()
    local bare = side.start("bare", { ".build/bench/bare_multi", ring.url["2"] .. "/elsewhere", ring.ca_file, "t" },
      directory)
    local ok, said = pcall(bare.ask, bare, "calls", "2", 1, 1)
    bare:stop()
    ring:stop()
    assert.is_false(ok)
    assert.truthy(said:find("bare ended at: calls 2 1 1", 1, true))
  end)

  it("notice when the two sides have not done the same", function()
    local directory = stores.new_directory()
    local store = stores.sqlite(directory .. "/x.ours")
    assert(store:put_if("a", { kind = "grant" }, 0))
    store:close()
    shell.run(("cp %s/x.ours %s/x.bare"):format(directory, directory))
    assert.equal(1, pairs_of.compare(directory .. "/x", directory).rows)
    store = stores.sqlite(directory .. "/x.ours")
    assert(store:put_if("b", { kind = "grant" }, 0))
    store:close()
    local ok, said = pcall(pairs_of.compare, directory .. "/x", directory)
    assert.is_false(ok)
    assert.truthy(said:find("the two sides differ in ", 1, true))
  end)

  it("notice jobs that SQLite alone has not learnt", function()
    local directory = stores.new_directory()
    shell.write(directory .. "/log", "op=event_forget\taccount=a\n\n")
    stores.sqlite(directory .. "/db"):get("a")
    local bare = side.start("bare", { pairs_of.BARE }, directory)
    bare:ask("open", directory .. "/db")
    local ok, said = pcall(bare.ask, bare, "replay", directory .. "/log")
    bare:stop()
    assert.is_false(ok)
    assert.truthy(said:find("bare ended at: replay", 1, true))
  end)
end)
