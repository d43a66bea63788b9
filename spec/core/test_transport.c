/* The transport's C interface, where Lua does not reach: every allocation failing in turn, nothing
 * secret in what is freed, waking a poll from another thread. What goes over the wire is tested in
 * transport_spec.lua. */
#define _POSIX_C_SOURCE 200809L

#include "support.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/transport_curl.h"
#include "peer.h"

#define SECRET PEER_ANSWER

enum { TURN_MS = 2, TURNS_MAX = 5000, PATIENCE_MS = 10000 };

static const rlk_transport_config plain = {
    .proxy = "http://user:" SECRET "@127.0.0.1:9/", /* kept, and not used for this machine */
    .user_agent = "test",
    .connect_timeout_ms = PATIENCE_MS,
    .response_bytes_max = 10000,
    .allow_http_loopback = true,
};

static rlk_request post_to(const peer *p, const rlk_span *headers, size_t count) {
    return (rlk_request){.method = LITERAL("POST"),
                         .url = span_of(p->url),
                         .headers = headers,
                         .header_count = count,
                         .body = LITERAL("code=" SECRET),
                         .timeout_ms = PATIENCE_MS};
}

static const rlk_result *await(rlk_transport *t, peer *p) {
    for (int i = 0; i < TURNS_MAX && rlk_transport_poll(t, TURN_MS) == 0; i++)
        peer_turn(p);
    const rlk_result *r = rlk_transport_peek(t);
    assert_non_null(r);
    return r;
}

/* One exchange from open to close; what it ended with. */
static rlk_err exchange(const rlk_alloc *alloc, peer *p) {
    const rlk_span headers[] = {LITERAL("Authorization: Bearer " SECRET)};
    const rlk_request request = post_to(p, headers, 1);
    rlk_transport *t = NULL;
    const char *detail = NULL;
    int64_t ticket = 0;
    rlk_err e = rlk_transport_open(&t, alloc, &plain, &detail);
    if (e == RLK_OK) e = rlk_transport_start(t, &request, &ticket, &detail);
    if (e == RLK_OK) {
        const rlk_result *r = await(t, p);
        e = r->error;
        assert_int_equal(r->ticket, ticket);
        if (e == RLK_OK) assert_int_equal(r->body.len, sizeof SECRET - 1);
        rlk_transport_drop(t);
    }
    rlk_transport_close(t);
    return e;
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    rlk_err e = RLK_E_NO_MEMORY;
    for (size_t fail_at = 1; e != RLK_OK; fail_at++) {
        strict_heap heap = {.fail_at = fail_at};
        const rlk_alloc alloc = strict_allocator(&heap);
        peer p;
        peer_open(&p);
        e = exchange(&alloc, &p);
        peer_close(&p);
        assert_int_equal(heap.blocks_out, 0);
        assert_true(e == RLK_OK || e == RLK_E_NO_MEMORY);
        assert_int_equal(e == RLK_OK, fail_at > heap.allocations);
    }
}

static bool holds_secret(const char *bytes, size_t count) {
    const size_t length = sizeof SECRET - 1;
    for (size_t i = 0; i + length <= count; i++) {
        if (memcmp(bytes + i, SECRET, length) == 0) return true;
    }
    return false;
}

static void *searching_resize(void *ud, void *ptr, size_t old_bytes, size_t new_bytes) {
    if (ptr != NULL) assert_false(holds_secret(ptr, old_bytes));
    return strict_resize(ud, ptr, old_bytes, new_bytes);
}

static void nothing_secret_is_left_in_freed_memory(void **state) {
    (void)state;
    strict_heap heap = {0};
    const rlk_alloc alloc = {searching_resize, &heap};
    peer p;
    peer_open(&p);
    assert_int_equal(exchange(&alloc, &p), RLK_OK);
    peer_close(&p);
    assert_int_equal(heap.blocks_out, 0);
}

static void closing_wipes_what_is_under_way(void **state) {
    (void)state;
    strict_heap heap = {0};
    const rlk_alloc alloc = {searching_resize, &heap};
    const char *detail = NULL;
    int64_t ticket = 0;
    rlk_transport *t = NULL;
    peer p;
    peer_open(&p);
    const rlk_request request = post_to(&p, NULL, 0);
    assert_int_equal(rlk_transport_open(&t, &alloc, &plain, &detail), RLK_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rlk_transport_start(t, &request, &ticket, &detail), RLK_OK);
    rlk_transport_poll(t, TURN_MS);
    assert_int_equal(rlk_transport_counts(t).in_flight, 5);
    rlk_transport_close(t);
    peer_close(&p);
    assert_int_equal(heap.blocks_out, 0);
}

static void *wake(void *ud) {
    rlk_transport_wake(ud);
    return NULL;
}

static void another_thread_ends_a_poll(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    rlk_transport *t = NULL;
    pthread_t waker;
    assert_int_equal(rlk_transport_open(&t, &alloc, &plain, &detail), RLK_OK);
    const int64_t began_ms = rlk_clock_monotonic_ms();
    assert_int_equal(pthread_create(&waker, NULL, wake, t), 0);
    assert_int_equal(rlk_transport_poll(t, PATIENCE_MS), 0);
    assert_true(rlk_clock_monotonic_ms() - began_ms < PATIENCE_MS);
    assert_int_equal(pthread_join(waker, NULL), 0);
    rlk_transport_close(t);
}

static void a_wake_before_the_poll_counts(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    rlk_transport *t = NULL;
    assert_int_equal(rlk_transport_open(&t, &alloc, &plain, &detail), RLK_OK);
    const int64_t began_ms = rlk_clock_monotonic_ms();
    rlk_transport_wake(t);
    rlk_transport_wake(t);
    assert_int_equal(rlk_transport_poll(t, PATIENCE_MS), 0);
    assert_true(rlk_clock_monotonic_ms() - began_ms < PATIENCE_MS);
    rlk_transport_close(t);
}

static void too_much_in_flight_is_busy(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    int64_t ticket = 0;
    rlk_transport *t = NULL;
    peer p;
    peer_open(&p);
    const rlk_request request = post_to(&p, NULL, 0);
    assert_int_equal(rlk_transport_open(&t, &alloc, &plain, &detail), RLK_OK);
    for (int i = 0; i < RLK_TRANSPORT_IN_FLIGHT_MAX; i++)
        assert_int_equal(rlk_transport_start(t, &request, &ticket, &detail), RLK_OK);
    assert_int_equal(rlk_transport_start(t, &request, &ticket, &detail), RLK_E_BUSY);
    assert_true(rlk_transport_cancel(t, ticket));
    assert_int_equal(rlk_transport_start(t, &request, &ticket, &detail), RLK_OK);
    rlk_transport_close(t);
    peer_close(&p);
}

/* All that a child could do with it. */
static bool child_is_harmless(rlk_transport *t, const rlk_request *request) {
    const char *detail = NULL;
    int64_t ticket = 0;
    const bool closed = rlk_transport_start(t, request, &ticket, &detail) == RLK_E_CLOSED;
    const size_t ended = rlk_transport_poll(t, PATIENCE_MS);
    const bool cancelled = rlk_transport_peek(t)->error == RLK_E_CANCELLED;
    rlk_transport_close(t);
    return closed && ended == 1 && cancelled;
}

static void a_forked_child_finds_it_closed_and_does_no_harm(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    const char *detail = NULL;
    int64_t ticket = 0;
    int status = -1;
    rlk_transport *t = NULL;
    peer p;
    peer_open(&p);
    const rlk_request request = post_to(&p, NULL, 0);
    assert_int_equal(rlk_transport_open(&t, &alloc, &plain, &detail), RLK_OK);
    assert_int_equal(rlk_transport_start(t, &request, &ticket, &detail), RLK_OK);
    rlk_transport_poll(t, TURN_MS);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (child_is_harmless(t, &request))
            execl("/bin/true", "true", NULL); /* what it left is meant */
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    const rlk_result *r = await(t, &p);
    assert_int_equal(r->error, RLK_OK);
    assert_int_equal(r->ticket, ticket);
    rlk_transport_close(t);
    peer_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(nothing_secret_is_left_in_freed_memory),
        cmocka_unit_test(closing_wipes_what_is_under_way),
        cmocka_unit_test(another_thread_ends_a_poll),
        cmocka_unit_test(a_wake_before_the_poll_counts),
        cmocka_unit_test(too_much_in_flight_is_busy),
        cmocka_unit_test(a_forked_child_finds_it_closed_and_does_no_harm),
    };
    return cmocka_run_group_tests_name("transport", tests, NULL, NULL);
}
