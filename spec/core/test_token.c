/* Token lifetimes: hostile expires_in, windows and their clamp, clocks that step, warnings. */
#include "support.h"

#include <math.h>

#include "core/limits.h"
#include "core/token.h"

static const int64_t now = INT64_C(1771130906289);

static void check_times(double expires_in, int64_t lifetime_s, bool doubtful) {
    const rlk_token_times t = rlk_token_times_from(expires_in, now);
    assert_int_equal(t.obtained_ms, now);
    assert_int_equal(t.expires_ms, now + lifetime_s * 1000);
    assert_int_equal(t.doubtful, doubtful);
}

static void usual_lifetimes_are_believed(void **state) {
    (void)state;
    check_times(14400, 14400, false);
    check_times(1, 1, false);
    check_times(30, 30, false);
    check_times(RLK_TOKEN_LIFETIME_S_MAX, RLK_TOKEN_LIFETIME_S_MAX, false);
}

static void hostile_lifetimes_give_safe_ones(void **state) {
    (void)state;
    check_times(NAN, RLK_TOKEN_LIFETIME_S_DEFAULT, true);
    check_times(0, RLK_TOKEN_LIFETIME_S_MIN, true);
    check_times(-0.0, RLK_TOKEN_LIFETIME_S_MIN, true);
    check_times(0.999, RLK_TOKEN_LIFETIME_S_MIN, true);
    check_times(-14400, RLK_TOKEN_LIFETIME_S_MIN, true);
    check_times(-INFINITY, RLK_TOKEN_LIFETIME_S_MIN, true);
    check_times(INFINITY, RLK_TOKEN_LIFETIME_S_MAX, true);
    check_times(1e308, RLK_TOKEN_LIFETIME_S_MAX, true);
    check_times(RLK_TOKEN_LIFETIME_S_MAX + 1, RLK_TOKEN_LIFETIME_S_MAX, true);
}

static void the_end_of_time_saturates(void **state) {
    (void)state;
    const rlk_token_times t = rlk_token_times_from(14400, INT64_MAX);
    assert_true(t.expires_ms == INT64_MAX);
}

static void numeric_text_is_read(void **state) {
    (void)state;
    assert_true(rlk_token_seconds_parse(LITERAL("14400")) == 14400);
    assert_true(rlk_token_seconds_parse(LITERAL("014400")) == 14400);
    assert_true(rlk_token_seconds_parse(LITERAL("14400.75")) == 14400);
    assert_true(rlk_token_seconds_parse(LITERAL("0")) == 0);
    assert_true(rlk_token_seconds_parse(LITERAL("-5")) == -5);
    assert_true(rlk_token_seconds_parse(LITERAL("99999999999999999999")) > 1e19);
}

static void other_text_is_no_number(void **state) {
    (void)state;
    const rlk_span bad[] = {LITERAL(""),    {NULL, 0},      LITERAL("-"),       LITERAL("."),
                            LITERAL(".5"),  LITERAL("5."),  LITERAL("1e3"),     LITERAL("0x10"),
                            LITERAL(" 5"),  LITERAL("5 "),  LITERAL("5\0"),     LITERAL("nan"),
                            LITERAL("inf"), LITERAL("--5"), LITERAL("+5"),      LITERAL("1.2.3"),
                            LITERAL("1,5"), LITERAL("-.5"), LITERAL("\xd9\xa5")};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_true(isnan(rlk_token_seconds_parse(bad[i])));
}

static void a_million_digits_are_infinite(void **state) {
    (void)state;
    static char digits[1 << 20];
    memset(digits, '9', sizeof digits);
    const double s = rlk_token_seconds_parse((rlk_span){digits, sizeof digits});
    assert_true(isinf(s));
    check_times(s, RLK_TOKEN_LIFETIME_S_MAX, true);
}

/* Four hours, 300 s early, 60 s skew: what a link usually has. */
static rlk_token_verdict at(int64_t after_ms) {
    return rlk_token_judge(now, now + 14400000, now + after_ms, 300000, 60000);
}

static void windows_have_sharp_edges(void **state) {
    (void)state;
    assert_int_equal(at(0), RLK_TOKEN_FRESH);
    assert_int_equal(at(14400000 - 300001), RLK_TOKEN_FRESH);
    assert_int_equal(at(14400000 - 300000), RLK_TOKEN_ADVISORY);
    assert_int_equal(at(14400000 - 60001), RLK_TOKEN_ADVISORY);
    assert_int_equal(at(14400000 - 60000), RLK_TOKEN_MANDATORY);
    assert_int_equal(at(14400000), RLK_TOKEN_MANDATORY);
    assert_int_equal(at(INT64_C(1) << 60), RLK_TOKEN_MANDATORY);
}

static void a_clock_that_stepped_back_renews(void **state) {
    (void)state;
    assert_int_equal(at(-1), RLK_TOKEN_FRESH);
    assert_int_equal(at(-60000), RLK_TOKEN_FRESH);
    assert_int_equal(at(-60001), RLK_TOKEN_MANDATORY);
    assert_int_equal(at(-now), RLK_TOKEN_MANDATORY);
}

static void a_short_token_is_not_renewed_for_ever(void **state) {
    (void)state;
    /* 100 s: the early window is 25 s, not 300 s, and the mandatory one lies inside it */
    assert_int_equal(rlk_token_judge(now, now + 100000, now, 300000, 0), RLK_TOKEN_FRESH);
    assert_int_equal(rlk_token_judge(now, now + 100000, now + 74999, 300000, 0), RLK_TOKEN_FRESH);
    assert_int_equal(rlk_token_judge(now, now + 100000, now + 75000, 300000, 0),
                     RLK_TOKEN_MANDATORY);
}

static void no_early_window_leaves_the_expiry(void **state) {
    (void)state;
    assert_int_equal(rlk_token_judge(0, 1000, 999, 0, 0), RLK_TOKEN_FRESH);
    assert_int_equal(rlk_token_judge(0, 1000, 1000, 0, 0), RLK_TOKEN_MANDATORY);
    assert_int_equal(rlk_token_judge(0, 1000, 999, -5, 0), RLK_TOKEN_FRESH);
}

static void damaged_rows_are_renewed(void **state) {
    (void)state;
    assert_int_equal(rlk_token_judge(now, now, now, 300000, 0), RLK_TOKEN_MANDATORY);
    assert_int_equal(rlk_token_judge(now, now - 1, now, 300000, 0), RLK_TOKEN_MANDATORY);
    assert_int_equal(rlk_token_judge(0, 0, now, 300000, 0), RLK_TOKEN_MANDATORY);
    assert_int_equal(rlk_token_judge(INT64_MAX, INT64_MIN, now, 1, 0), RLK_TOKEN_MANDATORY);
    assert_int_equal(rlk_token_judge(INT64_MIN, INT64_MIN, INT64_MAX, INT64_MAX, INT64_MAX),
                     RLK_TOKEN_MANDATORY);
}

/* Whatever the numbers: never fresh or advisory once expired. */
static void never_usable_once_expired(void **state) {
    (void)state;
    uint64_t seed = random_seed();
    for (int i = 0; i < 20000; i++) {
        const int64_t obtained = (int64_t)random_next(&seed) >> random_below(&seed, 63);
        const int64_t expires = (int64_t)random_next(&seed) >> random_below(&seed, 63);
        const int64_t time = (int64_t)random_next(&seed) >> random_below(&seed, 63);
        const int64_t early = (int64_t)random_next(&seed) >> random_below(&seed, 63);
        const int64_t skew = (int64_t)random_next(&seed) >> random_below(&seed, 63);
        const rlk_token_verdict v = rlk_token_judge(obtained, expires, time, early, skew);
        if (time >= expires) assert_int_equal(v, RLK_TOKEN_MANDATORY);
    }
}

/* Of whatever numbers: the window begins where the verdict stops being fresh. */
static void the_early_window_begins_where_it_says(void **state) {
    (void)state;
    assert_int_equal(rlk_token_early_from(now, now + 14400000, 300000), now + 14400000 - 300000);
    assert_int_equal(rlk_token_early_from(now, now + 100000, 300000), now + 75000);
    assert_int_equal(rlk_token_early_from(now, now + 100000, -1), now + 100000);
    assert_true(rlk_token_early_from(INT64_MAX, INT64_MIN, INT64_MAX) == INT64_MIN);
    uint64_t seed = random_seed();
    for (int i = 0; i < 20000; i++) {
        const int64_t lifetime_ms = 1 + (int64_t)random_below(&seed, 100000000);
        const int64_t early_ms = (int64_t)random_below(&seed, 10000000);
        const int64_t from = rlk_token_early_from(now, now + lifetime_ms, early_ms);
        const int64_t expires_ms = now + lifetime_ms;
        assert_int_equal(rlk_token_judge(now, expires_ms, from - 1, early_ms, 0), RLK_TOKEN_FRESH);
        assert_int_not_equal(rlk_token_judge(now, expires_ms, from, early_ms, 0), RLK_TOKEN_FRESH);
    }
}

static void warnings_come_in_stages(void **state) {
    (void)state;
    static const int64_t first_days[] = {0, 7, 14, 21, 25, 26, 27, 28, 29, 30, 31, 60};
    static const int64_t stages[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 39};
    for (size_t i = 0; i < COUNT_OF(stages); i++) {
        const int64_t at_ms = now + first_days[i] * RLK_DAY_MS;
        assert_int_equal(rlk_token_overdue_stage(now, at_ms), stages[i]);
        if (i > 0) assert_true(rlk_token_overdue_stage(now, at_ms - 1) == stages[i] - 1);
    }
}

static void stages_survive_any_clock(void **state) {
    (void)state;
    assert_int_equal(rlk_token_overdue_stage(now, now - 100 * RLK_DAY_MS), 0);
    assert_int_equal(rlk_token_overdue_stage(INT64_MAX, INT64_MIN), 0);
    assert_true(rlk_token_overdue_stage(INT64_MIN, INT64_MAX) > 1000);
}

static void the_end_is_thirty_days_away(void **state) {
    (void)state;
    assert_int_equal(rlk_token_lapses_ms(now), now + 30 * RLK_DAY_MS);
    assert_true(rlk_token_lapses_ms(INT64_MAX) == INT64_MAX);
    assert_int_equal(rlk_token_days_left(now, now), 30);
    assert_int_equal(rlk_token_days_left(now, now + 1), 29);
    assert_int_equal(rlk_token_days_left(now, now + 29 * RLK_DAY_MS), 1);
    assert_int_equal(rlk_token_days_left(now, now + 29 * RLK_DAY_MS + 1), 0);
    assert_int_equal(rlk_token_days_left(now, now + 300 * RLK_DAY_MS), 0);
    assert_int_equal(rlk_token_days_left(INT64_MIN, INT64_MAX), 0);
}

static void verdicts_have_names(void **state) {
    (void)state;
    assert_string_equal(rlk_token_verdict_name(RLK_TOKEN_FRESH), "fresh");
    assert_string_equal(rlk_token_verdict_name(RLK_TOKEN_ADVISORY), "advisory");
    assert_string_equal(rlk_token_verdict_name(RLK_TOKEN_MANDATORY), "mandatory");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_lifetimes_are_believed),
        cmocka_unit_test(hostile_lifetimes_give_safe_ones),
        cmocka_unit_test(the_end_of_time_saturates),
        cmocka_unit_test(numeric_text_is_read),
        cmocka_unit_test(other_text_is_no_number),
        cmocka_unit_test(a_million_digits_are_infinite),
        cmocka_unit_test(windows_have_sharp_edges),
        cmocka_unit_test(a_clock_that_stepped_back_renews),
        cmocka_unit_test(a_short_token_is_not_renewed_for_ever),
        cmocka_unit_test(no_early_window_leaves_the_expiry),
        cmocka_unit_test(damaged_rows_are_renewed),
        cmocka_unit_test(never_usable_once_expired),
        cmocka_unit_test(the_early_window_begins_where_it_says),
        cmocka_unit_test(warnings_come_in_stages),
        cmocka_unit_test(stages_survive_any_clock),
        cmocka_unit_test(the_end_is_thirty_days_away),
        cmocka_unit_test(verdicts_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
