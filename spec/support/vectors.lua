-- The shared vectors of spec/vectors, read relative to the repository's root.

local cjson = require "cjson"

local vectors = {}

--- The cases of spec/vectors/<name>.json.
function vectors.cases(name)
  local file = assert(io.open("spec/vectors/" .. name .. ".json", "rb"))
  local text = file:read("*a")
  file:close()
  return cjson.decode(text).cases
end

--- Values of every type that Lua knows, for arguments that may come from the wire: only `text`
--- is left out, which each spec chooses itself.
function vectors.not_text()
  return { n = 9, nil, true, false, 0, 1.5, {}, print, coroutine.create(function() end), cjson.null }
end

return vectors
