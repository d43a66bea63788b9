/* core.vault: seals and opens the fields of rows that outlive the process.
 *
 * The userdata points at its rlk_vault; NULL means closed. What is opened may come from a damaged
 * store and may be any Lua value: what is no sealed field is an answer, never raised. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/codec.h"
#include "io/vault.h"

typedef struct l_vault {
    rlk_vault *core;
} l_vault;

static l_vault *check_vault(lua_State *L) {
    return luaL_checkudata(L, 1, L_VAULT_MT);
}

/* The keys in the list on the top of the stack; they stay anchored in it. */
static size_t read_keys(lua_State *L, rlk_span keys[RLK_KEY_COUNT_MAX + 1]) {
    const size_t count = (size_t)lua_rawlen(L, -1);
    for (size_t i = 0; i < count && i <= RLK_KEY_COUNT_MAX; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        luaL_argcheck(L, l_tospan(L, -1, &keys[i]), 1, "the keys must be strings");
        lua_pop(L, 1);
    }
    return count;
}

/* core.vault{keys = {"32 bytes", ...}}, newest first. */
static int new_vault(lua_State *L) {
    rlk_span keys[RLK_KEY_COUNT_MAX + 1];
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushliteral(L, "keys");
    lua_rawget(L, 1);
    luaL_argcheck(L, lua_istable(L, -1), 1, "keys: a list expected");
    const size_t count = read_keys(L, keys);
    const rlk_alloc a = rlk_alloc_default();
    l_vault *v = l_newud(L, sizeof *v, L_VAULT_MT);
    const rlk_err e = rlk_vault_new(&v->core, &a, keys, count);
    return e == RLK_OK ? 1 : l_pushfail(L, e, NULL);
}

/* v:seal(text, place) */
static int vault_seal(lua_State *L) {
    const l_vault *v = check_vault(L);
    const rlk_span plain = l_checkspan(L, 2);
    const rlk_span place = l_checkspan(L, 3);
    if (v->core == NULL) return l_pushfail(L, RLK_E_CLOSED, NULL);
    if (plain.len > RLK_VAULT_PLAIN_BYTES_MAX) return l_pushfail(L, RLK_E_INVALID_REQUEST, NULL);
    const size_t bytes = plain.len + RLK_VAULT_OVERHEAD_BYTES;
    char *scratch = l_rawnewud(L, bytes);
    const rlk_err e = rlk_vault_seal(v->core, plain, place, scratch);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    lua_pushlstring(L, scratch, bytes);
    return 1;
}

/* v:open(sealed, place) */
static int vault_open(lua_State *L) {
    const l_vault *v = check_vault(L);
    rlk_span sealed = {NULL, 0};
    const rlk_span place = l_checkspan(L, 3);
    if (v->core == NULL) return l_pushfail(L, RLK_E_CLOSED, NULL);
    if (!l_tospan(L, 2, &sealed) || rlk_vault_sealer(sealed).ptr == NULL)
        return l_pushfail(L, RLK_E_STORE_CORRUPT, NULL);
    const size_t bytes = rlk_vault_plain_bytes(sealed);
    char *scratch = l_rawnewud(L, bytes);
    const rlk_err e = rlk_vault_open(v->core, sealed, place, scratch);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    lua_pushlstring(L, scratch, bytes);
    rlk_wipe(scratch, bytes);
    return 1;
}

static void push_id(lua_State *L, rlk_span id) {
    char hex[RLK_HEX_CHARS(RLK_VAULT_KEY_ID_BYTES)];
    rlk_hex_encode(id, hex);
    lua_pushlstring(L, hex, sizeof hex);
}

/* v:is_newest(sealed) */
static int vault_is_newest(lua_State *L) {
    const l_vault *v = check_vault(L);
    rlk_span sealed = {NULL, 0};
    const bool readable = v->core != NULL && l_tospan(L, 2, &sealed);
    lua_pushboolean(L, readable && rlk_vault_is_newest(v->core, sealed));
    return 1;
}

/* v:sealer(sealed): the id of the key, or nil. */
static int vault_sealer(lua_State *L) {
    (void)check_vault(L);
    rlk_span sealed = {NULL, 0};
    const rlk_span id = l_tospan(L, 2, &sealed) ? rlk_vault_sealer(sealed) : sealed;
    if (id.ptr == NULL)
        lua_pushnil(L);
    else
        push_id(L, id);
    return 1;
}

/* v:ids(): newest first. */
static int vault_ids(lua_State *L) {
    const l_vault *v = check_vault(L);
    const size_t count = v->core != NULL ? rlk_vault_key_count(v->core) : 0;
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_id(L, rlk_vault_key_id(v->core, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int vault_close(lua_State *L) {
    l_vault *v = check_vault(L);
    rlk_vault_free(v->core);
    v->core = NULL;
    return 0;
}

static int vault_tostring(lua_State *L) {
    lua_pushliteral(L, "vault(****)");
    return 1;
}

void l_vault_register(lua_State *L) {
    static const luaL_Reg methods[] = {{"seal", vault_seal},
                                       {"open", vault_open},
                                       {"is_newest", vault_is_newest},
                                       {"sealer", vault_sealer},
                                       {"ids", vault_ids},
                                       {"close", vault_close},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", vault_close},
                                    {"__close", vault_close},
                                    {"__tostring", vault_tostring},
                                    {NULL, NULL}};
    l_newclass(L, L_VAULT_MT, methods, meta);
    lua_pushcfunction(L, new_vault);
    lua_setfield(L, -2, "vault");
}
