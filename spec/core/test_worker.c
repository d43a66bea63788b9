/* The worker with an engine that does nothing but what a test says: order, caps, cancelling,
 * closing, the thread itself, the bytes it sends. What the real engines do is in
 * test_worker_transport.c and test_worker_store.c. */
#define _GNU_SOURCE

#include "stage.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"

enum { STORM_ROUNDS = 3000, QUICK_ROUNDS = 20, NICE_MOST = 19 };

/* Stands before the C library's, so that a test can have it fail. */
static bool no_threads;

int pthread_create(pthread_t *restrict out, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict ud) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (no_threads) return EAGAIN;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(out, attributes, run, ud);
}

static const rlk_engine *const engines[] = {&plain_engine, &waiting_engine};

/* ---- In and out ---- */

static void what_goes_in_comes_out_once_in_order(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(engines); i++) {
        stage s;
        stage_open(&s, engines[i]);
        for (int n = 1; n <= QUEUE_MAX; n++)
            assert_int_equal(submit(&s, n * 7), n);
        for (int n = 1; n <= QUEUE_MAX; n++) {
            const task t = next_done(&s);
            assert_int_equal(t.item.ticket, n);
            assert_int_equal(t.number, n * 7);
            assert_int_equal(t.outcome, WORKED_ON);
        }
        assert_null(rlk_worker_peek(s.worker));
        assert_int_equal(pending(&s), 0);
        assert_int_equal(rlk_worker_submitted(s.worker), QUEUE_MAX);
        stage_close(&s);
    }
}

static void a_completion_stays_until_it_is_dropped(void **state) {
    (void)state;
    stage s;
    stage_open(&s, &plain_engine);
    submit(&s, 1);
    await_pending(&s, 0);
    const rlk_item *item = rlk_worker_peek(s.worker);
    assert_non_null(item);
    assert_ptr_equal(rlk_worker_peek(s.worker), item);
    rlk_worker_drop(s.worker);
    assert_null(rlk_worker_peek(s.worker));
    rlk_worker_drop(s.worker);
    stage_close(&s);
}

static void too_many_are_refused_until_some_were_handed_out(void **state) {
    (void)state;
    stage s;
    rlk_err e;
    stage_open(&s, &plain_engine);
    for (int n = 1; n <= QUEUE_MAX; n++)
        submit(&s, n);
    await_pending(&s, 0); /* done, and not handed out */
    assert_int_equal(try_submit(&s, 0, &e), 0);
    assert_int_equal(e, RLK_E_BUSY);
    next_done(&s);
    assert_int_equal(submit(&s, 0), QUEUE_MAX + 1);
    try_submit(&s, 0, &e);
    assert_int_equal(e, RLK_E_BUSY);
    stage_close(&s);
}

/* ---- Bytes ---- */

/* Beats come too when a test is slow. */
static int bytes_without_beats(const stage *s, int64_t began_ms) {
    int bytes = reader_read(&s->reader, PATIENCE_MS), got;
    while ((got = reader_read(&s->reader, 0)) > 0)
        bytes += got;
    return bytes - (int)((rlk_clock_monotonic_ms() - began_ms) / RLK_WAKE_BEAT_MS);
}

static void one_byte_tells_of_many(void **state) {
    (void)state;
    stage s;
    stage_open(&s, &plain_engine);
    for (int round = 0; round < 3; round++) {
        const int64_t began_ms = rlk_clock_monotonic_ms();
        for (int n = 0; n < QUEUE_MAX / 2; n++) {
            submit(&s, n);
            await_pending(&s, 0); /* a turn of its own for each */
        }
        assert_true(bytes_without_beats(&s, began_ms) <= 1);
        while (rlk_worker_peek(s.worker) != NULL)
            rlk_worker_drop(s.worker);
    }
    stage_close(&s);
}

/* Were beats all that tells the loop, or the thread, each round would take a second. */
static void neither_side_waits_for_a_beat(void **state) {
    (void)state;
    stage s;
    stage_open(&s, &waiting_engine);
    const int64_t began_ms = rlk_clock_monotonic_ms();
    for (int n = 1; n <= QUICK_ROUNDS; n++) {
        s.bench.holds = true;
        submit(&s, n);
        await_taken(&s, (size_t)n);
        assert_true(rlk_worker_cancel(s.worker, n));
        assert_true(reader_read(&s.reader, PATIENCE_MS) > 0);
        assert_int_equal(next_done(&s).outcome, CANCELLED);
    }
    assert_true(rlk_clock_monotonic_ms() - began_ms < (QUICK_ROUNDS - 1) * RLK_WAKE_BEAT_MS);
    stage_close(&s);
}

/* The heart is nobody's own: it goes on beating when one of two has ended. */
static void a_byte_comes_each_second_from_whoever_lives(void **state) {
    (void)state;
    const char *detail = NULL;
    for (size_t i = 0; i < COUNT_OF(engines); i++) {
        stage s;
        rlk_worker *other = NULL;
        const int64_t began_ms = rlk_clock_monotonic_ms();
        stage_open(&s, engines[i]);
        assert_int_equal(
            rlk_worker_open(&other, &s.alloc, &plain_engine, &s.bench, 1, s.reader.wake, &detail),
            RLK_OK);
        rlk_worker_free(other);
        assert_true(reader_read(&s.reader, PATIENCE_MS) > 0);
        assert_true(rlk_clock_monotonic_ms() - began_ms >= RLK_WAKE_BEAT_MS);
        stage_close(&s);
    }
}

static void a_wake_that_was_closed_does_no_harm(void **state) {
    (void)state;
    stage s;
    stage_open(&s, &plain_engine);
    rlk_wake_close(s.reader.wake);
    submit(&s, 1);
    await_pending(&s, 0);
    assert_non_null(rlk_worker_peek(s.worker));
    stage_close(&s);
}

/* ---- Cancelling ---- */

static void what_is_at_work_can_be_cancelled(void **state) {
    (void)state;
    stage s;
    stage_open(&s, &waiting_engine);
    s.bench.holds = true;
    for (int n = 1; n <= 5; n++)
        submit(&s, n);
    await_taken(&s, 5);
    assert_true(rlk_worker_cancel(s.worker, 4));
    assert_true(rlk_worker_cancel(s.worker, 2));
    for (int i = 0; i < 2; i++) {
        const task t = next_done(&s);
        assert_true(t.number == 2 || t.number == 4);
        assert_int_equal(t.outcome, CANCELLED);
    }
    assert_int_equal(pending(&s), 3);
    s.bench.holds = false;
    wake_engine(&s);
    for (int n = 1; n <= 5; n += 2) {
        const task t = next_done(&s);
        assert_int_equal(t.number, n);
        assert_int_equal(t.outcome, WORKED_ON);
    }
    stage_close(&s);
}

static void assert_lengths(const stage *s, size_t queued, size_t at_work, size_t done) {
    const rlk_worker_lengths lengths = rlk_worker_count(s->worker);
    assert_int_equal(lengths.queued, queued);
    assert_int_equal(lengths.at_work, at_work);
    assert_int_equal(lengths.done, done);
}

static void it_says_how_many_are_where(void **state) {
    (void)state;
    stage s;
    stage_open(&s, &waiting_engine);
    assert_lengths(&s, 0, 0, 0);
    s.bench.holds = true;
    submit(&s, 1);
    await_taken(&s, 1);
    hold_turns(&s);
    submit(&s, 2);
    await_gate(&s); /* from here on the thread takes nothing */
    for (int n = 3; n <= 5; n++)
        submit(&s, n);
    assert_lengths(&s, 3, 2, 0);
    assert_true(rlk_worker_cancel(s.worker, 4));
    assert_lengths(&s, 2, 2, 1);
    s.bench.holds = false;
    let_turns_go(&s);
    wake_engine(&s);
    await_pending(&s, 0);
    assert_lengths(&s, 0, 0, 5);
    next_done(&s);
    assert_lengths(&s, 0, 0, 4);
    stage_close(&s);
}

static void what_waits_is_cancelled_at_once(void **state) {
    (void)state;
    stage s;
    stage_open(&s, &waiting_engine);
    hold_turns(&s);
    submit(&s, 1);
    await_gate(&s); /* from here on the thread takes nothing */
    for (int n = 2; n <= 4; n++)
        submit(&s, n);
    assert_true(rlk_worker_cancel(s.worker, 3));
    const task t = next_done(&s);
    assert_int_equal(t.number, 3);
    assert_int_equal(t.outcome, ABANDONED);
    assert_null(rlk_worker_peek(s.worker));
    let_turns_go(&s);
    for (int n = 1; n <= 4; n += n == 2 ? 2 : 1) {
        const task other = next_done(&s);
        assert_int_equal(other.number, n);
        assert_int_equal(other.outcome, WORKED_ON);
    }
    stage_close(&s);
}

static void what_is_done_or_unknown_cannot_be_cancelled(void **state) {
    (void)state;
    stage s;
    stage_open(&s, &waiting_engine);
    submit(&s, 1);
    await_pending(&s, 0);
    assert_false(rlk_worker_cancel(s.worker, 1));
    assert_false(rlk_worker_cancel(s.worker, 2));
    assert_false(rlk_worker_cancel(s.worker, 0));
    next_done(&s);
    assert_false(rlk_worker_cancel(s.worker, 1));
    stage_close(&s);
    stage_open(&s, &plain_engine); /* cannot cancel at all */
    hold_turns(&s);
    submit(&s, 1);
    assert_false(rlk_worker_cancel(s.worker, 1));
    let_turns_go(&s);
    stage_close(&s);
}

/* ---- Closing ---- */

static void closing_ends_what_is_out_and_it_can_still_be_had(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(engines); i++) {
        stage s;
        rlk_err e;
        stage_open(&s, engines[i]);
        s.bench.holds = true;
        for (int n = 1; n <= 3; n++)
            submit(&s, n);
        await_taken(&s, 3);
        submit(&s, 4);
        rlk_worker_close(s.worker);
        rlk_worker_close(s.worker);
        assert_int_equal(s.bench.hurried, engines[i] == &plain_engine);
        try_submit(&s, 5, &e);
        assert_int_equal(e, RLK_E_CLOSED);
        assert_false(rlk_worker_cancel(s.worker, 1));
        for (int n = 1; n <= 4; n++) {
            const task t = next_done(&s);
            assert_int_equal(t.number, n);
            assert_int_equal(t.outcome, FINISHED);
        }
        assert_null(rlk_worker_peek(s.worker));
        stage_close(&s);
    }
}

static void freeing_takes_everything_along(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(engines); i++) {
        stage s;
        stage_open(&s, engines[i]);
        for (int n = 1; n <= 20; n++)
            submit(&s, n);
        await_pending(&s, 0);
        s.bench.holds = true;
        for (int n = 1; n <= 20; n++)
            submit(&s, n);
        stage_close(&s);
    }
}

/* ---- The thread ---- */

static void the_thread_takes_no_signal_and_has_a_name(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(engines); i++) {
        static const int signals[] = {SIGHUP, SIGINT,  SIGQUIT,  SIGTERM, SIGCHLD, SIGALRM,
                                      SIGIO,  SIGUSR1, SIGWINCH, SIGPIPE, SIGURG,  SIGUSR2};
        sigset_t before, after;
        stage s;
        pthread_sigmask(SIG_BLOCK, NULL, &before);
        stage_open(&s, engines[i]);
        pthread_sigmask(SIG_BLOCK, NULL, &after);
        rlk_worker_close(s.worker);
        for (size_t j = 0; j < COUNT_OF(signals); j++) {
            assert_int_equal(sigismember(&s.bench.mask, signals[j]), 1);
            assert_int_equal(sigismember(&before, signals[j]), 0);
            assert_int_equal(sigismember(&after, signals[j]), 0);
        }
        assert_string_equal(s.bench.thread_name, engines[i]->thread_name);
        stage_close(&s);
    }
}

/* The tester stands for the event loop. */
static void the_thread_gives_way_to_whoever_made_it(void **state) {
    (void)state;
    const int scheduler = sched_getscheduler(0), nice = getpriority(PRIO_PROCESS, 0);
    for (size_t i = 0; i < COUNT_OF(engines); i++) {
        stage s;
        stage_open(&s, engines[i]);
        rlk_worker_close(s.worker);
        assert_int_equal(s.bench.scheduler, SCHED_BATCH);
        assert_true(s.bench.nice > nice || nice == NICE_MOST);
        assert_int_equal(sched_getscheduler(0), scheduler);
        assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);
        stage_close(&s);
    }
}

static void no_thread_is_told_and_leaves_nothing(void **state) {
    (void)state;
    shared_heap heap = SHARED_HEAP_INIT;
    const rlk_alloc alloc = shared_allocator(&heap);
    reader r = reader_open(&alloc);
    bench b = {.alloc = alloc};
    const char *detail = NULL;
    sigset_t before, after;
    rlk_worker *w = NULL;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    assert_int_equal(sigismember(&before, SIGINT), 0);
    no_threads = true;
    const rlk_err e = rlk_worker_open(&w, &alloc, &plain_engine, &b, 1, r.wake, &detail);
    no_threads = false;
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_int_equal(e, RLK_E_NO_MEMORY);
    assert_null(w);
    assert_non_null(strstr(detail, "thread"));
    assert_int_equal(sigismember(&after, SIGINT), sigismember(&before, SIGINT));
    reader_close(&r);
    assert_int_equal(heap.plain.blocks_out, 0);
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    shared_heap heap = SHARED_HEAP_INIT;
    const rlk_alloc alloc = shared_allocator(&heap);
    reader r = reader_open(&alloc);
    bench b = {.alloc = alloc};
    const char *detail = NULL;
    rlk_worker *w = NULL;
    heap.plain.fail_at = heap.plain.allocations + 1;
    assert_int_equal(rlk_worker_open(&w, &alloc, &plain_engine, &b, 1, r.wake, &detail),
                     RLK_E_NO_MEMORY);
    assert_null(w);
    reader_close(&r);
    assert_int_equal(heap.plain.blocks_out, 0);
}

/* The child has neither the thread nor the right to what it works on. */
static bool child_finds_nothing(stage *s) {
    const char *detail = NULL;
    task t = {.number = 9};
    const bool good = !rlk_worker_is_ours(s->worker) &&
                      rlk_worker_submit(s->worker, &t.item, &detail) == RLK_E_CLOSED &&
                      detail != NULL && rlk_worker_peek(s->worker) == NULL && pending(s) == 0 &&
                      !rlk_worker_cancel(s->worker, 1);
    rlk_worker *other = NULL;
    rlk_worker_drop(s->worker);
    rlk_worker_close(s->worker);
    return good && rlk_worker_open(&other, &s->alloc, &plain_engine, &s->bench, 1, s->reader.wake,
                                   &detail) == RLK_E_CLOSED;
}

static void a_forked_child_can_do_nothing_with_it(void **state) {
    (void)state;
    stage s;
    int status = -1;
    stage_open(&s, &waiting_engine);
    submit(&s, 1);
    await_pending(&s, 0);
    s.bench.holds = true;
    submit(&s, 2);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(child_finds_nothing(&s) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    s.bench.holds = false;
    wake_engine(&s);
    assert_int_equal(next_done(&s).number, 1);
    assert_int_equal(next_done(&s).number, 2);
    stage_close(&s);
}

/* ---- All at once ---- */

/* Random submits, cancels and takes; every ticket must come out exactly once. */
static void storm(const rlk_engine *engine, uint64_t *seed) {
    static unsigned char seen[STORM_ROUNDS + 1];
    stage s;
    rlk_err e;
    int64_t last = 0;
    size_t out = 0;
    memset(seen, 0, sizeof seen);
    stage_open(&s, engine);
    for (int i = 0; i < STORM_ROUNDS; i++) {
        const size_t dice = random_below(seed, 10);
        s.bench.holds = engine->wake != NULL && dice < 5;
        const int64_t ticket = try_submit(&s, i, &e);
        if (ticket > 0) last = ticket;
        if (dice < 3 && last > 0)
            rlk_worker_cancel(s.worker, (int64_t)random_below(seed, (size_t)last) + 1);
        for (size_t n = dice > 6 ? 4 : 0; n > 0 && rlk_worker_peek(s.worker) != NULL; n--, out++) {
            seen[rlk_worker_peek(s.worker)->ticket]++;
            rlk_worker_drop(s.worker);
        }
    }
    rlk_worker_close(s.worker);
    for (; rlk_worker_peek(s.worker) != NULL; out++) {
        seen[rlk_worker_peek(s.worker)->ticket]++;
        rlk_worker_drop(s.worker);
    }
    assert_int_equal(out, last);
    for (int64_t ticket = 1; ticket <= last; ticket++)
        assert_int_equal(seen[ticket], 1);
    stage_close(&s);
}

static void whatever_happens_every_ticket_comes_out_once(void **state) {
    uint64_t *seed = *state;
    for (int round = 0; round < 4; round++)
        storm(engines[(size_t)round % COUNT_OF(engines)], seed);
}

int main(void) {
    uint64_t seed = random_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out_once_in_order),
        cmocka_unit_test(a_completion_stays_until_it_is_dropped),
        cmocka_unit_test(too_many_are_refused_until_some_were_handed_out),
        cmocka_unit_test(one_byte_tells_of_many),
        cmocka_unit_test(neither_side_waits_for_a_beat),
        cmocka_unit_test(a_byte_comes_each_second_from_whoever_lives),
        cmocka_unit_test(a_wake_that_was_closed_does_no_harm),
        cmocka_unit_test(what_is_at_work_can_be_cancelled),
        cmocka_unit_test(it_says_how_many_are_where),
        cmocka_unit_test(what_waits_is_cancelled_at_once),
        cmocka_unit_test(what_is_done_or_unknown_cannot_be_cancelled),
        cmocka_unit_test(closing_ends_what_is_out_and_it_can_still_be_had),
        cmocka_unit_test(freeing_takes_everything_along),
        cmocka_unit_test(the_thread_takes_no_signal_and_has_a_name),
        cmocka_unit_test(the_thread_gives_way_to_whoever_made_it),
        cmocka_unit_test(no_thread_is_told_and_leaves_nothing),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(a_forked_child_can_do_nothing_with_it),
        cmocka_unit_test_prestate(whatever_happens_every_ticket_comes_out_once, &seed),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
