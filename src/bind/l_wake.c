/* core.wake(): see io/wake.h.
 *
 *   core.wake() -> wake | nil, code, detail
 *   wake:path() -> where to connect | nil;  wake:accept() -> true | nil, code, detail
 *   wake:ring(): a byte, as threads send it;  wake:close()
 *
 * The userdata holds one of the wake's references, the workers theirs; core == NULL means closed.
 */
#include "bind/l_wake.h"

#include "bind/l_core.h"
#include "bind/l_util.h"

typedef struct l_wake {
    rlk_wake *core;
} l_wake;

static l_wake *check_self(lua_State *L, int arg) {
    return luaL_checkudata(L, arg, L_WAKE_MT);
}

rlk_wake *l_check_wake(lua_State *L, int arg) {
    const l_wake *w = check_self(L, arg);
    luaL_argcheck(L, w->core != NULL, arg, "the wake is closed");
    return w->core;
}

static int new_wake(lua_State *L) {
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    l_wake *w = l_newud(L, sizeof *w, L_WAKE_MT);
    const rlk_err e = rlk_wake_open(&w->core, &alloc, &detail);
    return e == RLK_OK ? 1 : l_pushfail(L, e, detail);
}

static int path(lua_State *L) {
    const l_wake *w = check_self(L, 1);
    lua_pushstring(L, w->core != NULL ? rlk_wake_path(w->core) : NULL);
    return 1;
}

static int accept(lua_State *L) {
    const l_wake *w = check_self(L, 1);
    const char *detail = "the wake is closed";
    const rlk_err e = w->core != NULL ? rlk_wake_accept(w->core, &detail) : RLK_E_CLOSED;
    if (e != RLK_OK) return l_pushfail(L, e, detail);
    lua_pushboolean(L, 1);
    return 1;
}

static int ring(lua_State *L) {
    const l_wake *w = check_self(L, 1);
    if (w->core != NULL) rlk_wake_signal(w->core);
    return 0;
}

/* close, __gc and __close. */
static int close_wake(lua_State *L) {
    l_wake *w = check_self(L, 1);
    rlk_wake *core = w->core;
    w->core = NULL;
    if (core != NULL) rlk_wake_close(core);
    rlk_wake_release(core);
    return 0;
}

void l_wake_register(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"path", path}, {"accept", accept}, {"ring", ring}, {"close", close_wake}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", close_wake}, {"__close", close_wake}, {NULL, NULL}};
    l_newclass(L, L_WAKE_MT, methods, meta);
    lua_pushcfunction(L, new_wake);
    lua_setfield(L, -2, "wake");
}
