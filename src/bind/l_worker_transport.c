/* core.transport_worker(options, wake): see io/worker_transport.h.
 *
 *   core.transport_worker({..., queue_max=}, wake) -> worker | nil, code, detail
 *   worker:start(request) -> ticket | nil, code, detail;  worker:take() -> ticket, result | nil
 *   worker:proceed(ticket) -> boolean;  worker:cancel(ticket) -> boolean;  worker:stats() ->
 * counts;  worker:close()
 *
 * Options, requests, results and counts are core.transport's, with the lengths of its queues in
 * `queued`, `at_work` and `done` (io/worker.h); there is no poll. After close, take
 * still gives what was out: done, or `cancelled`. The userdata owns its worker; core == NULL means
 * that it is no more. The worker's thread sees nothing of Lua. */
#include "bind/l_core.h"
#include "bind/l_request.h"
#include "bind/l_util.h"
#include "bind/l_wake.h"
#include "bind/l_worker.h"
#include "io/worker_transport.h"

typedef struct l_worker {
    rlk_transport_worker *core;
} l_worker;

static l_worker *check_self(lua_State *L) {
    return luaL_checkudata(L, 1, L_TRANSPORT_WORKER_MT);
}

static int new_worker(lua_State *L) {
    lua_settop(L, 2);
    const rlk_transport_config config = l_read_transport(L, 1, "queue_max");
    const int64_t queue_max =
        l_opt_int(L, 1, "queue_max", RLK_TRANSPORT_IN_FLIGHT_MAX, 1, RLK_TRANSPORT_IN_FLIGHT_MAX);
    rlk_wake *wake = l_check_wake(L, 2);
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    l_worker *w = l_newud(L, sizeof *w, L_TRANSPORT_WORKER_MT);
    const rlk_err e =
        rlk_transport_worker_open(&w->core, &alloc, &config, (size_t)queue_max, wake, &detail);
    return e == RLK_OK ? 1 : l_pushfail(L, e, detail);
}

static int start(lua_State *L) {
    rlk_span lines[L_REQUEST_LINES];
    const l_worker *w = check_self(L);
    lua_settop(L, 2);
    const rlk_request request = l_read_request(L, 2, lines);
    if (w->core == NULL) return l_pushfail(L, RLK_E_CLOSED, "it is closed");
    int64_t ticket = 0;
    const char *detail = NULL;
    const rlk_err e = rlk_transport_worker_start(w->core, &request, &ticket, &detail);
    if (e != RLK_OK) return l_pushfail(L, e, detail);
    l_pushint(L, ticket);
    return 1;
}

static int take(lua_State *L) {
    const l_worker *w = check_self(L);
    const rlk_result *r = w->core != NULL ? rlk_transport_worker_peek(w->core) : NULL;
    if (r == NULL) {
        lua_pushnil(L);
        return 1;
    }
    l_pushint(L, r->ticket);
    l_push_result(L, r);
    rlk_transport_worker_drop(w->core);
    return 2;
}

static int proceed(lua_State *L) {
    const l_worker *w = check_self(L);
    const int64_t ticket = l_checkint(L, 2, 1, INT64_MAX);
    lua_pushboolean(L, w->core != NULL && rlk_transport_worker_proceed(w->core, ticket));
    return 1;
}

static int cancel(lua_State *L) {
    const l_worker *w = check_self(L);
    const int64_t ticket = l_checkint(L, 2, 1, INT64_MAX);
    lua_pushboolean(L, w->core != NULL && rlk_transport_worker_cancel(w->core, ticket));
    return 1;
}

static int stats(lua_State *L) {
    const l_worker *w = check_self(L);
    rlk_transport_stats s = {0, 0, 0, 0};
    rlk_worker_lengths lengths = {0, 0, 0};
    if (w->core != NULL) s = rlk_transport_worker_counts(w->core);
    if (w->core != NULL) lengths = rlk_transport_worker_lengths(w->core);
    l_push_stats(L, s);
    l_set_lengths(L, lengths);
    return 1;
}

/* close and __close. */
static int close_worker(lua_State *L) {
    const l_worker *w = check_self(L);
    if (w->core != NULL) rlk_transport_worker_close(w->core);
    return 0;
}

static int free_worker(lua_State *L) {
    l_worker *w = check_self(L);
    rlk_transport_worker *core = w->core;
    w->core = NULL;
    rlk_transport_worker_free(core);
    return 0;
}

void l_worker_transport_register(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"start", start}, {"take", take},          {"proceed", proceed}, {"cancel", cancel},
        {"stats", stats}, {"close", close_worker}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", free_worker}, {"__close", close_worker}, {NULL, NULL}};
    l_newclass(L, L_TRANSPORT_WORKER_MT, methods, meta);
    lua_pushcfunction(L, new_worker);
    lua_setfield(L, -2, "transport_worker");
}
