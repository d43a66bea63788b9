/* The link machine, exhaustively: every state, base, resume and set of flags that a row could hold,
 * with every event, inside and outside the window; and long random walks. Beside the machine's own
 * check stands an independent list of edges and a model of what Ring was sent. */
#include "support.h"

#include "core/limits.h"
#include "core/link.h"

static const int64_t t0 = INT64_C(1771130906289);

enum { ALL_FLAGS = 31 };

/* The edges of the diagram: from which states an event may lead where. "base" stands for the
 * claim's base, "resume" for what relink came from, "same" for staying. */
typedef struct edge {
    const char *event;
    const char *from; /* space-separated */
    const char *to;
} edge;

static const edge edges[] = {
    {"exchanged", "exchanging", "identifying"},
    {"exchange_refused", "exchanging", "failed"},
    {"identified", "identifying", "unclaimed"},
    {"identify_refused", "identifying", "failed"},
    {"claim", "unclaimed awaiting completed", "matched"},
    {"release", "matched confirming", "base"},
    {"consented", "matched", "awaiting"},
    {"confirm_begin", "matched confirming", "confirming"},
    {"confirm_unsent", "confirming", "same"},
    {"confirmed", "confirming", "awaiting"},
    {"settled", "confirming", "awaiting"},
    {"confirm_refused", "confirming", "base"},
    {"unsettled", "confirming", "base"},
    {"gone", "matched confirming awaiting completed", "failed"},
    {"configured", "awaiting", "same"},
    {"cleared", "awaiting", "same"},
    {"complete_begin", "awaiting", "same"},
    {"complete_unsent", "awaiting", "same"},
    {"complete_refused", "awaiting", "same"},
    {"completed", "awaiting", "completed"},
    {"paused", "completed", "awaiting"},
    {"supersede", "identifying unclaimed matched confirming awaiting completed relink",
     "superseded"},
    {"unlink",
     "exchanging identifying unclaimed matched confirming awaiting completed failed superseded "
     "relink",
     "unlinked"},
    {"relink", "identifying unclaimed matched confirming awaiting completed", "relink"},
    {"revived", "relink", "resume"},
};

static const edge *edge_of(rlk_link_event event) {
    for (size_t i = 0; i < COUNT_OF(edges); i++)
        if (strcmp(edges[i].event, rlk_link_event_name(event)) == 0) return &edges[i];
    fail_msg("no edge for %s", rlk_link_event_name(event));
    return NULL;
}

static bool lists(const char *words, const char *word) {
    const size_t len = strlen(word);
    for (const char *at = strstr(words, word); at != NULL; at = strstr(at + 1, word))
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) return true;
    return false;
}

static rlk_link_state target_of(const edge *e, const rlk_link *before) {
    rlk_link_state to = RLK_LINK_NO_STATE;
    if (strcmp(e->to, "base") == 0) return before->base;
    if (strcmp(e->to, "resume") == 0) return before->resume;
    if (strcmp(e->to, "same") == 0) return before->state;
    assert_true(rlk_link_state_named(span_of(e->to), &to));
    return to;
}

static bool is_end(rlk_link_state state) {
    return state == RLK_LINK_FAILED || state == RLK_LINK_SUPERSEDED || state == RLK_LINK_UNLINKED;
}

/* What must hold of a step, said independently of link.c. */
static void check_step(const rlk_link *before, rlk_link_event event, int64_t now_ms, rlk_err e,
                       const rlk_link *after) {
    const edge *expected = edge_of(event);
    if (e != RLK_OK) {
        assert_memory_equal(before, after, sizeof *before);
        return;
    }
    assert_null(rlk_link_check(after));
    assert_true(lists(expected->from, rlk_link_state_name(before->state)));
    assert_int_equal(after->state, target_of(expected, before));
    assert_int_equal(after->code_ms, before->code_ms);
    if (event == RLK_LINK_EV_CONFIRM_BEGIN)
        assert_true(now_ms - before->time_ms <= RLK_LINK_WINDOW_MS);
    if (event == RLK_LINK_EV_COMPLETE_BEGIN)
        assert_int_equal(before->flags & 14, 14); /* confirmed, configured, cleared */
    if (event == RLK_LINK_EV_COMPLETED) assert_true((before->flags & RLK_LINK_PATCH_MAYBE) != 0);
    if (is_end(after->state)) assert_int_equal(after->flags, 0);
}

static void try_all_events(const rlk_link *link, int64_t now_ms) {
    for (rlk_link_event event = 0; event < RLK_LINK_EVENT_COUNT; event++) {
        rlk_link after = *link;
        const rlk_err e = rlk_link_apply(&after, event, now_ms, t0);
        check_step(link, event, now_ms, e, &after);
        if (rlk_link_check(link) != NULL) assert_int_equal(e, RLK_E_INVALID_REQUEST);
    }
}

/* Every value a row could hold, sound or not; returns how many are sound. */
static size_t for_every_link(void (*visit)(const rlk_link *link)) {
    size_t sound = 0;
    for (rlk_link_state s = 0; s <= RLK_LINK_NO_STATE; s++)
        for (rlk_link_state base = 0; base <= RLK_LINK_NO_STATE; base++)
            for (rlk_link_state resume = 0; resume <= RLK_LINK_NO_STATE; resume++)
                for (uint32_t flags = 0; flags <= ALL_FLAGS; flags++)
                    for (int timed = 0; timed < 2; timed++) {
                        const rlk_link link = {s, base, resume, flags, timed * t0, t0};
                        sound += rlk_link_check(&link) == NULL ? 1 : 0;
                        visit(&link);
                    }
    return sound;
}

static void visit_inside_and_outside(const rlk_link *link) {
    try_all_events(link, t0);
    try_all_events(link, t0 + RLK_LINK_WINDOW_MS + 1);
}

static void every_link_with_every_event(void **state) {
    (void)state;
    assert_int_equal(COUNT_OF(edges), RLK_LINK_EVENT_COUNT);
    assert_in_range(for_every_link(visit_inside_and_outside), 20, 100);
}

/* Each sound link must be one that the machine itself can reach, or rows could hold states that
 * nobody thought about; the check would be too lax. */
typedef struct seen {
    rlk_link links[200];
    size_t count;
} seen;

static bool note(seen *all, const rlk_link *link) {
    for (size_t i = 0; i < all->count; i++)
        if (memcmp(&all->links[i], link, sizeof *link) == 0) return false;
    assert_true(all->count < COUNT_OF(all->links));
    all->links[all->count++] = *link;
    return true;
}

static void explore(seen *all) {
    rlk_link first;
    memset(&first, 0, sizeof first); /* padding too: links are compared as bytes */
    first.base = RLK_LINK_UNCLAIMED;
    first.resume = RLK_LINK_NO_STATE;
    first.code_ms = t0;
    note(all, &first);
    for (size_t i = 0; i < all->count; i++)
        for (rlk_link_event event = 0; event < RLK_LINK_EVENT_COUNT; event++) {
            rlk_link after = all->links[i];
            if (rlk_link_apply(&after, event, t0, t0) == RLK_OK) note(all, &after);
        }
}

static void ignore_link(const rlk_link *link) {
    (void)link;
}

static void every_sound_link_can_be_reached(void **state) {
    (void)state;
    seen all = {.count = 0};
    explore(&all);
    assert_int_equal(all.count, for_every_link(ignore_link));
}

/* From every sound link, doing what next says (each act succeeding, late) ends or rests. */
static rlk_link_event event_for(rlk_link_action action) {
    switch (action) {
    case RLK_LINK_DO_EXCHANGE:
        return RLK_LINK_EV_EXCHANGED;
    case RLK_LINK_DO_EXPIRE:
        return RLK_LINK_EV_EXCHANGE_REFUSED;
    case RLK_LINK_DO_IDENTIFY:
        return RLK_LINK_EV_IDENTIFIED;
    case RLK_LINK_DO_CONFIRM:
        return RLK_LINK_EV_CONFIRM_BEGIN;
    case RLK_LINK_DO_SETTLE:
        return RLK_LINK_EV_SETTLED;
    case RLK_LINK_DO_RELEASE:
        return RLK_LINK_EV_RELEASE;
    case RLK_LINK_DO_CONFIGURE:
        return RLK_LINK_EV_CONFIGURED;
    case RLK_LINK_DO_CLEAR:
        return RLK_LINK_EV_CLEARED;
    case RLK_LINK_DO_COMPLETE:
        return RLK_LINK_EV_COMPLETE_BEGIN;
    case RLK_LINK_DO_WAIT:
    case RLK_LINK_DO_NONE:
    case RLK_LINK_ACTION_COUNT:
        break;
    }
    return RLK_LINK_EVENT_COUNT;
}

static void follow_next(const rlk_link *from, int64_t now_ms) {
    rlk_link link = *from;
    for (int step = 0; step < 12; step++) {
        const rlk_link_action action = rlk_link_next(&link, now_ms);
        if (action == RLK_LINK_DO_WAIT || action == RLK_LINK_DO_NONE) return;
        assert_int_equal(rlk_link_apply(&link, event_for(action), now_ms, t0), RLK_OK);
        if (action == RLK_LINK_DO_CONFIRM)
            assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_CONFIRMED, now_ms, 0), RLK_OK);
        if (action == RLK_LINK_DO_COMPLETE)
            assert_int_equal(rlk_link_apply(&link, RLK_LINK_EV_COMPLETED, now_ms, 0), RLK_OK);
    }
    fail_msg("%s does not come to rest", rlk_link_state_name(from->state));
}

static void next_is_always_allowed_and_every_path_ends(void **state) {
    (void)state;
    seen all = {.count = 0};
    explore(&all);
    for (size_t i = 0; i < all.count; i++) {
        follow_next(&all.links[i], t0);
        follow_next(&all.links[i], t0 + RLK_LINK_WINDOW_MS);
        follow_next(&all.links[i], t0 + RLK_LINK_WINDOW_MS + 1);
        follow_next(&all.links[i], 0);
    }
}

/* Random walks with a clock that moves, and a model of what was sent to Ring. */
static void walk(uint64_t *seed) {
    rlk_link link = {RLK_LINK_EXCHANGING, RLK_LINK_UNCLAIMED, RLK_LINK_NO_STATE, 0, 0, t0};
    int64_t now_ms = t0;
    bool post_out = false;
    bool ever_agreed = false;
    for (int step = 0; step < 200; step++) {
        const rlk_link before = link;
        const rlk_link_event event = (rlk_link_event)random_below(seed, RLK_LINK_EVENT_COUNT);
        now_ms += (int64_t)random_below(seed, 300000) - 20000; /* it may step back a little */
        const int64_t time_ms = now_ms - (int64_t)random_below(seed, 700000);
        const rlk_err e = rlk_link_apply(&link, event, now_ms, time_ms);
        check_step(&before, event, now_ms, e, &link);
        if (e != RLK_OK) continue;
        if (event == RLK_LINK_EV_CONFIRM_BEGIN) post_out = ever_agreed = true;
        if (event == RLK_LINK_EV_CONSENTED) ever_agreed = true;
        if (event == RLK_LINK_EV_CONFIRM_UNSENT || event == RLK_LINK_EV_CLAIM) post_out = false;
        if (link.state == RLK_LINK_AWAITING) assert_true(ever_agreed);
        if (event == RLK_LINK_EV_CONFIRMED || event == RLK_LINK_EV_SETTLED) assert_true(post_out);
        if (event == RLK_LINK_EV_RELEASE) assert_false(post_out && before.flags & 1);
        if (is_end(link.state)) return;
    }
}

static void random_walks_keep_the_invariants(void **state) {
    (void)state;
    uint64_t seed = random_seed();
    for (int i = 0; i < 20000; i++)
        walk(&seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_link_with_every_event),
        cmocka_unit_test(every_sound_link_can_be_reached),
        cmocka_unit_test(next_is_always_allowed_and_every_path_ends),
        cmocka_unit_test(random_walks_keep_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
