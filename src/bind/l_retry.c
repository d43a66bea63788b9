/* core.retry, core.retry_after_ms, core.http_date_ms: the policy of retry.h for a table that
 * describes an attempt, and the headers it reads. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/httpdate.h"
#include "core/limits.h"
#include "core/retry.h"

static rlk_retry_kind check_kind(lua_State *L, int arg) {
    rlk_retry_kind kind = RLK_RETRY_KIND_ONCE;
    luaL_argcheck(L, rlk_retry_kind_named(l_checkspan(L, arg), &kind), arg,
                  "safe, once, link or token expected");
    return kind;
}

/* The transport's code; one that is not in the list is a mistake of the caller. */
static rlk_err check_error(lua_State *L, int arg) {
    const rlk_span code = l_opt_span(L, arg, "error");
    const rlk_err e = code.ptr == NULL ? RLK_OK : rlk_err_named(code);
    luaL_argcheck(L, code.ptr == NULL || e != RLK_OK, arg, "error: unknown code");
    return e;
}

static int64_t opt_count(lua_State *L, int arg, const char *name, int64_t fallback) {
    return l_opt_int(L, arg, name, fallback, 0, INT32_MAX);
}

static rlk_attempt check_attempt(lua_State *L, int arg) {
    luaL_checktype(L, arg, LUA_TTABLE);
    const rlk_attempt attempt = {
        .status = opt_count(L, arg, "status", RLK_RETRY_NO_STATUS),
        .error = check_error(L, arg),
        .sent = l_opt_bool(L, arg, "sent", false),
        .final = l_opt_bool(L, arg, "final", false),
        .attempts = opt_count(L, arg, "attempts", 1),
        .attempts_max = opt_count(L, arg, "attempts_max", 1),
        .lost = opt_count(L, arg, "lost", 0),
        .elapsed_ms = l_opt_ms(L, arg, "elapsed_ms", 0),
        .deadline_ms = l_opt_ms(L, arg, "deadline_ms", RLK_TIME_MS_MAX),
        .retry_after_ms = l_opt_ms(L, arg, "retry_after_ms", RLK_RETRY_NO_AFTER),
        .random = l_opt_number(L, arg, "random", 1, 0, 1),
    };
    luaL_argcheck(L, attempt.status != RLK_RETRY_NO_STATUS || attempt.error != RLK_OK, arg,
                  "status or error expected");
    return attempt;
}

static int retry_decide(lua_State *L) {
    const rlk_retry_kind kind = check_kind(L, 1);
    const rlk_attempt attempt = check_attempt(L, 2);
    const rlk_retry_advice advice = rlk_retry_decide(kind, &attempt);
    lua_pushstring(L, rlk_retry_verdict_name(advice.verdict));
    l_pushint(L, advice.wait_ms);
    lua_pushstring(L, rlk_retry_class_name(advice.class_));
    return 3;
}

/* A header's value in argument 1, now in 2; nil when it is absent or cannot be understood. */
static int push_parsed(lua_State *L, bool (*parse)(rlk_span text, int64_t now_ms, int64_t *ms)) {
    rlk_span text = {NULL, 0};
    int64_t ms = 0;
    const int64_t now_ms = l_checkms(L, 2);
    if (l_tospan(L, 1, &text) && parse(text, now_ms, &ms))
        l_pushint(L, ms);
    else
        lua_pushnil(L);
    return 1;
}

static int retry_after_ms(lua_State *L) {
    return push_parsed(L, rlk_retry_after_parse);
}

static int http_date_ms(lua_State *L) {
    return push_parsed(L, rlk_httpdate_parse);
}

void l_retry_register(lua_State *L) {
    static const luaL_Reg functions[] = {{"retry", retry_decide},
                                         {"retry_after_ms", retry_after_ms},
                                         {"http_date_ms", http_date_ms},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
