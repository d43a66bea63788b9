-- `luarocks make --deps-mode=none rockspec/ringlink-scm-1.rockspec` in the repository's root.
-- The Makefile does the work, so that the rock and `make install` are the same thing. Lua 5.1 means
-- LuaJIT here: ringlink does not run on PUC Lua 5.1 (it cannot yield across pcall).
rockspec_format = "3.0"
package = "ringlink"
version = "scm-1"
source = {
  url = "git+file://.", -- a rock of the working copy
}
description = {
  summary = "Links Ring accounts to a partner's users, and keeps the links alive",
  license = "MIT",
}
dependencies = {
  "lua >= 5.1, < 5.5",
  "lua-cjson >= 2.1.0",
  "argparse >= 0.7.0",
}
-- libcurl and libcrypto are found by the Makefile through pkg-config: luarocks' own search does not
-- know the folders where Debian keeps headers.
build = {
  type = "make",
  build_target = "build",
  install_target = "install",
  variables = {
    BUILD = ".build/rock",
    ROCK_LUA = "$(LUA)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    BINDIR = "", -- the command is luarocks' own to put up, below
    CFLAGS = "$(CFLAGS)",
  },
  install = { bin = { ringlink = "lua/ringlink/cli/ringlink.lua" } },
}
