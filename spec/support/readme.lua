--- Reads the README for the spec that compares it with the code; run by itself it writes the table
--- of error codes into it: `lua5.4 spec/support/readme.lua` with the project's LUA_PATH.

local M = {}

local INTERNAL = { open_transport = true, random_unit = true, owner = true, count = true, handle = true,
  link_of = true, identifier_of = true, drop_transport = true, may_use = true, grant = true }

--- The README's text.
function M.text()
  local file = assert(io.open("README.md"))
  local text = file:read("a")
  file:close()
  return text
end

--- The table of error codes in Markdown.
function M.error_table(list)
  local lines = { "| code | what happened | what to do | retryable |", "|---|---|---|---|" }
  for _, entry in ipairs(list) do
    lines[#lines + 1] = ("| `%s` | %s: %s | %s | %s |"):format(entry.code, entry.meaning, entry.cause,
      entry.cure, entry.class == "retry" and "yes" or "no")
  end
  return table.concat(lines, "\n")
end

--- What stands between two markers.
function M.between(text, name)
  return text:match("<!%-%- " .. name .. ":begin.-%-%->\n(.-)\n?<!%-%- " .. name .. ":end")
end

--- The Lua between two markers, as a function that sees `environment` and, behind it, Lua's own names.
function M.example(name, environment)
  local code = assert(M.between(M.text(), name):match("^```lua\n(.*)\n```$"))
  setmetatable(environment, { __index = _G })
  return assert(load(code, "=README", "t", environment))
end

--- The methods that a file defines for a class, without those meant for the other modules.
function M.public_calls(path, class)
  local file = assert(io.open(path))
  local names = {}
  for name in file:read("a"):gmatch("\nfunction " .. class .. ":([%w_]+)") do
    if not INTERNAL[name] and name:sub(1, 2) ~= "__" then names[#names + 1] = name end
  end
  file:close()
  return names
end

local function rewrite()
  local text = M.text()
  local block = M.error_table(require("ringlink").errors):gsub("%%", "%%%%")
  text = text:gsub("(<!%-%- errors:begin.-%-%->\n).-(<!%-%- errors:end)", "%1" .. block .. "\n%2")
  local file = assert(io.open("README.md", "w"))
  file:write(text)
  file:close()
end

if arg and arg[0] and arg[0]:match("support/readme%.lua$") then rewrite() end

return M
