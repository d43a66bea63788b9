/* core.hmac_key: the keys in rotation, and all that is made or checked with them.
 *
 * The userdata is the rlk_keyring itself; closed is zeroed. Whatever may come from the wire (nonce,
 * time, account id, body, signature) may be any Lua value: malformed is an answer, never raised. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/nonce.h"
#include "core/signature.h"

static rlk_keyring *check_ring(lua_State *L) {
    return luaL_checkudata(L, 1, L_HMAC_MT);
}

/* What cannot be read as text matches nothing, as the empty text does. */
static rlk_span wire_text(lua_State *L, int arg) {
    rlk_span text = {NULL, 0};
    (void)l_tospan(L, arg, &text);
    return text;
}

/* The keys of argument 1, from the first to the first absent one. */
static rlk_err add_keys(lua_State *L, rlk_keyring *ring) {
    const rlk_alloc a = rlk_alloc_default();
    for (int i = 1;; i++) {
        lua_rawgeti(L, 1, i);
        if (lua_isnil(L, -1)) return i == 1 ? RLK_E_INVALID_OPTION : RLK_OK;
        rlk_span key = {NULL, 0};
        luaL_argcheck(L, l_tospan(L, -1, &key), 1, "the keys must be strings");
        const rlk_err e = rlk_keyring_add(ring, &a, key);
        lua_pop(L, 1);
        if (e != RLK_OK) return e;
    }
}

static int new_hmac_key(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    rlk_keyring *ring = l_newud(L, sizeof *ring, L_HMAC_MT);
    const rlk_err e = add_keys(L, ring);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    lua_pushvalue(L, 2);
    return 1;
}

static int hmac_nonce(lua_State *L) {
    const rlk_keyring *ring = check_ring(L);
    char nonce[RLK_NONCE_BYTES];
    if (ring->count == 0) return l_pushfail(L, RLK_E_CLOSED, NULL);
    const rlk_err e =
        rlk_nonce_compute(rlk_keyring_newest(ring), wire_text(L, 2), wire_text(L, 3), nonce);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    lua_pushlstring(L, nonce, sizeof nonce);
    return 1;
}

/* The ids are ours, from the store, so an entry that is no text is a mistake and raises. */
static int hmac_match(lua_State *L) {
    const rlk_keyring *ring = check_ring(L);
    const rlk_span nonce = wire_text(L, 2);
    const rlk_span time = wire_text(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    const int count = (int)lua_rawlen(L, 4);
    for (int i = 1; i <= count; i++) {
        rlk_span id = {NULL, 0};
        lua_rawgeti(L, 4, i);
        luaL_argcheck(L, l_tospan(L, -1, &id), 4, "the ids must be strings");
        const bool matched = rlk_nonce_matches(ring, nonce, time, id);
        lua_pop(L, 1);
        if (!matched) continue;
        l_pushint(L, i);
        return 1;
    }
    lua_pushnil(L);
    return 1;
}

static int hmac_verify(lua_State *L) {
    const rlk_keyring *ring = check_ring(L);
    rlk_span body = {NULL, 0};
    const bool readable = l_tospan(L, 2, &body);
    lua_pushboolean(L, readable && rlk_signature_verify(ring, body, wire_text(L, 3)));
    return 1;
}

static int hmac_sign(lua_State *L) {
    const rlk_keyring *ring = check_ring(L);
    const rlk_span body = l_checkspan(L, 2);
    char signature[RLK_SIGNATURE_BYTES];
    if (ring->count == 0) return l_pushfail(L, RLK_E_CLOSED, NULL);
    const rlk_err e = rlk_signature_compute(rlk_keyring_newest(ring), body, signature);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    lua_pushlstring(L, signature, sizeof signature);
    return 1;
}

/* A NUL in the purpose would let two pairs of purpose and text have one tag. */
static int hmac_tag(lua_State *L) {
    const rlk_keyring *ring = check_ring(L);
    const rlk_span purpose = l_checkspan(L, 2);
    const rlk_span parts[] = {purpose, {"", 1}, l_checkspan(L, 3)};
    luaL_argcheck(L, strlen(purpose.ptr) == purpose.len, 2, "a purpose without NUL expected");
    if (ring->count == 0) return l_pushfail(L, RLK_E_CLOSED, NULL);
    uint8_t mac[RLK_HMAC_BYTES];
    char hex[RLK_HEX_CHARS(RLK_HMAC_BYTES)];
    const rlk_err e = rlk_hmac_compute(rlk_keyring_newest(ring), parts, 3, mac);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    rlk_hex_encode((rlk_span){(const char *)mac, sizeof mac}, hex);
    lua_pushlstring(L, hex, sizeof hex);
    return 1;
}

static int hmac_gc(lua_State *L) {
    rlk_keyring_deinit(check_ring(L));
    return 0;
}

static int hmac_tostring(lua_State *L) {
    lua_pushliteral(L, "hmac_key(****)");
    return 1;
}

void l_hmac_register(lua_State *L) {
    static const luaL_Reg methods[] = {{"nonce", hmac_nonce},   {"match", hmac_match},
                                       {"verify", hmac_verify}, {"sign", hmac_sign},
                                       {"tag", hmac_tag},       {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", hmac_gc}, {"__close", hmac_gc}, {"__tostring", hmac_tostring}, {NULL, NULL}};
    l_newclass(L, L_HMAC_MT, methods, meta);
    lua_pushcfunction(L, new_hmac_key);
    lua_setfield(L, -2, "hmac_key");
}
