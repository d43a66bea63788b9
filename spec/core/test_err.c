/* The one list of errors. */
#include "support.h"

#include "core/err.h"

static void every_error_is_described(void **state) {
    (void)state;
    for (rlk_err e = RLK_OK + 1; e < RLK_E_COUNT; e++) {
        const rlk_err_info *info = rlk_err_describe(e);
        assert_non_null(info);
        assert_true(strlen(info->code) > 0);
        assert_true(strlen(info->meaning) > 0);
        assert_true(strlen(info->cause) > 0);
        assert_true(strlen(info->cure) > 0);
        assert_true(info->class_ == RLK_CLASS_FATAL || info->class_ == RLK_CLASS_RETRY);
    }
}

static void codes_are_unique_and_found(void **state) {
    (void)state;
    for (rlk_err e = RLK_OK + 1; e < RLK_E_COUNT; e++)
        assert_int_equal(rlk_err_named(span_of(rlk_err_describe(e)->code)), e);
}

static void codes_are_identifiers(void **state) {
    (void)state;
    for (rlk_err e = RLK_OK + 1; e < RLK_E_COUNT; e++) {
        const char *code = rlk_err_describe(e)->code;
        assert_int_equal(strspn(code, "abcdefghijklmnopqrstuvwxyz_"), strlen(code));
    }
}

static void what_is_no_error_has_no_description(void **state) {
    (void)state;
    assert_null(rlk_err_describe(RLK_OK));
    assert_null(rlk_err_describe(RLK_E_COUNT));
}

static void unknown_codes_are_not_found(void **state) {
    (void)state;
    const rlk_span unknown[] = {LITERAL(""), LITERAL("time"), LITERAL("timeoutt"),
                                LITERAL("timeout\0"), LITERAL("TIMEOUT")};
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        assert_int_equal(rlk_err_named(unknown[i]), RLK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_is_described),
        cmocka_unit_test(codes_are_unique_and_found),
        cmocka_unit_test(codes_are_identifiers),
        cmocka_unit_test(what_is_no_error_has_no_description),
        cmocka_unit_test(unknown_codes_are_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
