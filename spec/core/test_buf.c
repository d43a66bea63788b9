/* The capped buffer: ceiling, growth, wiping. */
#include "support.h"

#include "core/buf.h"

static void grows_to_the_ceiling_and_not_past(void **state) {
    (void)state;
    strict_heap heap = {.demand_wiped = true};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_buf b;
    rlk_buf_init(&b, &a, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(rlk_buf_append(&b, "x", 1), RLK_OK);
    assert_int_equal(rlk_buf_append(&b, "x", 1), RLK_E_RESPONSE_TOO_LARGE);
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.cap, 1000);
    rlk_buf_deinit(&b);
    assert_int_equal(heap.blocks_out, 0);
}

static void too_much_at_once_changes_nothing(void **state) {
    (void)state;
    strict_heap heap = {0};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_buf b;
    rlk_buf_init(&b, &a, 10);
    assert_int_equal(rlk_buf_append(&b, "abc", 3), RLK_OK);
    assert_int_equal(rlk_buf_append(&b, "12345678", 8), RLK_E_RESPONSE_TOO_LARGE);
    assert_int_equal(rlk_buf_append(&b, "12345678", SIZE_MAX), RLK_E_RESPONSE_TOO_LARGE);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "abc", 3);
    rlk_buf_deinit(&b);
}

static void a_ceiling_of_zero_takes_nothing_but_nothing(void **state) {
    (void)state;
    strict_heap heap = {0};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_buf b;
    rlk_buf_init(&b, &a, 0);
    assert_int_equal(rlk_buf_append(&b, "", 0), RLK_OK);
    assert_int_equal(rlk_buf_append(&b, NULL, 0), RLK_OK);
    assert_int_equal(rlk_buf_append(&b, "x", 1), RLK_E_RESPONSE_TOO_LARGE);
    assert_int_equal(heap.allocations, 0);
    rlk_buf_deinit(&b);
}

static void a_ceiling_without_end_grows(void **state) {
    (void)state;
    static char block[100000];
    strict_heap heap = {0};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_buf b;
    rlk_buf_init(&b, &a, SIZE_MAX);
    for (int i = 0; i < 10; i++)
        assert_int_equal(rlk_buf_append(&b, block, sizeof block), RLK_OK);
    assert_int_equal(b.len, 10 * sizeof block);
    rlk_buf_deinit(&b);
    assert_int_equal(heap.bytes_out, 0);
}

static void a_failed_growth_keeps_the_content(void **state) {
    (void)state;
    static char block[1000];
    strict_heap heap = {.fail_at = 2};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_buf b;
    rlk_buf_init(&b, &a, 100000);
    assert_int_equal(rlk_buf_append(&b, "abc", 3), RLK_OK);
    assert_int_equal(rlk_buf_append(&b, block, sizeof block), RLK_E_NO_MEMORY);
    assert_memory_equal(b.data, "abc", 3);
    assert_int_equal(rlk_buf_append(&b, block, sizeof block), RLK_OK);
    assert_int_equal(b.len, 3 + sizeof block);
    rlk_buf_deinit(&b);
}

static void reset_wipes_and_keeps_the_memory(void **state) {
    (void)state;
    strict_heap heap = {.demand_wiped = true};
    const rlk_alloc a = strict_allocator(&heap);
    rlk_buf b;
    rlk_buf_init(&b, &a, 100);
    assert_int_equal(rlk_buf_append(&b, "token", 5), RLK_OK);
    rlk_buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.data[0], 0);
    assert_int_equal(rlk_buf_append(&b, "next", 4), RLK_OK);
    assert_int_equal(heap.allocations, 1);
    rlk_buf_deinit(&b);
}

static void a_zeroed_one_can_be_closed_twice(void **state) {
    (void)state;
    rlk_buf b = {0};
    rlk_buf_reset(&b);
    rlk_buf_deinit(&b);
    rlk_buf_deinit(&b);
    assert_null(b.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_the_ceiling_and_not_past),
        cmocka_unit_test(too_much_at_once_changes_nothing),
        cmocka_unit_test(a_ceiling_of_zero_takes_nothing_but_nothing),
        cmocka_unit_test(a_ceiling_without_end_grows),
        cmocka_unit_test(a_failed_growth_keeps_the_content),
        cmocka_unit_test(reset_wipes_and_keeps_the_memory),
        cmocka_unit_test(a_zeroed_one_can_be_closed_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
