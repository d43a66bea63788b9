/* core.limiter: the token bucket of limiter.h as a userdata. It owns nothing but itself. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/limiter.h"

static rlk_limiter *check_limiter(lua_State *L) {
    return luaL_checkudata(L, 1, L_LIMITER_MT);
}

static int new_limiter(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const double per_s = l_opt_number(L, 1, "per_s", 0, 0, INT32_MAX);
    const int64_t burst = l_opt_int(L, 1, "burst", 0, 0, INT32_MAX);
    rlk_limiter *l = l_newud(L, sizeof *l, L_LIMITER_MT);
    const rlk_err e = rlk_limiter_init(l, per_s, burst);
    luaL_argcheck(L, e == RLK_OK, 1,
                  "per_s of 0.001 to 1000000 and burst of 1 to 1000000 expected");
    return 1;
}

static int limiter_take(lua_State *L) {
    rlk_limiter *l = check_limiter(L);
    l_pushint(L, rlk_limiter_take(l, l_checkms(L, 2), l_argms(L, 3, 0)));
    return 1;
}

static int limiter_observe(lua_State *L) {
    rlk_limiter *l = check_limiter(L);
    const int64_t now_ms = l_checkms(L, 2);
    const int64_t remaining = l_argms(L, 3, RLK_LIMITER_UNTOLD);
    const int64_t retry_after_ms = l_argms(L, 4, RLK_LIMITER_UNTOLD);
    rlk_limiter_observe(l, now_ms, remaining, retry_after_ms);
    return 0;
}

void l_limiter_register(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"take", limiter_take}, {"observe", limiter_observe}, {NULL, NULL}};
    l_newclass(L, L_LIMITER_MT, methods, NULL);
    lua_pushcfunction(L, new_limiter);
    lua_setfield(L, -2, "limiter");
}
