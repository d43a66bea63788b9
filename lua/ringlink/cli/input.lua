--- What a command is told besides its arguments: codes, nonces and bodies.
--
-- They come from the environment, a file, standard input, or the terminal, which does not show them while
-- they are typed; never from an argument, because `ps` shows those to everybody on the machine.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local json = require "ringlink.json"
local url = require "ringlink.url"

local M = {}

local IN = 0                                   -- the file descriptor of standard input
local BYTES_MAX = 4 * 1024 * 1024
local SECRET_BYTES_MAX = 16384

local function refuse(problem, cure)
  return errors.fail("invalid_request", { stage = "input", detail = problem, cure = cure })
end

local function read_all(file, bytes_max)
  local text = file:read(bytes_max + 1) or ""
  if #text > bytes_max then return refuse(("more than %d bytes came"):format(bytes_max), "give less") end
  return text
end

--- A whole file, or standard input for nil and "-".
---@param path string?
---@param bytes_max integer?
---@return string?
---@return ringlink.Error?
function M.bytes(path, bytes_max)
  bytes_max = bytes_max or BYTES_MAX
  if path == nil or path == "-" then return read_all(io.stdin, bytes_max) end
  local file, problem = io.open(path, "rb")
  local text, err
  if file then
    text, err = read_all(file, bytes_max)
    file:close()
  else
    text, err = refuse("a file cannot be read: " .. problem, "name one that can")
  end
  return text, err
end

--- Asks at the terminal.
---@param question string
---@param echo boolean? whether what is typed shows
---@return string?
---@return ringlink.Error?
function M.ask(question, echo)
  local line, code = core.ask_terminal(question, echo)
  if line then return line end
  if code == "cancelled" then return errors.fail("cancelled", { stage = "input" }) end
  return refuse("nothing was typed", "type it, or give it by standard input")
end

--- Whether a person can be asked.
---@return boolean
function M.is_interactive()
  return core.is_terminal(IN)
end

local function from_environment(variable)
  local value = variable and os.getenv(variable)
  return value ~= "" and value or nil
end

--- Something secret: the file that was named, else the environment's, else standard input, or the terminal
--- when that is one.
---@param out ringlink.cli.Output what is read never shows there
---@param source { file: string?, variable: string?, question: string }
---@return string?
---@return ringlink.Error?
function M.secret(out, source)
  local text, err = not source.file and from_environment(source.variable), nil
  if not text then
    if source.file or not M.is_interactive() then
      text, err = M.bytes(source.file, SECRET_BYTES_MAX)
    else
      text, err = M.ask(source.question)
    end
  end
  if not text then return nil, err end
  text = text:gsub("^%s+", ""):gsub("%s+$", "")
  out:hide(text)
  if text == "" then return refuse("nothing came", "give it by standard input, a file or the environment") end
  return text
end

-- A code may have a "=" in it; an address or its query names one of these.
local function is_query(text)
  for _, name in ipairs { "nonce", "time", "code" } do
    if text:find("^" .. name .. "=") or text:find("[?&]" .. name .. "=") then return true end
  end
  return false
end

local function query_of(text)
  local fields, query = {}, text:gsub("^[^?]*%?", ""):gsub("#.*$", "")
  for pair in query:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]+)=(.*)$")
    if name then fields[name] = url.decode_field(value) end
  end
  return fields
end

--- The named values in a text: a JSON object, or an address with a query (or the query alone); nil when it is
--- neither.
---@param out ringlink.cli.Output
---@param text string
---@return table<string, any>?
function M.fields(out, text)
  local fields
  if text:find("^{") then
    fields = json.decode_table(text)
  elseif is_query(text) then
    fields = query_of(text)
  end
  for _, name in ipairs { "code", "nonce", "code_verifier" } do
    if fields and type(fields[name]) == "string" then out:hide(fields[name]) end
  end
  return fields
end

--- Whether a command-line word has the shape of something that must not be one: a nonce, a code or token of
--- the sandbox, a JSON Web Token.
---@param word string
---@return boolean
function M.looks_secret(word)
  word = word:match("^%-%-[%w-]+=(.*)$") or word
  local is_nonce = #word == 43 and not word:find("[^%w_-]") and word:find("%d") and word:find("%l")
    and word:find("%u")
  return (is_nonce or word:find("^sandbox%-%a+%-[%w_-]+$") or word:find("^eyJ[%w_-]+%.[%w_-]+%.")) and true or false
end

return M
