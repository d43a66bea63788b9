/* The token bucket: rate, burst, the server's word, clocks that misbehave. */
#include "support.h"

#include <math.h>

#include "core/limiter.h"
#include "core/limits.h"

static rlk_limiter limiter_of(double per_s, int64_t burst) {
    rlk_limiter l;
    assert_int_equal(rlk_limiter_init(&l, per_s, burst), RLK_OK);
    return l;
}

static void drain(rlk_limiter *l, int64_t now_ms, int calls) {
    for (int i = 0; i < calls; i++)
        assert_int_equal(rlk_limiter_take(l, now_ms), 0);
}

static void the_burst_goes_at_once(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 5);
    drain(&l, 0, 5);
    assert_int_equal(rlk_limiter_take(&l, 0), 10);
    assert_int_equal(rlk_limiter_take(&l, 9), 1);
    assert_int_equal(rlk_limiter_take(&l, 10), 0);
    assert_int_equal(rlk_limiter_take(&l, 10), 10);
}

static void the_rate_is_kept_exactly(void **state) {
    (void)state;
    static const double rates[] = {0.5, 1, 3, 7, 12.5, 100, 999};
    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        rlk_limiter l = limiter_of(rates[i], 2); /* one would lose parts of a ms */
        int taken = 0;
        for (int64_t now_ms = 0; now_ms < 100000; now_ms++)
            taken += rlk_limiter_take(&l, now_ms) == 0 ? 1 : 0;
        const int expected = (int)(rates[i] * 100);
        assert_in_range(taken, expected - 2, expected + 2);
    }
}

static void the_wait_it_names_suffices(void **state) {
    (void)state;
    uint64_t seed = random_seed();
    for (int i = 0; i < 2000; i++) {
        rlk_limiter l = limiter_of(0.001 + (double)random_below(&seed, 1000000) / 1000,
                                   1 + (int64_t)random_below(&seed, 10));
        int64_t now_ms = (int64_t)random_below(&seed, 1000);
        int64_t wait_ms = 0;
        while ((wait_ms = rlk_limiter_take(&l, now_ms)) == 0)
            continue;
        assert_true(wait_ms > 0);
        assert_true(wait_ms == 1 || rlk_limiter_take(&l, now_ms + wait_ms - 1) > 0);
        assert_int_equal(rlk_limiter_take(&l, now_ms + wait_ms), 0);
    }
}

static void a_long_rest_fills_only_the_bucket(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(RLK_LIMITER_PER_S_MAX, RLK_LIMITER_BURST_MAX);
    drain(&l, 0, 3);
    assert_int_equal(rlk_limiter_take(&l, INT64_MAX), 0);
    assert_int_equal(l.level, l.level_max - 1000000);
    rlk_limiter slow = limiter_of(0.001, 2);
    drain(&slow, 0, 2);
    drain(&slow, INT64_MAX - 1, 2);
    assert_true(rlk_limiter_take(&slow, INT64_MAX) > 0);
}

static void a_time_that_goes_back_is_no_time(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(10, 1);
    drain(&l, 1000, 1);
    assert_int_equal(rlk_limiter_take(&l, 500), 100);
    assert_int_equal(rlk_limiter_take(&l, INT64_MIN), 100);
    assert_int_equal(rlk_limiter_take(&l, 1100), 0);
}

static void remaining_only_lowers(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(1, 10);
    rlk_limiter_observe(&l, 0, 3, RLK_LIMITER_UNTOLD);
    rlk_limiter_observe(&l, 0, 1000000, RLK_LIMITER_UNTOLD);
    rlk_limiter_observe(&l, 0, INT64_MAX, RLK_LIMITER_UNTOLD);
    drain(&l, 0, 3);
    assert_int_equal(rlk_limiter_take(&l, 0), 1000);
}

static void nothing_remaining_empties_it(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 100);
    rlk_limiter_observe(&l, 0, 0, RLK_LIMITER_UNTOLD);
    assert_int_equal(rlk_limiter_take(&l, 0), 10);
    rlk_limiter_observe(&l, 0, INT64_MIN, INT64_MIN);
    assert_int_equal(rlk_limiter_take(&l, 10), 0);
}

static void retry_after_blocks_all(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 100);
    rlk_limiter_observe(&l, 1000, RLK_LIMITER_UNTOLD, 5000);
    assert_int_equal(rlk_limiter_take(&l, 1000), 5000);
    assert_int_equal(rlk_limiter_take(&l, 5999), 1);
    rlk_limiter_observe(&l, 2000, RLK_LIMITER_UNTOLD, 100); /* a shorter one changes nothing */
    assert_int_equal(rlk_limiter_take(&l, 5999), 1);
    assert_int_equal(rlk_limiter_take(&l, 6000), 0);
}

static void retry_after_is_bounded(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 100);
    rlk_limiter_observe(&l, 0, RLK_LIMITER_UNTOLD, INT64_MAX);
    assert_int_equal(rlk_limiter_take(&l, 0), RLK_RETRY_AFTER_MS_MAX);
    assert_int_equal(rlk_limiter_take(&l, RLK_RETRY_AFTER_MS_MAX), 0);
}

static void hostile_options_are_refused(void **state) {
    (void)state;
    static const double rates[] = {0, -1, 0.0009, 1e7, NAN, INFINITY, -INFINITY};
    static const int64_t bursts[] = {0, -1, RLK_LIMITER_BURST_MAX + 1, INT64_MAX, INT64_MIN};
    rlk_limiter l;
    for (size_t i = 0; i < COUNT_OF(rates); i++)
        assert_int_equal(rlk_limiter_init(&l, rates[i], 1), RLK_E_INVALID_OPTION);
    for (size_t i = 0; i < COUNT_OF(bursts); i++)
        assert_int_equal(rlk_limiter_init(&l, 1, bursts[i]), RLK_E_INVALID_OPTION);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_burst_goes_at_once),
        cmocka_unit_test(the_rate_is_kept_exactly),
        cmocka_unit_test(the_wait_it_names_suffices),
        cmocka_unit_test(a_long_rest_fills_only_the_bucket),
        cmocka_unit_test(a_time_that_goes_back_is_no_time),
        cmocka_unit_test(remaining_only_lowers),
        cmocka_unit_test(nothing_remaining_empties_it),
        cmocka_unit_test(retry_after_blocks_all),
        cmocka_unit_test(retry_after_is_bounded),
        cmocka_unit_test(hostile_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
