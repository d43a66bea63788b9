/* core.token_*, core.check_time: lifetimes, freshness, and how long a refresh is overdue. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/limits.h"
#include "core/nonce.h"
#include "core/token.h"

#include <math.h>

/* expires_in as the wire had it: a number, a number in text, or anything at all. */
static double seconds(lua_State *L, int arg) {
    rlk_span text = {NULL, 0};
    if (lua_type(L, arg) == LUA_TNUMBER) return lua_tonumber(L, arg);
    return l_tospan(L, arg, &text) ? rlk_token_seconds_parse(text) : NAN;
}

static int token_times(lua_State *L) {
    const rlk_token_times times = rlk_token_times_from(seconds(L, 1), l_checkms(L, 2));
    l_pushint(L, times.obtained_ms);
    l_pushint(L, times.expires_ms);
    lua_pushboolean(L, times.doubtful);
    return 3;
}

static int token_verdict(lua_State *L) {
    const rlk_token_verdict v = rlk_token_judge(l_checkms(L, 1), l_checkms(L, 2), l_checkms(L, 3),
                                                l_checkms(L, 4), l_checkms(L, 5));
    lua_pushstring(L, rlk_token_verdict_name(v));
    return 1;
}

static int token_early_from(lua_State *L) {
    l_pushint(L, rlk_token_early_from(l_checkms(L, 1), l_checkms(L, 2), l_checkms(L, 3)));
    return 1;
}

/* stage, lapses_ms, days_left */
static int token_overdue(lua_State *L) {
    const int64_t refreshed_ms = l_checkms(L, 1);
    const int64_t now_ms = l_checkms(L, 2);
    l_pushint(L, rlk_token_overdue_stage(refreshed_ms, now_ms));
    l_pushint(L, rlk_token_lapses_ms(refreshed_ms));
    l_pushint(L, rlk_token_days_left(refreshed_ms, now_ms));
    return 3;
}

/* The time is the wire's text; the rest is the caller's. */
static int check_time(lua_State *L) {
    rlk_span text = {NULL, 0};
    int64_t time_ms = 0;
    int64_t delta_ms = 0;
    const int64_t now_ms = l_checkms(L, 2);
    const int64_t window_ms = l_checkms(L, 3);
    const int64_t skew_ms = l_checkms(L, 4);
    if (!l_tospan(L, 1, &text) || rlk_nonce_time_parse(text, &time_ms) != RLK_OK)
        return l_pushfail(L, RLK_E_INVALID_REQUEST, NULL);
    const rlk_err e = rlk_nonce_freshness(time_ms, now_ms, window_ms, skew_ms, &delta_ms);
    const int failed = e == RLK_OK ? 0 : l_pushfail(L, e, NULL);
    l_pushint(L, delta_ms);
    return failed + 1;
}

void l_token_register(lua_State *L) {
    static const luaL_Reg functions[] = {{"token_times", token_times},
                                         {"token_verdict", token_verdict},
                                         {"token_early_from", token_early_from},
                                         {"token_overdue", token_overdue},
                                         {"check_time", check_time},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
