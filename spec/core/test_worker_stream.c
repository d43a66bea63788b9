/* Answers in parts and into files, by a transport on this thread and by one on its own: memory that
 * fails, what is wiped, and every moment at which a part's transfer may be called off. What goes
 * over the wire is tested in transport_stream_spec.lua. */
#define _POSIX_C_SOURCE 200809L

#include "reader.h"

#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/worker_transport.h"
#include "peer.h"
#include "place.h"

#define SECRET PEER_ANSWER

enum { TURN_MS = 2, PIECES = 3, MANY_PIECES = 100000, WHOLE_BYTES = 20 * PIECES };

static const rlk_transport_config config = {
    .connect_timeout_ms = PATIENCE_MS,
    .response_bytes_max = 10000,
    .http_version = RLK_HTTP_1_1,
    .allow_http_loopback = true,
};

typedef struct stage {
    shared_heap heap;
    rlk_alloc alloc;
    peer peer;
    place place;
    reader reader;
    rlk_transport *plain; /* one of these two */
    rlk_transport_worker *worker;
} stage;

static void stage_init(stage *s) {
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->heap.lock, NULL);
    s->heap.secret = SECRET;
    s->alloc = shared_allocator(&s->heap);
    peer_open(&s->peer);
    s->peer.pieces = PIECES;
    s->place = place_arrive();
    s->reader = reader_open(&s->alloc);
}

static rlk_err try_open(stage *s, bool threaded) {
    const char *detail = NULL;
    if (!threaded) return rlk_transport_open(&s->plain, &s->alloc, &config, &detail);
    return rlk_transport_worker_open(&s->worker, &s->alloc, &config, 10, s->reader.wake, &detail);
}

static void stage_open(stage *s, bool threaded) {
    stage_init(s);
    assert_int_equal(try_open(s, threaded), RLK_OK);
}

static void stage_close(stage *s) {
    rlk_transport_worker_free(s->worker);
    rlk_transport_close(s->plain);
    reader_close(&s->reader);
    peer_close(&s->peer);
    place_leave(&s->place);
    assert_int_equal(s->heap.plain.blocks_out, 0);
}

static rlk_err try_start(stage *s, const char *path, int64_t *ticket) {
    const char *detail = NULL;
    const rlk_request request = {.method = LITERAL("GET"),
                                 .url = span_of(s->peer.url),
                                 .timeout_ms = PATIENCE_MS,
                                 .stall_ms = PATIENCE_MS,
                                 .sink_path = span_of(path)};
    return s->worker != NULL ? rlk_transport_worker_start(s->worker, &request, ticket, &detail)
                             : rlk_transport_start(s->plain, &request, ticket, &detail);
}

static int64_t get(stage *s) {
    int64_t ticket = 0;
    assert_int_equal(try_start(s, "", &ticket), RLK_OK);
    return ticket;
}

static const rlk_result *peek(stage *s) {
    return s->worker != NULL ? rlk_transport_worker_peek(s->worker) : rlk_transport_peek(s->plain);
}

static void drop(stage *s) {
    if (s->worker != NULL)
        rlk_transport_worker_drop(s->worker);
    else
        rlk_transport_drop(s->plain);
}

static bool proceed(stage *s, int64_t ticket) {
    return s->worker != NULL ? rlk_transport_worker_proceed(s->worker, ticket)
                             : rlk_transport_proceed(s->plain, ticket);
}

static bool cancel(stage *s, int64_t ticket) {
    return s->worker != NULL ? rlk_transport_worker_cancel(s->worker, ticket)
                             : rlk_transport_cancel(s->plain, ticket);
}

static rlk_transport_stats counts(stage *s) {
    return s->worker != NULL ? rlk_transport_worker_counts(s->worker)
                             : rlk_transport_counts(s->plain);
}

static void turn(stage *s) {
    peer_turn(&s->peer);
    if (s->worker != NULL)
        reader_read(&s->reader, TURN_MS);
    else
        rlk_transport_poll(s->plain, TURN_MS);
}

static const rlk_result *next_result(stage *s) {
    const rlk_result *r;
    const int64_t began_ms = rlk_clock_monotonic_ms();
    while ((r = peek(s)) == NULL) {
        assert_true(rlk_clock_monotonic_ms() - began_ms < PATIENCE_MS);
        turn(s);
    }
    return r;
}

/* The first part, which is out from now on. */
static int64_t take_part(stage *s) {
    s->peer.holds = true;
    const int64_t ticket = get(s);
    const rlk_result *r = next_result(s);
    s->peer.holds = false;
    assert_true(r->more);
    assert_int_equal(r->ticket, ticket);
    drop(s);
    return ticket;
}

static void expect(stage *s, rlk_err error) {
    const rlk_result *r = next_result(s);
    assert_int_equal(r->error, error);
    assert_false(r->more);
    drop(s);
    assert_int_equal(counts(s).in_flight, 0);
}

/* ---- Parts ---- */

static void check_part(const rlk_result *r, size_t at) {
    assert_int_equal(r->status, 200);
    assert_int_equal(r->body.len % 20, 0);
    for (size_t i = 0; i < r->body.len; i += 20)
        assert_memory_equal(r->body.ptr + i, SECRET, 20);
    assert_int_equal(r->head.len > 0, at == 0);
}

static rlk_err read_parts(stage *s, size_t *bytes) {
    int64_t ticket = 0;
    const rlk_err e = try_start(s, "", &ticket);
    *bytes = 0;
    for (bool more = e == RLK_OK; more;) {
        const rlk_result *r = next_result(s);
        const rlk_err error = r->error;
        if (error == RLK_OK) check_part(r, *bytes);
        more = r->more;
        *bytes += r->body.len;
        drop(s);
        if (error != RLK_OK) return error;
        assert_int_equal(proceed(s, ticket), more);
    }
    return e;
}

static void parts_come_in_order(bool threaded) {
    stage s;
    size_t bytes = 0;
    stage_open(&s, threaded);
    assert_int_equal(read_parts(&s, &bytes), RLK_OK);
    assert_int_equal(bytes, WHOLE_BYTES);
    assert_int_equal(counts(&s).in_flight, 0);
    assert_false(proceed(&s, 1));
    assert_false(cancel(&s, 1));
    stage_close(&s);
}

static rlk_err write_file(stage *s) {
    int64_t ticket = 0;
    const rlk_err e = try_start(s, s->place.path, &ticket);
    if (e != RLK_OK) return e;
    const rlk_result *r = next_result(s);
    const rlk_err error = r->error;
    assert_int_equal(r->written, error == RLK_OK ? WHOLE_BYTES : -1);
    assert_int_equal(r->body.len, 0);
    drop(s);
    return error;
}

static void each_allocation_may_fail(bool threaded, bool to_file) {
    rlk_err e = RLK_E_NO_MEMORY;
    for (size_t n = 1; e != RLK_OK; n++) {
        stage s;
        size_t bytes = 0;
        stage_init(&s);
        const size_t fail_at = s.heap.plain.allocations + n;
        s.heap.plain.fail_at = fail_at;
        e = try_open(&s, threaded);
        if (e == RLK_OK) e = to_file ? write_file(&s) : read_parts(&s, &bytes);
        assert_true(e == RLK_OK || e == RLK_E_NO_MEMORY);
        assert_int_equal(e == RLK_OK, fail_at > s.heap.plain.allocations);
        assert_int_equal(access(s.place.path, F_OK) == 0, to_file && e == RLK_OK);
        stage_close(&s);
    }
}

/* ---- Called off ---- */

static void cancelled_while_a_part_is_out(bool threaded) {
    stage s;
    stage_open(&s, threaded);
    const int64_t ticket = take_part(&s);
    assert_int_equal(counts(&s).in_flight, 1);
    assert_true(cancel(&s, ticket));
    assert_false(proceed(&s, ticket));
    expect(&s, RLK_E_CANCELLED);
    stage_close(&s);
}

static void cancelled_right_after_it_went_on(bool threaded) {
    stage s;
    stage_open(&s, threaded);
    s.peer.pieces = MANY_PIECES;
    const int64_t ticket = take_part(&s);
    assert_true(proceed(&s, ticket));
    assert_true(cancel(&s, ticket));
    while (next_result(&s)->more)
        drop(&s);
    expect(&s, RLK_E_CANCELLED);
    stage_close(&s);
}

static void cancelled_before_its_part_was_taken(bool threaded) {
    stage s;
    stage_open(&s, threaded);
    s.peer.pieces = MANY_PIECES;
    const int64_t ticket = get(&s);
    assert_true(next_result(&s)->more);
    assert_int_equal(cancel(&s, ticket), !threaded);
    if (threaded) drop(&s); /* the part itself */
    expect(&s, RLK_E_CANCELLED);
    stage_close(&s);
}

static void ended_while_a_part_is_out(bool threaded) {
    stage s;
    stage_open(&s, threaded);
    s.peer.pieces = MANY_PIECES;
    const int64_t ticket = take_part(&s);
    peer_close(&s.peer);
    for (int i = 0; i < 20; i++) {
        if (threaded)
            reader_read(&s.reader, TURN_MS);
        else
            rlk_transport_poll(s.plain, TURN_MS);
    }
    assert_null(peek(&s));
    assert_true(proceed(&s, ticket));
    while (next_result(&s)->more) {
        drop(&s);
        assert_true(proceed(&s, ticket));
    }
    expect(&s, RLK_E_NETWORK);
    stage_close(&s);
}

static void closed_with_parts_out_and_waiting(bool threaded) {
    stage s;
    stage_open(&s, threaded);
    s.peer.pieces = MANY_PIECES;
    const int64_t out = take_part(&s);
    get(&s);
    assert_true(next_result(&s)->more);
    get(&s);
    if (threaded) {
        rlk_transport_worker_close(s.worker);
        assert_false(proceed(&s, out));
        for (int i = 0; i < 3; i++) {
            assert_int_equal(peek(&s)->error, RLK_E_CANCELLED);
            assert_false(peek(&s)->more);
            drop(&s);
        }
        assert_null(peek(&s));
        assert_int_equal(counts(&s).in_flight, 0);
    }
    stage_close(&s);
}

static void a_forked_child_does_no_harm_to_what_is_out(void **state) {
    (void)state;
    stage s;
    int status = -1;
    stage_open(&s, true);
    const int64_t ticket = take_part(&s);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(proceed(&s, ticket) || cancel(&s, ticket) ? 1 : 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(proceed(&s, ticket));
    while (next_result(&s)->more) {
        drop(&s);
        assert_true(proceed(&s, ticket));
    }
    expect(&s, RLK_OK);
    stage_close(&s);
}

#define BOTH(test)                                                                                 \
    static void test##_here(void **state) {                                                        \
        (void)state;                                                                               \
        test(false);                                                                               \
    }                                                                                              \
    static void test##_on_a_thread(void **state) {                                                 \
        (void)state;                                                                               \
        test(true);                                                                                \
    }

static void memory_may_fail(bool threaded) {
    each_allocation_may_fail(threaded, false);
    each_allocation_may_fail(threaded, true);
}

BOTH(parts_come_in_order)
BOTH(memory_may_fail)
BOTH(cancelled_while_a_part_is_out)
BOTH(cancelled_right_after_it_went_on)
BOTH(cancelled_before_its_part_was_taken)
BOTH(ended_while_a_part_is_out)
BOTH(closed_with_parts_out_and_waiting)

#define TESTS_OF(test) cmocka_unit_test(test##_here), cmocka_unit_test(test##_on_a_thread)

int main(void) {
    const struct CMUnitTest tests[] = {
        TESTS_OF(parts_come_in_order),
        TESTS_OF(memory_may_fail),
        TESTS_OF(cancelled_while_a_part_is_out),
        TESTS_OF(cancelled_right_after_it_went_on),
        TESTS_OF(cancelled_before_its_part_was_taken),
        TESTS_OF(ended_while_a_part_is_out),
        TESTS_OF(closed_with_parts_out_and_waiting),
        cmocka_unit_test(a_forked_child_does_no_harm_to_what_is_out),
    };
    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
