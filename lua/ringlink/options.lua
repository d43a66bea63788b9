--- The options of `ringlink.new`: one table says what each is, its default and its bounds.
--
-- A mistake here is the calling program's: it raises at the caller's line, names the option, and
-- for an unknown name one that is near, or all of them. Values of secrets never appear in a message.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local external = require "ringlink.runtime.external"
local guard = require "ringlink.store.guard"
local memory_store = require "ringlink.store.memory"
local runtime = require "ringlink.runtime"
local url = require "ringlink.url"

local M = {}

local SECRET_BYTES_MAX = 4096
local PATH_BYTES_MAX = 4096
local STORE_KEY_BYTES = 32
local RESPONSE_BYTES_MAX = 256 * 1024 * 1024
local DAY_S = 86400
local NEAR_EDITS_MAX = 3

local function wrong(name, problem)
  errors.misuse(("option %s %s"):format(name, problem))
end

-- Where a secret's text comes from ------------------------------------------------------------

local function from_environment(name, variable)
  local value = os.getenv(variable)
  if not value or value == "" then
    wrong(name, ("names the environment variable %s, which is not set"):format(variable))
  end
  return value
end

-- Why a file is not its owner's alone; of the open one, for its path may name another by now.
local function shared(file, path)
  local mode, is_trusted = core.file_mode(file)
  if not is_trusted then return ("belongs to another user: chown %s to yourself"):format(path) end
  if mode % 64 ~= 0 then return ("is open to others (mode %04o): chmod 600 %s"):format(mode, path) end
end

local function from_file(name, path, is_private)
  local file, problem = io.open(path, "rb")
  if not file then wrong(name, ("names a file that cannot be read: %s"):format(problem)) end
  local open = is_private and shared(file, path)
  local value = not open and file:read(SECRET_BYTES_MAX + 2) or ""
  file:close()
  if open then wrong(name, "names a file that " .. open) end
  return (value:gsub("\r?\n$", ""))
end

local function resolve_secret(name, value, is_private)
  if type(value) ~= "string" then wrong(name, "must be text, not a " .. type(value)) end
  local source, rest = value:match("^(%a+):(.*)$")
  if source == "env" then value = from_environment(name, rest) end
  if source == "file" then value = from_file(name, rest, is_private) end
  if #value == 0 or #value > SECRET_BYTES_MAX or value:find("[%c]") then
    wrong(name, ("must be one line of 1 to %d bytes"):format(SECRET_BYTES_MAX))
  end
  return value
end

--- A secret's text, from wherever a value says: the text itself, "env:NAME" or "file:PATH".
---@param name string the option, for messages
---@param value any
---@return string
function M.secret_text(name, value)
  return resolve_secret(name, value)
end

local function each_of_list(name, value, resolve)
  if type(value) ~= "table" then return { resolve(name, value) } end
  if #value == 0 or #value > 8 then wrong(name, "as a list must hold 1 to 8 values, newest first") end
  local list = {}
  for i, item in ipairs(value) do list[i] = resolve(("%s[%d]"):format(name, i), item) end
  return list
end

local function resolve_list(name, value)
  return each_of_list(name, value, resolve_secret)
end

-- One reader per kind of option ---------------------------------------------------------------

local read = {}

function read.text(name, value, spec)
  if type(value) ~= "string" then wrong(name, "must be text, not a " .. type(value)) end
  if #value == 0 or #value > 1024 or value:find("%c") then
    wrong(name, "must be one line of 1 to 1024 bytes")
  end
  if spec.choices and not spec.choices[value] then wrong(name, "must be one of: " .. spec.says) end
  return value
end

function read.number(name, value, spec)
  if type(value) ~= "number" or value ~= value then wrong(name, "must be a number") end
  if value < spec.min or value > spec.max then
    wrong(name, ("must lie between %s and %s"):format(spec.min, spec.max))
  end
  return value
end

function read.integer(name, value, spec)
  value = read.number(name, value, spec)
  if value % 1 ~= 0 then wrong(name, "must be a whole number") end
  return math.floor(value)
end

function read.boolean(name, value)
  if type(value) ~= "boolean" then wrong(name, "must be true or false") end
  return value
end

read["function"] = function(name, value)
  if type(value) ~= "function" then wrong(name, "must be a function") end
  return value
end

function read.secrets(name, value)
  local list = {}
  for i, text in ipairs(resolve_list(name, value)) do list[i] = core.secret(text) end
  return list
end

function read.hmac_key(name, value)
  local key, code = core.hmac_key(resolve_list(name, value))
  if not key then wrong(name, "cannot be used: " .. code) end
  return key
end

function read.id(name, value)
  return resolve_secret(name, value)
end

function read.url(name, value, _, options)
  value = read.text(name, value, {})
  if url.origin(value) == nil or value:find("[%s@?#]") then
    wrong(name, "must be a URL like https://host, without user, query or fragment")
  end
  if not url.is_safe(value, options.allow_http_loopback) then
    wrong(name, "must begin with https:// (http only to this machine, with allow_http_loopback)")
  end
  -- The transport knows this machine by these names as they are written.
  if url.is_http_loopback(value) then value = value:gsub("^[^/]+//[^/]+", string.lower) end
  return (value:gsub("/+$", ""))
end

function read.path(name, value)
  value = read.text(name, value, {})
  local file, problem = io.open(value, "rb")
  if not file then wrong(name, ("names a file that cannot be read: %s"):format(problem)) end
  file:close()
  return value
end

-- The runtime ---------------------------------------------------------------------------------

local RUNTIMES = { auto = true, loop = true, blocking = true, ["ngx"] = true, cqueues = true, luv = true }
local RUNTIME_FORMS = "must be one of: auto, loop, blocking, ngx, cqueues, luv; or a table of an event "
  .. "loop's functions: wait_fd, sleep, spawn"

function read.runtime(name, value)
  if runtime.is_made(value) then return value end
  if type(value) == "table" then
    local problem = external.problem(value)
    if problem then wrong(name, problem) end
  elseif type(value) ~= "string" or not RUNTIMES[value] then
    wrong(name, RUNTIME_FORMS)
  end
  return value
end

-- The stores ----------------------------------------------------------------------------------

local STORE_FORMS = 'must be "sqlite:PATH", "memory", or a table of the port\'s functions'

local function sqlite_store(name, path, options, clock)
  if path == "" or #path > PATH_BYTES_MAX or path:find("%c") then
    wrong(name, ("must name a file: sqlite:PATH, one line of 1 to %d bytes"):format(PATH_BYTES_MAX))
  end
  return require("ringlink.store.sqlite").new({ path = path, client_id = options.client_id, clock = clock })
end

local function own_store(name, value)
  local missing = guard.missing(value)
  if #missing > 0 then wrong(name, "lacks the functions " .. table.concat(missing, ", ")) end
  return value
end

function read.store(name, value, _, options, clock)
  if value == "memory" then return memory_store.new(clock) end
  if type(value) == "table" then return own_store(name, value) end
  local path = type(value) == "string" and value:match("^sqlite:(.*)$")
  if path then return sqlite_store(name, path, options, clock) end
  wrong(name, STORE_FORMS)
end

local function store_key_bytes(name, value)
  local bytes = core.base64_decode(resolve_secret(name, value, true))
  if not bytes or #bytes ~= STORE_KEY_BYTES then
    wrong(name, "must be 32 bytes as Base64, 44 characters; `openssl rand -base64 32` makes one")
  end
  return bytes
end

function read.store_key(name, value)
  local vault, code = core.vault({ keys = each_of_list(name, value, store_key_bytes) })
  if vault then return vault end
  if code == "invalid_option" then wrong(name, "holds one key twice") end
  wrong(name, "cannot be used: " .. code)
end

local function read_clock_table(name, value)
  for _, part in ipairs({ "now_ms", "monotonic_ms", "sleep" }) do
    if type(value[part]) ~= "function" then wrong(name, "lacks the function " .. part) end
  end
  return value
end

function read.clock(name, value)
  if type(value) == "table" then return read_clock_table(name, value) end
  if type(value) ~= "function" then
    wrong(name, "must be {now_ms, monotonic_ms, sleep} or a function returning epoch seconds")
  end
  return {
    now_ms = function() return math.floor(value() * 1000) end,
    monotonic_ms = core.monotonic_ms,
  }
end

-- The table -----------------------------------------------------------------------------------

local SPECS = {
  { "allow_http_loopback", "boolean", default = false },
  { "clock", "clock" },
  { "log", "function" },
  { "client_id", "id", required = true },
  { "client_secret", "secrets", required = true },
  { "hmac_key", "hmac_key", required = true },
  { "store", "store", required = true,
    hint = '"sqlite:PATH" keeps them; "memory" only as long as the process lives' },
  { "store_key", "store_key" },
  { "api_url", "url", default = "https://api.amazonvision.com" },
  { "oauth_url", "url", default = "https://oauth.ring.com" },
  { "account_url", "url", default = "https://account.ring.com" },
  { "environment", "text", default = "production" },
  { "runtime", "runtime", default = "auto" },
  { "ca_file", "path" },
  { "client_cert", "path" },
  { "client_key", "path" },
  { "proxy", "text" },
  { "user_agent", "text", default = "ringlink/" .. core.version },
  { "connect_timeout_ms", "integer", default = 5000, min = 1, max = 600000 },
  { "timeout_ms", "integer", default = 20000, min = 1, max = 600000 },
  { "deadline_ms", "integer", default = 60000, min = 1, max = 3600000 },
  { "max_attempts", "integer", default = 5, min = 1, max = 16 },
  { "refresh_early_s", "number", default = 300, min = 0, max = DAY_S },
  { "refresh_interval_s", "number", default = DAY_S, min = 60, max = 29 * DAY_S },
  { "unclaimed_max_age_s", "number", default = 30 * DAY_S, min = 60, max = 365 * DAY_S },
  { "clock_skew_s", "number", default = 60, min = 0, max = 3600 },
  { "link_window_s", "number", default = 600, min = 1, max = 600 },
  { "rate_limit_per_s", "number", default = 100, min = 0.01, max = 100000 },
  { "response_bytes_max", "integer", default = 1024 * 1024, min = 1024, max = RESPONSE_BYTES_MAX },
}

local KNOWN = {}
for _, spec in ipairs(SPECS) do KNOWN[spec[1]] = spec end

-- The nearest known name ----------------------------------------------------------------------

local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

--- What to say about an unknown name: the known one it looks like, or else all of them.
---@param name string
---@param known string[]
---@return string
function M.hint(name, known)
  local best, least
  name = name:sub(1, 64)
  for _, candidate in ipairs(known) do
    local cost = distance(name, candidate)
    if least == nil or cost < least then best, least = candidate, cost end
  end
  if least <= NEAR_EDITS_MAX and least < #name / 2 then return ("did you mean %s?"):format(best) end
  return "known are " .. table.concat(known, ", ")
end

local function refuse_unknown(given)
  local names = {}
  for _, spec in ipairs(SPECS) do names[#names + 1] = spec[1] end
  for name in pairs(given) do
    if type(name) ~= "string" then wrong(tostring(name), "has no name: options is a table of names") end
    if not KNOWN[name] then wrong(name, "is unknown; " .. M.hint(name, names)) end
  end
end

local function read_one(spec, given, options)
  local name, kind = spec[1], spec[2]
  local value = given[name]
  if value == nil then value = spec.default end
  if value ~= nil then return read[kind](name, value, spec, options, options.clock) end
  if spec.required then
    wrong(name, "is required" .. (spec.hint and ": " .. spec.hint or ""))
  end
end

local function with_default_clock(given, default_clock)
  return given.clock ~= nil and read.clock("clock", given.clock) or default_clock
end

local function check_store_key(given)
  if given.store == "memory" and given.store_key ~= nil then
    wrong("store_key", "belongs to a store that outlives the process; the memory store seals nothing")
  end
  if given.store ~= "memory" and given.store ~= nil and given.store_key == nil then
    wrong("store_key", "is required: this store outlives the process, and only sealed fields go into "
      .. "it; `openssl rand -base64 32` makes a key")
  end
end

--- Every option, for the README's check and for those that are set from the shell.
---@return { name: string, kind: string, default: any, required: boolean? }[]
function M.list()
  local list = {}
  for i, spec in ipairs(SPECS) do
    list[i] = { name = spec[1], kind = spec[2], default = spec.default, required = spec.required }
  end
  return list
end

--- Reads and checks the options of `ringlink.new`.
---@param given any
---@param default_clock { now_ms: function, monotonic_ms: function }
---@return table options complete, secrets in C memory; `clock.sleep` is left to the runtime unless
--- it was given
function M.read(given, default_clock)
  if type(given) ~= "table" then errors.misuse("new needs a table of options") end
  refuse_unknown(given)
  local options = { clock = with_default_clock(given, default_clock) }
  for _, spec in ipairs(SPECS) do
    local name = spec[1]
    if name == "store_key" then check_store_key(given) end
    if name ~= "clock" then options[name] = read_one(spec, given, options) end
  end
  if (options.client_cert == nil) ~= (options.client_key == nil) then
    wrong("client_cert", "and client_key must be given together")
  end
  return options
end

return M
