--- Where the sandbox may deliver to: loopback only, whatever a setting or a control call says.
--
-- Pure. A name is never resolved: `localhost` is 127.0.0.1 by definition here, so that no DNS
-- answer can turn a delivery to another machine.

local target = {}

local LOOPBACK = { ["127.0.0.1"] = "127.0.0.1", ["localhost"] = "127.0.0.1", ["[::1]"] = "[::1]" }
local PORTS = { http = 80, https = 443 }

--- Reads a delivery URL.
---@param url any
---@return table|nil parts `{scheme, host, address, port, path, authority}`
---@return string|nil problem
function target.parse(url)
  if type(url) ~= "string" or url:find("[%c%s]") then return nil, "a URL without spaces is needed" end
  local scheme, authority, path = url:match("^(https?)://([^/?#]+)([^#]*)")
  if not scheme then return nil, "not an http or https URL" end
  local host, port = authority:match("^(%[[%x:]+%])(.*)$")
  if not host then host, port = authority:match("^([^:]+)(.*)$") end
  local address = LOOPBACK[(host or ""):lower()]
  if not address then return nil, "deliveries go to 127.0.0.1, localhost or [::1] only" end
  port = port == "" and PORTS[scheme] or tonumber(port:match("^:(%d+)$") or "")
  if not port or port < 1 or port > 65535 then return nil, "not a port" end
  if path:sub(1, 1) ~= "/" then path = "/" .. path end
  return { scheme = scheme, host = host, address = address, port = port, path = path, authority = authority }
end

return target
