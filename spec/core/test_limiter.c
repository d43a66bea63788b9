/* The token bucket: rate, burst, reserve, the server's word, clocks that misbehave. */
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
        assert_int_equal(rlk_limiter_take(l, now_ms, 0), 0);
}

/* How many calls are taken when one is tried at every ms. */
static int taken_within(rlk_limiter *l, int64_t from_ms, int64_t ms, int64_t reserve) {
    int taken = 0;
    for (int64_t now_ms = from_ms; now_ms < from_ms + ms; now_ms++)
        taken += rlk_limiter_take(l, now_ms, reserve) == 0 ? 1 : 0;
    return taken;
}

static void the_burst_goes_at_once(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 5);
    drain(&l, 0, 5);
    assert_int_equal(rlk_limiter_take(&l, 0, 0), 10);
    assert_int_equal(rlk_limiter_take(&l, 9, 0), 1);
    assert_int_equal(rlk_limiter_take(&l, 10, 0), 0);
    assert_int_equal(rlk_limiter_take(&l, 10, 0), 10);
}

static void the_rate_is_kept_exactly(void **state) {
    (void)state;
    static const double rates[] = {0.5, 1, 3, 7, 12.5, 100, 999};
    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        rlk_limiter l = limiter_of(rates[i], 2); /* one would lose parts of a ms */
        const int expected = (int)(rates[i] * 100);
        assert_in_range(taken_within(&l, 0, 100000, 0), expected - 2, expected + 2);
    }
}

static void a_reserve_is_left_to_others(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 10);
    drain(&l, 0, 5);
    assert_int_equal(rlk_limiter_take(&l, 0, 5), 10);
    assert_int_equal(rlk_limiter_take(&l, 9, 5), 1);
    assert_int_equal(rlk_limiter_take(&l, 10, 5), 0);
    drain(&l, 10, 5);
    assert_int_equal(rlk_limiter_take(&l, 10, 0), 10);
    assert_int_equal(rlk_limiter_take(&l, 10, 1), 20);
    assert_int_equal(rlk_limiter_take(&l, 10, 5), 60);
}

static void a_reserve_takes_half_at_most(void **state) {
    (void)state;
    for (int64_t burst = 1; burst <= 5; burst++) {
        rlk_limiter l = limiter_of(1000, burst);
        drain(&l, 0, (int)(burst - burst / 2 - 1));
        assert_int_equal(rlk_limiter_take(&l, 0, INT64_MAX), 0);
        assert_int_equal(rlk_limiter_take(&l, 0, INT64_MAX), 1);
        drain(&l, 0, (int)(burst / 2));
        assert_int_equal(rlk_limiter_take(&l, 0, 0), 1);
    }
}

static void what_leaves_a_reserve_is_paced(void **state) {
    (void)state;
    static const double rates[] = {0.5, 1, 3, 7, 12.5, 100, 300, 999, 2500};
    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        rlk_limiter l = limiter_of(rates[i], RLK_LIMITER_BURST_MAX);
        const int expected = (int)(rates[i] * 10);
        const int taken = taken_within(&l, 0, 2, INT64_MAX);
        assert_in_range(taken, 1, 1 + (int)(rates[i] * 2 / 1000));
        if (rates[i] < 1000)
            assert_in_range(taken_within(&l, 2, 10000, 1), expected - 1, expected + 1);
    }
}

static void a_rest_saves_no_pace_up(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 100);
    assert_int_equal(rlk_limiter_take(&l, 0, 1), 0);
    assert_int_equal(rlk_limiter_take(&l, 1000000, 1), 0);
    assert_int_equal(rlk_limiter_take(&l, 1000000, 1), 10);
    assert_int_equal(rlk_limiter_take(&l, INT64_MAX, 1), 0);
    assert_true(rlk_limiter_take(&l, INT64_MAX, 1) > 0);
}

static void no_reserve_is_not_paced(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 100);
    assert_int_equal(rlk_limiter_take(&l, 0, 1), 0);
    drain(&l, 0, 99);
    rlk_limiter other = limiter_of(100, 100);
    drain(&other, 0, 20);
    assert_int_equal(rlk_limiter_take(&other, 0, 1), 0); /* and takes nothing of the pace */
    assert_int_equal(rlk_limiter_take(&other, 0, INT64_MIN), 0);
}

static void the_wait_it_names_suffices(void **state) {
    (void)state;
    uint64_t seed = random_seed();
    for (int i = 0; i < 2000; i++) {
        rlk_limiter l = limiter_of(0.001 + (double)random_below(&seed, 1000000) / 1000,
                                   1 + (int64_t)random_below(&seed, 10));
        const int64_t reserve = (int64_t)random_below(&seed, 4);
        int64_t now_ms = (int64_t)random_below(&seed, 1000);
        int64_t wait_ms = 0;
        while ((wait_ms = rlk_limiter_take(&l, now_ms, reserve)) == 0)
            continue;
        assert_true(wait_ms > 0);
        assert_true(wait_ms == 1 || rlk_limiter_take(&l, now_ms + wait_ms - 1, reserve) > 0);
        assert_int_equal(rlk_limiter_take(&l, now_ms + wait_ms, reserve), 0);
    }
}

static void a_long_rest_fills_only_the_bucket(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(RLK_LIMITER_PER_S_MAX, RLK_LIMITER_BURST_MAX);
    drain(&l, 0, 3);
    assert_int_equal(rlk_limiter_take(&l, INT64_MAX, 0), 0);
    assert_int_equal(l.level, l.level_max - 1000000);
    rlk_limiter slow = limiter_of(0.001, 2);
    drain(&slow, 0, 2);
    drain(&slow, INT64_MAX - 1, 2);
    assert_true(rlk_limiter_take(&slow, INT64_MAX, 0) > 0);
}

static void a_time_that_goes_back_is_no_time(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(10, 1);
    drain(&l, 1000, 1);
    assert_int_equal(rlk_limiter_take(&l, 500, 0), 100);
    assert_int_equal(rlk_limiter_take(&l, INT64_MIN, 0), 100);
    assert_int_equal(rlk_limiter_take(&l, 1100, 0), 0);
}

static void remaining_only_lowers(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(1, 10);
    rlk_limiter_observe(&l, 0, 3, RLK_LIMITER_UNTOLD);
    rlk_limiter_observe(&l, 0, 1000000, RLK_LIMITER_UNTOLD);
    rlk_limiter_observe(&l, 0, INT64_MAX, RLK_LIMITER_UNTOLD);
    drain(&l, 0, 3);
    assert_int_equal(rlk_limiter_take(&l, 0, 0), 1000);
}

static void nothing_remaining_empties_it(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 100);
    rlk_limiter_observe(&l, 0, 0, RLK_LIMITER_UNTOLD);
    assert_int_equal(rlk_limiter_take(&l, 0, 0), 10);
    rlk_limiter_observe(&l, 0, INT64_MIN, INT64_MIN);
    assert_int_equal(rlk_limiter_take(&l, 10, 0), 0);
}

static void retry_after_blocks_all(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 100);
    rlk_limiter_observe(&l, 1000, RLK_LIMITER_UNTOLD, 5000);
    assert_int_equal(rlk_limiter_take(&l, 1000, 0), 5000);
    assert_int_equal(rlk_limiter_take(&l, 5999, 0), 1);
    rlk_limiter_observe(&l, 2000, RLK_LIMITER_UNTOLD, 100); /* a shorter one changes nothing */
    assert_int_equal(rlk_limiter_take(&l, 5999, 0), 1);
    assert_int_equal(rlk_limiter_take(&l, 6000, 0), 0);
}

static void retry_after_is_bounded(void **state) {
    (void)state;
    rlk_limiter l = limiter_of(100, 100);
    rlk_limiter_observe(&l, 0, RLK_LIMITER_UNTOLD, INT64_MAX);
    assert_int_equal(rlk_limiter_take(&l, 0, 0), RLK_RETRY_AFTER_MS_MAX);
    assert_int_equal(rlk_limiter_take(&l, RLK_RETRY_AFTER_MS_MAX, 0), 0);
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
        cmocka_unit_test(a_reserve_is_left_to_others),
        cmocka_unit_test(a_reserve_takes_half_at_most),
        cmocka_unit_test(what_leaves_a_reserve_is_paced),
        cmocka_unit_test(a_rest_saves_no_pace_up),
        cmocka_unit_test(no_reserve_is_not_paced),
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
