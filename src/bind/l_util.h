/* What every file of the binding shares: userdata, the one exit to Lua, readers of arguments.
 *
 * Two kinds of trouble, never mixed: an operating failure returns nil, code [, detail] through
 * l_pushfail; a programming mistake raises through luaL_argerror. Table fields are read raw, so
 * that no metamethod runs while C holds something, and a string read from a field stays anchored
 * in its table: its span is valid while the table is on the stack and unchanged.
 * Nothing here may be called from a callback of another library. */
#ifndef L_UTIL_H
#define L_UTIL_H

#include "l_compat.h"
#include "core/err.h"
#include "core/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Names of the metatables in the registry; one for each userdata. */
#define L_SECRET_MT "ringlink.secret"
#define L_HMAC_MT "ringlink.hmac_key"
#define L_LIMITER_MT "ringlink.limiter"
#define L_CIRCUIT_MT "ringlink.circuit"
#define L_SIGNALS_MT "ringlink.signals"
#define L_TRANSPORT_MT "ringlink.transport"
#define L_STORE_MT "ringlink.store_sqlite"
#define L_STORE_RESULTS_MT "ringlink.store_sqlite.results"
#define L_VAULT_MT "ringlink.vault"
#define L_WAKE_MT "ringlink.wake"
#define L_TRANSPORT_WORKER_MT "ringlink.transport_worker"
#define L_STORE_WORKER_MT "ringlink.store_worker"

/* Makes the metatable `mt`: `methods` become __index, `meta` (may be NULL) the metamethods, and
 * getmetatable shows only false. Leaves the stack as it was. */
void l_newclass(lua_State *L, const char *mt, const luaL_Reg *methods, const luaL_Reg *meta);

/* Pushes a zeroed userdata that already has its metatable: zeroed means closed, so that whatever
 * raises from here on, __gc finds something it can close. Raises only on memory. */
void *l_newud(lua_State *L, size_t bytes, const char *mt);

/* The one exit for operating failures: pushes nil, code and, unless NULL, detail. `return` it. Not
 * for RLK_OK. */
int l_pushfail(lua_State *L, rlk_err e, const char *detail);

/* Milliseconds and counts: an integer where Lua has them, else a double. */
void l_pushint(lua_State *L, int64_t value);

/* Sets t[name] for the table on the top of the stack. */
void l_setint(lua_State *L, const char *name, int64_t value);
void l_setstr(lua_State *L, const char *name, const char *text);
void l_setbool(lua_State *L, const char *name, bool value);

/* True when the value is a number without fraction that fits; never converts text. */
bool l_toint(lua_State *L, int idx, int64_t *out);

/* True when the value is a string; numbers are not converted. Valid while the slot lives. */
bool l_tospan(lua_State *L, int idx, rlk_span *out);

/* Arguments; a wrong one raises at the caller's line. */
int64_t l_checkint(lua_State *L, int arg, int64_t min, int64_t max);
rlk_span l_checkspan(lua_State *L, int arg);

/* A time or span in milliseconds from any number: the fraction is dropped, what lies outside of
 * 0..RLK_TIME_MS_MAX is bounded (hostile rows must not crash), only NaN and non-numbers raise. */
int64_t l_checkms(lua_State *L, int arg);

/* The same for what may be absent, and may come from the wire: nil and NaN give `fallback`. */
int64_t l_argms(lua_State *L, int arg, int64_t fallback);

/* Fields of data that may come from a stored row or from the wire: told, never raised. *out is
 * written only on L_GOOD. */
typedef enum l_found { L_ABSENT, L_GOOD, L_WRONG } l_found;
l_found l_field_int(lua_State *L, int table, const char *name, int64_t *out);
l_found l_field_span(lua_State *L, int table, const char *name, rlk_span *out);
l_found l_field_bool(lua_State *L, int table, const char *name, bool *out);

/* Fields of an options table, argument `arg`: absent gives `fallback` (a span with ptr == NULL for
 * text), a wrong type or range raises with the field's name. */
int64_t l_opt_int(lua_State *L, int arg, const char *name, int64_t fallback, int64_t min,
                  int64_t max);
double l_opt_number(lua_State *L, int arg, const char *name, double fallback, double min,
                    double max);
int64_t l_opt_ms(lua_State *L, int arg, const char *name, int64_t fallback); /* like l_argms */
rlk_span l_opt_span(lua_State *L, int arg, const char *name);
bool l_opt_bool(lua_State *L, int arg, const char *name, bool fallback);

#endif
