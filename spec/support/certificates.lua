--- Throw-away certificates: an authority in a directory, and what it signs.

local shell = require("support.shell")

local quote, run = shell.quote, shell.run

local NEW_KEY = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "

local Authority = {}
Authority.__index = Authority

--- Makes an authority; its certificate is `authority.file`.
local function new(directory, name)
  local stem = directory .. "/" .. name
  run(NEW_KEY .. quote("/CN=" .. name) .. " -x509 -days 2 -keyout " .. quote(stem .. ".key")
    .. " -out " .. quote(stem .. ".pem"))
  return setmetatable({ directory = directory, stem = stem, file = stem .. ".pem" }, Authority)
end

--- Signs a certificate for the alternative names (as "DNS:x,IP:y"), valid for `days`, which may be
-- negative. Returns {cert, key}.
function Authority:sign(name, alternative_names, days)
  local stem = self.directory .. "/" .. name
  shell.write(stem .. ".ext", "subjectAltName=" .. alternative_names .. "\n")
  run(NEW_KEY .. quote("/CN=" .. name) .. " -keyout " .. quote(stem .. ".key") .. " -out " .. quote(stem .. ".csr"))
  run("openssl x509 -req -CAcreateserial -days " .. (days or 2)
    .. " -in " .. quote(stem .. ".csr") .. " -CA " .. quote(self.file) .. " -CAkey " .. quote(self.stem .. ".key")
    .. " -extfile " .. quote(stem .. ".ext") .. " -out " .. quote(stem .. ".pem"))
  return { cert = stem .. ".pem", key = stem .. ".key" }
end

return { new = new }
