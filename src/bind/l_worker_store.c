/* core.store_worker(options, wake): see io/worker_store.h.
 *
 *   core.store_worker({path=, client_id=, busy_ms=, queue_max=}, wake) -> worker | nil, code,
 * detail worker:start(job) -> ticket | nil, code, detail;  worker:take() -> ticket, result | nil
 *   worker:scrub() -> ticket | nil, code, detail;  worker:close()
 *   worker:stats() -> {started, queued, at_work, done}: jobs in all, and in each place
 * (io/worker.h)
 *
 * Options, jobs and results are core.store_sqlite's, one job a call; a scrub's answer is its
 * result's `yes`. What goes wrong with the file is a result. close runs what was started; take
 * gives it afterwards too. The userdata owns its worker; core == NULL means that it is no more. The
 * worker's thread sees nothing of Lua. */
#include "bind/l_core.h"
#include "bind/l_jobs.h"
#include "bind/l_util.h"
#include "bind/l_wake.h"
#include "bind/l_worker.h"
#include "io/worker_store.h"

enum { QUEUE_MAX_DEFAULT = 4096, QUEUE_MAX_MAX = 1 << 20 };

typedef struct l_worker {
    rlk_store_worker *core;
} l_worker;

static l_worker *check_self(lua_State *L) {
    return luaL_checkudata(L, 1, L_STORE_WORKER_MT);
}

static int new_worker(lua_State *L) {
    lua_settop(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    const rlk_store_config config = l_read_store(L, 1);
    const int64_t queue_max = l_opt_int(L, 1, "queue_max", QUEUE_MAX_DEFAULT, 1, QUEUE_MAX_MAX);
    rlk_wake *wake = l_check_wake(L, 2);
    const rlk_alloc alloc = rlk_alloc_default();
    l_worker *w = l_newud(L, sizeof *w, L_STORE_WORKER_MT);
    const rlk_store_problem p =
        rlk_store_worker_open(&w->core, &alloc, &config, (size_t)queue_max, wake);
    return p.error == RLK_OK ? 1 : l_pushfail(L, p.error, p.detail);
}

static int push_ticket(lua_State *L, rlk_err e, int64_t ticket, const char *detail) {
    if (e != RLK_OK) return l_pushfail(L, e, detail);
    l_pushint(L, ticket);
    return 1;
}

static int start(lua_State *L) {
    const l_worker *w = check_self(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    rlk_store_job job;
    int64_t ticket = 0;
    const char *detail = NULL;
    l_read_job(L, 0, &job);
    if (w->core == NULL) return l_pushfail(L, RLK_E_CLOSED, "it is closed");
    const rlk_err e = rlk_store_worker_start(w->core, &job, &ticket, &detail);
    return push_ticket(L, e, ticket, detail);
}

static int scrub(lua_State *L) {
    const l_worker *w = check_self(L);
    int64_t ticket = 0;
    const char *detail = NULL;
    if (w->core == NULL) return l_pushfail(L, RLK_E_CLOSED, "it is closed");
    const rlk_err e = rlk_store_worker_scrub(w->core, &ticket, &detail);
    return push_ticket(L, e, ticket, detail);
}

static int take(lua_State *L) {
    const l_worker *w = check_self(L);
    int64_t ticket = 0;
    const rlk_store_result *r = w->core != NULL ? rlk_store_worker_peek(w->core, &ticket) : NULL;
    if (r == NULL) {
        lua_pushnil(L);
        return 1;
    }
    l_pushint(L, ticket);
    l_push_job_result(L, r);
    rlk_store_worker_drop(w->core);
    return 2;
}

static int stats(lua_State *L) {
    const l_worker *w = check_self(L);
    rlk_worker_lengths lengths = {0, 0, 0};
    if (w->core != NULL) lengths = rlk_store_worker_lengths(w->core);
    lua_newtable(L);
    l_setint(L, "started", w->core != NULL ? rlk_store_worker_started(w->core) : 0);
    l_set_lengths(L, lengths);
    return 1;
}

/* close and __close. */
static int close_worker(lua_State *L) {
    const l_worker *w = check_self(L);
    if (w->core != NULL) rlk_store_worker_close(w->core);
    return 0;
}

static int free_worker(lua_State *L) {
    l_worker *w = check_self(L);
    rlk_store_worker *core = w->core;
    w->core = NULL;
    rlk_store_worker_free(core);
    return 0;
}

void l_worker_store_register(lua_State *L) {
    static const luaL_Reg methods[] = {{"start", start}, {"scrub", scrub},        {"take", take},
                                       {"stats", stats}, {"close", close_worker}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", free_worker}, {"__close", close_worker}, {NULL, NULL}};
    l_newclass(L, L_STORE_WORKER_MT, methods, meta);
    lua_pushcfunction(L, new_worker);
    lua_setfield(L, -2, "store_worker");
}
