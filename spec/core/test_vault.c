/* The vault: its format, what opens and what does not, rotation of keys, memory wiped. */
#include "support.h"

#include <openssl/err.h>

#include "io/vault.h"

#define PLACE LITERAL("app/grant/1\0access")

enum { KEY_COUNT = RLK_KEY_COUNT_MAX + 1, SEALED_MAX = 512 };

/* Key i is 32 bytes of i; the key of the known answer is 0, 1, 2, ... 31. */
static char key_bytes[KEY_COUNT][RLK_VAULT_KEY_BYTES];
static char counting_key[RLK_VAULT_KEY_BYTES];

static int make_keys(void **state) {
    (void)state;
    for (int i = 0; i < KEY_COUNT; i++)
        memset(key_bytes[i], i, RLK_VAULT_KEY_BYTES);
    for (int i = 0; i < RLK_VAULT_KEY_BYTES; i++)
        counting_key[i] = (char)i;
    return 0;
}

static rlk_span key_at(int i) {
    return (rlk_span){key_bytes[i], RLK_VAULT_KEY_BYTES};
}

static rlk_vault *vault_of(const rlk_alloc *a, int newest, int older) {
    const rlk_span keys[] = {key_at(newest), key_at(older)};
    rlk_vault *v = NULL;
    assert_int_equal(rlk_vault_new(&v, a, keys, newest == older ? 1 : 2), RLK_OK);
    return v;
}

static rlk_vault *vault_with(int key) {
    const rlk_alloc a = rlk_alloc_default();
    return vault_of(&a, key, key);
}

typedef struct sealed_text {
    char bytes[SEALED_MAX];
    size_t len;
} sealed_text;

static sealed_text seal(rlk_vault *v, rlk_span plain, rlk_span place) {
    sealed_text s = {.len = plain.len + RLK_VAULT_OVERHEAD_BYTES};
    assert_true(s.len <= sizeof s.bytes);
    assert_int_equal(rlk_vault_seal(v, plain, place, s.bytes), RLK_OK);
    return s;
}

static rlk_span span(const sealed_text *s) {
    return (rlk_span){s->bytes, s->len};
}

/* Opens; on failure nothing may be left in the output. */
static rlk_err open_into(rlk_vault *v, rlk_span sealed, rlk_span place, char out[SEALED_MAX]) {
    memset(out, 0, SEALED_MAX);
    const rlk_err e = rlk_vault_open(v, sealed, place, out);
    for (size_t i = 0; e != RLK_OK && i < SEALED_MAX; i++)
        assert_int_equal(out[i], 0);
    assert_int_equal(ERR_peek_error(), 0);
    return e;
}

static void assert_opens(rlk_vault *v, const sealed_text *s, rlk_span plain) {
    char out[SEALED_MAX];
    assert_int_equal(open_into(v, span(s), PLACE, out), RLK_OK);
    assert_int_equal(rlk_vault_plain_bytes(span(s)), plain.len);
    assert_memory_equal(out, plain.ptr, plain.len);
}

static void assert_refuses(rlk_vault *v, rlk_span sealed, rlk_span place, rlk_err expected) {
    char out[SEALED_MAX];
    assert_int_equal(open_into(v, sealed, place, out), expected);
}

/* ---- Sealing --------------------------------------------------------------------------------- */

static void gives_back_what_was_sealed(void **state) {
    (void)state;
    rlk_vault *v = vault_with(1);
    const rlk_span texts[] = {LITERAL(""), LITERAL("a"), LITERAL("a\0b\xff"),
                              LITERAL("0123456789abcdef"), LITERAL("0123456789abcdef0")};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const sealed_text s = seal(v, texts[i], PLACE);
        assert_opens(v, &s, texts[i]);
    }
    rlk_vault_free(v);
}

/* Sealed by another implementation (Python's cryptography 48, AESGCM): the format stays. */
static void opens_a_field_sealed_elsewhere(void **state) {
    (void)state;
    const rlk_span key = {counting_key, sizeof counting_key};
    const rlk_alloc a = rlk_alloc_default();
    static const char hex[] = "52012f67a03c6465666768696a6b6c6d6e6f293baa09128c38e81a9f1eb0b312baaa"
                              "45f491a5c384be";
    sealed_text s = {.len = (sizeof hex - 1) / 2};
    for (size_t i = 0; i < s.len; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        s.bytes[i] = (char)strtol(digits, NULL, 16);
    }
    rlk_vault *v = NULL;
    assert_int_equal(rlk_vault_new(&v, &a, &key, 1), RLK_OK);
    assert_opens(v, &s, LITERAL("a token"));
    rlk_vault_free(v);
}

static void never_seals_the_same_twice(void **state) {
    (void)state;
    rlk_vault *v = vault_with(1);
    sealed_text seen[64];
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        seen[i] = seal(v, LITERAL("token"), PLACE);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(seen[i].bytes + RLK_VAULT_LABEL_BYTES,
                                    seen[j].bytes + RLK_VAULT_LABEL_BYTES, RLK_VAULT_NONCE_BYTES);
    }
    rlk_vault_free(v);
}

static void has_limits(void **state) {
    (void)state;
    static char text[RLK_VAULT_PLAIN_BYTES_MAX + 1];
    static char out[sizeof text + RLK_VAULT_OVERHEAD_BYTES];
    static char back[sizeof text];
    rlk_vault *v = vault_with(1);
    const rlk_span longest = {text, RLK_VAULT_PLAIN_BYTES_MAX};
    const rlk_span sealed = {out, RLK_VAULT_PLAIN_BYTES_MAX + RLK_VAULT_OVERHEAD_BYTES};
    memset(text, 'x', sizeof text);
    assert_int_equal(rlk_vault_seal(v, longest, PLACE, out), RLK_OK);
    assert_int_equal(rlk_vault_open(v, sealed, PLACE, back), RLK_OK);
    assert_memory_equal(back, text, longest.len);
    assert_int_equal(rlk_vault_open(v, (rlk_span){out, sizeof out}, PLACE, back),
                     RLK_E_STORE_CORRUPT);
    assert_int_equal(rlk_vault_seal(v, (rlk_span){text, sizeof text}, PLACE, out),
                     RLK_E_INVALID_REQUEST);
    const rlk_span too_far = {text, RLK_VAULT_PLACE_BYTES_MAX + 1};
    assert_int_equal(rlk_vault_seal(v, LITERAL("a"), too_far, out), RLK_E_INVALID_REQUEST);
    assert_int_equal(rlk_vault_open(v, sealed, too_far, back), RLK_E_STORE_CORRUPT);
    rlk_vault_free(v);
}

/* ---- What does not open ---------------------------------------------------------------------- */

static void refuses_every_altered_bit(void **state) {
    (void)state;
    rlk_vault *v = vault_with(1);
    const sealed_text good = seal(v, LITERAL("a token"), PLACE);
    for (size_t bit = 0; bit < good.len * 8; bit++) {
        sealed_text bad = good;
        const size_t at = bit / 8;
        bad.bytes[at] = (char)(bad.bytes[at] ^ (1 << bit % 8));
        const bool names_a_key = at >= 2 && at < RLK_VAULT_LABEL_BYTES;
        assert_refuses(v, span(&bad), PLACE, names_a_key ? RLK_E_STORE_KEY : RLK_E_STORE_CORRUPT);
    }
    assert_opens(v, &good, LITERAL("a token"));
    rlk_vault_free(v);
}

static void refuses_every_cut_and_addition(void **state) {
    (void)state;
    rlk_vault *v = vault_with(1);
    sealed_text good = seal(v, LITERAL("a token"), PLACE);
    for (size_t len = 0; len < good.len; len++)
        assert_refuses(v, (rlk_span){good.bytes, len}, PLACE, RLK_E_STORE_CORRUPT);
    assert_refuses(v, (rlk_span){good.bytes, good.len + 1}, PLACE, RLK_E_STORE_CORRUPT);
    assert_refuses(v, (rlk_span){NULL, 0}, PLACE, RLK_E_STORE_CORRUPT);
    assert_refuses(v, LITERAL("a token that was never sealed, in the clear"), PLACE,
                   RLK_E_STORE_CORRUPT);
    rlk_vault_free(v);
}

static void refuses_another_place(void **state) {
    (void)state;
    rlk_vault *v = vault_with(1);
    const sealed_text s = seal(v, LITERAL("a token"), PLACE);
    const rlk_span others[] = {LITERAL("app/grant/2\0access"),   LITERAL("app/grant/1\0refresh"),
                               LITERAL("app/grant/1a\0ccess"),   LITERAL("app/grant/1\0acces"),
                               LITERAL("app/grant/1\0access\0"), LITERAL("")};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_refuses(v, span(&s), others[i], RLK_E_STORE_CORRUPT);
    rlk_vault_free(v);
}

/* The head of one field and the rest of another, and texts exchanged, are neither. */
static void refuses_parts_of_two_fields(void **state) {
    (void)state;
    rlk_vault *v = vault_with(1);
    const sealed_text one = seal(v, LITERAL("a token"), PLACE);
    const sealed_text other = seal(v, LITERAL("b token"), PLACE);
    for (size_t at = RLK_VAULT_LABEL_BYTES + 1; at < one.len; at++) {
        sealed_text mixed = one;
        memcpy(mixed.bytes + at, other.bytes + at, one.len - at);
        if (memcmp(mixed.bytes, one.bytes, one.len) == 0) continue;
        assert_refuses(v, span(&mixed), PLACE, RLK_E_STORE_CORRUPT);
    }
    rlk_vault_free(v);
}

/* ---- Keys ------------------------------------------------------------------------------------ */

static void opens_with_every_key_and_seals_with_the_newest(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    rlk_vault *before = vault_with(1);
    rlk_vault *after = vault_of(&a, 2, 1);
    rlk_vault *without = vault_with(2);
    const sealed_text old = seal(before, LITERAL("token"), PLACE);
    const sealed_text young = seal(after, LITERAL("token"), PLACE);
    assert_opens(after, &old, LITERAL("token"));
    assert_opens(without, &young, LITERAL("token"));
    assert_refuses(before, span(&young), PLACE, RLK_E_STORE_KEY);
    assert_refuses(without, span(&old), PLACE, RLK_E_STORE_KEY);
    assert_false(rlk_vault_is_newest(after, span(&old)));
    assert_true(rlk_vault_is_newest(after, span(&young)));
    assert_false(rlk_vault_is_newest(after, LITERAL("token")));
    rlk_vault_free(before);
    rlk_vault_free(after);
    rlk_vault_free(without);
}

static void names_its_keys(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    rlk_vault *v = vault_of(&a, 2, 1);
    const sealed_text s = seal(v, LITERAL("token"), PLACE);
    assert_int_equal(rlk_vault_key_count(v), 2);
    assert_memory_equal(rlk_vault_sealer(span(&s)).ptr, rlk_vault_key_id(v, 0).ptr,
                        RLK_VAULT_KEY_ID_BYTES);
    assert_memory_not_equal(rlk_vault_key_id(v, 0).ptr, rlk_vault_key_id(v, 1).ptr,
                            RLK_VAULT_KEY_ID_BYTES);
    assert_null(rlk_vault_sealer(LITERAL("token")).ptr);
    rlk_vault_free(v);
}

static void takes_one_to_eight_keys_of_one_length(void **state) {
    (void)state;
    rlk_span keys[KEY_COUNT];
    strict_heap heap = {.demand_wiped = true};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_vault *v = NULL;
    for (int i = 0; i < KEY_COUNT; i++)
        keys[i] = key_at(i);
    assert_int_equal(rlk_vault_new(&v, &a, keys, 0), RLK_E_INVALID_OPTION);
    assert_int_equal(rlk_vault_new(&v, &a, keys, KEY_COUNT), RLK_E_INVALID_OPTION);
    for (size_t count = 1; count < KEY_COUNT; count++) {
        assert_int_equal(rlk_vault_new(&v, &a, keys, count), RLK_OK);
        rlk_vault_free(v);
    }
    keys[7].len = RLK_VAULT_KEY_BYTES - 1;
    assert_int_equal(rlk_vault_new(&v, &a, keys, 8), RLK_E_INVALID_OPTION);
    assert_null(v);
    keys[7] = keys[0];
    assert_int_equal(rlk_vault_new(&v, &a, keys, 8), RLK_E_INVALID_OPTION);
    rlk_vault_free(NULL);
    assert_int_equal(heap.blocks_out, 0);
}

static void wipes_its_keys(void **state) {
    (void)state;
    strict_heap heap = {.demand_wiped = true};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_vault *v = vault_of(&a, 2, 1);
    const sealed_text s = seal(v, LITERAL("token"), PLACE);
    assert_opens(v, &s, LITERAL("token"));
    rlk_vault_free(v);
    assert_int_equal(heap.blocks_out, 0);
}

static void survives_without_memory(void **state) {
    (void)state;
    const rlk_span key = key_at(1);
    strict_heap heap = {.fail_at = 1};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_vault *v = NULL;
    assert_int_equal(rlk_vault_new(&v, &a, &key, 1), RLK_E_NO_MEMORY);
    assert_null(v);
    assert_int_equal(heap.allocations, 1);
    assert_int_equal(heap.blocks_out, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_sealed),
        cmocka_unit_test(opens_a_field_sealed_elsewhere),
        cmocka_unit_test(never_seals_the_same_twice),
        cmocka_unit_test(has_limits),
        cmocka_unit_test(refuses_every_altered_bit),
        cmocka_unit_test(refuses_every_cut_and_addition),
        cmocka_unit_test(refuses_another_place),
        cmocka_unit_test(refuses_parts_of_two_fields),
        cmocka_unit_test(opens_with_every_key_and_seals_with_the_newest),
        cmocka_unit_test(names_its_keys),
        cmocka_unit_test(takes_one_to_eight_keys_of_one_length),
        cmocka_unit_test(wipes_its_keys),
        cmocka_unit_test(survives_without_memory),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
