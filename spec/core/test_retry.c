/* The retry policy: classes, what may be repeated, waits, deadline, Retry-After. */
#include "support.h"

#include <math.h>

#include "core/limits.h"
#include "core/retry.h"

static rlk_attempt first_try(void) {
    return (rlk_attempt){
        .attempts = 1,
        .attempts_max = 5,
        .deadline_ms = 600000,
        .retry_after_ms = RLK_RETRY_NO_AFTER,
        .random = 1,
    };
}

static rlk_attempt with_status(int64_t status) {
    rlk_attempt a = first_try();
    a.status = status;
    a.sent = true;
    return a;
}

static rlk_attempt with_error(rlk_err error, bool sent) {
    rlk_attempt a = first_try();
    a.error = error;
    a.sent = sent;
    a.lost = sent ? 1 : 0;
    return a;
}

static void check_status_class(int64_t from, int64_t to, rlk_retry_class expected) {
    for (int64_t status = from; status <= to; status++) {
        if (status == 401 || status == 408 || status == 429) continue;
        const rlk_attempt a = with_status(status);
        assert_int_equal(rlk_retry_classify(&a), expected);
    }
}

static void every_status_has_a_class(void **state) {
    (void)state;
    check_status_class(100, 199, RLK_RETRY_CLASS_UNAVAILABLE);
    check_status_class(200, 399, RLK_RETRY_CLASS_DONE);
    check_status_class(400, 499, RLK_RETRY_CLASS_REFUSED);
    check_status_class(500, 999, RLK_RETRY_CLASS_UNAVAILABLE);
    rlk_attempt a = with_status(401);
    assert_int_equal(rlk_retry_classify(&a), RLK_RETRY_CLASS_UNAUTHORIZED);
    a.status = 408;
    assert_int_equal(rlk_retry_classify(&a), RLK_RETRY_CLASS_UNAVAILABLE);
    a.status = 429;
    assert_int_equal(rlk_retry_classify(&a), RLK_RETRY_CLASS_LIMITED);
    a.status = -1;
    assert_int_equal(rlk_retry_classify(&a), RLK_RETRY_CLASS_UNAVAILABLE);
}

static void every_error_has_a_class(void **state) {
    (void)state;
    static const rlk_err cured[] = {RLK_E_TIMEOUT,     RLK_E_CONNECT, RLK_E_DNS,
                                    RLK_E_NETWORK,     RLK_E_BUSY,    RLK_E_NO_MEMORY,
                                    RLK_E_BAD_RESPONSE};
    static const rlk_err fatal[] = {RLK_E_TLS,    RLK_E_RESPONSE_TOO_LARGE, RLK_E_CANCELLED,
                                    RLK_E_CLOSED, RLK_E_INVALID_REQUEST,    RLK_OK,
                                    RLK_E_COUNT};
    for (size_t i = 0; i < COUNT_OF(cured); i++) {
        const rlk_attempt unsent = with_error(cured[i], false);
        const rlk_attempt sent = with_error(cured[i], true);
        assert_int_equal(rlk_retry_classify(&unsent), RLK_RETRY_CLASS_UNSENT);
        assert_int_equal(rlk_retry_classify(&sent), RLK_RETRY_CLASS_LOST);
    }
    for (size_t i = 0; i < COUNT_OF(fatal); i++) {
        const rlk_attempt a = with_error(fatal[i], i % 2 == 0);
        assert_int_equal(rlk_retry_classify(&a), RLK_RETRY_CLASS_FATAL);
    }
}

static bool repeats(rlk_retry_kind kind, rlk_attempt attempt) {
    return rlk_retry_decide(kind, &attempt).verdict == RLK_RETRY_REPEAT;
}

typedef struct row {
    rlk_attempt attempt;
    bool expected[RLK_RETRY_KIND_COUNT]; /* safe, once, link, token */
} row;

static void the_table_of_kinds_and_classes(void **state) {
    (void)state;
    const row rows[] = {
        {with_status(400), {false, false, false, false}},
        {with_status(401), {false, false, false, false}},
        {with_status(404), {false, false, false, false}},
        {with_status(408), {true, false, true, true}},
        {with_status(429), {true, true, true, true}},
        {with_status(500), {true, false, true, true}},
        {with_status(503), {true, false, true, true}},
        {with_error(RLK_E_CONNECT, false), {true, true, true, true}},
        {with_error(RLK_E_NETWORK, true), {true, false, true, true}},
        {with_error(RLK_E_TLS, false), {false, false, false, false}},
        {with_error(RLK_E_CANCELLED, true), {false, false, false, false}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (rlk_retry_kind kind = 0; kind < RLK_RETRY_KIND_COUNT; kind++)
            assert_int_equal(repeats(kind, rows[i].attempt), rows[i].expected[kind]);
}

static void a_token_call_repeats_one_lost_answer(void **state) {
    (void)state;
    rlk_attempt a = with_error(RLK_E_TIMEOUT, true);
    assert_true(repeats(RLK_RETRY_KIND_TOKEN, a));
    a.attempts = 2;
    a.lost = 2;
    assert_false(repeats(RLK_RETRY_KIND_TOKEN, a));
    assert_true(repeats(RLK_RETRY_KIND_LINK, a));
    a.sent = false; /* one that was not sent may still be repeated */
    assert_true(repeats(RLK_RETRY_KIND_TOKEN, a));
}

static void done_is_done(void **state) {
    (void)state;
    rlk_attempt a = with_status(200);
    a.attempts = 99;
    a.final = true;
    const rlk_retry_advice advice = rlk_retry_decide(RLK_RETRY_KIND_ONCE, &a);
    assert_int_equal(advice.verdict, RLK_RETRY_DONE);
    assert_int_equal(advice.wait_ms, 0);
}

static void final_stops(void **state) {
    (void)state;
    rlk_attempt a = with_status(503);
    a.final = true;
    const rlk_retry_advice advice = rlk_retry_decide(RLK_RETRY_KIND_SAFE, &a);
    assert_int_equal(advice.verdict, RLK_RETRY_STOP);
    assert_int_equal(advice.class_, RLK_RETRY_CLASS_UNAVAILABLE);
}

static void attempts_end(void **state) {
    (void)state;
    rlk_attempt a = with_status(503);
    a.attempts = 4;
    assert_true(repeats(RLK_RETRY_KIND_SAFE, a));
    a.attempts = 5;
    assert_false(repeats(RLK_RETRY_KIND_SAFE, a));
    a.attempts_max = INT64_MAX; /* the hard bound holds */
    a.attempts = RLK_RETRY_COUNT_MAX;
    assert_false(repeats(RLK_RETRY_KIND_SAFE, a));
}

static int64_t wait_of(int64_t attempts, double random, int64_t retry_after_ms) {
    rlk_attempt a = with_status(503);
    a.attempts = attempts;
    a.attempts_max = RLK_RETRY_COUNT_MAX;
    a.deadline_ms = INT64_MAX;
    a.random = random;
    a.retry_after_ms = retry_after_ms;
    return rlk_retry_decide(RLK_RETRY_KIND_SAFE, &a).wait_ms;
}

static void waits_double_and_are_bounded(void **state) {
    (void)state;
    assert_int_equal(wait_of(1, 1, -1), 1000);
    assert_int_equal(wait_of(2, 1, -1), 2000);
    assert_int_equal(wait_of(6, 1, -1), 32000);
    assert_int_equal(wait_of(7, 1, -1), 60000);
    assert_int_equal(wait_of(15, 1, -1), 60000);
    assert_int_equal(wait_of(0, 1, -1), 1000);
    assert_int_equal(wait_of(INT64_MIN, 1, -1), 1000);
}

static void jitter_is_full_and_bounded(void **state) {
    (void)state;
    assert_int_equal(wait_of(3, 0, -1), 0);
    assert_int_equal(wait_of(3, 0.25, -1), 1000);
    assert_int_equal(wait_of(3, NAN, -1), 0);
    assert_int_equal(wait_of(3, -7, -1), 0);
    assert_int_equal(wait_of(3, INFINITY, -1), 4000);
}

static void the_servers_wish_is_a_lower_bound(void **state) {
    (void)state;
    assert_int_equal(wait_of(1, 0, 5000), 5000);
    assert_int_equal(wait_of(6, 1, 5000), 32000);
    assert_int_equal(wait_of(1, 0, INT64_MAX), RLK_RETRY_AFTER_MS_MAX);
    assert_int_equal(wait_of(1, 0, INT64_MIN), 0);
}

static void the_deadline_is_not_passed(void **state) {
    (void)state;
    rlk_attempt a = with_status(429);
    a.retry_after_ms = 2000;
    a.elapsed_ms = 57999;
    a.deadline_ms = 60000;
    assert_true(repeats(RLK_RETRY_KIND_LINK, a));
    a.elapsed_ms = 58000;
    assert_false(repeats(RLK_RETRY_KIND_LINK, a));
    a.elapsed_ms = INT64_MAX;
    assert_false(repeats(RLK_RETRY_KIND_LINK, a));
    a.elapsed_ms = 0;
    a.deadline_ms = 0;
    assert_false(repeats(RLK_RETRY_KIND_LINK, a));
}

static void check_after(const char *text, int64_t now_ms, int64_t expected) {
    int64_t ms = -1;
    assert_true(rlk_retry_after_parse(span_of(text), now_ms, &ms));
    assert_int_equal(ms, expected);
}

static void retry_after_in_both_forms(void **state) {
    (void)state;
    const int64_t now = INT64_C(784111777000);
    check_after("0", now, 0);
    check_after("120", now, 120000);
    check_after(" \t120\t ", now, 120000);
    check_after("00120", now, 120000);
    check_after("86400", now, RLK_RETRY_AFTER_MS_MAX);
    check_after("86401", now, RLK_RETRY_AFTER_MS_MAX);
    check_after("99999999999999999999", now, RLK_RETRY_AFTER_MS_MAX);
    check_after("Sun, 06 Nov 1994 08:49:38 GMT", now, 1000);
    check_after("Sun, 06 Nov 1994 08:49:36 GMT", now, 0);
    check_after("Sun, 06 Nov 9999 08:49:36 GMT", now, RLK_RETRY_AFTER_MS_MAX);
    check_after("Sat, 01 Jan 0000 00:00:00 GMT", now, 0);
    check_after("Sunday, 06-Nov-94 08:50:37 GMT", now, 60000);
    check_after("Sun Nov  6 08:49:39 1994", now, 2000);
}

static void what_is_no_retry_after(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",     " ",   "-5",  "+5",   "1e3",      "1.5",
        "0x10", "5 s", "5,6", "soon", "\xd9\xa5", "Sun, 06 Nov 1994 08:49:37 GMT junk"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t ms = 0;
        if (rlk_retry_after_parse(span_of(bad[i]), 0, &ms)) fail_msg("accepted: %s", bad[i]);
    }
    int64_t ms = 0;
    assert_false(rlk_retry_after_parse(LITERAL("5\0"), 0, &ms));
    assert_false(rlk_retry_after_parse((rlk_span){NULL, 0}, 0, &ms));
}

static void names_are_found(void **state) {
    (void)state;
    rlk_retry_kind kind = RLK_RETRY_KIND_COUNT;
    assert_true(rlk_retry_kind_named(LITERAL("token"), &kind));
    assert_int_equal(kind, RLK_RETRY_KIND_TOKEN);
    assert_false(rlk_retry_kind_named(LITERAL("tokens"), &kind));
    assert_false(rlk_retry_kind_named(LITERAL(""), &kind));
    assert_string_equal(rlk_retry_class_name(RLK_RETRY_CLASS_DONE), "done");
    assert_string_equal(rlk_retry_class_name(RLK_RETRY_CLASS_FATAL), "fatal");
    assert_string_equal(rlk_retry_verdict_name(RLK_RETRY_DONE), "done");
    assert_string_equal(rlk_retry_verdict_name(RLK_RETRY_STOP), "stop");
    assert_string_equal(rlk_retry_verdict_name(RLK_RETRY_REPEAT), "repeat");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_class),
        cmocka_unit_test(every_error_has_a_class),
        cmocka_unit_test(the_table_of_kinds_and_classes),
        cmocka_unit_test(a_token_call_repeats_one_lost_answer),
        cmocka_unit_test(done_is_done),
        cmocka_unit_test(final_stops),
        cmocka_unit_test(attempts_end),
        cmocka_unit_test(waits_double_and_are_bounded),
        cmocka_unit_test(jitter_is_full_and_bounded),
        cmocka_unit_test(the_servers_wish_is_a_lower_bound),
        cmocka_unit_test(the_deadline_is_not_passed),
        cmocka_unit_test(retry_after_in_both_forms),
        cmocka_unit_test(what_is_no_retry_after),
        cmocka_unit_test(names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
