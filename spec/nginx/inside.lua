--- Runs the specs inside nginx: inside.lua [FILE...]; without files, all that can be run there.
--
-- One worker, whose output is this process's: TAP. What cannot be run there is skipped with its reason,
-- and the last test is that nginx itself does not complain.

local cjson = require "cjson"
local nginx_host = require "support.nginx_host"
local places = require "ringlink.sandbox.places"
local process = require "ringlink.sandbox.process"
local shell = require "support.shell"

-- Patterns of files, and why they cannot be run in a worker.
local EXCLUDED = {
  { "/loop_spec", "turns the loop, which a worker has not" },
  { "/loop_tree_spec", "turns the loop, which a worker has not" },
  { "/testing_", "turns the loop, which a worker has not" },
  { "/many_links_spec", "turns the loop, which a worker has not" },
  { "/auto_runtime_spec", "turns other event loops, which yield by nginx's coroutines" },
  { "/sinks_external_spec", "turns other event loops, which yield by nginx's coroutines" },
  { "/external_", "turns other event loops, which yield by nginx's coroutines" },
  { "/long_life_spec", "measures the memory of a process that does nothing else" },
  { "/group_commit_spec", "counts the loop's transactions" },
  { "/pool_spec", "asks for the loop by its name" },
  { "/runtime_spec", "asks for the loop and the blocking runtime by their names" },
  { "/bench_spec", "starts programs that measure" },
  { "/demo_spec", "starts a program that has an nginx of its own" },
  { "/cli_", "starts the shell command, which is the same without nginx" },
  { "/scripts_", "starts the shell command, which is the same without nginx" },
  { "/soak_", "starts an nginx of its own, with visitors in another event loop" },
  { "/interrupt_spec", "interrupts a process by SIGINT, which is nginx's here" },
  { "/processes_spec", "starts processes of its own, which are the same without nginx" },
  { "/transport_", "turns another event loop, which yields by nginx's coroutines" },
  { "/worker_spec", "turns another event loop, which yields by nginx's coroutines" },
  { "/webhook_network_spec", "has a client wait in coroutines of another event loop" },
  { "/sandbox_spec", "asks the sandbox by the curl command, without a client of ours" },
  { "/resty_", "plays nginx itself" },
}

-- Names of single tests.
local FILTER_OUT = {
  "in a foreign coroutine",            -- nginx makes every coroutine its own
  "not where nothing can be waited for",
  "in a task that its loop cancels",    -- nginx's tasks are cancelled by nobody
  "the wire .*to a server that",       -- turns another event loop, which yields by nginx's coroutines
}

-- Where the environment names a store for all, those who choose their own are no part of it.
local EXCLUDED_TAGS = { "tidy", os.getenv("RINGLINK_SPEC_STORE") and "ownstore" }

local ENV = { "PATH", "HOME", "TMPDIR", "RINGLINK_LUA", "RINGLINK_LUAJIT_CPATH", "RINGLINK_NGINX",
  "RINGLINK_SPEC_STORE", "RINGLINK_SPEC_DATABASES" }
local LIMIT_S = (tonumber(os.getenv("RINGLINK_SUITE_LIMIT_S")) or 600) - 30    -- before the suite's own

local HTTP = [[
  lua_socket_log_errors off;
  init_worker_by_lua_block { require("nginx.busted_inside").start("%s") }
]]

local function excluded(path)
  for _, entry in ipairs(EXCLUDED) do
    if path:find(entry[1]) then return entry[2] end
  end
end

local function all_files()
  local files = {}
  for path in shell.run("ls spec/*_spec.lua"):gmatch("[^\n]+") do files[#files + 1] = path end
  return files
end

-- Those of them that can be run; what is left out is told.
local function runnable(paths)
  local files, skipped = {}, 0
  for _, path in ipairs(paths) do
    local reason = excluded(path)
    if reason then
      skipped = skipped + 1
      print(("ok %d - # SKIP %s %s"):format(skipped, path, reason))
    else
      files[#files + 1] = path
    end
  end
  print("1.." .. skipped)
  return files
end

local function environment()
  local lines = {}
  for i, name in ipairs(ENV) do lines[i] = "env " .. name .. ";" end
  return table.concat(lines, "\n")
end

local function prepare(nginx, files)
  local prefix = shell.make_directory()
  shell.write(prefix .. "/options.json",
    cjson.encode { files = files, exclude_tags = EXCLUDED_TAGS, filter_out = FILTER_OUT })
  shell.write(prefix .. "/nginx.conf", nginx_host.configuration(nginx,
    { main = environment(), http = HTTP:format(prefix), daemon = "off", level = "error" }))
  return prefix
end

-- The Lua path that is meant for this process is not for nginx's LuaJIT.
local function run(nginx, prefix)
  io.stdout:flush()
  os.execute("env -u LUA_PATH -u LUA_CPATH -u LUA_INIT " .. process.line("timeout", "--kill-after=5", tostring(LIMIT_S),
    nginx, "-p", prefix .. "/", "-c", prefix .. "/nginx.conf", "-e", prefix .. "/error.log"))
end

local function report(prefix)
  local log = process.read(prefix .. "/error.log") or ""
  local quiet = #nginx_host.complaints(log) == 0
  print(quiet and "ok 1 - nginx does not complain" or "not ok 1 - nginx does not complain")
  if not quiet then print((log:gsub("[^\n]+", "# %0"))) end
  print("1..1")
  return quiet
end

local function main()
  local nginx = assert(places.nginx())
  local prefix = prepare(nginx, runnable(arg[1] and arg or all_files()))
  run(nginx, prefix)
  local quiet = report(prefix)
  shell.remove_directory(prefix)
  return quiet
end

os.exit(main())
