--- What only the demo script may ask of the backend: POST /demo/<operation>, JSON in and out.
--
-- Guarded by a random token in a header, which no foreign page can send. Tells nothing secret.
-- luacheck: globals ngx

local app = require "demo.app"
local core = require "ringlink.core"
local json = require "ringlink.json"
local story = require "demo.story"
local web = require "demo.web"

local control_routes = {}

local operations = {}

local function account_of(args)
  return app.client:account(args.account, { user = app.user.id })
end

-- An error object as the script shows it.
local function refused(err) return { error = err.code, message = tostring(err) } end

--- Makes the client out of the settings that the script has written by now.
function operations.open(args)
  app.open(args)
  return {}
end

function operations.story(args) return { entries = story.after(args.since or 0) } end

function operations.clock(args)
  app.advance_clock(args.advance_ms)
  return {}
end

function operations.info(args)
  local info, err = account_of(args):info()
  if not info then return refused(err) end
  return { state = info.state, status = info.status, account_identifier = info.account_identifier,
    updated_at = info.updated_at }
end

function operations.refresh(args)
  local done, err = account_of(args):refresh { force = true }
  return done and {} or refused(err)
end

function operations.devices(args)
  local body, err = account_of(args):get("/v1/devices", { include = "status" })
  if not body then return refused(err) end
  local names = {}
  for i, device in ipairs(body.data or {}) do names[i] = device.attributes and device.attributes.name or device.id end
  return { names = table.concat(names, ", "), count = #names }
end

--- Runs an operation.
---@param settings table `{control_token}`
function control_routes.serve(settings)
  local given = ngx.req.get_headers()["X-Demo-Token"]
  if type(given) ~= "string" or not core.secret(settings.control_token):equals(given) then
    return web.json(401, '{"error":"unauthorized"}')
  end
  local operation = operations[ngx.var.uri:match("^/demo/(%l+)$") or ""]
  local args = json.decode_table(web.body())
  if not operation or not args then return web.json(400, '{"error":"invalid_request"}') end
  web.json(200, (assert(json.encode(operation(args)))))
end

return control_routes
