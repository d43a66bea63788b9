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

/* The six bits of a character of RFC 4648 section 4, or -1. */
static int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (rlk_is_digit(c)) return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

static size_t padding_of(rlk_span text) {
    if (text.len == 0 || text.ptr[text.len - 1] != '=') return 0;
    return text.ptr[text.len - 2] == '=' ? 2 : 1;
}

bool rlk_base64_decode(rlk_span text, char *out, size_t *bytes) {
    if (text.len % 4 != 0) return false;
    const size_t chars = text.len - padding_of(text);
    uint32_t bits = 0; /* those that have not been written yet */
    int count = 0;
    size_t written = 0;
    for (size_t i = 0; i < chars; i++) {
        const int six = sextet(text.ptr[i]);
        if (six < 0) return false;
        bits = (bits << 6 | (uint32_t)six) & 0x3FFF;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        out[written++] = (char)(bits >> count & 255);
        bits &= (1U << count) - 1;
    }
    *bytes = written;
    return bits == 0;
}

bool rlk_is_digit(char c) {
    return c >= '0' && c <= '9';
}
