/* core.transport{...}: see l_transport.h, and io/transport_curl.h for what a transport promises.
 *
 * The userdata owns its rlk_transport; core == NULL means closed. Spans into Lua strings are used
 * only while the table that anchors them is on the stack. A completion is dropped only when the
 * whole result has become Lua values: an error of Lua's on the way loses and leaks nothing. */
#include "bind/l_transport.h"

#include <string.h>

#include "io/transport_curl.h"
#include "bind/l_util.h"

enum {
    CONNECT_TIMEOUT_MS_DEFAULT = 5000,
    TIMEOUT_MS_DEFAULT = 20000,
    RESPONSE_BYTES_MAX_DEFAULT = 1 << 20,
    RESPONSE_BYTES_MAX_MAX = 1 << 30
};

typedef struct l_transport {
    rlk_transport *core;
} l_transport;

static l_transport *check_self(lua_State *L) {
    return luaL_checkudata(L, 1, L_TRANSPORT_MT);
}

/* Raises for a key of the table at `arg` that is not among the names; the list ends with NULL. */
static void check_names(lua_State *L, int arg, const char *const *names) {
    luaL_checktype(L, arg, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, arg) != 0; lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], key) != 0)
            i++;
        if (names[i] == NULL) luaL_argerror(L, arg, lua_pushfstring(L, "unknown field '%s'", key));
    }
}

/* A text option for C: NULL when absent or empty. */
static const char *opt_text(lua_State *L, int arg, const char *name) {
    const rlk_span text = l_opt_span(L, arg, name);
    if (text.len == 0) return NULL;
    if (strlen(text.ptr) != text.len) {
        luaL_argerror(L, arg, lua_pushfstring(L, "%s: contains NUL", name));
    }
    return text.ptr;
}

static rlk_http_version opt_version(lua_State *L, int arg) {
    const char *text = opt_text(L, arg, "http_version");
    if (text == NULL || strcmp(text, "2") == 0) return RLK_HTTP_2;
    if (strcmp(text, "1.1") != 0) luaL_argerror(L, arg, "http_version: must be \"1.1\" or \"2\"");
    return RLK_HTTP_1_1;
}

static rlk_transport_config read_config(lua_State *L, int arg) {
    static const char *const names[] = {"ca_file",
                                        "proxy",
                                        "client_cert",
                                        "client_key",
                                        "connect_timeout_ms",
                                        "allow_http_loopback",
                                        "response_bytes_max",
                                        "user_agent",
                                        "http_version",
                                        NULL};
    check_names(L, arg, names);
    rlk_transport_config c = {
        .ca_file = opt_text(L, arg, "ca_file"),
        .proxy = opt_text(L, arg, "proxy"),
        .client_cert = opt_text(L, arg, "client_cert"),
        .client_key = opt_text(L, arg, "client_key"),
        .user_agent = opt_text(L, arg, "user_agent"),
        .http_version = opt_version(L, arg),
        .allow_http_loopback = l_opt_bool(L, arg, "allow_http_loopback", false),
    };
    c.connect_timeout_ms = l_opt_int(L, arg, "connect_timeout_ms", CONNECT_TIMEOUT_MS_DEFAULT, 1,
                                     RLK_TRANSPORT_TIMEOUT_MS_MAX);
    c.response_bytes_max = (size_t)l_opt_int(L, arg, "response_bytes_max",
                                             RESPONSE_BYTES_MAX_DEFAULT, 1, RESPONSE_BYTES_MAX_MAX);
    return c;
}

static int new_transport(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    lua_settop(L, 1);
    const rlk_transport_config config = read_config(L, 1);
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    l_transport *t = l_newud(L, sizeof *t, L_TRANSPORT_MT);
    const rlk_err e = rlk_transport_open(&t->core, &alloc, &config, &detail);
    return e == RLK_OK ? 1 : l_pushfail(L, e, detail);
}

/* Fills `lines` from the array on the top of the stack, which goes on anchoring them. One more than
 * is allowed is read, so that the transport refuses it. */
static size_t read_headers(lua_State *L, int arg, rlk_span *lines) {
    if (lua_isnil(L, -1)) return 0;
    if (!lua_istable(L, -1)) luaL_argerror(L, arg, "headers: array expected");
    const size_t held = lua_rawlen(L, -1);
    const size_t count =
        held <= RLK_TRANSPORT_LINE_COUNT_MAX ? held : RLK_TRANSPORT_LINE_COUNT_MAX + 1;
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        if (!l_tospan(L, -1, &lines[i])) luaL_argerror(L, arg, "headers: strings expected");
        lua_pop(L, 1);
    }
    return count;
}

static rlk_span need_span(lua_State *L, int arg, const char *name) {
    const rlk_span text = l_opt_span(L, arg, name);
    if (text.ptr == NULL) luaL_argerror(L, arg, lua_pushfstring(L, "%s: missing", name));
    return text;
}

static rlk_request read_request(lua_State *L, int arg, const rlk_span *lines, size_t count) {
    rlk_request r = {
        .method = need_span(L, arg, "method"),
        .url = need_span(L, arg, "url"),
        .headers = lines,
        .header_count = count,
        .body = l_opt_span(L, arg, "body"),
    };
    /* a caller's clock may count in fractions */
    r.timeout_ms = (int64_t)l_opt_number(L, arg, "timeout_ms", TIMEOUT_MS_DEFAULT, 1,
                                         RLK_TRANSPORT_TIMEOUT_MS_MAX);
    r.response_bytes_max =
        (size_t)l_opt_int(L, arg, "response_bytes_max", 0, 1, RESPONSE_BYTES_MAX_MAX);
    return r;
}

static int start(lua_State *L) {
    static const char *const names[] = {
        "method", "url", "headers", "body", "timeout_ms", "response_bytes_max", NULL};
    rlk_span lines[RLK_TRANSPORT_LINE_COUNT_MAX + 1];
    const l_transport *t = check_self(L);
    lua_settop(L, 2);
    check_names(L, 2, names);
    lua_pushliteral(L, "headers");
    lua_rawget(L, 2);
    const size_t count = read_headers(L, 2, lines);
    const rlk_request request = read_request(L, 2, lines, count);
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

/* headers[name] = value on the top of the stack, or what is there, ", ", value. */
static void add_header(lua_State *L, rlk_span name, rlk_span value) {
    lua_pushlstring(L, name.ptr, name.len);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, value.ptr, value.len);
    } else {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value.ptr, value.len);
        lua_concat(L, 3);
    }
    lua_rawset(L, -3);
}

static void push_headers(lua_State *L, const rlk_result *r) {
    size_t at = 0;
    rlk_span name, value;
    lua_newtable(L);
    while (rlk_result_header(r, &at, &name, &value))
        add_header(L, name, value);
}

static void set_answer(lua_State *L, const rlk_result *r) {
    l_setint(L, "status", r->status);
    l_setstr(L, "http", r->http_version);
    lua_pushlstring(L, r->body.ptr, r->body.len);
    lua_setfield(L, -2, "body");
    push_headers(L, r);
    lua_setfield(L, -2, "headers");
}

static void set_failure(lua_State *L, const rlk_result *r) {
    const rlk_err_info *info = rlk_err_describe(r->error);
    l_setstr(L, "error", info->code);
    l_setstr(L, "detail", r->detail);
}

static void push_result(lua_State *L, const rlk_result *r) {
    lua_newtable(L);
    l_setbool(L, "sent", r->sent);
    l_setbool(L, "reused", r->reused);
    l_setint(L, "time_ms", r->time_ms);
    if (r->error == RLK_OK) {
        set_answer(L, r);
    } else {
        set_failure(L, r);
    }
}

static int take(lua_State *L) {
    const l_transport *t = check_self(L);
    const rlk_result *r = t->core != NULL ? rlk_transport_peek(t->core) : NULL;
    if (r == NULL) {
        lua_pushnil(L);
        return 1;
    }
    luaL_checkstack(L, 8, "no room for a result");
    l_pushint(L, r->ticket);
    push_result(L, r);
    rlk_transport_drop(t->core);
    return 2;
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
    lua_newtable(L);
    l_setint(L, "started", s.started);
    l_setint(L, "reused", s.reused);
    l_setint(L, "connections", s.connections);
    l_setint(L, "in_flight", s.in_flight);
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
    static const luaL_Reg methods[] = {{"start", start}, {"poll", poll},
                                       {"take", take},   {"cancel", cancel},
                                       {"stats", stats}, {"close", close_transport},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", close_transport}, {"__close", close_transport}, {NULL, NULL}};
    l_newclass(L, L_TRANSPORT_MT, methods, meta);
    lua_pushcfunction(L, new_transport);
    lua_setfield(L, -2, "transport");
}
