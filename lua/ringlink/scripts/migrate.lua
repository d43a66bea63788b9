-- Takes over accounts by the refresh tokens that your earlier code has obtained.
--
--   ringlink run migrate.lua tokens.jsonl [--configured] [--lanes N]
--
-- A line is {"refresh_token": "...", "user": "7", "identifier": "user@partner.example.com"}; without user the
-- account waits, unclaimed, until the user signs in again. STOP YOUR EARLIER CODE FIRST: a refresh token dies
-- when it is used, so after this every token in the file, and wherever else it lies, is dead.
-- Interrupted, killed, or left with failures, it is run again with the same file: what is done stays done.

local client, args, progress = ...
local argparse = require "argparse"
local core = require "ringlink.core"
local json = require "ringlink.json"
local ringlink = require "ringlink"

local parser = argparse("ringlink run migrate.lua", "Takes over accounts by their refresh tokens.")
parser:argument("file", "Lines of JSON, open to nobody but you (chmod 600).")
parser:flag("--configured", "Your side is configured: the hook configure is not asked.")
parser:option("--lanes", "So many lines at once.", "8"):convert(tonumber)
local good, given = parser:pparse(args)
local file = good and io.open(given.file, "rb")
local mode, is_ours
if file then mode, is_ours = core.file_mode(file) end           -- of what is read, whatever the path names by now
local problem = not good and given or not mode and "the file cannot be read"
  or (not is_ours or mode % 64 ~= 0) and "others can read these tokens: chown and chmod 600 " .. given.file
if problem then
  io.stderr:write(parser:get_usage(), "\n", problem, "\n")
  return 2
end

local lines, at, status, stopped = {}, 0, 0, false
local counts = { failed = 0 }
for line in file:lines() do lines[#lines + 1] = line end
file:close()

local function take_over(line)
  if not line:find("%S") then return "empty" end
  local told = json.decode_table(line)
  if not told then return nil, "it is no JSON object" end
  local account, err = client:import { refresh_token = told.refresh_token, user = told.user,
    account_identifier = told.identifier, configured = given.configured, from = "migrate.lua" }
  if not account then return nil, err end
  return account:state()
end

-- Each lane takes the next line that no other has taken. Many refusals in a row are no accident (is the earlier
-- code still at it? is this yesterday's file?): then all lanes stop.
local function lane()
  while at < #lines and not stopped do
    at = at + 1
    local number = at
    local state, err = take_over(lines[number])
    counts[state or "failed"] = (counts[state or "failed"] or 0) + 1
    if not state then
      status, stopped = 1, stopped or err.code == "refresh_circuit_open"
      print(("line %d: %s"):format(number, tostring(err)))
    end
    progress(("%d of %d lines, %d failed"):format(number, #lines, counts.failed))
  end
end

local tasks = {}
for i = 1, given.lanes do tasks[i] = ringlink.spawn(lane) end
for _, task in ipairs(tasks) do ringlink.join(task) end

for state, count in pairs(counts) do print(state, count) end
print(stopped and ("stopped at line %d; find out why, then run it again"):format(at)
  or "these tokens are dead now; once nothing has failed: shred -u " .. given.file)
return status
