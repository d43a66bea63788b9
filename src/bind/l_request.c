/* Tables into requests, results into tables; see l_request.h. */
#include "bind/l_request.h"

#include <string.h>

#include "bind/l_util.h"

enum {
    CONNECT_TIMEOUT_MS_DEFAULT = 5000,
    TIMEOUT_MS_DEFAULT = 20000,
    RESPONSE_BYTES_MAX_DEFAULT = 1 << 20,
    RESPONSE_BYTES_MAX_MAX = 1 << 30
};

/* ---- Options ---- */

static bool is_among(const char *key, const char *const *names) {
    while (*names != NULL && strcmp(*names, key) != 0)
        names++;
    return *names != NULL;
}

/* Raises for a key of the table at `arg` that is neither among the names, which end with NULL, nor
 * `also`. */
static void check_names(lua_State *L, int arg, const char *const *names, const char *also) {
    luaL_checktype(L, arg, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, arg) != 0; lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (is_among(key, names) || (also != NULL && strcmp(key, also) == 0)) continue;
        luaL_argerror(L, arg, lua_pushfstring(L, "unknown field '%s'", key));
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

rlk_transport_config l_read_transport(lua_State *L, int arg, const char *also) {
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
    check_names(L, arg, names, also);
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

/* ---- Requests in ---- */

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

/* A file's path for C, or an empty span. */
static rlk_span opt_path(lua_State *L, int arg, const char *name) {
    const char *path = opt_text(L, arg, name);
    return (rlk_span){path, path != NULL ? strlen(path) : 0};
}

rlk_request l_read_request(lua_State *L, int arg, rlk_span *lines) {
    static const char *const names[] = {
        "method",   "url",       "headers",     "body", "timeout_ms", "response_bytes_max",
        "stall_ms", "sink_path", "public_only", NULL};
    check_names(L, arg, names, NULL);
    lua_pushliteral(L, "headers");
    lua_rawget(L, arg);
    const size_t count = read_headers(L, arg, lines);
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
    r.stall_ms = (int64_t)l_opt_number(L, arg, "stall_ms", 0, 1, RLK_TRANSPORT_TIMEOUT_MS_MAX);
    r.sink_path = opt_path(L, arg, "sink_path");
    r.public_only = l_opt_bool(L, arg, "public_only", false);
    if (r.sink_path.len > 0 && r.stall_ms == 0) luaL_argerror(L, arg, "stall_ms: missing");
    return r;
}

/* ---- Results out ---- */

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
    if (r->more) l_setbool(L, "more", true);
    if (r->written >= 0) l_setint(L, "written", r->written);
    push_headers(L, r);
    lua_setfield(L, -2, "headers");
}

static void set_failure(lua_State *L, const rlk_result *r) {
    const rlk_err_info *info = rlk_err_describe(r->error);
    l_setstr(L, "error", info->code);
    l_setstr(L, "detail", r->detail);
}

void l_push_result(lua_State *L, const rlk_result *r) {
    luaL_checkstack(L, 8, "no room for a result");
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

void l_push_stats(lua_State *L, rlk_transport_stats s) {
    lua_newtable(L);
    l_setint(L, "started", s.started);
    l_setint(L, "reused", s.reused);
    l_setint(L, "connections", s.connections);
    l_setint(L, "in_flight", s.in_flight);
}
