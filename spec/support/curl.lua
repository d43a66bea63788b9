--- What the curl command is told by a file (`-K`): a command line can be read by everybody, and tokens,
--- codes and secrets stand in addresses, headers and forms.

local cjson = require "cjson"

local M = {}

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

--- That file's text.
---@param request table `{url, headers = {"Name: value"}, form, json, body_file}`
---@return string
function M.config(request)
  local lines = {}
  local function add(name, value) lines[#lines + 1] = ('%s = "%s"'):format(name, value:gsub('[\\"\n\r\t]', ESCAPES)) end
  for _, header in ipairs(request.headers or {}) do add("header", header) end
  for name, value in pairs(request.form or {}) do add("data-urlencode", name .. "=" .. value) end
  if request.json then add("header", "Content-Type: application/json") end
  if request.json then add("data-binary", cjson.encode(request.json)) end
  if request.body_file then add("data-binary", "@" .. request.body_file) end
  add("url", request.url)
  return table.concat(lines, "\n")
end

return M
