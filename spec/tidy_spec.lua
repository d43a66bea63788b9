-- The project's rules as tests: who may include what, what the module exports, one version, no
-- undocumented function, no file grown too long. They read the sources and the objects that
-- `make` left in .build, from the repository's root, and change nothing.

local LINES_MAX = 600

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function lines_of(command)
  local lines = {}
  for line in output_of(command):gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local FILES = lines_of("find . -path ./.git -prune -o -path ./.build -prune -o -type f -print | cut -c3- | sort")

--- The project's files whose path matches one of the patterns.
local function files(...)
  local found = {}
  for _, path in ipairs(FILES) do
    for _, pattern in ipairs({ ... }) do
      if path:find(pattern) then
        found[#found + 1] = path
        break
      end
    end
  end
  return found
end

--- Fails with everything found at once, rather than with the first.
local function none(complaints)
  assert(#complaints == 0, "\n  " .. table.concat(complaints, "\n  "))
end

local function set(text)
  local members = {}
  for word in text:gmatch("%S+") do members[word] = true end
  return members
end

-- ---- C: layers -----------------------------------------------------------------------------

local OUTSIDE = { -- header pattern -> the library it stands for
  { "^curl/", "libcurl" }, { "^openssl/", "libcrypto" }, { "^sqlite3", "SQLite" },
  { "^libpq", "libpq" }, { "^postgresql/", "libpq" }, { "^lua", "Lua" }, { "^lauxlib", "Lua" },
}

local function library_of(header)
  for _, entry in ipairs(OUTSIDE) do
    if header:find(entry[1]) then return entry[2] end
  end
end

--- Calls fn(file, header, room) for each include; room is core, io or bind for one of ours.
local function each_include(folder, fn)
  for _, path in ipairs(files("^src/" .. folder .. "/.*%.[ch]$")) do
    for open, header in read(path):gmatch('#%s*include%s*([<"])([^>"]+)') do
      local room = open == '"' and (header:match("^%.?%.?/?(%w+)/") or folder) or nil
      fn(path, header, room)
    end
  end
end

--- Complaints about every include for which allowed(path, library, room, header) is false.
local function bad_includes(folder, allowed)
  local complaints = {}
  each_include(folder, function(path, header, room)
    local library = not room and library_of(header) or nil
    if not allowed(path, library, room, header) then
      complaints[#complaints + 1] = path .. " includes " .. header
    end
  end)
  return complaints
end

describe("layers #tidy", function()
  local C_STANDARD = set([[assert.h ctype.h errno.h float.h inttypes.h limits.h math.h stdalign.h
    stdarg.h stdbool.h stddef.h stdint.h stdlib.h string.h]])

  it("src/core knows the C standard only, without clock and files; libcrypto in digest.c", function()
    none(bad_includes("core", function(path, library, room, header)
      if library then return library == "libcrypto" and path == "src/core/digest.c" end
      return room == "core" or C_STANDARD[header] or false
    end))
  end)

  it("src/io files know one outside library each, and no Lua", function()
    local seen = {}
    none(bad_includes("io", function(path, library, room)
      if not library then return room ~= "bind" end
      seen[path] = seen[path] or library
      return library ~= "Lua" and library == seen[path]
    end))
  end)

  it("src/bind knows core, io and Lua", function()
    none(bad_includes("bind", function(_, library)
      return not library or library == "Lua"
    end))
  end)
end)

describe("symbols #tidy", function()
  -- What the core may ask of the world. No clock, no files, no environment, and memory by alloc.c.
  local PURE = set([[memchr memcmp memcpy memmove memset strchr strcmp strlen strncmp strnlen
    floor fmin fmax ldexp pow _GLOBAL_OFFSET_TABLE_ __stack_chk_fail __assert_fail]])
  local ALSO = {
    ["alloc.o"] = function(symbol) return symbol == "realloc" or symbol == "free" end,
    ["digest.o"] = function(symbol)
      return symbol:find("^EVP_") or symbol:find("^OSSL_") or symbol:find("^CRYPTO_") or symbol:find("^ERR_")
    end,
  }
  local OBJECTS = ".build/obj/5.4/src"

  it("src/core asks nothing of the world but string functions and libcrypto", function()
    local complaints = {}
    for _, line in ipairs(lines_of("nm -u -A " .. OBJECTS .. "/core/*.o")) do
      local object, symbol = line:match("([^/]+%.o):%s+%a%s+(%S+)")
      local also = ALSO[object]
      if not (symbol:find("^rlk_") or PURE[symbol] or also and also(symbol)) then
        complaints[#complaints + 1] = object .. " needs " .. symbol
      end
    end
    none(complaints)
  end)

  it("nothing mutable is static: everything hangs on a Lua state", function()
    local complaints = {}
    for _, line in ipairs(lines_of("objdump -t " .. OBJECTS .. "/*/*.o | grep -E ' O \\.(data|bss)[[:space:]]'")) do
      complaints[#complaints + 1] = line:match("%S+$")
    end
    none(complaints)
  end)

  it("the module exports luaopen_ functions only", function()
    local exported = lines_of("nm -D --defined-only .build/5.4/ringlink/core.so | awk '{ print $3 }'")
    assert(#exported > 0, "the module exports nothing")
    for _, symbol in ipairs(exported) do
      assert.truthy(symbol:find("^luaopen_"), symbol)
    end
  end)
end)

-- ---- One version ---------------------------------------------------------------------------

describe("version #tidy", function()
  local version = read("src/core/version.h"):match('#define RLK_VERSION "([%d.]+)"')

  it("stands in src/core/version.h once, as three numbers", function()
    assert.truthy(version and version:match("^%d+%.%d+%.%d+$"))
    local others = lines_of("grep -rlF '\"" .. version .. "\"' src lua | grep -v '^src/core/version.h$'")
    none(others)
  end)

  it("is the newest in CHANGELOG.md", function()
    assert.equal(version, read("CHANGELOG.md"):match("\n## ([%d.]+)"))
  end)

  it("is what ringlink._VERSION says", function()
    assert.equal(version, require("ringlink")._VERSION)
  end)

  it("the rockspec is the working copy's, named like its file", function()
    local rockspec = read("rockspec/ringlink-scm-1.rockspec")
    assert.equal("ringlink-scm-1", rockspec:match('package = "(.-)"') .. "-" .. rockspec:match('version = "(.-)"'))
  end)
end)

-- ---- Lua -----------------------------------------------------------------------------------

--- Lua source without comments and strings (long ones included), so that words in them do not count.
local function code_of(path)
  return (read(path)
    :gsub("%-%-%[(=*)%[.-%]%1%]", " ")
    :gsub("%[(=*)%[.-%]%1%]", " ")
    :gsub('\\["\']', " ")
    :gsub('"[^"\n]*"', '""')
    :gsub("'[^'\n]*'", "''")
    :gsub("%-%-[^\n]*", ""))
end

describe("lua #tidy", function()
  it("knows nginx in runtime/ngx, resty and sandbox only", function()
    local complaints = {}
    for _, path in ipairs(files("^lua/ringlink/.*%.lua$")) do
      local at_home = path:find("^lua/ringlink/runtime/ngx") or path:find("^lua/ringlink/resty/")
        or path:find("^lua/ringlink/sandbox[/.]")
      if not at_home and code_of(path):find("%f[%w_]ngx%f[^%w_]") then complaints[#complaints + 1] = path end
    end
    none(complaints)
  end)

  it("documents every public function with a --- block", function()
    local complaints = {}
    for _, path in ipairs(files("^lua/ringlink/[^/]+%.lua$")) do
      local documented, number = false, 0
      for line in read(path):gmatch("([^\n]*)\n") do
        number = number + 1
        local name = line:match("^function%s+(%u[%w_]*[.:][%w_.:]+)") -- M.x, Client:x; not a private table's
        if name and not name:find("[.:]_") and not documented then
          complaints[#complaints + 1] = path .. ":" .. number .. ": " .. name
        end
        documented = line:find("^%-%-%-") ~= nil or (documented and line:find("^%-%-") ~= nil)
      end
    end
    none(complaints)
  end)
end)

-- ---- Every file ----------------------------------------------------------------------------

describe("files #tidy", function()
  local SOURCES = { "%.c$", "%.h$", "%.lua$", "%.sh$", "^Makefile$", "^%.ci/run$" }
  local unpack = table.unpack or unpack

  it("stay short enough to be read at a sitting", function()
    local complaints = {}
    for _, path in ipairs(files(unpack(SOURCES))) do
      local _, count = read(path):gsub("\n", "")
      if count > LINES_MAX then complaints[#complaints + 1] = path .. " has " .. count .. " lines" end
    end
    none(complaints)
  end)

  it("open with what they are for", function()
    local complaints = {}
    for _, path in ipairs(files(unpack(SOURCES))) do
      local first, second = read(path):match("^([^\n]*)\n([^\n]*)")
      local opening = first and first:find("^#!") and second or first
      if not (opening and (opening:find("^/%*") or opening:find("^%-%-") or opening:find("^#"))) then
        complaints[#complaints + 1] = path
      end
    end
    none(complaints)
  end)

  it("name no place of one machine, and leave nothing for later", function()
    local FORBIDDEN = { "/home/%w", "/" .. "root/", "/Users/%w", "TO" .. "DO", "FIX" .. "ME" }
    local complaints = {}
    for _, path in ipairs(files("")) do
      local text = path ~= "spec/tidy_spec.lua" and read(path) or ""
      for _, pattern in ipairs(FORBIDDEN) do
        local found = text:match("[^\n]*" .. pattern .. "[^\n]*")
        if found then complaints[#complaints + 1] = path .. ": " .. found end
      end
    end
    none(complaints)
  end)

  it("the README gives a reason for every package", function()
    local dependencies = read("README.md"):match("\n##+ Dependencies\n(.*)$")
    assert(dependencies, "README.md has no section Dependencies")
    local complaints = {}
    for _, line in ipairs(lines_of("spec/support/packages.sh --list")) do
      local names = line:match("^%S+%s+(%S+)")
      for name in names:gmatch("[^|]+") do
        if not dependencies:find(name, 1, true) then complaints[#complaints + 1] = name end
      end
    end
    none(complaints)
  end)
end)
