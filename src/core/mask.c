/* Hides a person's identifier; the contract is in mask.h.
 *
 * The name is what stands before the last '@' (a quoted name may hold others), or everything. */
#include "core/mask.h"
#include "core/codec.h"

#include <stdint.h>

static const rlk_span stars = {"***", 3};

enum { PHONE_DIGITS_MIN = 7, PHONE_DIGITS_KEPT = 2, NAME_CHARS_MIN = 3 };

static unsigned char at(rlk_span s, size_t i) {
    return (unsigned char)s.ptr[i];
}

/* Bytes that a character with this first byte has; 0 when none begins so. */
static size_t announced_bytes(unsigned char first) {
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first < 0xE0) return 2;
    if (first >= 0xE0 && first < 0xF0) return 3;
    if (first >= 0xF0 && first < 0xF5) return 4;
    return 0;
}

/* Overlong forms, surrogates and what lies beyond U+10FFFF show in the second byte. */
static bool second_is_legal(unsigned char first, unsigned char second) {
    switch (first) {
    case 0xE0:
        return second >= 0xA0;
    case 0xED:
        return second < 0xA0;
    case 0xF0:
        return second >= 0x90;
    case 0xF4:
        return second < 0x90;
    }
    return true;
}

/* Bytes of the character at i, or 0 when there is no well-formed one (RFC 3629). */
static size_t char_bytes(rlk_span s, size_t i) {
    const size_t bytes = announced_bytes(at(s, i));
    if (bytes == 0 || bytes > s.len - i) return 0;
    for (size_t k = 1; k < bytes; k++)
        if ((at(s, i + k) & 0xC0) != 0x80) return 0;
    if (bytes > 1 && !second_is_legal(at(s, i), at(s, i + 1))) return 0;
    return bytes;
}

/* ASCII's controls, and those of Latin-1, which are U+0080 to U+009F. */
static bool is_control(rlk_span s, size_t i) {
    const unsigned char c = at(s, i);
    return c < 0x20 || c == 0x7F || (c == 0xC2 && at(s, i + 1) < 0xA0);
}

static bool is_printable_utf8(rlk_span s) {
    for (size_t i = 0; i < s.len;) {
        const size_t bytes = char_bytes(s, i);
        if (bytes == 0 || is_control(s, i)) return false;
        i += bytes;
    }
    return true;
}

/* The three below are for text that is_printable_utf8. */
static size_t count_chars(rlk_span s) {
    size_t chars = 0;
    for (size_t i = 0; i < s.len; i += char_bytes(s, i))
        chars++;
    return chars;
}

static rlk_span first_char(rlk_span s) {
    return (rlk_span){s.ptr, char_bytes(s, 0)};
}

static rlk_span last_char(rlk_span s) {
    size_t i = s.len - 1;
    while ((at(s, i) & 0xC0) == 0x80)
        i--;
    return (rlk_span){s.ptr + i, s.len - i};
}

static rlk_span skip(rlk_span s, size_t bytes) {
    return (rlk_span){s.ptr + bytes, s.len - bytes};
}

static bool starts_with_stars(rlk_span s) {
    return s.len >= stars.len && memcmp(s.ptr, stars.ptr, stars.len) == 0;
}

static bool is_phone_char(char c) {
    static const char marks[] = {' ', '-', '.', '/', '(', ')', '+'};
    return rlk_is_digit(c) || memchr(marks, c, sizeof marks) != NULL;
}

/* Only what a written phone number is made of, with enough digits; the last two are left. */
static bool is_phone(rlk_span s) {
    size_t digits = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_phone_char(s.ptr[i])) return false;
        digits += rlk_is_digit(s.ptr[i]) ? 1 : 0;
    }
    return digits >= PHONE_DIGITS_MIN;
}

/* "***12" or "+***12" */
static bool is_masked_phone(rlk_span s) {
    const rlk_span rest = s.len > 0 && s.ptr[0] == '+' ? skip(s, 1) : s;
    if (!starts_with_stars(rest) || rest.len != stars.len + PHONE_DIGITS_KEPT) return false;
    return rlk_is_digit(rest.ptr[stars.len]) && rlk_is_digit(rest.ptr[stars.len + 1]);
}

/* "***", or one character, the stars, one character */
static bool is_masked_name(rlk_span s) {
    if (rlk_span_is(s, stars.ptr)) return true;
    if (s.len == 0) return false;
    const rlk_span rest = skip(s, first_char(s).len);
    if (!starts_with_stars(rest)) return false;
    return count_chars(skip(rest, stars.len)) == 1;
}

typedef struct writer {
    char *out;
    size_t len;
} writer;

static void put(writer *w, rlk_span s) {
    memcpy(w->out + w->len, s.ptr, s.len);
    w->len += s.len;
}

static void put_masked_phone(writer *w, rlk_span s) {
    char kept[PHONE_DIGITS_KEPT];
    size_t missing = PHONE_DIGITS_KEPT;
    for (size_t i = s.len; missing > 0; i--)
        if (rlk_is_digit(s.ptr[i - 1])) kept[--missing] = s.ptr[i - 1];
    if (s.ptr[0] == '+') put(w, first_char(s));
    put(w, stars);
    put(w, (rlk_span){kept, sizeof kept});
}

static void put_masked_name(writer *w, rlk_span s) {
    const bool shown = count_chars(s) >= NAME_CHARS_MIN;
    if (shown) put(w, first_char(s));
    put(w, stars);
    if (shown) put(w, last_char(s));
}

static void put_masked_address(writer *w, rlk_span name, rlk_span domain) {
    put_masked_name(w, name);
    put(w, domain);
}

/* What stands before the last '@'; everything when there is none. */
static rlk_span name_of(rlk_span s) {
    for (size_t i = s.len; i > 0; i--)
        if (s.ptr[i - 1] == '@') return (rlk_span){s.ptr, i - 1};
    return s;
}

size_t rlk_mask(rlk_span identifier, char out[RLK_MASK_BYTES_MAX]) {
    writer w = {out, 0};
    if (identifier.len == 0) return 0;
    const rlk_span name = name_of(identifier);
    const rlk_span domain = skip(identifier, name.len); /* with its '@', or empty */
    if (domain.len > RLK_MASK_DOMAIN_BYTES_MAX + 1 || !is_printable_utf8(identifier))
        put(&w, stars);
    else if (domain.len == 0 && is_masked_phone(name))
        put(&w, name);
    else if (domain.len == 0 && is_phone(name))
        put_masked_phone(&w, name);
    else if (is_masked_name(name))
        put(&w, identifier);
    else
        put_masked_address(&w, name, domain);
    return w.len;
}
