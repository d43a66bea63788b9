/* The circuit breaker: opens, lets one through, backs off, closes, never sticks. */
#include "support.h"

#include "core/circuit.h"
#include "core/limits.h"

static rlk_circuit circuit_of(int64_t threshold, int64_t open_ms, int64_t open_ms_max) {
    rlk_circuit c;
    assert_int_equal(rlk_circuit_init(&c, threshold, open_ms, open_ms_max), RLK_OK);
    return c;
}

static void opens_at_the_threshold(void **state) {
    (void)state;
    rlk_circuit c = circuit_of(3, 100, 400);
    assert_false(rlk_circuit_refused(&c, 0));
    assert_false(rlk_circuit_refused(&c, 0));
    assert_true(rlk_circuit_allow(&c, 0));
    assert_true(rlk_circuit_refused(&c, 0));
    assert_false(rlk_circuit_allow(&c, 99));
}

static void a_success_between_starts_anew(void **state) {
    (void)state;
    rlk_circuit c = circuit_of(2, 100, 400);
    assert_false(rlk_circuit_refused(&c, 0));
    rlk_circuit_succeeded(&c);
    assert_false(rlk_circuit_refused(&c, 0));
    assert_true(rlk_circuit_refused(&c, 0));
}

static void half_open_lets_one_through(void **state) {
    (void)state;
    rlk_circuit c = circuit_of(1, 100, 400);
    assert_true(rlk_circuit_refused(&c, 0));
    assert_true(rlk_circuit_allow(&c, 100));
    assert_false(rlk_circuit_allow(&c, 100));
    assert_false(rlk_circuit_allow(&c, 199));
    rlk_circuit_succeeded(&c);
    assert_true(rlk_circuit_allow(&c, 199));
    assert_true(rlk_circuit_allow(&c, 199));
}

static void a_lost_prober_does_not_shut_it_for_ever(void **state) {
    (void)state;
    rlk_circuit c = circuit_of(1, 100, 400);
    assert_true(rlk_circuit_refused(&c, 0));
    assert_true(rlk_circuit_allow(&c, 100));
    assert_true(rlk_circuit_allow(&c, 200));
    assert_false(rlk_circuit_allow(&c, 299));
    assert_true(rlk_circuit_allow(&c, 300));
}

static void each_failed_probe_doubles_up_to_the_maximum(void **state) {
    (void)state;
    rlk_circuit c = circuit_of(1, 100, 300);
    assert_true(rlk_circuit_refused(&c, 0));
    assert_true(rlk_circuit_allow(&c, 100));
    assert_true(rlk_circuit_refused(&c, 100));
    assert_false(rlk_circuit_allow(&c, 299));
    assert_true(rlk_circuit_allow(&c, 300));
    assert_true(rlk_circuit_refused(&c, 300));
    assert_false(rlk_circuit_allow(&c, 599));
    assert_true(rlk_circuit_allow(&c, 600));
    rlk_circuit_succeeded(&c);
    assert_true(rlk_circuit_refused(&c, 600)); /* opens for the shortest again */
    assert_true(rlk_circuit_allow(&c, 700));
}

static void late_refusals_while_open_change_nothing(void **state) {
    (void)state;
    rlk_circuit c = circuit_of(1, 100, 400);
    assert_true(rlk_circuit_refused(&c, 0));
    assert_true(rlk_circuit_refused(&c, 50));
    assert_true(rlk_circuit_refused(&c, 99));
    assert_true(rlk_circuit_allow(&c, 100));
}

static void the_end_of_time_saturates(void **state) {
    (void)state;
    rlk_circuit c = circuit_of(1, RLK_CIRCUIT_OPEN_MS_MAX, RLK_CIRCUIT_OPEN_MS_MAX);
    assert_true(rlk_circuit_refused(&c, INT64_MAX - 1));
    assert_false(rlk_circuit_allow(&c, INT64_MAX - 1));
    assert_true(rlk_circuit_allow(&c, INT64_MAX));
}

static void hostile_options_are_refused(void **state) {
    (void)state;
    rlk_circuit c;
    assert_int_equal(rlk_circuit_init(&c, 0, 1, 1), RLK_E_INVALID_OPTION);
    assert_int_equal(rlk_circuit_init(&c, INT64_MAX, 1, 1), RLK_E_INVALID_OPTION);
    assert_int_equal(rlk_circuit_init(&c, 1, 0, 1), RLK_E_INVALID_OPTION);
    assert_int_equal(rlk_circuit_init(&c, 1, -1, 1), RLK_E_INVALID_OPTION);
    assert_int_equal(rlk_circuit_init(&c, 1, 2, 1), RLK_E_INVALID_OPTION);
    assert_int_equal(rlk_circuit_init(&c, 1, 1, INT64_MAX), RLK_E_INVALID_OPTION);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_at_the_threshold),
        cmocka_unit_test(a_success_between_starts_anew),
        cmocka_unit_test(half_open_lets_one_through),
        cmocka_unit_test(a_lost_prober_does_not_shut_it_for_ever),
        cmocka_unit_test(each_failed_probe_doubles_up_to_the_maximum),
        cmocka_unit_test(late_refusals_while_open_change_nothing),
        cmocka_unit_test(the_end_of_time_saturates),
        cmocka_unit_test(hostile_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
