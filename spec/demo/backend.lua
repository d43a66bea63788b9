--- The partner's backend: which handler answers which request.
--
-- One nginx process, one Lua VM; the client is made by the first control call, when the sandbox's
-- addresses are known. The Token Exchange URL has an unguessable segment: nothing else keeps
-- strangers from posting codes there.
-- luacheck: globals ngx

local backend = {}

local json = require "ringlink.json"

local settings, routes

--- Reads the settings the starter wrote; called once, before nginx listens.
---@param prefix string
function backend.boot(prefix)
  local file = assert(io.open(prefix .. "/settings.json", "rb"))
  settings = assert(json.decode_table(file:read("*a")))
  file:close()
end

local function all_routes()
  local control, ring, user = require "demo.control_routes", require "demo.ring_routes", require "demo.user_routes"
  return {
    [settings.token_exchange_path] = { POST = ring.token_exchange },
    ["/ring/account-link"] = { GET = ring.account_link },
    ["/ring/webhook"] = { POST = ring.webhook },
    ["/sign-in"] = { GET = user.show_sign_in, POST = user.sign_in },
    ["/connect"] = { GET = user.show_connect, POST = user.connect },
    ["/linked"] = { GET = user.show_linked },
    control = { POST = function() control.serve(settings) end },
  }
end

--- Answers a request.
function backend.serve()
  local web, pages = require "demo.web", require "demo.pages"
  routes = routes or all_routes()
  local path = ngx.var.uri
  local route = path:sub(1, 1) == "/" and routes[path:find("^/demo/") and "control" or path]
  if not route then return web.html(404, pages.message("Nothing here", "This page does not exist.")) end
  local handler = route[ngx.req.get_method()]
  if not handler then return web.html(405, pages.message("Not that way", "This address takes another method.")) end
  handler()
end

return backend
