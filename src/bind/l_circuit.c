/* core.circuit: the circuit breaker of circuit.h as a userdata. It owns nothing but itself. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/circuit.h"

static rlk_circuit *check_circuit(lua_State *L) {
    return luaL_checkudata(L, 1, L_CIRCUIT_MT);
}

static int new_circuit(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const int64_t threshold = l_opt_int(L, 1, "threshold", 0, 0, INT32_MAX);
    const int64_t open_ms = l_opt_int(L, 1, "open_ms", 0, 0, INT32_MAX);
    const int64_t open_ms_max = l_opt_int(L, 1, "open_ms_max", open_ms, 0, INT32_MAX);
    rlk_circuit *c = l_newud(L, sizeof *c, L_CIRCUIT_MT);
    const rlk_err e = rlk_circuit_init(c, threshold, open_ms, open_ms_max);
    luaL_argcheck(L, e == RLK_OK, 1, "threshold and 1 <= open_ms <= open_ms_max expected");
    return 1;
}

static int circuit_allow(lua_State *L) {
    lua_pushboolean(L, rlk_circuit_allow(check_circuit(L), l_checkms(L, 2)));
    return 1;
}

static int circuit_refused(lua_State *L) {
    lua_pushboolean(L, rlk_circuit_refused(check_circuit(L), l_checkms(L, 2)));
    return 1;
}

static int circuit_succeeded(lua_State *L) {
    rlk_circuit_succeeded(check_circuit(L));
    return 0;
}

void l_circuit_register(lua_State *L) {
    static const luaL_Reg methods[] = {{"allow", circuit_allow},
                                       {"refused", circuit_refused},
                                       {"succeeded", circuit_succeeded},
                                       {NULL, NULL}};
    l_newclass(L, L_CIRCUIT_MT, methods, NULL);
    lua_pushcfunction(L, new_circuit);
    lua_setfield(L, -2, "circuit");
}
