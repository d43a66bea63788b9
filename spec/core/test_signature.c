/* Webhook signatures: right ones verify, everything else is false and quiet. */
#include "support.h"

#include "core/signature.h"

static const char body_text[] = "{\"meta\":{}}\0\xff";
static const rlk_span body = {body_text, sizeof body_text - 1};

static int open_ring(void **state) {
    static rlk_keyring ring;
    const rlk_alloc a = rlk_alloc_default();
    ring = (rlk_keyring){0};
    if (rlk_keyring_add(&ring, &a, LITERAL("newest")) != RLK_OK) return -1;
    if (rlk_keyring_add(&ring, &a, LITERAL("older")) != RLK_OK) return -1;
    *state = &ring;
    return 0;
}

static int close_ring(void **state) {
    rlk_keyring_deinit(*state);
    return 0;
}

static rlk_span sign(rlk_hmac *key, char out[RLK_SIGNATURE_BYTES]) {
    assert_int_equal(rlk_signature_compute(key, body, out), RLK_OK);
    return (rlk_span){out, RLK_SIGNATURE_BYTES};
}

static void every_key_verifies(void **state) {
    const rlk_keyring *ring = *state;
    char out[RLK_SIGNATURE_BYTES];
    for (size_t i = 0; i < ring->count; i++)
        assert_true(rlk_signature_verify(ring, body, sign(ring->keys[i], out)));
}

static void every_flipped_bit_is_refused(void **state) {
    const rlk_keyring *ring = *state;
    char out[RLK_SIGNATURE_BYTES];
    const rlk_span signature = sign(ring->keys[0], out);
    for (size_t bit = 0; bit < sizeof out * 8; bit++) {
        out[bit / 8] = (char)(out[bit / 8] ^ 1 << bit % 8);
        assert_false(rlk_signature_verify(ring, body, signature));
        out[bit / 8] = (char)(out[bit / 8] ^ 1 << bit % 8);
    }
}

static void other_lengths_are_refused(void **state) {
    const rlk_keyring *ring = *state;
    char out[RLK_SIGNATURE_BYTES + 1] = {0};
    (void)sign(ring->keys[0], out);
    for (size_t len = 0; len <= sizeof out; len++)
        assert_int_equal(rlk_signature_verify(ring, body, (rlk_span){out, len}),
                         len == RLK_SIGNATURE_BYTES);
}

static void a_strange_key_and_an_empty_ring_are_refused(void **state) {
    const rlk_alloc a = rlk_alloc_default();
    const rlk_keyring none = {0};
    rlk_hmac *stranger = NULL;
    char out[RLK_SIGNATURE_BYTES];
    assert_int_equal(rlk_hmac_new(&stranger, &a, LITERAL("stranger")), RLK_OK);
    const rlk_span signature = sign(stranger, out);
    assert_false(rlk_signature_verify(*state, body, signature));
    assert_false(rlk_signature_verify(&none, body, signature));
    rlk_hmac_free(stranger);
}

static void random_bytes_are_refused(void **state) {
    uint64_t seed = random_seed();
    for (int i = 0; i < 2000; i++) {
        char junk[RLK_SIGNATURE_BYTES];
        for (size_t k = 0; k < sizeof junk; k++)
            junk[k] = (char)random_next(&seed);
        if (i % 2 == 0) memcpy(junk, RLK_SIGNATURE_PREFIX, RLK_SIGNATURE_PREFIX_BYTES);
        assert_false(rlk_signature_verify(*state, body, (rlk_span){junk, sizeof junk}));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_verifies),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(other_lengths_are_refused),
        cmocka_unit_test(a_strange_key_and_an_empty_ring_are_refused),
        cmocka_unit_test(random_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, open_ring, close_ring);
}
