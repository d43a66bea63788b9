#!/bin/sh
# Tries what users install: install.sh MAKE LUA LUAJIT. `make install` for both Luas, `make
# uninstall`, and the rock, which must link an account from where it was put. Prints TAP.
set -eu
make=$1 lua=$2 luajit=$3
place=$PWD/.build/test/install
rm -rf "$place"

# from TREE VERSION: the settings that find ringlink in that tree, and not in the working copy.
from() {
    echo "LUA_PATH='$1/share/lua/$2/?.lua;$1/share/lua/$2/?/init.lua;;' LUA_CPATH='$1/lib/lua/$2/?.so;;'"
}

exec spec/support/checks.sh \
    "make install, Lua 5.4" "$make install PREFIX=$place/usr LUA_VERSION=5.4" \
    "make install, LuaJIT" "$make install PREFIX=$place/usr LUA_VERSION=5.1" \
    "it loads in Lua 5.4" "$(from "$place/usr" 5.4) $lua -e 'require [[ringlink]]'" \
    "it loads in LuaJIT" "$(from "$place/usr" 5.1) $luajit -e 'require [[ringlink]]'" \
    "the command runs from where it is, for Lua 5.4" "cd / && env -u LUA_PATH -u LUA_CPATH \
        $place/usr/bin/ringlink --version && head -1 $place/usr/bin/ringlink | grep -q ${lua##*/}" \
    "it finds its sandbox" "cd / && env -u LUA_PATH -u LUA_CPATH -u RINGLINK_LUAJIT_CPATH \
        $place/usr/bin/ringlink doctor --offline | grep -q '^ok *sandbox'" \
    "make uninstall leaves no file" "$make uninstall PREFIX=$place/usr LUA_VERSION=5.4 &&
        $make uninstall PREFIX=$place/usr LUA_VERSION=5.1 && test -z \"\$(find $place/usr -type f)\"" \
    "luarocks make" "luarocks --lua-version=5.4 make --deps-mode=none --tree $place/rock \
        rockspec/ringlink-scm-1.rockspec" \
    "the rock's command runs" "cd / && env -u LUA_PATH -u LUA_CPATH $place/rock/bin/ringlink --version" \
    "the rock links an account" "$(from "$place/rock" 5.4) $lua spec/demo/run.lua"
