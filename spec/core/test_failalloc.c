/* Everything in the core that allocates, with each of its allocations failing in turn: the failure
 * is reported, nothing leaks, what was there before is still there, and the next try works. */
#include "support.h"

#include "core/buf.h"
#include "core/keyring.h"
#include "core/nonce.h"
#include "core/secret.h"
#include "core/signature.h"

typedef rlk_err scenario(const rlk_alloc *a);

static rlk_err fill_a_buffer(const rlk_alloc *a) {
    rlk_buf b;
    rlk_err e = RLK_OK;
    rlk_buf_init(&b, a, 5000);
    for (int i = 0; i < 4999 && e == RLK_OK; i++) {
        e = rlk_buf_append(&b, "x", 1);
        assert_int_equal(b.len, e == RLK_OK ? i + 1 : i);
    }
    rlk_buf_deinit(&b);
    return e;
}

static rlk_err keep_a_secret(const rlk_alloc *a) {
    rlk_secret s;
    const rlk_err e = rlk_secret_init(&s, a, LITERAL("token"));
    assert_int_equal(rlk_secret_is_open(&s), e == RLK_OK);
    rlk_secret_deinit(&s);
    return e;
}

static rlk_err use_a_ring(const rlk_alloc *a) {
    rlk_keyring ring = {0};
    rlk_err e = RLK_OK;
    for (size_t i = 0; i < RLK_KEY_COUNT_MAX && e == RLK_OK; i++) {
        e = rlk_keyring_add(&ring, a, LITERAL("key"));
        assert_int_equal(ring.count, e == RLK_OK ? i + 1 : i);
    }
    /* the keys that got in go on working */
    char signature[RLK_SIGNATURE_BYTES];
    if (ring.count > 0) {
        assert_int_equal(rlk_signature_compute(ring.keys[0], LITERAL("body"), signature), RLK_OK);
        assert_true(
            rlk_signature_verify(&ring, LITERAL("body"), (rlk_span){signature, sizeof signature}));
    }
    rlk_keyring_deinit(&ring);
    return e;
}

static size_t allocations_of(scenario *run) {
    strict_heap heap = {0};
    const rlk_alloc a = strict_allocator(&heap);
    assert_int_equal(run(&a), RLK_OK);
    assert_int_equal(heap.blocks_out, 0);
    return heap.allocations;
}

static void fail_each(scenario *run) {
    const size_t allocations = allocations_of(run);
    assert_true(allocations > 0);
    for (size_t i = 1; i <= allocations; i++) {
        strict_heap heap = {.fail_at = i};
        const rlk_alloc a = strict_allocator(&heap);
        assert_int_equal(run(&a), RLK_E_NO_MEMORY);
        assert_int_equal(heap.blocks_out, 0);
        assert_int_equal(heap.bytes_out, 0);
        assert_int_equal(run(&a), RLK_OK);
        assert_int_equal(heap.blocks_out, 0);
    }
}

static void buffers_survive(void **state) {
    (void)state;
    fail_each(fill_a_buffer);
}

static void secrets_survive(void **state) {
    (void)state;
    fail_each(keep_a_secret);
}

static void rings_survive(void **state) {
    (void)state;
    fail_each(use_a_ring);
}

static void zeroed_blocks_tell(void **state) {
    (void)state;
    strict_heap heap = {.fail_at = 1};
    const rlk_alloc a = strict_allocator(&heap);
    assert_null(rlk_alloc_zeroed(&a, 8));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_survive),
        cmocka_unit_test(secrets_survive),
        cmocka_unit_test(rings_survive),
        cmocka_unit_test(zeroed_blocks_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
