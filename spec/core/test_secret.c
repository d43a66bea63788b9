/* Secrets: their own copy, wiped, compared in constant time. */
#include "support.h"

#include "core/limits.h"
#include "core/secret.h"

static void holds_a_copy(void **state) {
    (void)state;
    char text[] = "token";
    strict_heap heap = {.demand_wiped = true};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_secret s;
    assert_int_equal(rlk_secret_init(&s, &a, span_of(text)), RLK_OK);
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(rlk_secret_text(&s).len, 5);
    assert_memory_equal(rlk_secret_text(&s).ptr, "token", 5);
    rlk_secret_deinit(&s);
    assert_int_equal(heap.blocks_out, 0);
}

static void empty_is_open_and_closed_is_not(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    rlk_secret s = {0};
    assert_false(rlk_secret_is_open(&s));
    assert_int_equal(rlk_secret_init(&s, &a, (rlk_span){NULL, 0}), RLK_OK);
    assert_true(rlk_secret_is_open(&s));
    assert_true(rlk_secret_equals(&s, LITERAL("")));
    rlk_secret_deinit(&s);
    rlk_secret_deinit(&s);
    assert_false(rlk_secret_is_open(&s));
    assert_int_equal(rlk_secret_text(&s).len, 0);
    assert_false(rlk_secret_equals(&s, LITERAL("")));
}

static void compares_all_bytes(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    rlk_secret s;
    assert_int_equal(rlk_secret_init(&s, &a, LITERAL("a\0b")), RLK_OK);
    assert_true(rlk_secret_equals(&s, LITERAL("a\0b")));
    assert_false(rlk_secret_equals(&s, LITERAL("a\0c")));
    assert_false(rlk_secret_equals(&s, LITERAL("a\0")));
    assert_false(rlk_secret_equals(&s, LITERAL("a")));
    assert_false(rlk_secret_equals(&s, LITERAL("a\0bb")));
    assert_false(rlk_secret_equals(&s, (rlk_span){NULL, 0}));
    rlk_secret_deinit(&s);
}

static void has_a_limit(void **state) {
    (void)state;
    static char text[RLK_SECRET_BYTES_MAX + 1];
    strict_heap heap = {0};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_secret s;
    assert_int_equal(rlk_secret_init(&s, &a, (rlk_span){text, sizeof text}), RLK_E_INVALID_REQUEST);
    assert_false(rlk_secret_is_open(&s));
    assert_int_equal(rlk_secret_init(&s, &a, (rlk_span){text, sizeof text - 1}), RLK_OK);
    rlk_secret_deinit(&s);
    assert_int_equal(heap.blocks_out, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_a_copy),
        cmocka_unit_test(empty_is_open_and_closed_is_not),
        cmocka_unit_test(compares_all_bytes),
        cmocka_unit_test(has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
