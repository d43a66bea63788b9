-- What worker_spec.lua needs a process of its own for: another resolver, and the end of a program.
-- worker_child.lua leave PATH    starts jobs and a request, and ends without a word to them
-- worker_child.lua resolver      under silent_resolver.c
-- Prints "name value" lines.

local carriers = require "support.carriers"
local raw_server = require "support.raw_server"

local SILENT = { method = "POST", url = "https://silent.invalid/", body = "x" }

local function tell(name, value) print(name .. " " .. tostring(value)) end

local modes = {}

function modes.leave(path)
  local loop = carriers.open()
  local transport, store = loop:transport(), loop:store({ path = path, client_id = "app" })
  local last
  for i = 1, 500 do last = store:start({ op = "put_if", key = "k" .. i, version = 0, data = "d" }) end
  tell("started", last + transport:start(SILENT))
end

function modes.resolver()
  local server = raw_server.start(raw_server.each_request(function(connection) connection:answer(200, "") end))
  local loop = carriers.open()
  local worker = loop:transport()
  local stuck = worker:start(SILENT)
  tell("other", loop:call(worker, { method = "GET", url = server.url }, server).status)
  worker:cancel(stuck)
  tell("cancelled", loop:await(worker, stuck).error)
  SILENT.timeout_ms = 30
  tell("late", loop:call(worker, SILENT).error)
  SILENT.timeout_ms = nil
  local left = worker:start(SILENT)
  worker:close()
  tell("closed", loop:await(worker, left).error)
  tell("closed_sent", loop:await(worker, left).sent)
end

modes[arg[1]](arg[2])
