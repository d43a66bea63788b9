-- The benchmarks themselves, on a hundred accounts: that they run to their end, that both sides did the
-- same, and that what is wrong is said. Nothing is said about figures.

local child = require "support.child"
local pairs_of = require "bench.pair"
local reports = require "bench.report"
local shell = require "support.shell"
local side = require "bench.side"
local stores = require "support.stores"

local function bench(environment, ...)
  local words = { "env", environment, child.interpreter(), "spec/bench/run.lua", ... }
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

  it("run, and report what they promise", function()
    local said = shell.run(bench("BENCH_ACCOUNTS=100"))
    for _, name in ipairs { "the file", "memory once open", "memory after use", "storing an account", "opening",
      "access_token%(%), fresh", "a user's accounts", "work, nothing due", "work, 100 due", "1 task", "16 tasks",
      "64 tasks", "256 tasks" } do
      local ratio = tonumber(said:match("\n  " .. name .. "[^\n]- ([%d.]+)  [^\n]+"))
      assert.is_true(ratio and ratio > 0, name .. "\n" .. said)
    end
  end)

  it("say which there are, when another is asked for", function()
    local ok, said = pcall(shell.run, bench("BENCH_ACCOUNTS=", "speed"))
    assert.is_false(ok)
    assert.truthy(said:find('there is no benchmark "speed"; there is: store', 1, true))
  end)

  for _, count in ipairs { "many", "1.5", "99" } do
    it("refuse " .. count .. " accounts", function()
      local ok, said = pcall(shell.run, bench("BENCH_ACCOUNTS=" .. count))
      assert.is_false(ok)
      assert.truthy(said:find("BENCH_ACCOUNTS must be a whole number of at least 100", 1, true))
    end)
  end

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
