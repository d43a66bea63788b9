--- `ringlink sandbox`: a strict Ring in the foreground, until a signal.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local output = require "ringlink.cli.output"
local process = require "ringlink.sandbox.process"
local sandbox = require "ringlink.sandbox"

local M = {}

local DAY_MS = 86400000
local KEY_BYTES = 32
local PORT_MAX = 65535
local SHOWN = { "api_url", "oauth_url", "account_url", "ca_file", "control_url", "page_url", "token", "prefix",
  "port", "pid" }

local function fail(problem, cure)
  return errors.fail("invalid_request", { stage = "sandbox", detail = problem, cure = cure })
end

local function base64(bytes)
  return core.base64url(bytes):gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#bytes % 3)
end

-- The store lies beside the sandbox and goes with it.
local function config_of(ring)
  local lines = { "# made by `ringlink sandbox`; good as long as it runs",
    "client_id = " .. ring.client_id, "client_secret = " .. ring.client_secret,
    "hmac_key = " .. ring.hmac_key, "api_url = " .. ring.api_url, "oauth_url = " .. ring.oauth_url,
    "account_url = " .. ring.account_url, "environment = sandbox",
    "store = sqlite:" .. ring.prefix .. "/ringlink.db",
    "store_key = " .. base64(core.random(KEY_BYTES)),
    ring.ca_file and "ca_file = " .. ring.ca_file or "allow_http_loopback = true" }
  return table.concat(lines, "\n") .. "\n"
end

-- The file is closed to others before anything is in it.
local function save(path, text)
  local made, problem = process.run(process.line("install", "-m", "0600", "/dev/null", path))
  local written
  if made then written, problem = process.write(path, text) end
  if written then return true end
  return fail("the settings cannot be saved: " .. tostring(problem), "name a file that can be written")
end

local function announce(out, ring, saved_to)
  local told, rows = { config = saved_to }, {}
  for _, name in ipairs(SHOWN) do told[name] = ring[name] end
  for _, name in ipairs { "api_url", "ca_file", "control_url", "page_url" } do
    if ring[name] then rows[#rows + 1] = { name, ring[name] } end
  end
  if saved_to then rows[#rows + 1] = { "use it", "ringlink --config " .. saved_to .. " COMMAND" } end
  rows[#rows + 1] = { "stop it", "Ctrl-C" }
  out:result(told, table.concat(output.align(rows), "\n"))
end

local function serve(context, ring)
  local signal = core.await_signal(0)              -- whatever comes from now on is kept for the next call
  local path = context.args.save
  if path then
    local saved, err = save(path, config_of(ring))
    if not saved then return nil, err end
  end
  announce(context.out, ring, path)
  while not signal do signal = core.await_signal(DAY_MS) end
  return 0
end

--- Runs a sandbox.
---@param context ringlink.cli.Context
---@return integer? status for the shell; nil is 0, unless there is an error
---@return ringlink.Error?
function M.sandbox(context)
  local args = context.args
  if args.port and (args.port % 1 ~= 0 or args.port < 1 or args.port > PORT_MAX) then
    return fail("--port must be a whole number of 1 to 65535", "name a free port")
  end
  local ring, problem = sandbox.start { port = args.port, tls = args.tls, webhook_url = args.webhook_url,
    token_exchange_url = args.token_exchange_url, account_link_url = args.account_link_url }
  if not ring then return fail(problem, "see what it says; `ringlink doctor` checks nginx") end
  local good, status, err = pcall(serve, context, ring)
  ring:stop()
  if not good then error(status, 0) end
  return status, err
end

return M
