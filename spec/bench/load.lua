--- Runs of load.c: plans of requests, and what became of them.
---
---   local probe = load.start(directory, "probe", { port = port, connections = 8, priority = -20 },
---     load.steady("/other", 0, 4, 200))
---   local answers, open = load.finish(probe)
---   load.percentile(answers, 0.99)
---
--- Several run beside each other; each is a process of its own.

local shell = require "support.shell"

local M = { PROGRAM = ".build/bench/load" }

local US_PER_S = 1000000

---@class bench.Answer
---@field at_s number    when it was due
---@field took_s number  from then to its answer
---@field status integer
---@field body string

--- A plan of so many requests a second for one path, from an instant on, each somewhere in its slot: at
--- equal distances they could fall in step with something.
---@param path string
---@param from_s number
---@param seconds number
---@param per_s number
---@return { at_s: number, path: string }[]
function M.steady(path, from_s, seconds, per_s)
  local plan = {}
  for i = 0, math.floor(seconds * per_s) - 1 do
    plan[i + 1] = { at_s = from_s + (i + math.random()) / per_s, path = path }
  end
  return plan
end

local function write(path, plan)
  local lines = {}
  for i, one in ipairs(plan) do lines[i] = ("%d %s\n"):format(math.floor(one.at_s * US_PER_S), one.path) end
  shell.write(path, table.concat(lines))
end

--- Begins a run; `target` says port, connections and priority.
function M.start(directory, name, target, plan)
  local place = directory .. "/" .. name
  write(place .. ".plan", plan)
  local pipe = assert(io.popen(("%s %d %d %d <%s.plan >%s.answers 2>&1; echo $?"):format(M.PROGRAM, target.port,
    target.connections, target.priority or 0, shell.quote(place), shell.quote(place))))
  return { pipe = pipe, place = place, name = name }
end

local function read(line)
  local at, took, status, body = line:match("^(%d+) (%d+) (%d+) (.*)$")
  return at and { at_s = at / US_PER_S, took_s = took / US_PER_S, status = tonumber(status), body = body }
end

--- Waits for its end; raises what it complained of.
---@return bench.Answer[] in the order in which they came
---@return integer open how many were under way at once, at most
function M.finish(run)
  local status = run.pipe:read("*a")
  run.pipe:close()
  local text = shell.read(run.place .. ".answers")
  if not status:find("^0%s*$") then error(run.name .. ": " .. text, 0) end
  local answers = {}
  for line in text:gmatch("[^\n]+") do answers[#answers + 1] = read(line) end
  return answers, tonumber(text:match("open=(%d+)\n$"))
end

--- Runs a plan to its end.
function M.run(...)
  return M.finish(M.start(...))
end

--- Those that were due between two instants.
function M.between(answers, from_s, to_s)
  local chosen = {}
  for _, answer in ipairs(answers) do
    if answer.at_s >= from_s and answer.at_s < to_s then chosen[#chosen + 1] = answer end
  end
  return chosen
end

--- The time within which that part of them was answered; 1: all.
---@param answers bench.Answer[]
---@param part number
---@return number seconds
function M.percentile(answers, part)
  local times = {}
  for i, answer in ipairs(answers) do times[i] = answer.took_s end
  table.sort(times)
  return times[math.max(1, math.ceil(#times * part))]
end

--- How many were under way at an instant.
function M.open_at(answers, at_s)
  local count = 0
  for _, answer in ipairs(answers) do
    if answer.at_s <= at_s and answer.at_s + answer.took_s > at_s then count = count + 1 end
  end
  return count
end

return M
