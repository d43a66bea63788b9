/* core.secret: text in C memory that Lua's printing never shows and that is wiped on release.
 *
 * The userdata is the rlk_secret itself; closed is zeroed, so that whatever raises, __gc can run.
 */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/secret.h"

static rlk_secret *check_secret(lua_State *L) {
    return luaL_checkudata(L, 1, L_SECRET_MT);
}

static int new_secret(lua_State *L) {
    const rlk_span text = l_checkspan(L, 1);
    const rlk_alloc a = rlk_alloc_default();
    rlk_secret *s = l_newud(L, sizeof *s, L_SECRET_MT);
    const rlk_err e = rlk_secret_init(s, &a, text);
    return e == RLK_OK ? 1 : l_pushfail(L, e, NULL);
}

static int secret_reveal(lua_State *L) {
    const rlk_secret *s = check_secret(L);
    if (!rlk_secret_is_open(s)) return l_pushfail(L, RLK_E_CLOSED, NULL);
    const rlk_span text = rlk_secret_text(s);
    lua_pushlstring(L, text.ptr, text.len);
    return 1;
}

static int secret_wipe(lua_State *L) {
    rlk_secret_deinit(check_secret(L));
    return 0;
}

/* The other side may come from the wire: what is neither text nor an open secret is unequal. */
static int secret_equals(lua_State *L) {
    const rlk_secret *s = check_secret(L);
    const rlk_secret *other = luaL_testudata(L, 2, L_SECRET_MT);
    rlk_span text = {NULL, 0};
    const bool open = other != NULL && rlk_secret_is_open(other);
    if (open) text = rlk_secret_text(other);
    const bool comparable = open || l_tospan(L, 2, &text);
    lua_pushboolean(L, comparable && rlk_secret_equals(s, text));
    return 1;
}

static int secret_tostring(lua_State *L) {
    lua_pushliteral(L, "secret(****)");
    return 1;
}

static int secret_len(lua_State *L) {
    l_pushint(L, (int64_t)rlk_secret_text(check_secret(L)).len);
    return 1;
}

void l_secret_register(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"reveal", secret_reveal}, {"wipe", secret_wipe}, {"equals", secret_equals}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", secret_wipe},
                                    {"__close", secret_wipe},
                                    {"__tostring", secret_tostring},
                                    {"__len", secret_len},
                                    {NULL, NULL}};
    l_newclass(L, L_SECRET_MT, methods, meta);
    lua_pushcfunction(L, new_secret);
    lua_setfield(L, -2, "secret");
}
