/* What every file of the binding shares; the contract is in l_util.h. */
#include "l_util.h"
#include "core/limits.h"

#include <math.h>
#include <string.h>

void l_newclass(lua_State *L, const char *mt, const luaL_Reg *methods, const luaL_Reg *meta) {
    luaL_newmetatable(L, mt);
    if (meta != NULL) luaL_setfuncs(L, meta, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    l_setbool(L, "__metatable", false);
    lua_pop(L, 1);
}

void *l_newud(lua_State *L, size_t bytes, const char *mt) {
    void *ud = l_rawnewud(L, bytes);
    memset(ud, 0, bytes);
    luaL_setmetatable(L, mt);
    return ud;
}

int l_pushfail(lua_State *L, rlk_err e, const char *detail) {
    lua_pushnil(L);
    lua_pushstring(L, rlk_err_describe(e)->code);
    if (detail == NULL) return 2;
    lua_pushstring(L, detail);
    return 3;
}

void l_pushint(lua_State *L, int64_t value) {
#if L_HAS_INT64
    lua_pushinteger(L, value);
#else
    lua_pushnumber(L, (lua_Number)value);
#endif
}

void l_setint(lua_State *L, const char *name, int64_t value) {
    l_pushint(L, value);
    lua_setfield(L, -2, name);
}

void l_setstr(lua_State *L, const char *name, const char *text) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

void l_setbool(lua_State *L, const char *name, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

/* 2^63 is exact as a double; INT64_MAX is not. */
static bool fits_int64(lua_Number n) {
    return n >= -9223372036854775808.0 && n < 9223372036854775808.0;
}

bool l_toint(lua_State *L, int idx, int64_t *out) {
    if (lua_type(L, idx) != LUA_TNUMBER) return false;
#if L_HAS_INT64
    if (lua_isinteger(L, idx)) {
        *out = lua_tointeger(L, idx);
        return true;
    }
#endif
    const lua_Number n = lua_tonumber(L, idx);
    if (!fits_int64(n)) return false;
    *out = (int64_t)n;
    return (lua_Number)*out == n;
}

bool l_tospan(lua_State *L, int idx, rlk_span *out) {
    if (lua_type(L, idx) != LUA_TSTRING) return false;
    out->ptr = lua_tolstring(L, idx, &out->len);
    return true;
}

int64_t l_checkint(lua_State *L, int arg, int64_t min, int64_t max) {
    int64_t value = 0;
    luaL_argcheck(L, l_toint(L, arg, &value), arg, "integer expected");
    luaL_argcheck(L, value >= min && value <= max, arg, "out of range");
    return value;
}

rlk_span l_checkspan(lua_State *L, int arg) {
    rlk_span span = {NULL, 0};
    luaL_argcheck(L, l_tospan(L, arg, &span), arg, "string expected");
    return span;
}

/* Not for NaN. */
static int64_t bounded_ms(lua_Number n) {
    if (n <= 0) return 0;
    return n < (lua_Number)RLK_TIME_MS_MAX ? (int64_t)n : RLK_TIME_MS_MAX;
}

int64_t l_checkms(lua_State *L, int arg) {
    luaL_argcheck(L, lua_type(L, arg) == LUA_TNUMBER, arg, "milliseconds expected");
    const lua_Number n = lua_tonumber(L, arg);
    luaL_argcheck(L, !isnan(n), arg, "milliseconds expected, got NaN");
    return bounded_ms(n);
}

int64_t l_argms(lua_State *L, int arg, int64_t fallback) {
    if (lua_isnoneornil(L, arg)) return fallback;
    luaL_argcheck(L, lua_type(L, arg) == LUA_TNUMBER, arg, "number expected");
    const lua_Number n = lua_tonumber(L, arg);
    return isnan(n) ? fallback : bounded_ms(n);
}

/* Pushes the field; every reader pops it again. */
static bool push_field(lua_State *L, int table, const char *name) {
    const int t = lua_absindex(L, table);
    lua_pushstring(L, name);
    lua_rawget(L, t);
    return !lua_isnil(L, -1);
}

static l_found found(lua_State *L, bool present, bool good) {
    lua_pop(L, 1);
    if (!present) return L_ABSENT;
    return good ? L_GOOD : L_WRONG;
}

l_found l_field_int(lua_State *L, int table, const char *name, int64_t *out) {
    const bool present = push_field(L, table, name);
    return found(L, present, l_toint(L, -1, out));
}

l_found l_field_span(lua_State *L, int table, const char *name, rlk_span *out) {
    const bool present = push_field(L, table, name);
    return found(L, present, l_tospan(L, -1, out));
}

l_found l_field_bool(lua_State *L, int table, const char *name, bool *out) {
    const bool present = push_field(L, table, name);
    const bool good = lua_isboolean(L, -1);
    if (good) *out = lua_toboolean(L, -1) != 0;
    return found(L, present, good);
}

static void fail_field(lua_State *L, int arg, const char *name, const char *expected) {
    luaL_argerror(L, arg, lua_pushfstring(L, "%s: %s", name, expected));
}

int64_t l_opt_int(lua_State *L, int arg, const char *name, int64_t fallback, int64_t min,
                  int64_t max) {
    int64_t value = fallback;
    const l_found f = l_field_int(L, arg, name, &value);
    if (f == L_WRONG) fail_field(L, arg, name, "integer expected");
    if (f == L_GOOD && (value < min || value > max)) fail_field(L, arg, name, "out of range");
    return value;
}

double l_opt_number(lua_State *L, int arg, const char *name, double fallback, double min,
                    double max) {
    const bool present = push_field(L, arg, name);
    const bool good = lua_type(L, -1) == LUA_TNUMBER;
    const double value = good ? lua_tonumber(L, -1) : fallback;
    if (found(L, present, good) == L_WRONG) fail_field(L, arg, name, "number expected");
    /* written so that NaN fails too */
    if (present && !(value >= min && value <= max)) fail_field(L, arg, name, "out of range");
    return value;
}

int64_t l_opt_ms(lua_State *L, int arg, const char *name, int64_t fallback) {
    const bool present = push_field(L, arg, name);
    const bool good = lua_type(L, -1) == LUA_TNUMBER;
    const lua_Number n = good ? lua_tonumber(L, -1) : 0;
    if (found(L, present, good) == L_WRONG) fail_field(L, arg, name, "number expected");
    return present && !isnan(n) ? bounded_ms(n) : fallback;
}

rlk_span l_opt_span(lua_State *L, int arg, const char *name) {
    rlk_span span = {NULL, 0};
    if (l_field_span(L, arg, name, &span) == L_WRONG) fail_field(L, arg, name, "string expected");
    return span;
}

bool l_opt_bool(lua_State *L, int arg, const char *name, bool fallback) {
    bool value = fallback;
    if (l_field_bool(L, arg, name, &value) == L_WRONG) fail_field(L, arg, name, "boolean expected");
    return value;
}
