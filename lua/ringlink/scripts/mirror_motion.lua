-- Mirrors motion events into a table: a file a day of JSON lines, each event once.
--
--   ringlink webhook --signature "$SIGNATURE" --process --hooks mirror_motion.lua <body.json
--   ringlink run mirror_motion.lua                      # what could not be written before, say each hour
--
-- In your own program: loadfile("mirror_motion.lua")(client). The files are motion-YYYY-MM-DD.jsonl in the folder
-- that MOTION_TABLE names, or here. A row that cannot be written is an event that is not done: it is kept, and
-- the hook runs again. The hook may run twice for one event, and in several processes, so it looks first.

local client, args, progress = ...
local json = require "ringlink.json"

local folder = os.getenv("MOTION_TABLE") or "."

local function row_of(event)
  local attributes = event.data.attributes or {}
  return { id = event.id, account = event.account_id, device = attributes.source, kind = event.sub_type,
    time_ms = event.time_ms, seen_ms = attributes.timestamp }
end

-- A line that a crash has left half-written is no row, and is ended before the next one is written.
local function look_for(file, id)
  local is_ended = true
  for line in file:lines() do
    local row = json.decode_table(line)
    if row and row.id == id then return true end
    is_ended = row ~= nil
  end
  return false, is_ended
end

local function write(row)
  local day = os.date("!%Y-%m-%d", math.floor((row.time_ms or 0) / 1000))
  local file = assert(io.open(("%s/motion-%s.jsonl"):format(folder, day), "a+b"))
  file:seek("set")
  local is_there, is_ended = look_for(file, row.id)
  if not is_there then assert(file:write(is_ended and "" or "\n", json.encode(row), "\n")) end
  assert(file:close())
  return not is_there
end

local written = 0
client:on("webhook:motion_detected", function(event)
  if write(row_of(event)) then written = written + 1 end
end)

if not args then return end                      -- loaded for its hook: --hooks, or a program of yours

-- Stored events whose hook has failed, or whose process has died, are given to the hook again by work().
repeat
  local report, err = client:work()
  if not report then return nil, err end
  progress(written .. " events written")
until report.next_due_s > 0
print(written .. " events written")
