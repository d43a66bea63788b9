/* Which libraries this process runs with, each in its own words. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "io/store_sqlite.h"
#include "io/transport_curl.h"
#include "io/vault.h"

static int libraries(lua_State *L) {
    lua_newtable(L);
    l_setstr(L, "libcurl", rlk_transport_library());
    l_setstr(L, "libcrypto", rlk_vault_library());
    l_setstr(L, "sqlite", rlk_store_library());
    return 1;
}

void l_libraries_register(lua_State *L) {
    lua_pushcfunction(L, libraries);
    lua_setfield(L, -2, "libraries");
}
