/* The module ringlink.core: everything C gives to Lua, and the only symbol that is exported. */
#include "bind/l_core.h"
#include "bind/l_store_sqlite.h"
#include "bind/l_transport.h"
#include "bind/l_util.h"
#include "core/version.h"

L_EXPORT int luaopen_ringlink_core(lua_State *L) {
    lua_newtable(L);
    l_setstr(L, "version", RLK_VERSION);
    l_circuit_register(L);
    l_errors_register(L);
    l_hmac_register(L);
    l_libraries_register(L);
    l_limiter_register(L);
    l_link_register(L);
    l_retry_register(L);
    l_secret_register(L);
    l_store_sqlite_register(L);
    l_system_register(L);
    l_terminal_register(L);
    l_text_register(L);
    l_token_register(L);
    l_transport_register(L);
    l_vault_register(L);
    l_wake_register(L);
    l_worker_store_register(L);
    l_worker_transport_register(L);
    return 1;
}
