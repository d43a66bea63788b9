/* core.store_sqlite{...}: see l_store_sqlite.h, and io/store_sqlite.h for what a store promises.
 *
 *   core.store_sqlite{path=, client_id=, busy_ms=} -> db | nil, code, detail
 *   db:run{ {op = "get", key = "k"}, ... }
 *       -> { {yes=, value=, entries = { {key=, data=, ...}, ... }}, ... }
 *   db:check(job);  db:scrub() -> boolean;  db:close()
 *
 * A job's fields are named as in io/store_sqlite.h. A job that failed gives {error=, detail=,
 * sqlite_code=}. The userdata owns its rlk_store; core == NULL means closed. Jobs point into Lua's
 * strings, which the argument anchors; results are anchored in a userdata of their own before the
 * run, so that an error of Lua's on the way out leaks nothing. */
#include "bind/l_store_sqlite.h"

#include "bind/l_jobs.h"
#include "bind/l_util.h"
#include "io/store_sqlite.h"

typedef struct l_store {
    rlk_store *core;
} l_store;

typedef struct l_results {
    size_t count;
    rlk_store_result list[];
} l_results;

static l_store *check_self(lua_State *L) {
    return luaL_checkudata(L, 1, L_STORE_MT);
}

static int push_problem(lua_State *L, rlk_store_problem p) {
    return l_pushfail(L, p.error, p.detail);
}

static int new_store(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const rlk_alloc alloc = rlk_alloc_default();
    const rlk_store_config config = l_read_store(L, 1);
    l_store *s = l_newud(L, sizeof *s, L_STORE_MT);
    const rlk_store_problem p = rlk_store_open(&s->core, &alloc, &config);
    return p.error == RLK_OK ? 1 : push_problem(L, p);
}

/* ---- Jobs in ---- */

static rlk_store_job *read_jobs(lua_State *L, size_t count) {
    rlk_store_job *jobs = l_rawnewud(L, (count > 0 ? count : 1) * sizeof *jobs);
    for (size_t i = 0; i < count; i++) {
        const int index = (int)i + 1;
        lua_rawgeti(L, 2, index);
        luaL_argcheck(L, lua_istable(L, -1), 2, "an array of tables expected");
        l_read_job(L, index, &jobs[i]);
        lua_pop(L, 1);
    }
    return jobs;
}

/* Raises for what is no job, before it waits to be run among others'. */
static int check_job(lua_State *L) {
    rlk_store_job job;
    (void)check_self(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    l_read_job(L, 0, &job);
    return 0;
}

/* ---- Results out ---- */

static int free_results(lua_State *L) {
    l_results *results = luaL_checkudata(L, 1, L_STORE_RESULTS_MT);
    for (size_t i = 0; i < results->count; i++)
        rlk_store_result_deinit(&results->list[i]);
    results->count = 0;
    return 0;
}

static l_results *new_results(lua_State *L, size_t count) {
    return l_newud(L, sizeof(l_results) + count * sizeof(rlk_store_result), L_STORE_RESULTS_MT);
}

/* What a run took can be large, and the collector does not know: it goes at once. */
static int run(lua_State *L) {
    const l_store *s = check_self(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    if (s->core == NULL) return l_pushfail(L, RLK_E_CLOSED, "the store is closed");
    const size_t count = lua_rawlen(L, 2);
    luaL_argcheck(L, count <= RLK_STORE_BATCH_COUNT_MAX, 2, "too many jobs at once");
    const rlk_store_job *jobs = read_jobs(L, count);
    l_results *results = new_results(L, count);
    rlk_store_run(s->core, jobs, results->list, count);
    results->count = count;
    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        l_push_job_result(L, &results->list[i]);
        lua_rawseti(L, -2, (int)i + 1);
        rlk_store_result_deinit(&results->list[i]);
    }
    return 1;
}

static int scrub(lua_State *L) {
    const l_store *s = check_self(L);
    lua_pushboolean(L, s->core != NULL && rlk_store_scrub(s->core));
    return 1;
}

/* close, __gc and __close. */
static int close_store(lua_State *L) {
    l_store *s = check_self(L);
    rlk_store *core = s->core;
    s->core = NULL;
    rlk_store_close(core);
    return 0;
}

void l_store_sqlite_register(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"run", run}, {"check", check_job}, {"scrub", scrub}, {"close", close_store}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", close_store}, {"__close", close_store}, {NULL, NULL}};
    static const luaL_Reg no_methods[] = {{NULL, NULL}};
    static const luaL_Reg results_meta[] = {{"__gc", free_results}, {NULL, NULL}};
    l_newclass(L, L_STORE_MT, methods, meta);
    l_newclass(L, L_STORE_RESULTS_MT, no_methods, results_meta);
    lua_pushcfunction(L, new_store);
    lua_setfield(L, -2, "store_sqlite");
}
