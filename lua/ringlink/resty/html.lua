--- HTML out of templates: whatever is filled in is escaped, unless it was made here.
--
-- Pure. In a template {name} takes text, {{name}} takes ready markup.

local M = {}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- Text for an element's content or a quoted attribute.
---@param text any
---@return string
function M.escape(text)
  return (tostring(text):gsub("[&<>\"']", ESCAPES))
end

--- Somebody's identifier as markup: its writing direction is its own, and where it has to be broken, it is
--- broken after the @.
---@param text string
---@return string
function M.identity(text)
  return '<bdi class="identity">' .. M.escape(text):gsub("@", "@<wbr>") .. "</bdi>"
end

local function value_of(values, name, ready)
  local value = values[name]
  if value == nil then return "" end
  return ready and value or M.escape(value)
end

--- Fills a template; a value that is nil is empty.
---@param template string
---@param values table<string, any>
---@return string
function M.fill(template, values)
  local filled = template:gsub("{({?)([%l_]+)}?}", function(ready, name)
    return value_of(values, name, ready ~= "")
  end)
  return filled
end

return M
