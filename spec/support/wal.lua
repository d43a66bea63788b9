--- Counts what SQLite committed, by its write-ahead log: each transaction ends with a frame that says
--- how large the database is after it (https://www.sqlite.org/fileformat2.html#walformat).
--
-- Good as long as nobody has moved the log into the file, which SQLite does after 1000 pages.

local shell = require "support.shell"

local M = {}

local HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24

local function number_at(text, at)
  local a, b, c, d = text:byte(at + 1, at + 4)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

--- How many transactions the log of a database holds.
function M.commits(path)
  local log = shell.read(path .. "-wal")
  if #log < HEADER_BYTES then return 0 end         -- nothing was written yet
  local frame_bytes = FRAME_HEADER_BYTES + number_at(log, 8)
  local salts, count = log:sub(17, 24), 0
  for at = HEADER_BYTES, #log - frame_bytes, frame_bytes do
    local is_of_this_log = log:sub(at + 9, at + 16) == salts
    if is_of_this_log and number_at(log, at + 4) > 0 then count = count + 1 end
  end
  return count
end

return M
