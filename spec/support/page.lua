--- An HTML page as a browser without JavaScript understands it: its forms, its heading, its words.
--
-- Pure. Made for the pages of ringlink.resty and of the example, which are plain.

local M = {}

local ENTITIES = { ["&amp;"] = "&", ["&lt;"] = "<", ["&gt;"] = ">", ["&quot;"] = '"', ["&#39;"] = "'" }

local function unescape(text)
  return (text:gsub("&#?%w+;", ENTITIES))
end

local function attribute(tag, name)
  local value = tag:match("%f[%w]" .. name .. '="([^"]*)"')
  return value and unescape(value)
end

--- The forms of a page: `{action, fields}` each, hidden fields as they stand; no action means this address.
---@param html string
---@return { action: string?, fields: table<string, string> }[]
function M.forms(html)
  local forms = {}
  for head, inside in html:gmatch("(<form[^>]*>)(.-)</form>") do
    local form = { action = attribute(head, "action"), fields = {} }
    for tag in inside:gmatch("<input[^>]*>") do form.fields[attribute(tag, "name")] = attribute(tag, "value") or "" end
    forms[#forms + 1] = form
  end
  return forms
end

--- The words of the first element whose tag begins so.
---@param html string
---@param tag string like `h1` or `p class="alert"`
---@return string?
function M.words(html, tag)
  local inside = html:match("<" .. tag:gsub("%p", "%%%0") .. "[^>]*>(.-)</" .. tag:match("^%w+") .. ">")
  return inside and unescape((inside:gsub("<[^>]*>", "")))
end

return M
