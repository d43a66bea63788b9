/* Bytes as text; the contract is in codec.h. */
#include "core/codec.h"

#include <stdint.h>

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char hex[] = "0123456789abcdef";

static uint32_t byte_at(rlk_span bytes, size_t i) {
    return i < bytes.len ? (unsigned char)bytes.ptr[i] : 0;
}

void rlk_base64url_encode(rlk_span bytes, char *out) {
    size_t written = 0;
    const size_t chars = RLK_BASE64URL_CHARS(bytes.len);
    for (size_t i = 0; i < bytes.len; i += 3) {
        const uint32_t three =
            byte_at(bytes, i) << 16 | byte_at(bytes, i + 1) << 8 | byte_at(bytes, i + 2);
        for (int shift = 18; shift >= 0 && written < chars; shift -= 6)
            out[written++] = base64url[three >> shift & 63];
    }
}

void rlk_hex_encode(rlk_span bytes, char *out) {
    for (size_t i = 0; i < bytes.len; i++) {
        *out++ = hex[byte_at(bytes, i) >> 4];
        *out++ = hex[byte_at(bytes, i) & 15];
    }
}

bool rlk_is_digit(char c) {
    return c >= '0' && c <= '9';
}
