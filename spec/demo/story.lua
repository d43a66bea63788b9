--- What the partner's backend lived through, in order, for the demo script to tell.
--
-- Runs in the backend's nginx. Entries are flat tables without secrets: whoever notes something
-- redacts it. An entry may be completed after it was noted, so that a request stands before what
-- it caused. Keeps the newest ENTRIES_MAX.

local story = {}

local ENTRIES_MAX = 500

local entries, count = {}, 0

--- Notes an entry.
---@param name string
---@param fields table|nil
---@return table entry may be completed by the caller
function story.note(name, fields)
  local entry = fields or {}
  count = count + 1
  entry.n, entry.name = count, name
  entries[#entries + 1] = entry
  if #entries > ENTRIES_MAX then table.remove(entries, 1) end
  return entry
end

--- The entries after number `since`.
---@param since integer
---@return table[]
function story.after(since)
  local found = {}
  for _, entry in ipairs(entries) do
    if entry.n > since then found[#found + 1] = entry end
  end
  return found
end

return story
