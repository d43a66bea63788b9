--- The clients of this nginx, by the names of their apps: made once, before the workers are forked.
--
-- Invariant: making them opens nothing; what workers share lies on the board or in the store.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local failures = require "ringlink.resty.failures"
local options_reader = require "ringlink.options"
local ringlink = require "ringlink"
local tally = require "ringlink.resty.tally"

local M = {}

local DEFAULT = "default"
local SECRET_BYTES_MIN = 16
local NAME_PATTERN = "^[%w_-]+$"        -- it becomes a label of metrics

---@class ringlink.App
---@field name string
---@field client ringlink.Client
---@field board ringlink.Board
---@field tally ringlink.Tally
---@field exchange_secret userdata? the unguessable segment of the Token Exchange URL
---@field rate_limit_per_s number
---@field in_flight integer      exchanges under way in this process

local apps = {}

--- The text of the unguessable segment as a secret.
---@param value any
---@return userdata
function M.path_secret(value)
  local text = options_reader.secret_text("exchange_secret", value)
  if #text < SECRET_BYTES_MIN or text:find("[^%w%-._~]") then
    errors.misuse(("exchange_secret must be at least %d characters of A-Z a-z 0-9 - . _ ~; `openssl rand -hex 16` "
      .. "makes one"):format(SECRET_BYTES_MIN))
  end
  return core.secret(text)
end

--- Writes a failure down: in words in the log, and for the status page.
---@param app ringlink.App
---@param what string
---@param err ringlink.Error
function M.note_failure(app, what, err)
  app.client.log("warn", what .. " failed", { error = err.code, stage = err.stage, status = err.status,
    message = err.message })
  failures.note(app.board, app.name, app.client.clock.now_ms(), what, err)
end

-- Before the partner's own hooks, so that none of those can keep these from counting.
local function listen(app)
  local client = app.client
  client:on("token_rotated", function() app.tally:add("refreshes|rotated") end)
  client:on("completed", function() app.tally:add("links|completed") end)
  client:on("refresh_failed", function(_, err)
    app.tally:add("refreshes|failed")
    M.note_failure(app, "refresh", err)
  end)
  client:on("relink_required", function(_, err)
    app.tally:add("refreshes|relink")
    M.note_failure(app, "refresh", err)
  end)
  client:on("failed", function(_, err) M.note_failure(app, "exchange", err) end)
end

-- A store in memory is one worker's own: the code would come to one and the redirect to another.
local function check_workers(options, workers)
  if options.store == "memory" and workers > 1 then
    errors.misuse(("store \"memory\" is one worker's own and nginx has %d: name an SQLite file, or one worker")
      :format(workers))
  end
end

local function new_app(name, options, host)
  if type(name) ~= "string" or not name:find(NAME_PATTERN) then
    errors.misuse("setup: an app's name must be text of A-Z a-z 0-9 - _")
  end
  if type(options) ~= "table" then errors.misuse(("setup: the options of %s must be a table"):format(name)) end
  local settings = {}
  for key, value in pairs(options) do settings[key] = value end
  local secret = settings.exchange_secret ~= nil and M.path_secret(settings.exchange_secret) or nil
  settings.exchange_secret, settings.log = nil, settings.log or host.log
  check_workers(settings, host.workers)
  local client = ringlink.new(settings)
  local board = host.new_board(client.clock)
  local app = { name = name, client = client, board = board, tally = tally.new(board, name),
    exchange_secret = secret, rate_limit_per_s = client.options.rate_limit_per_s, in_flight = 0 }
  listen(app)
  return app
end

--- Makes the clients of one app, or of `{apps = {name = options}}`.
---@param options table
---@param host { log: function, workers: integer, new_board: function } what nginx gives
function M.setup(options, host)
  if type(options) ~= "table" then errors.misuse("setup needs a table of options") end
  local wanted = options.apps or { [DEFAULT] = options }
  if options.apps and next(options, next(options)) then
    errors.misuse("setup: beside `apps` there is nothing; options belong to the apps")
  end
  local made = {}
  for name, one in pairs(wanted) do made[name] = new_app(name, one, host) end
  apps = made
end

--- Every app by name.
---@return table<string, ringlink.App>
function M.all()
  return apps
end

--- One app, whichever, for what concerns all of them.
---@return ringlink.App
function M.any()
  local _, app = next(apps)
  return app or M.get()
end

local function only_app()
  local name, app = next(apps)
  if app and next(apps, name) == nil then return app end
end

--- The app of a name; without one the only app there is.
---@param name string?
---@return ringlink.App
function M.get(name)
  local app = apps[name or DEFAULT] or (name == nil and only_app())
  if app then return app end
  local names = {}
  for known in pairs(apps) do names[#names + 1] = known end
  table.sort(names)
  if #names == 0 then errors.misuse("resty.setup was not called: call it in init_by_lua_block") end
  errors.misuse(("there is no app %q; known are %s"):format(tostring(name), table.concat(names, ", ")))
end

return M
