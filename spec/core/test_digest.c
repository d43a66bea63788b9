/* SHA-256, HMAC-SHA256 (RFC 4231's vectors), the key ring, comparison. */
#include "support.h"

#include <openssl/err.h>

#include "core/codec.h"
#include "core/digest.h"
#include "core/keyring.h"

static void check_hex(const uint8_t bytes[RLK_HMAC_BYTES], const char *expected) {
    char text[RLK_HEX_CHARS(RLK_HMAC_BYTES)];
    rlk_hex_encode((rlk_span){(const char *)bytes, RLK_HMAC_BYTES}, text);
    assert_memory_equal(text, expected, sizeof text);
}

static void sha256_of_known_texts(void **state) {
    (void)state;
    uint8_t out[RLK_HMAC_BYTES];
    assert_int_equal(rlk_sha256(LITERAL("abc"), out), RLK_OK);
    check_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(rlk_sha256((rlk_span){NULL, 0}, out), RLK_OK);
    check_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void hmac_of_the_rfc(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    rlk_hmac *h = NULL;
    uint8_t out[RLK_HMAC_BYTES];
    const rlk_span data = LITERAL("what do ya want for nothing?");
    assert_int_equal(rlk_hmac_new(&h, &a, LITERAL("Jefe")), RLK_OK);
    for (int again = 0; again < 3; again++) { /* the context is rewound, not re-keyed */
        assert_int_equal(rlk_hmac_compute(h, &data, 1, out), RLK_OK);
        check_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
    rlk_hmac_free(h);
}

static void a_key_longer_than_a_block_is_hashed(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    char key[131];
    rlk_hmac *h = NULL;
    uint8_t out[RLK_HMAC_BYTES];
    const rlk_span data = LITERAL("Test Using Larger Than Block-Size Key - Hash Key First");
    memset(key, '\xaa', sizeof key);
    assert_int_equal(rlk_hmac_new(&h, &a, (rlk_span){key, sizeof key}), RLK_OK);
    assert_int_equal(rlk_hmac_compute(h, &data, 1, out), RLK_OK);
    check_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    rlk_hmac_free(h);
}

static void parts_are_one_text(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    const rlk_span parts[] = {LITERAL("what do ya "), {NULL, 0}, LITERAL("want for nothing?")};
    rlk_hmac *h = NULL;
    uint8_t out[RLK_HMAC_BYTES];
    assert_int_equal(rlk_hmac_new(&h, &a, LITERAL("Jefe")), RLK_OK);
    assert_int_equal(rlk_hmac_compute(h, parts, COUNT_OF(parts), out), RLK_OK);
    check_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_int_equal(rlk_hmac_compute(h, NULL, 0, out), RLK_OK);
    rlk_hmac_free(h);
}

static void keys_have_a_length(void **state) {
    (void)state;
    static char key[RLK_KEY_BYTES_MAX + 1];
    const rlk_alloc a = rlk_alloc_default();
    rlk_hmac *h = NULL;
    assert_int_equal(rlk_hmac_new(&h, &a, LITERAL("")), RLK_E_INVALID_OPTION);
    assert_null(h);
    assert_int_equal(rlk_hmac_new(&h, &a, (rlk_span){key, sizeof key}), RLK_E_INVALID_OPTION);
    assert_null(h);
    assert_int_equal(rlk_hmac_new(&h, &a, (rlk_span){key, sizeof key - 1}), RLK_OK);
    rlk_hmac_free(h);
    rlk_hmac_free(NULL);
}

static void the_error_queue_is_left_alone(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    rlk_hmac *h = NULL;
    uint8_t out[RLK_HMAC_BYTES];
    ERR_clear_error();
    assert_int_equal(rlk_hmac_new(&h, &a, LITERAL("k")), RLK_OK);
    assert_int_equal(rlk_hmac_compute(h, NULL, 0, out), RLK_OK);
    rlk_hmac_free(h);
    assert_int_equal(ERR_peek_error(), 0);
}

static void same_is_equality(void **state) {
    (void)state;
    assert_true(rlk_same("abc", "abc", 3));
    assert_false(rlk_same("abc", "abd", 3));
    assert_false(rlk_same("xbc", "abc", 3));
    assert_true(rlk_same(NULL, NULL, 0));
}

static void a_ring_holds_so_many_keys(void **state) {
    (void)state;
    strict_heap heap = {0};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_keyring ring = {0};
    assert_null(rlk_keyring_newest(&ring));
    for (int i = 0; i < RLK_KEY_COUNT_MAX; i++)
        assert_int_equal(rlk_keyring_add(&ring, &a, LITERAL("k")), RLK_OK);
    assert_int_equal(rlk_keyring_add(&ring, &a, LITERAL("k")), RLK_E_INVALID_OPTION);
    assert_ptr_equal(rlk_keyring_newest(&ring), ring.keys[0]);
    rlk_keyring_deinit(&ring);
    rlk_keyring_deinit(&ring);
    assert_int_equal(heap.blocks_out, 0);
    assert_null(rlk_keyring_newest(&ring));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_of_known_texts),
        cmocka_unit_test(hmac_of_the_rfc),
        cmocka_unit_test(a_key_longer_than_a_block_is_hashed),
        cmocka_unit_test(parts_are_one_text),
        cmocka_unit_test(keys_have_a_length),
        cmocka_unit_test(the_error_queue_is_left_alone),
        cmocka_unit_test(same_is_equality),
        cmocka_unit_test(a_ring_holds_so_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
