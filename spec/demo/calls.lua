--- The calls to Ring as lines of the demo.
--
-- Against the sandbox they come from its journal, so each line is what really went over the wire, and the
-- secrets in it are held against those the demo knows. Against Ring itself there is no journal: the lines
-- are ringlink's own figures, in the order of a link's steps.

local redact = require "demo.redact"

local calls = {}

local CALL_METRIC = "ringlink_calls_total"
local STAGES = { "exchange", "identify", "confirm", "settle", "complete", "update", "refresh", "request" }

-- The sandbox's journal ------------------------------------------------------------------------

local Journal = {}
Journal.__index = Journal

local function secret_details(scene, row)
  local details = {}
  for _, name in ipairs { "code", "nonce" } do
    if row[name] then
      scene.out:expect(row[name] == redact.fingerprint(scene[name]), "the very same " .. name .. " to reach Ring")
      details[#details + 1] = name .. "=" .. redact.hint(scene[name])
    end
  end
  if row.refresh_token then details[#details + 1] = "refresh=" .. redact.mark(row.refresh_token) end
  if row.call == "complete" then details[#details + 1] = "status=completed" end
  if row.bearer then details[#details + 1] = "bearer=" .. redact.mark(row.bearer) end
  return details
end

local function details_of(scene, row)
  local details = secret_details(scene, row)
  if row.call == "me" and row.status == 200 then details[#details + 1] = "→ " .. redact.id(row.account) end
  if (row.call == "token" or row.call == "refresh") and row.status == 200 then
    local newest = scene:state()
    details[#details + 1] = ("→ access=%s  refresh=%s"):format(redact.mark(newest.access_token),
      redact.mark(newest.refresh_token))
  end
  if row.dropped then details[#details + 1] = "done, but the answer is lost" end
  return details
end

--- Prints the calls since the last time.
---@param who string who made them
---@return string summary like "refresh 200, update 200"
function Journal:tell(who)
  local scene, summary = self.scene, {}
  for _, row in ipairs(scene:control("requests", { since = self.seen })) do
    self.seen, self.count, self.connections[row.connection] = row.n, self.count + 1, row.http
    summary[#summary + 1] = row.call .. " " .. (row.dropped and "lost" or row.status)
    scene.out:step(who .. " → Ring", row.method, row.path, row.dropped and "–" or row.status, details_of(scene, row))
  end
  return table.concat(summary, ", ")
end

--- The lines of a sandbox's journal.
---@param scene table
function calls.of_sandbox(scene)
  return setmetatable({ scene = scene, seen = 0, count = 0, connections = {} }, Journal)
end

-- ringlink's own figures -----------------------------------------------------------------------

local Figures = {}
Figures.__index = Figures

--- How often ringlink made each call so far, in nginx and in the script together: "stage outcome" -> count.
---@param scene table
---@return table<string, number>
function calls.counted(scene)
  local sums = {}
  for _, counts in ipairs { scene:figures()[CALL_METRIC], scene.partner.client:metrics().calls } do
    for name, count in pairs(counts) do sums[name] = (sums[name] or 0) + count end
  end
  return sums
end

-- The names of what was counted, the earlier steps first.
local function in_order(counted)
  local names, rank = {}, {}
  for i, stage in ipairs(STAGES) do rank[stage] = i end
  for name in pairs(counted) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    local one, other = rank[a:match("^%S+")] or 0, rank[b:match("^%S+")] or 0
    return one < other or one == other and a < b
  end)
  return names
end

--- Prints the calls since the last time.
---@param who string
function Figures:tell(who)
  local counted = calls.counted(self.scene)
  for _, name in ipairs(in_order(counted)) do
    for _ = (self.before[name] or 0) + 1, counted[name] do
      self.count = self.count + 1
      self.scene.out:step(who .. " → Ring", "call", name:match("^%S+"), name:match("%S+$"))
    end
  end
  self.before = counted
end

--- The lines of ringlink's figures.
---@param scene table
function calls.of_figures(scene)
  return setmetatable({ scene = scene, before = {}, count = 0 }, Figures)
end

return calls
