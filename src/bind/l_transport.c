/* core.transport{...}: see l_transport.h, and io/transport_curl.h for what a transport promises.
 *
 * The userdata owns its rlk_transport; core == NULL means closed. Spans into Lua strings are used
 * only while the table that anchors them is on the stack. A completion is dropped only when the
 * whole result has become Lua values: an error of Lua's on the way loses and leaks nothing. */
#include "bind/l_transport.h"

#include "io/transport_curl.h"
#include "bind/l_request.h"
#include "bind/l_util.h"

typedef struct l_transport {
    rlk_transport *core;
} l_transport;

static l_transport *check_self(lua_State *L) {
    return luaL_checkudata(L, 1, L_TRANSPORT_MT);
}

static int new_transport(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    lua_settop(L, 1);
    const rlk_transport_config config = l_read_transport(L, 1, NULL);
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    l_transport *t = l_newud(L, sizeof *t, L_TRANSPORT_MT);
    const rlk_err e = rlk_transport_open(&t->core, &alloc, &config, &detail);
    return e == RLK_OK ? 1 : l_pushfail(L, e, detail);
}

static int start(lua_State *L) {
    rlk_span lines[L_REQUEST_LINES];
    const l_transport *t = check_self(L);
    lua_settop(L, 2);
    const rlk_request request = l_read_request(L, 2, lines);
    if (t->core == NULL) return l_pushfail(L, RLK_E_CLOSED, "the transport is closed");
    int64_t ticket = 0;
    const char *detail = NULL;
    const rlk_err e = rlk_transport_start(t->core, &request, &ticket, &detail);
    if (e != RLK_OK) return l_pushfail(L, e, detail);
    l_pushint(L, ticket);
    return 1;
}

static int poll(lua_State *L) {
    const l_transport *t = check_self(L);
    const int64_t timeout_ms = lua_isnoneornil(L, 2) ? 0 : l_checkms(L, 2);
    if (t->core == NULL) return l_pushfail(L, RLK_E_CLOSED, "the transport is closed");
    l_pushint(L, (int64_t)rlk_transport_poll(t->core, timeout_ms));
    return 1;
}

static int take(lua_State *L) {
    const l_transport *t = check_self(L);
    const rlk_result *r = t->core != NULL ? rlk_transport_peek(t->core) : NULL;
    if (r == NULL) {
        lua_pushnil(L);
        return 1;
    }
    l_pushint(L, r->ticket);
    l_push_result(L, r);
    rlk_transport_drop(t->core);
    return 2;
}

static int proceed(lua_State *L) {
    const l_transport *t = check_self(L);
    const int64_t ticket = l_checkint(L, 2, 1, INT64_MAX);
    lua_pushboolean(L, t->core != NULL && rlk_transport_proceed(t->core, ticket));
    return 1;
}

static int cancel(lua_State *L) {
    const l_transport *t = check_self(L);
    const int64_t ticket = l_checkint(L, 2, 1, INT64_MAX);
    lua_pushboolean(L, t->core != NULL && rlk_transport_cancel(t->core, ticket));
    return 1;
}

static int stats(lua_State *L) {
    const l_transport *t = check_self(L);
    rlk_transport_stats s = {0, 0, 0, 0};
    if (t->core != NULL) s = rlk_transport_counts(t->core);
    l_push_stats(L, s);
    return 1;
}

/* close, __gc and __close. */
static int close_transport(lua_State *L) {
    l_transport *t = check_self(L);
    rlk_transport *core = t->core;
    t->core = NULL;
    rlk_transport_close(core);
    return 0;
}

void l_transport_register(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"start", start},           {"poll", poll},     {"take", take},
        {"proceed", proceed},       {"cancel", cancel}, {"stats", stats},
        {"close", close_transport}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", close_transport}, {"__close", close_transport}, {NULL, NULL}};
    l_newclass(L, L_TRANSPORT_MT, methods, meta);
    lua_pushcfunction(L, new_transport);
    lua_setfield(L, -2, "transport");
}
