/* The link machine: the usual journeys, each edge's guard, what comes next, names. The exhaustive
 * walk is in test_link_walk.c. */
#include "support.h"

#include "core/limits.h"
#include "core/link.h"

static const int64_t t0 = INT64_C(1771130906289);
static const int64_t in_window = INT64_C(1771130906289) + RLK_LINK_WINDOW_MS;
static const int64_t too_late = INT64_C(1771130906289) + RLK_LINK_WINDOW_MS + 1;

static rlk_link fresh(void) {
    return (rlk_link){
        .state = RLK_LINK_EXCHANGING,
        .base = RLK_LINK_UNCLAIMED,
        .resume = RLK_LINK_NO_STATE,
        .code_ms = t0,
    };
}

static void must(rlk_link *link, rlk_link_event event) {
    const rlk_err e = rlk_link_apply(link, event, t0, t0);
    if (e != RLK_OK) fail_msg("%s refused", rlk_link_event_name(event));
    assert_null(rlk_link_check(link));
}

static void must_not(rlk_link *link, rlk_link_event event, rlk_err expected) {
    const rlk_link before = *link;
    assert_int_equal(rlk_link_apply(link, event, t0, t0), expected);
    assert_memory_equal(&before, link, sizeof before);
}

static void play(rlk_link *link, const rlk_link_event *events, size_t count) {
    for (size_t i = 0; i < count; i++)
        must(link, events[i]);
}

#define PLAY(link, ...)                                                                            \
    do {                                                                                           \
        const rlk_link_event events[] = {__VA_ARGS__};                                             \
        play((link), events, COUNT_OF(events));                                                    \
    } while (0)

static rlk_link unclaimed(void) {
    rlk_link link = fresh();
    PLAY(&link, RLK_LINK_EV_EXCHANGED, RLK_LINK_EV_IDENTIFIED);
    return link;
}

static rlk_link matched(void) {
    rlk_link link = unclaimed();
    must(&link, RLK_LINK_EV_CLAIM);
    return link;
}

static rlk_link posted(void) {
    rlk_link link = matched();
    must(&link, RLK_LINK_EV_CONFIRM_BEGIN);
    return link;
}

static rlk_link awaiting(void) {
    rlk_link link = posted();
    must(&link, RLK_LINK_EV_CONFIRMED);
    return link;
}

static rlk_link completed(void) {
    rlk_link link = awaiting();
    PLAY(&link, RLK_LINK_EV_CONFIGURED, RLK_LINK_EV_CLEARED, RLK_LINK_EV_COMPLETE_BEGIN,
         RLK_LINK_EV_COMPLETED);
    return link;
}

static void check_next(const rlk_link *link, int64_t now_ms, rlk_link_action expected) {
    const rlk_link_action action = rlk_link_next(link, now_ms);
    assert_string_equal(rlk_link_action_name(action), rlk_link_action_name(expected));
}

static void the_whole_journey_is_told_by_next(void **state) {
    (void)state;
    rlk_link link = fresh();
    check_next(&link, t0, RLK_LINK_DO_EXCHANGE);
    must(&link, RLK_LINK_EV_EXCHANGED);
    check_next(&link, t0, RLK_LINK_DO_IDENTIFY);
    must(&link, RLK_LINK_EV_IDENTIFIED);
    check_next(&link, t0, RLK_LINK_DO_WAIT);
    must(&link, RLK_LINK_EV_CLAIM);
    check_next(&link, t0, RLK_LINK_DO_CONFIRM);
    must(&link, RLK_LINK_EV_CONFIRM_BEGIN);
    must(&link, RLK_LINK_EV_CONFIRMED);
    check_next(&link, t0, RLK_LINK_DO_CONFIGURE);
    must(&link, RLK_LINK_EV_CONFIGURED);
    check_next(&link, t0, RLK_LINK_DO_CLEAR);
    must(&link, RLK_LINK_EV_CLEARED);
    check_next(&link, t0, RLK_LINK_DO_COMPLETE);
    must(&link, RLK_LINK_EV_COMPLETE_BEGIN);
    check_next(&link, t0, RLK_LINK_DO_COMPLETE);
    must(&link, RLK_LINK_EV_COMPLETED);
    check_next(&link, t0, RLK_LINK_DO_NONE);
    assert_int_equal(link.state, RLK_LINK_COMPLETED);
    assert_int_equal(link.code_ms, t0);
}

static void a_code_expires(void **state) {
    (void)state;
    rlk_link link = fresh();
    check_next(&link, t0 + RLK_CODE_LIFETIME_MS, RLK_LINK_DO_EXCHANGE);
    check_next(&link, t0 + RLK_CODE_LIFETIME_MS + 1, RLK_LINK_DO_EXPIRE);
    check_next(&link, t0 - 1, RLK_LINK_DO_EXCHANGE);
    must(&link, RLK_LINK_EV_EXCHANGE_REFUSED);
    assert_int_equal(link.state, RLK_LINK_FAILED);
}

/* Whoever came by way of Ring's own page is confirmed before anything was posted. */
static void a_consent_takes_the_place_of_the_post(void **state) {
    (void)state;
    rlk_link link = matched();
    must(&link, RLK_LINK_EV_CONSENTED);
    assert_int_equal(link.state, RLK_LINK_AWAITING);
    assert_int_equal(link.flags, RLK_LINK_CONFIRMED);
    assert_int_equal(link.time_ms, 0);
    check_next(&link, too_late, RLK_LINK_DO_CONFIGURE);
    rlk_link again = completed();
    PLAY(&again, RLK_LINK_EV_CLAIM, RLK_LINK_EV_CONSENTED);
    check_next(&again, t0, RLK_LINK_DO_CLEAR);
    rlk_link other = posted();
    must_not(&other, RLK_LINK_EV_CONSENTED, RLK_E_INVALID_TRANSITION);
    other = unclaimed();
    must_not(&other, RLK_LINK_EV_CONSENTED, RLK_E_INVALID_TRANSITION);
}

static void the_window_guards_the_claim(void **state) {
    (void)state;
    rlk_link link = unclaimed();
    assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_CLAIM, too_late, t0), RLK_E_LINK_EXPIRED);
    assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_CLAIM, t0, 0), RLK_E_INVALID_REQUEST);
    assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_CLAIM, t0, -1), RLK_E_INVALID_REQUEST);
    assert_int_equal(link.state, RLK_LINK_UNCLAIMED);
    assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_CLAIM, in_window, t0), RLK_OK);
    assert_int_equal(link.time_ms, t0);
}

static void no_post_outside_the_window(void **state) {
    (void)state;
    rlk_link link = matched();
    assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_CONFIRM_BEGIN, too_late, 0),
                     RLK_E_LINK_EXPIRED);
    assert_int_equal(link.state, RLK_LINK_MATCHED);
    check_next(&link, in_window, RLK_LINK_DO_CONFIRM);
    check_next(&link, too_late, RLK_LINK_DO_RELEASE);
    assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_CONFIRM_BEGIN, in_window, 0), RLK_OK);
    check_next(&link, in_window, RLK_LINK_DO_CONFIRM);
    check_next(&link, too_late, RLK_LINK_DO_SETTLE);
    assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_CONFIRM_BEGIN, too_late, 0),
                     RLK_E_LINK_EXPIRED);
}

static void an_unsent_post_can_be_released(void **state) {
    (void)state;
    rlk_link link = posted();
    must_not(&link, RLK_LINK_EV_RELEASE, RLK_E_INVALID_TRANSITION);
    must(&link, RLK_LINK_EV_CONFIRM_UNSENT);
    must_not(&link, RLK_LINK_EV_CONFIRMED, RLK_E_INVALID_TRANSITION);
    must_not(&link, RLK_LINK_EV_SETTLED, RLK_E_INVALID_TRANSITION);
    must_not(&link, RLK_LINK_EV_UNSETTLED, RLK_E_INVALID_TRANSITION);
    must_not(&link, RLK_LINK_EV_CONFIRM_REFUSED, RLK_E_INVALID_TRANSITION);
    check_next(&link, in_window, RLK_LINK_DO_CONFIRM);
    check_next(&link, too_late, RLK_LINK_DO_RELEASE);
    must(&link, RLK_LINK_EV_RELEASE);
    assert_int_equal(link.state, RLK_LINK_UNCLAIMED);
    assert_int_equal(link.time_ms, 0);
}

static void a_refused_or_unsettled_post_returns_the_claim(void **state) {
    (void)state;
    rlk_link refused = posted();
    must(&refused, RLK_LINK_EV_CONFIRM_REFUSED);
    assert_int_equal(refused.state, RLK_LINK_UNCLAIMED);
    rlk_link unsettled = posted();
    must(&unsettled, RLK_LINK_EV_UNSETTLED);
    assert_int_equal(unsettled.state, RLK_LINK_UNCLAIMED);
    must(&unsettled, RLK_LINK_EV_CLAIM); /* a fresh nonce may match again */
}

static void a_settled_post_goes_on(void **state) {
    (void)state;
    rlk_link link = posted();
    must(&link, RLK_LINK_EV_SETTLED);
    assert_int_equal(link.state, RLK_LINK_AWAITING);
    assert_int_equal(link.flags, RLK_LINK_CONFIRMED);
}

static void no_patch_before_configure_and_before_complete(void **state) {
    (void)state;
    rlk_link link = awaiting();
    must_not(&link, RLK_LINK_EV_COMPLETE_BEGIN, RLK_E_INVALID_TRANSITION);
    must(&link, RLK_LINK_EV_CONFIGURED);
    must_not(&link, RLK_LINK_EV_COMPLETE_BEGIN, RLK_E_INVALID_TRANSITION);
    must(&link, RLK_LINK_EV_CLEARED);
    must_not(&link, RLK_LINK_EV_COMPLETED, RLK_E_INVALID_TRANSITION);
    must(&link, RLK_LINK_EV_COMPLETE_BEGIN);
    must(&link, RLK_LINK_EV_COMPLETED);
}

static void a_refused_patch_asks_the_hook_again(void **state) {
    (void)state;
    rlk_link link = awaiting();
    PLAY(&link, RLK_LINK_EV_CONFIGURED, RLK_LINK_EV_CLEARED, RLK_LINK_EV_COMPLETE_BEGIN,
         RLK_LINK_EV_COMPLETE_REFUSED);
    check_next(&link, t0, RLK_LINK_DO_CLEAR);
    PLAY(&link, RLK_LINK_EV_CLEARED, RLK_LINK_EV_COMPLETE_BEGIN, RLK_LINK_EV_COMPLETE_UNSENT);
    check_next(&link, t0, RLK_LINK_DO_COMPLETE);
    must_not(&link, RLK_LINK_EV_COMPLETED, RLK_E_INVALID_TRANSITION);
}

static void pausing_keeps_the_configuration(void **state) {
    (void)state;
    rlk_link link = completed();
    must(&link, RLK_LINK_EV_PAUSED);
    check_next(&link, t0, RLK_LINK_DO_CLEAR);
    assert_int_equal(link.flags, RLK_LINK_CONFIRMED | RLK_LINK_CONFIGURED);
}

static void a_fresh_nonce_runs_it_again(void **state) {
    (void)state;
    rlk_link link = completed();
    must(&link, RLK_LINK_EV_CLAIM);
    assert_int_equal(link.base, RLK_LINK_COMPLETED);
    assert_int_equal(link.flags, RLK_LINK_CONFIGURED);
    PLAY(&link, RLK_LINK_EV_CONFIRM_BEGIN, RLK_LINK_EV_CONFIRMED);
    check_next(&link, t0, RLK_LINK_DO_CLEAR);
    assert_int_equal(link.base, RLK_LINK_UNCLAIMED);
}

static void a_given_up_reclaim_returns_to_where_it_was(void **state) {
    (void)state;
    rlk_link link = completed();
    PLAY(&link, RLK_LINK_EV_CLAIM, RLK_LINK_EV_RELEASE);
    assert_int_equal(link.state, RLK_LINK_COMPLETED);
    PLAY(&link, RLK_LINK_EV_CLAIM, RLK_LINK_EV_CONFIRM_BEGIN, RLK_LINK_EV_UNSETTLED);
    assert_int_equal(link.state, RLK_LINK_COMPLETED);
    rlk_link waiting = awaiting();
    PLAY(&waiting, RLK_LINK_EV_CLAIM, RLK_LINK_EV_RELEASE);
    assert_int_equal(waiting.state, RLK_LINK_AWAITING);
    check_next(&waiting, t0, RLK_LINK_DO_CONFIGURE);
    must(&waiting, RLK_LINK_EV_CONFIGURED);
    PLAY(&waiting, RLK_LINK_EV_CLAIM, RLK_LINK_EV_CONFIRM_BEGIN, RLK_LINK_EV_CONFIRM_REFUSED);
    check_next(&waiting, t0, RLK_LINK_DO_CLEAR);
}

static void a_held_claim_cannot_be_claimed(void **state) {
    (void)state;
    rlk_link link = matched();
    must_not(&link, RLK_LINK_EV_CLAIM, RLK_E_INVALID_TRANSITION);
    must(&link, RLK_LINK_EV_CONFIRM_BEGIN);
    must_not(&link, RLK_LINK_EV_CLAIM, RLK_E_INVALID_TRANSITION);
}

static void relink_remembers_and_comes_back(void **state) {
    (void)state;
    rlk_link link = posted();
    const rlk_link before = link;
    must(&link, RLK_LINK_EV_RELINK);
    check_next(&link, t0, RLK_LINK_DO_NONE);
    must_not(&link, RLK_LINK_EV_CONFIRMED, RLK_E_INVALID_TRANSITION);
    must_not(&link, RLK_LINK_EV_RELINK, RLK_E_INVALID_TRANSITION);
    must(&link, RLK_LINK_EV_REVIVED);
    assert_memory_equal(&before, &link, sizeof before);
    must_not(&link, RLK_LINK_EV_REVIVED, RLK_E_INVALID_TRANSITION);
}

static void unlink_beats_everything_and_stays(void **state) {
    (void)state;
    rlk_link link = completed();
    PLAY(&link, RLK_LINK_EV_RELINK, RLK_LINK_EV_UNLINK);
    for (rlk_link_event e = 0; e < RLK_LINK_EVENT_COUNT; e++)
        must_not(&link, e, RLK_E_INVALID_TRANSITION);
    check_next(&link, t0, RLK_LINK_DO_NONE);
}

static void failed_links_can_only_be_unlinked(void **state) {
    (void)state;
    rlk_link link = awaiting();
    must(&link, RLK_LINK_EV_GONE);
    assert_int_equal(link.state, RLK_LINK_FAILED);
    must_not(&link, RLK_LINK_EV_SUPERSEDE, RLK_E_INVALID_TRANSITION);
    must(&link, RLK_LINK_EV_UNLINK);
}

static void check_broken(rlk_link link, const char *expected) {
    assert_string_equal(rlk_link_check(&link), expected);
    for (rlk_link_event e = 0; e < RLK_LINK_EVENT_COUNT; e++)
        must_not(&link, e, RLK_E_INVALID_REQUEST);
    check_next(&link, t0, RLK_LINK_DO_NONE);
}

static void broken_links_are_named_and_never_moved(void **state) {
    (void)state;
    rlk_link link = fresh();
    link.state = RLK_LINK_NO_STATE;
    check_broken(link, "state is known");
    link = fresh();
    link.resume = RLK_LINK_UNCLAIMED;
    check_broken(link, "only relink resumes, and only a flow state");
    link.state = RLK_LINK_RELINK;
    link.resume = RLK_LINK_FAILED;
    check_broken(link, "only relink resumes, and only a flow state");
    link.resume = RLK_LINK_NO_STATE;
    check_broken(link, "only relink resumes, and only a flow state");
    link = matched();
    link.base = RLK_LINK_MATCHED;
    check_broken(link, "base is a state at rest");
    link.base = RLK_LINK_NO_STATE;
    check_broken(link, "base is a state at rest");
    link = awaiting();
    link.base = RLK_LINK_COMPLETED;
    check_broken(link, "only a claim has a base");
    link = matched();
    link.time_ms = -1;
    check_broken(link, "times are not negative");
    link = fresh();
    link.code_ms = -1;
    check_broken(link, "times are not negative");
    link = matched();
    link.time_ms = 0;
    check_broken(link, "a claim, and only a claim, keeps its time");
    link = completed();
    link.time_ms = 1;
    check_broken(link, "a claim, and only a claim, keeps its time");
    link = completed();
    link.flags = RLK_LINK_CONFIRMED;
    check_broken(link, "the state's flags are set");
    link = matched();
    link.flags = RLK_LINK_POST_MAYBE;
    check_broken(link, "only the state's flags are set");
    link.flags = 1U << 31;
    check_broken(link, "only the state's flags are set");
    link.flags = RLK_LINK_CONFIGURED;
    check_broken(link, "a claim is configured as its base is");
    link.base = RLK_LINK_COMPLETED;
    link.flags = 0;
    check_broken(link, "a claim is configured as its base is");
    link = awaiting();
    link.flags |= RLK_LINK_PATCH_MAYBE;
    check_broken(link, "no PATCH before POST, configure and before_complete");
}

static void unknown_events_are_refused(void **state) {
    (void)state;
    rlk_link link = fresh();
    must_not(&link, RLK_LINK_EVENT_COUNT, RLK_E_INVALID_TRANSITION);
}

static void names_go_both_ways(void **state) {
    (void)state;
    for (rlk_link_state s = 0; s < RLK_LINK_STATE_COUNT; s++) {
        rlk_link_state found = RLK_LINK_NO_STATE;
        assert_true(rlk_link_state_named(span_of(rlk_link_state_name(s)), &found));
        assert_int_equal(found, s);
    }
    for (rlk_link_event e = 0; e < RLK_LINK_EVENT_COUNT; e++) {
        rlk_link_event found = RLK_LINK_EVENT_COUNT;
        assert_true(rlk_link_event_named(span_of(rlk_link_event_name(e)), &found));
        assert_int_equal(found, e);
    }
    rlk_link_state unknown = RLK_LINK_FAILED;
    assert_null(rlk_link_state_name(RLK_LINK_NO_STATE));
    assert_false(rlk_link_state_named(LITERAL(""), &unknown));
    assert_false(rlk_link_state_named(LITERAL("failed\0"), &unknown));
    assert_int_equal(unknown, RLK_LINK_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_journey_is_told_by_next),
        cmocka_unit_test(a_code_expires),
        cmocka_unit_test(a_consent_takes_the_place_of_the_post),
        cmocka_unit_test(the_window_guards_the_claim),
        cmocka_unit_test(no_post_outside_the_window),
        cmocka_unit_test(an_unsent_post_can_be_released),
        cmocka_unit_test(a_refused_or_unsettled_post_returns_the_claim),
        cmocka_unit_test(a_settled_post_goes_on),
        cmocka_unit_test(no_patch_before_configure_and_before_complete),
        cmocka_unit_test(a_refused_patch_asks_the_hook_again),
        cmocka_unit_test(pausing_keeps_the_configuration),
        cmocka_unit_test(a_fresh_nonce_runs_it_again),
        cmocka_unit_test(a_given_up_reclaim_returns_to_where_it_was),
        cmocka_unit_test(a_held_claim_cannot_be_claimed),
        cmocka_unit_test(relink_remembers_and_comes_back),
        cmocka_unit_test(unlink_beats_everything_and_stays),
        cmocka_unit_test(failed_links_can_only_be_unlinked),
        cmocka_unit_test(broken_links_are_named_and_never_moved),
        cmocka_unit_test(unknown_events_are_refused),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
