--- busted in an nginx worker: the specs run in a timer, with the runtime that requests have.
--
-- The worker that runs them ends the whole nginx when it is through; one that takes the place of a
-- worker that crashed says so and ends it too. What they say goes to the output of whoever started
-- nginx, as TAP.
-- luacheck: globals ngx

local cjson = require "cjson"
local process = require "ngx.process"
local shell = require "support.shell"

local M = {}

local function load_filter(busted, options)
  require("busted.modules.filter_loader")()(busted, { tags = {}, excludeTags = options.exclude_tags, filter = {},
    filterOut = options.filter_out, nokeepgoing = false })
end

local function load_output(busted)
  require("busted.modules.output_handler_loader")()(busted, "spec/support/tap.lua",
    { defaultOutput = "TAP", language = "en", arguments = {} })
end

-- The specs look at what is raised, as they do elsewhere; that nginx's users see text is proven in the
-- specs of this folder.
local function raise_objects()
  require("ringlink")
  require("ringlink.errors").raise_text(false)
end

local function run_specs(options)
  raise_objects()
  local busted = require("busted.core")()
  require("busted")(busted)
  load_output(busted)
  require("busted.luajit")()
  load_filter(busted, options)
  require("busted.modules.test_file_loader")(busted, { "lua" })(options.files, { "_spec" },
    { excludes = {}, recursive = false })
  require("busted.execute")(busted)(1, { seed = 1 })
  busted.publish({ "exit" })
end

local function fail(name, why)
  io.stdout:write("not ok 1 - ", name, "\n# ", (tostring(why):gsub("\n", "\n# ")), "\n1..1\n")
end

-- Marks the beginning; false when it was marked before.
local function begin(prefix)
  local before = io.open(prefix .. "/begun", "rb")
  if before then before:close() end
  shell.write(prefix .. "/begun", "")
  return before == nil
end

local function in_timer(_, prefix)
  if begin(prefix) then
    local ok, problem = xpcall(run_specs, debug.traceback, cjson.decode(shell.read(prefix .. "/options.json")))
    if not ok then fail("busted runs in nginx", problem) end
  else
    fail("the worker lives", "it crashed in the test that was named last")
  end
  io.stdout:flush()
  shell.run("kill -QUIT " .. process.get_master_pid())
end

--- Runs the specs that options.json in nginx's directory names, in the worker where this is called in
--- init_worker_by_lua.
---@param prefix string
function M.start(prefix)
  assert(ngx.timer.at(0, in_timer, prefix))
end

return M
