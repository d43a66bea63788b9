--- Checks a control call's fields against their kinds. Pure.

local fields = {}

local function whole(value)
  return type(value) == "number" and value >= 0 and value == math.floor(value) and value < 2 ^ 53
end

-- kind = { check, how to say it }
local KINDS = {
  string = { function(v) return type(v) == "string" and v ~= "" end, "text" },
  boolean = { function(v) return type(v) == "boolean" end, "true or false" },
  table = { function(v) return type(v) == "table" end, "an object" },
  whole = { whole, "a whole number, not negative" },
  integer = { function(v) return type(v) == "number" and whole(math.abs(v)) end, "a whole number" },
  status = { function(v) return whole(v) and v >= 200 and v <= 599 end, "an HTTP status" },
  count = { function(v) return v == "always" or (whole(v) and v > 0) end, 'a number above 0, or "always"' },
  retry_after = { function(v) return type(v) == "string" or whole(v) end, "seconds, or the header's text" },
  rate = { function(v) return type(v) == "number" and v > 0 and v <= 1 end, "above 0 and at most 1" },
}

local function listed(value, list)
  local said = {}
  for i, one in ipairs(list) do
    if one == value then return nil end
    said[i] = tostring(one)
  end
  return "one of " .. table.concat(said, ", ")
end

local function wrong(value, kind)
  if type(kind) == "table" then return listed(value, kind) end
  if not KINDS[kind][1](value) then return KINDS[kind][2] end
  return nil
end

--- What to say about a name that is not among the known ones.
---@param what string
---@param name any
---@param known table<string, any>
---@return string problem
function fields.unknown(what, name, known)
  local names = {}
  for one in pairs(known) do names[#names + 1] = one end
  table.sort(names)
  local said = #names > 0 and "known are " .. table.concat(names, ", ") or "it takes none"
  return ("unknown %s %s; %s"):format(what, tostring(name), said)
end

--- What is wrong with a call's fields, nil when nothing is.
---@param args table
---@param allowed table name to kind, or to a list of the allowed values
---@return string|nil problem
function fields.problem(args, allowed)
  for name, value in pairs(args) do
    local kind = allowed[name]
    if kind == nil then return fields.unknown("field", name, allowed) end
    local needed = wrong(value, kind)
    if needed then return ("%s must be %s"):format(name, needed) end
  end
  return nil
end

return fields
