/* core.sha256, core.hex, core.base64url, core.base64_decode, core.mask: text in, text out. */
#include "bind/l_core.h"
#include "bind/l_util.h"
#include "core/codec.h"
#include "core/digest.h"
#include "core/mask.h"

static int text_sha256(lua_State *L) {
    uint8_t digest[RLK_HMAC_BYTES];
    const rlk_err e = rlk_sha256(l_checkspan(L, 1), digest);
    if (e != RLK_OK) return l_pushfail(L, e, NULL);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

/* The scratch block is a userdata, so that nothing leaks when making the string raises. */
static int push_encoded(lua_State *L, size_t chars, void (*encode)(rlk_span bytes, char *out)) {
    const rlk_span bytes = l_checkspan(L, 1);
    char *scratch = l_rawnewud(L, chars);
    encode(bytes, scratch);
    lua_pushlstring(L, scratch, chars);
    return 1;
}

static int text_hex(lua_State *L) {
    return push_encoded(L, RLK_HEX_CHARS(l_checkspan(L, 1).len), rlk_hex_encode);
}

static int text_base64url(lua_State *L) {
    return push_encoded(L, RLK_BASE64URL_CHARS(l_checkspan(L, 1).len), rlk_base64url_encode);
}

/* A key passes through here: the scratch block is wiped. */
static int text_base64_decode(lua_State *L) {
    const rlk_span text = l_checkspan(L, 1);
    size_t bytes = 0;
    char *scratch = l_rawnewud(L, text.len);
    const bool readable = rlk_base64_decode(text, scratch, &bytes);
    if (readable) lua_pushlstring(L, scratch, bytes);
    rlk_wipe(scratch, text.len);
    return readable ? 1 : l_pushfail(L, RLK_E_INVALID_REQUEST, NULL);
}

static int text_mask(lua_State *L) {
    char masked[RLK_MASK_BYTES_MAX];
    const size_t len = rlk_mask(l_checkspan(L, 1), masked);
    lua_pushlstring(L, masked, len);
    return 1;
}

void l_text_register(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"sha256", text_sha256},       {"hex", text_hex},
        {"base64url", text_base64url}, {"base64_decode", text_base64_decode},
        {"mask", text_mask},           {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
