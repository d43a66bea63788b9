/* A store on a thread of its own: many jobs, few syncs; what goes wrong with the file is a result;
 * closing loses nothing and does not wait for others. What the jobs do is tested in store_spec.lua.
 */
#define _XOPEN_SOURCE 700

#include "reader.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faulty_vfs.h"
#include "io/clock.h"
#include "io/store_db.h"
#include "io/worker_store.h"
#include "place.h"

#define DATA "d4ta-d4ta-d4ta"

enum { QUEUE_MAX = 1000, MANY = 600, LONG_MS = 600000, ATTEMPTS_MAX = 2000 };

typedef struct stage {
    shared_heap heap;
    rlk_alloc alloc;
    place place;
    reader reader;
    rlk_store_worker *worker;
    sqlite3 *other; /* another connection to the file */
} stage;

static rlk_err try_open(stage *s, const char *path, int64_t busy_ms) {
    const rlk_store_config config = {
        .path = path, .client_id = LITERAL("app"), .busy_ms = busy_ms, .vfs = "faulty"};
    const rlk_store_problem p =
        rlk_store_worker_open(&s->worker, &s->alloc, &config, QUEUE_MAX, s->reader.wake);
    assert_int_equal(s->worker != NULL, p.error == RLK_OK);
    if (p.error != RLK_OK) assert_true(strlen(p.detail) > 0);
    return p.error;
}

static void stage_init(stage *s) {
    memset(s, 0, sizeof *s);
    memset(&faulty_vfs, 0, sizeof faulty_vfs);
    pthread_mutex_init(&s->heap.lock, NULL);
    s->heap.secret = DATA;
    s->alloc = shared_allocator(&s->heap);
    s->place = place_arrive();
    s->reader = reader_open(&s->alloc);
}

static void stage_open(stage *s, int64_t busy_ms) {
    stage_init(s);
    assert_int_equal(try_open(s, s->place.path, busy_ms), RLK_OK);
}

static void stage_close(stage *s) {
    rlk_store_worker_free(s->worker);
    (void)sqlite3_close(s->other);
    reader_close(&s->reader);
    place_leave(&s->place);
    assert_int_equal(s->heap.plain.blocks_out, 0);
}

/* ---- Jobs ---- */

/* The job and its key are gone once it was started. */
static rlk_err try_start(stage *s, rlk_store_op op, int number, int64_t *ticket) {
    rlk_store_job job = {op, rlk_store_no_fields()};
    char key[16], data[] = DATA;
    const char *detail = NULL;
    snprintf(key, sizeof key, "k%d", number);
    job.fields.texts[RLK_STORE_KEY] = span_of(key);
    job.fields.texts[RLK_STORE_DATA] = span_of(data);
    if (op == RLK_STORE_OP_PUT_IF) job.fields.numbers[RLK_STORE_VERSION] = 0;
    job.fields.numbers[RLK_STORE_NOW_MS] = 1000;
    const rlk_err e = rlk_store_worker_start(s->worker, &job, ticket, &detail);
    memset(&job, '-', sizeof job), memset(key, '-', sizeof key), memset(data, '-', sizeof data);
    if (e != RLK_OK) assert_non_null(detail);
    return e;
}

static void start(stage *s, rlk_store_op op, int number) {
    int64_t ticket;
    assert_int_equal(try_start(s, op, number, &ticket), RLK_OK);
}

static void put(stage *s, int number) {
    start(s, RLK_STORE_OP_PUT_IF, number);
}

static const rlk_store_result *peek(stage *s, int64_t *ticket) {
    const rlk_store_result *r;
    while ((r = rlk_store_worker_peek(s->worker, ticket)) == NULL)
        assert_true(reader_read(&s->reader, PATIENCE_MS) > 0);
    return r;
}

typedef struct answer {
    int64_t ticket;
    rlk_store_problem problem;
    bool yes;
    size_t entries;
} answer;

static answer next_answer(stage *s) {
    answer a = {0};
    rlk_store_fields entry;
    size_t at = 0;
    const rlk_store_result *r = peek(s, &a.ticket);
    a.problem = r->problem;
    a.yes = r->yes;
    while (rlk_store_next(r, &at, &entry)) {
        a.entries++;
        assert_true(rlk_span_is(entry.texts[RLK_STORE_DATA], DATA));
    }
    rlk_store_worker_drop(s->worker);
    return a;
}

static void expect(stage *s, int count, rlk_err error) {
    for (int i = 0; i < count; i++) {
        const answer a = next_answer(s);
        assert_int_equal(a.problem.error, error);
        assert_int_equal(a.yes, error == RLK_OK);
    }
}

static size_t rows_in(stage *s) {
    start(s, RLK_STORE_OP_FIND, 0);
    const answer a = next_answer(s);
    assert_int_equal(a.problem.error, RLK_OK);
    return a.entries;
}

static void run_sql(stage *s, const char *sql) {
    if (s->other == NULL) {
        assert_int_equal(sqlite3_open_v2(s->place.path, &s->other, SQLITE_OPEN_READWRITE, NULL),
                         SQLITE_OK);
    }
    assert_int_equal(sqlite3_exec(s->other, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* Takes the lock, starts a job and returns when the thread waits for it. */
static void have_it_wait(stage *s, int number) {
    run_sql(s, "BEGIN IMMEDIATE");
    faulty_vfs.refusals = 0;
    put(s, number);
    for (int i = 0; i < PATIENCE_MS && faulty_vfs.refusals == 0; i++)
        rlk_clock_sleep_ms(1);
    assert_true(faulty_vfs.refusals > 0);
}

/* ---- What comes back ---- */

static void jobs_are_done_in_their_order(void **state) {
    (void)state;
    stage s;
    stage_open(&s, LONG_MS);
    put(&s, 1);
    start(&s, RLK_STORE_OP_GET, 1);
    put(&s, 1); /* it is there: version 0 is refused */
    start(&s, RLK_STORE_OP_DELETE, 1);
    start(&s, RLK_STORE_OP_GET, 1);
    static const answer expected[] = {{1, {0}, true, 0},
                                      {2, {0}, false, 1},
                                      {3, {0}, false, 0},
                                      {4, {0}, true, 0},
                                      {5, {0}, false, 0}};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        const answer a = next_answer(&s);
        assert_int_equal(a.ticket, expected[i].ticket);
        assert_int_equal(a.problem.error, RLK_OK);
        assert_int_equal(a.yes, expected[i].yes);
        assert_int_equal(a.entries, expected[i].entries);
    }
    stage_close(&s);
}

/* The first commit of a file syncs more than those that follow; the thread opens it before. */
static int syncs_of_one_commit(stage *s) {
    put(s, MANY + 1);
    expect(s, 1, RLK_OK);
    const int before = faulty_vfs.syncs;
    put(s, MANY + 2);
    expect(s, 1, RLK_OK);
    return faulty_vfs.syncs - before;
}

/* While the first one waits for the lock, the others gather. */
static void what_waits_is_committed_together(void **state) {
    (void)state;
    stage s;
    stage_open(&s, LONG_MS);
    const int per_commit = syncs_of_one_commit(&s);
    assert_true(per_commit > 0);
    const int before = faulty_vfs.syncs;
    have_it_wait(&s, 0);
    for (int n = 1; n <= MANY; n++)
        put(&s, n);
    run_sql(&s, "COMMIT");
    expect(&s, 1 + MANY, RLK_OK);
    const int commits = 1 + (MANY + RLK_STORE_BATCH_COUNT_MAX - 1) / RLK_STORE_BATCH_COUNT_MAX;
    assert_int_equal(faulty_vfs.syncs - before, commits * per_commit);
    assert_int_equal(rows_in(&s), MANY + 3);
    stage_close(&s);
}

static void a_job_that_fails_takes_no_other_along(void **state) {
    (void)state;
    stage s;
    stage_open(&s, LONG_MS);
    const int per_commit = syncs_of_one_commit(&s);
    const int before = faulty_vfs.syncs;
    have_it_wait(&s, 1);
    put(&s, 2);
    start(&s, RLK_STORE_OP_LEASE, 3); /* lacks what a lease needs */
    put(&s, 4);
    run_sql(&s, "COMMIT");
    expect(&s, 2, RLK_OK);
    assert_int_equal(next_answer(&s).problem.sqlite_code, SQLITE_MISUSE);
    expect(&s, 1, RLK_OK);
    assert_int_equal(faulty_vfs.syncs - before, 2 * per_commit);
    stage_close(&s);
}

static void scrubbing_comes_after_what_was_started_before(void **state) {
    (void)state;
    stage s;
    int64_t ticket = 0;
    const char *detail = NULL;
    stage_open(&s, LONG_MS);
    put(&s, 1);
    start(&s, RLK_STORE_OP_DELETE, 1);
    assert_int_equal(rlk_store_worker_scrub(s.worker, &ticket, &detail), RLK_OK);
    assert_int_equal(ticket, 3);
    put(&s, 2);
    for (int64_t n = 1; n <= 4; n++) {
        const answer a = next_answer(&s);
        assert_int_equal(a.ticket, n);
        assert_true(a.yes);
    }
    stage_close(&s);
}

static void more_than_the_queue_holds_is_busy(void **state) {
    (void)state;
    stage s;
    int64_t ticket = 0;
    stage_open(&s, LONG_MS);
    for (int n = 1; n <= QUEUE_MAX; n++)
        put(&s, n);
    assert_int_equal(try_start(&s, RLK_STORE_OP_GET, 1, &ticket), RLK_E_BUSY);
    expect(&s, 1, RLK_OK);
    assert_int_equal(try_start(&s, RLK_STORE_OP_GET, 1, &ticket), RLK_OK);
    stage_close(&s);
}

/* ---- What goes wrong ---- */

static void a_wrong_config_is_told_at_once(void **state) {
    (void)state;
    stage s;
    stage_init(&s);
    assert_int_equal(try_open(&s, "", 0), RLK_E_INVALID_OPTION);
    assert_int_equal(try_open(&s, ":memory:", 0), RLK_E_INVALID_OPTION);
    stage_close(&s);
}

static void a_file_that_cannot_be_opened_is_tried_again(void **state) {
    (void)state;
    stage s;
    char folder[96], path[112];
    stage_init(&s);
    snprintf(folder, sizeof folder, "%s/later", s.place.directory);
    snprintf(path, sizeof path, "%s/store.db", folder);
    assert_int_equal(try_open(&s, path, LONG_MS), RLK_OK);
    for (int n = 0; n < 2; n++) {
        put(&s, 1);
        const answer a = next_answer(&s);
        assert_int_equal(a.problem.error, RLK_E_STORE_ERROR);
        assert_non_null(strstr(a.problem.detail, "folder"));
    }
    assert_int_equal(rlk_store_worker_scrub(s.worker, &(int64_t){0}, &(const char *){NULL}),
                     RLK_OK);
    assert_int_equal(next_answer(&s).problem.error, RLK_E_STORE_ERROR);
    assert_int_equal(mkdir(folder, 0700), 0);
    put(&s, 1);
    expect(&s, 1, RLK_OK);
    stage_close(&s);
}

static void a_file_that_others_hold_is_busy(void **state) {
    (void)state;
    stage s;
    stage_open(&s, 50);
    put(&s, 1);
    expect(&s, 1, RLK_OK);
    run_sql(&s, "BEGIN IMMEDIATE");
    put(&s, 2);
    expect(&s, 1, RLK_E_STORE_BUSY);
    run_sql(&s, "ROLLBACK");
    put(&s, 2);
    expect(&s, 1, RLK_OK);
    stage_close(&s);
}

static void a_commit_that_fails_fails_all_and_writes_nothing(void **state) {
    (void)state;
    stage s;
    stage_open(&s, LONG_MS);
    put(&s, 0);
    expect(&s, 1, RLK_OK);
    faulty_vfs.fail_at = faulty_vfs.writes + 1;
    faulty_vfs.for_ever = true;
    faulty_vfs.code = SQLITE_FULL;
    for (int n = 1; n <= 20; n++)
        put(&s, n);
    expect(&s, 20, RLK_E_STORE_ERROR);
    faulty_vfs.fail_at = 0;
    assert_int_equal(rows_in(&s), 1);
    stage_close(&s);
}

/* ---- Closing ---- */

static void closing_runs_what_was_started(void **state) {
    (void)state;
    stage s;
    int64_t ticket = 0;
    stage_open(&s, LONG_MS);
    put(&s, 0);
    for (int n = 1; n < MANY; n++)
        put(&s, n);
    rlk_store_worker_close(s.worker);
    rlk_store_worker_close(s.worker);
    assert_int_equal(try_start(&s, RLK_STORE_OP_GET, 1, &ticket), RLK_E_CLOSED);
    for (int64_t n = 1; n <= MANY; n++) {
        const rlk_store_result *r = rlk_store_worker_peek(s.worker, &ticket);
        assert_non_null(r);
        assert_int_equal(ticket, n);
        assert_true(r->yes);
        rlk_store_worker_drop(s.worker);
    }
    assert_null(rlk_store_worker_peek(s.worker, &ticket));
    rlk_store_worker_free(s.worker);
    assert_int_equal(try_open(&s, s.place.path, LONG_MS), RLK_OK);
    assert_int_equal(rows_in(&s), MANY);
    stage_close(&s);
}

/* Or else this test would take ten minutes. */
static void closing_does_not_wait_for_others(void **state) {
    (void)state;
    stage s;
    stage_open(&s, LONG_MS);
    put(&s, 0);
    expect(&s, 1, RLK_OK);
    have_it_wait(&s, MANY);
    for (int n = 1; n < MANY; n++)
        put(&s, n);
    rlk_store_worker_close(s.worker);
    expect(&s, MANY, RLK_E_STORE_BUSY);
    run_sql(&s, "ROLLBACK");
    stage_close(&s);
}

static void opening_does_not_wait_for_others_while_closing(void **state) {
    (void)state;
    stage s;
    stage_init(&s);
    assert_int_equal(try_open(&s, s.place.path, LONG_MS), RLK_OK);
    put(&s, 0);
    expect(&s, 1, RLK_OK);
    rlk_store_worker_free(s.worker);
    run_sql(&s, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE rows SET due_ms = 1");
    assert_int_equal(try_open(&s, s.place.path, LONG_MS), RLK_OK);
    put(&s, 1);
    rlk_store_worker_close(s.worker);
    expect(&s, 1, RLK_E_STORE_BUSY);
    run_sql(&s, "ROLLBACK");
    stage_close(&s);
}

static void freeing_with_jobs_out_leaves_nothing(void **state) {
    (void)state;
    stage s;
    stage_open(&s, LONG_MS);
    for (int n = 0; n < 20; n++)
        put(&s, n);
    start(&s, RLK_STORE_OP_FIND, 0);
    stage_close(&s);
}

/* ---- Memory and processes ---- */

static rlk_err use_worker(stage *s) {
    int64_t ticket;
    rlk_err e = try_open(s, s->place.path, LONG_MS);
    if (e == RLK_OK) e = try_start(s, RLK_STORE_OP_PUT_IF, 1, &ticket);
    if (e == RLK_OK) e = next_answer(s).problem.error;
    if (e == RLK_OK) e = try_start(s, RLK_STORE_OP_FIND, 1, &ticket);
    if (e == RLK_OK) e = next_answer(s).problem.error;
    if (e == RLK_OK) {
        const char *detail = NULL;
        e = rlk_store_worker_scrub(s->worker, &ticket, &detail);
    }
    if (e == RLK_OK) e = next_answer(s).problem.error;
    return e;
}

static void each_of_our_allocations_may_fail(void **state) {
    (void)state;
    rlk_err e = RLK_E_NO_MEMORY;
    for (size_t n = 1; e != RLK_OK; n++) {
        stage s;
        stage_init(&s);
        const size_t fail_at = s.heap.plain.allocations + n;
        s.heap.plain.fail_at = fail_at;
        e = use_worker(&s);
        assert_true(n < ATTEMPTS_MAX);
        assert_true(e == RLK_OK || e == RLK_E_NO_MEMORY);
        assert_int_equal(e == RLK_OK, fail_at > s.heap.plain.allocations);
        stage_close(&s);
    }
}

static bool child_finds_nothing(stage *s) {
    int64_t ticket;
    const bool good = try_start(s, RLK_STORE_OP_GET, 1, &ticket) == RLK_E_CLOSED &&
                      rlk_store_worker_peek(s->worker, &ticket) == NULL;
    rlk_store_worker_close(s->worker);
    rlk_store_worker_free(s->worker);
    rlk_wake_release(s->reader.wake);
    return good;
}

static void a_forked_child_finds_it_closed_and_does_no_harm(void **state) {
    (void)state;
    stage s;
    int status = -1;
    stage_open(&s, LONG_MS);
    put(&s, 1);
    peek(&s, &(int64_t){0});
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(child_finds_nothing(&s) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    expect(&s, 1, RLK_OK);
    put(&s, 2);
    expect(&s, 1, RLK_OK);
    assert_int_equal(rows_in(&s), 2);
    stage_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_done_in_their_order),
        cmocka_unit_test(what_waits_is_committed_together),
        cmocka_unit_test(a_job_that_fails_takes_no_other_along),
        cmocka_unit_test(scrubbing_comes_after_what_was_started_before),
        cmocka_unit_test(more_than_the_queue_holds_is_busy),
        cmocka_unit_test(a_wrong_config_is_told_at_once),
        cmocka_unit_test(a_file_that_cannot_be_opened_is_tried_again),
        cmocka_unit_test(a_file_that_others_hold_is_busy),
        cmocka_unit_test(a_commit_that_fails_fails_all_and_writes_nothing),
        cmocka_unit_test(closing_runs_what_was_started),
        cmocka_unit_test(closing_does_not_wait_for_others),
        cmocka_unit_test(opening_does_not_wait_for_others_while_closing),
        cmocka_unit_test(freeing_with_jobs_out_leaves_nothing),
        cmocka_unit_test(each_of_our_allocations_may_fail),
        cmocka_unit_test(a_forked_child_finds_it_closed_and_does_no_harm),
    };
    faulty_vfs_register();
    return cmocka_run_group_tests_name("store worker", tests, NULL, NULL);
}
