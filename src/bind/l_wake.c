/* core.wake() and core.wake_pair(): see io/wake.h.
 *
 *   core.wake() -> wake | nil, code, detail;  core.wake_pair() -> wake | nil, code, detail
 *   wake:path() -> where to connect | nil;  wake:accept() -> true | nil, code, detail
 *   wake:signal(): a byte, as threads send it;  wake:close()
 *   of a pair: wake:fd() -> number | nil;  wake:drain();  wake:wait(ms)
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

typedef rlk_err open_function(rlk_wake **out, const rlk_alloc *alloc, const char **detail);

static int open_by(lua_State *L, open_function *open) {
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    l_wake *w = l_newud(L, sizeof *w, L_WAKE_MT);
    const rlk_err e = open(&w->core, &alloc, &detail);
    return e == RLK_OK ? 1 : l_pushfail(L, e, detail);
}

static int new_wake(lua_State *L) {
    return open_by(L, rlk_wake_open);
}

static int new_pair(lua_State *L) {
    return open_by(L, rlk_wake_open_pair);
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

static int fd(lua_State *L) {
    const l_wake *w = check_self(L, 1);
    const int number = w->core != NULL ? rlk_wake_fd(w->core) : -1;
    if (number >= 0)
        l_pushint(L, number);
    else
        lua_pushnil(L);
    return 1;
}

static int drain(lua_State *L) {
    const l_wake *w = check_self(L, 1);
    if (w->core != NULL) rlk_wake_drain(w->core);
    return 0;
}

static int wait_for_byte(lua_State *L) {
    const l_wake *w = check_self(L, 1);
    const int64_t timeout_ms = l_checkms(L, 2);
    if (w->core != NULL) rlk_wake_wait(w->core, timeout_ms);
    return 0;
}

static int signal_it(lua_State *L) {
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
    static const luaL_Reg methods[] = {{"path", path},
                                       {"accept", accept},
                                       {"fd", fd},
                                       {"drain", drain},
                                       {"wait", wait_for_byte},
                                       {"signal", signal_it},
                                       {"close", close_wake},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", close_wake}, {"__close", close_wake}, {NULL, NULL}};
    l_newclass(L, L_WAKE_MT, methods, meta);
    lua_pushcfunction(L, new_wake);
    lua_setfield(L, -2, "wake");
    lua_pushcfunction(L, new_pair);
    lua_setfield(L, -2, "wake_pair");
}
