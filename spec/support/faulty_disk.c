/* The faulty file system of the C tests (faulty_vfs.h) as SQLite's default in a Lua process.
 *
 *   disk.use(yes)                    SQLite's default from now on, or not any more
 *   disk.fail("full"|"io", for_ever) the next write fails, or all of them until it is healed
 *   disk.heal()                      nothing fails any more
 *
 * Files that were opened before are not under it. */
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <sqlite3.h>

#include "faulty_vfs.h"

static int use(lua_State *L) {
    const char *name = lua_toboolean(L, 1) ? "faulty" : "unix";
    if (sqlite3_vfs_register(sqlite3_vfs_find(name), 1) != SQLITE_OK) {
        return luaL_error(L, "no file system %s", name);
    }
    return 0;
}

static int fail(lua_State *L) {
    const char *how = luaL_checkstring(L, 1);
    faulty_vfs = (faulty_state){.fail_at = 1, .for_ever = lua_toboolean(L, 2), .no_sync = true};
    faulty_vfs.code = strcmp(how, "full") == 0 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    return 0;
}

static int heal(lua_State *L) {
    (void)L;
    faulty_vfs = (faulty_state){.no_sync = true};
    return 0;
}

__attribute__((visibility("default"))) int luaopen_faulty_disk(lua_State *L);

int luaopen_faulty_disk(lua_State *L) {
    static const luaL_Reg functions[] = {{"use", use}, {"fail", fail}, {"heal", heal}};
    faulty_vfs_register();
    (void)heal(L);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setfield(L, -2, functions[i].name);
    }
    return 1;
}
