-- Style and scope of the Lua sources; `make test-lint` runs it.
-- std "min" is what Lua 5.1 to 5.4 and LuaJIT have in common: the library runs on 5.4 and LuaJIT.
std = "min"
max_line_length = 120
self = false -- a method may leave its object alone
read_globals = { "jit", "unpack", table = { fields = { "unpack" } } } -- used behind a test only

-- nginx is known in these three rooms and nowhere else.
files["lua/ringlink/runtime/ngx*"].std = "+ngx_lua"
files["lua/ringlink/resty"].std = "+ngx_lua"
files["lua/ringlink/sandbox"].std = "+ngx_lua"

files["spec"].std = "+busted"
