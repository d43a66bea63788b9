/* The default allocator and wiping. */
#include "support.h"

static void zeroed_block_is_zero(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    unsigned char *block = rlk_alloc_zeroed(&a, 64);
    assert_non_null(block);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(block[i], 0);
    rlk_alloc_free(&a, block, 64);
}

static void default_resize_keeps_content(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    char *block = a.resize(a.ud, NULL, 0, 4);
    memcpy(block, "abc", 4);
    block = a.resize(a.ud, block, 4, 4096);
    assert_string_equal(block, "abc");
    assert_null(a.resize(a.ud, block, 4096, 0));
}

static void free_takes_null(void **state) {
    (void)state;
    const rlk_alloc a = rlk_alloc_default();
    rlk_alloc_free(&a, NULL, 0);
}

static void wipe_zeroes(void **state) {
    (void)state;
    char text[] = "secret";
    rlk_wipe(text, sizeof text);
    for (size_t i = 0; i < sizeof text; i++)
        assert_int_equal(text[i], 0);
    rlk_wipe(NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_block_is_zero),
        cmocka_unit_test(default_resize_keeps_content),
        cmocka_unit_test(free_takes_null),
        cmocka_unit_test(wipe_zeroes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
