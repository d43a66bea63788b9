/* The SQLite store's C interface, where Lua does not reach: allocations, writes and syncs failing
 * in turn, migrations, and SQLite's own plan for every statement. What the store does is tested in
 * store_spec.lua and store_sqlite_spec.lua. */
#define _XOPEN_SOURCE 700

#include "support.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faulty_vfs.h"
#include "io/store_db.h"
#include "io/store_schema.h"
#include "io/store_sql.h"
#include "place.h"

#define DATA "d4ta-d4ta-d4ta"

enum { ROWS = 8, ROUNDS = 3, ATTEMPTS_MAX = 2000 };

static rlk_store_config config_of(const place *p) {
    return (rlk_store_config){
        .path = p->path, .client_id = LITERAL("app"), .busy_ms = 1000, .vfs = "faulty"};
}

/* ---- Jobs ---- */

static rlk_store_job job_of(rlk_store_op op, const char *key) {
    rlk_store_job job = {op, rlk_store_no_fields()};
    if (key != NULL) job.fields.texts[RLK_STORE_KEY] = span_of(key);
    job.fields.numbers[RLK_STORE_NOW_MS] = 1000;
    return job;
}

static rlk_store_job put_of(const char *key) {
    rlk_store_job job = job_of(RLK_STORE_OP_PUT_IF, key);
    job.fields.texts[RLK_STORE_STATE] = LITERAL("unclaimed");
    job.fields.texts[RLK_STORE_DATA] = LITERAL(DATA);
    job.fields.numbers[RLK_STORE_VERSION] = 0;
    return job;
}

/* Runs one job; the entries it gave, or what went wrong. */
static rlk_err run_one(rlk_store *s, rlk_store_job job, size_t *entries) {
    rlk_store_result r;
    rlk_store_fields entry;
    size_t at = 0, count = 0;
    rlk_store_run(s, &job, &r, 1);
    const rlk_err e = r.problem.error;
    while (rlk_store_next(&r, &at, &entry))
        count++;
    if (entries != NULL) *entries = count;
    rlk_store_result_deinit(&r);
    return e;
}

static const char *const keys[ROWS] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};

/* Puts all keys at once; how many were told to be stored. Either all or none may be. */
static rlk_err put_batch(rlk_store *s, size_t first, size_t count, size_t *stored) {
    rlk_store_job jobs[ROWS] = {{0}};
    rlk_store_result results[ROWS];
    rlk_err e = RLK_OK;
    *stored = 0;
    for (size_t i = 0; i < count; i++)
        jobs[i] = put_of(keys[first + i]);
    rlk_store_run(s, jobs, results, count);
    for (size_t i = 0; i < count; i++) {
        if (results[i].problem.error != RLK_OK)
            e = results[i].problem.error;
        else if (results[i].yes)
            ++*stored;
        rlk_store_result_deinit(&results[i]);
    }
    return e;
}

static rlk_store *open_store(const place *p) {
    const rlk_alloc alloc = rlk_alloc_default();
    rlk_store_config config = config_of(p);
    rlk_store *s = NULL;
    config.busy_ms = 50;
    assert_int_equal(rlk_store_open(&s, &alloc, &config).error, RLK_OK);
    return s;
}

/* Every row that is there must be whole. */
static size_t rows_in(const place *p) {
    rlk_store *s = open_store(p);
    size_t rows = 0;
    assert_int_equal(run_one(s, job_of(RLK_STORE_OP_FIND, NULL), &rows), RLK_OK);
    rlk_store_close(s);
    return rows;
}

/* ---- Memory ---- */

static rlk_err use_store(const place *p, const rlk_alloc *alloc) {
    const rlk_store_config config = config_of(p);
    rlk_store *s = NULL;
    size_t stored = 0, rows = 0;
    rlk_err e = rlk_store_open(&s, alloc, &config).error;
    assert_int_equal(s != NULL, e == RLK_OK);
    if (e == RLK_OK) e = put_batch(s, 0, 2, &stored);
    if (e == RLK_OK) e = run_one(s, job_of(RLK_STORE_OP_FIND, NULL), &rows);
    if (e == RLK_OK) e = run_one(s, job_of(RLK_STORE_OP_DELETE, keys[0]), NULL);
    if (e == RLK_OK) e = run_one(s, job_of(RLK_STORE_OP_DELETE, keys[1]), NULL);
    if (e == RLK_OK) assert_int_equal(rows, 2);
    rlk_store_close(s);
    return e;
}

static void each_of_our_allocations_may_fail(void **state) {
    (void)state;
    rlk_err e = RLK_E_NO_MEMORY;
    for (size_t fail_at = 1; e != RLK_OK; fail_at++) {
        strict_heap heap = {.fail_at = fail_at};
        const rlk_alloc alloc = strict_allocator(&heap);
        place p = place_arrive();
        e = use_store(&p, &alloc);
        assert_int_equal(heap.blocks_out, 0);
        assert_true(e == RLK_OK || e == RLK_E_NO_MEMORY);
        assert_int_equal(e == RLK_OK, fail_at > heap.allocations);
        place_leave(&p);
    }
}

/* SQLite's allocator, one of whose allocations fails. */
static sqlite3_mem_methods plain_memory;
static size_t sqlite_allocations, sqlite_fail_at;

static void *failing_malloc(int bytes) {
    if (++sqlite_allocations == sqlite_fail_at) return NULL;
    return plain_memory.xMalloc(bytes);
}

static void *failing_realloc(void *ptr, int bytes) {
    if (++sqlite_allocations == sqlite_fail_at) return NULL;
    return plain_memory.xRealloc(ptr, bytes);
}

static void inject_memory(void) {
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain_memory), SQLITE_OK);
    sqlite3_mem_methods memory = plain_memory;
    memory.xMalloc = failing_malloc;
    memory.xRealloc = failing_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory), SQLITE_OK);
}

/* Some of SQLite's allocations may fail without harm. */
static void each_of_sqlites_allocations_may_fail(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    size_t failures = 0;
    sqlite_fail_at = 0;
    for (bool through = false; !through; sqlite_fail_at += 1 + sqlite_fail_at / 50) {
        place p = place_arrive();
        sqlite_allocations = 0;
        if (sqlite_fail_at == 0) sqlite_fail_at = 1;
        const rlk_err e = use_store(&p, &alloc);
        assert_true(e == RLK_OK || e == RLK_E_NO_MEMORY);
        failures += e != RLK_OK;
        through = sqlite_fail_at > sqlite_allocations;
        if (through) assert_int_equal(e, RLK_OK);
        const size_t fail_at = sqlite_fail_at;
        sqlite_fail_at = 0;
        assert_true(rows_in(&p) <= 2);
        sqlite_fail_at = fail_at;
        place_leave(&p);
    }
    sqlite_fail_at = 0;
    assert_true(failures > 10);
}

/* ---- The disk ---- */

static void heal(void) {
    faulty_vfs = (faulty_state){0};
}

static void break_at(int fail_at, int code, bool for_ever) {
    faulty_vfs = (faulty_state){.fail_at = fail_at, .code = code, .for_ever = for_ever};
}

/* Opens, puts three batches, closes; how many rows were told to be stored. */
static rlk_err fill(const place *p, size_t *told) {
    const rlk_alloc alloc = rlk_alloc_default();
    const rlk_store_config config = config_of(p);
    rlk_store *s = NULL;
    rlk_err e = rlk_store_open(&s, &alloc, &config).error;
    *told = 0;
    for (size_t i = 0; s != NULL && i < ROUNDS; i++) {
        size_t stored = 0;
        const rlk_err problem = put_batch(s, 2 * i, 2, &stored);
        assert_true(stored == 0 || stored == 2);
        assert_int_equal(stored == 0, problem != RLK_OK);
        *told += stored;
        if (problem != RLK_OK) e = problem;
    }
    rlk_store_close(s);
    return e;
}

static void survive_failing_writes(int code, bool for_ever) {
    int failures = 0;
    for (int fail_at = 1; fail_at < ATTEMPTS_MAX; fail_at++) {
        place p = place_arrive();
        size_t told = 0;
        break_at(fail_at, code, for_ever);
        const rlk_err e = fill(&p, &told);
        const bool through = fail_at > faulty_vfs.writes;
        heal();
        assert_true(e == RLK_OK || e == RLK_E_STORE_ERROR);
        const size_t rows = rows_in(&p);
        assert_true(rows >= told && rows % 2 == 0);
        failures += e != RLK_OK;
        place_leave(&p);
        if (through) {
            assert_int_equal(told, 2 * ROUNDS);
            break;
        }
    }
    assert_true(failures > 10);
}

static void a_full_disk_loses_nothing(void **state) {
    (void)state;
    survive_failing_writes(SQLITE_FULL, true);
}

static void one_failing_write_loses_nothing(void **state) {
    (void)state;
    survive_failing_writes(SQLITE_IOERR_WRITE, false);
}

static void a_store_goes_on_when_the_disk_does(void **state) {
    (void)state;
    place p = place_arrive();
    rlk_store *s = open_store(&p);
    size_t stored = 0;
    break_at(1, SQLITE_FULL, true);
    assert_int_equal(put_batch(s, 0, 2, &stored), RLK_E_STORE_ERROR);
    assert_int_equal(run_one(s, job_of(RLK_STORE_OP_GET, keys[0]), &stored), RLK_OK);
    assert_int_equal(stored, 0);
    heal();
    assert_int_equal(put_batch(s, 0, 2, &stored), RLK_OK);
    assert_int_equal(stored, 2);
    rlk_store_close(s);
    assert_int_equal(rows_in(&p), 2);
    place_leave(&p);
}

static void a_read_only_file_is_refused(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    place p = place_arrive();
    const rlk_store_config config = config_of(&p);
    rlk_store *s = NULL;
    assert_int_equal(rows_in(&p), 0);
    faulty_vfs = (faulty_state){.read_only = true};
    const rlk_store_problem problem = rlk_store_open(&s, &alloc, &config);
    const int writes = faulty_vfs.writes;
    heal();
    assert_null(s);
    assert_int_equal(problem.error, RLK_E_STORE_ERROR);
    assert_int_equal(writes, 0);
    place_leave(&p);
}

/* ---- Batches ---- */

static void a_job_that_fails_takes_nothing_with_it(void **state) {
    (void)state;
    place p = place_arrive();
    rlk_store *s = open_store(&p);
    rlk_store_job jobs[3] = {put_of("a"), put_of("b"), put_of("c")};
    rlk_store_result results[3];
    jobs[1].fields.texts[RLK_STORE_DATA] = (rlk_span){NULL, 0};
    rlk_store_run(s, jobs, results, 3);
    assert_int_equal(results[0].problem.error, RLK_OK);
    assert_int_equal(results[1].problem.error, RLK_E_INVALID_REQUEST);
    assert_int_equal(results[2].problem.error, RLK_OK);
    for (size_t i = 0; i < 3; i++)
        rlk_store_result_deinit(&results[i]);
    rlk_store_close(s);
    assert_int_equal(rows_in(&p), 2);
    place_leave(&p);
}

static void a_job_without_its_fields_is_refused(void **state) {
    (void)state;
    place p = place_arrive();
    rlk_store *s = open_store(&p);
    for (int op = 0; op < RLK_STORE_OP_COUNT; op++) {
        const rlk_store_job job = {(rlk_store_op)op, rlk_store_no_fields()};
        const rlk_err e = run_one(s, job, NULL);
        const bool needs_none =
            op == RLK_STORE_OP_FIND || op == RLK_STORE_OP_LEAVE || op == RLK_STORE_OP_TALLY;
        assert_int_equal(e, needs_none ? RLK_OK : RLK_E_INVALID_REQUEST);
    }
    rlk_store_close(s);
    place_leave(&p);
}

/* ---- Others ---- */

static sqlite3 *connect(const place *p) {
    sqlite3 *connection = NULL;
    assert_int_equal(sqlite3_open(p->path, &connection), SQLITE_OK);
    return connection;
}

static void whoever_waits_too_long_is_told(void **state) {
    (void)state;
    place p = place_arrive();
    rlk_store *s = open_store(&p);
    sqlite3 *other = connect(&p);
    size_t stored = 0;
    assert_int_equal(rlk_db_execute(other, "BEGIN IMMEDIATE"), SQLITE_OK);
    assert_int_equal(put_batch(s, 0, 2, &stored), RLK_E_STORE_BUSY);
    assert_int_equal(run_one(s, job_of(RLK_STORE_OP_GET, keys[0]), &stored), RLK_OK); /* no lock */
    assert_int_equal(rlk_db_execute(other, "COMMIT"), SQLITE_OK);
    assert_int_equal(put_batch(s, 0, 2, &stored), RLK_OK);
    sqlite3_close(other);
    rlk_store_close(s);
    place_leave(&p);
}

/* Both go on with the file; whatever the child inherited, it opens anew. */
static void parent_and_child_share_the_file(void **state) {
    (void)state;
    place p = place_arrive();
    rlk_store *s = open_store(&p);
    size_t stored = 0;
    int status = -1;
    assert_int_equal(put_batch(s, 0, 2, &stored), RLK_OK);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const bool good = put_batch(s, 2, 2, &stored) == RLK_OK && stored == 2;
        rlk_store_close(s);
        _exit(good ? 0 : 1);
    }
    assert_int_equal(put_batch(s, 4, 2, &stored), RLK_OK);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(put_batch(s, 6, 2, &stored), RLK_OK);
    rlk_store_close(s);
    assert_int_equal(rows_in(&p), ROWS);
    place_leave(&p);
}

/* An inherited store that the child only closes leaves the parent's files alone. */
static void a_child_that_closes_touches_nothing(void **state) {
    (void)state;
    place p = place_arrive();
    rlk_store *s = open_store(&p);
    size_t stored = 0;
    int status = -1;
    assert_int_equal(put_batch(s, 0, 2, &stored), RLK_OK);
    faulty_vfs.writes = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        rlk_store_close(s);
        _exit(faulty_vfs.writes);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(put_batch(s, 2, 2, &stored), RLK_OK);
    rlk_store_close(s);
    assert_int_equal(rows_in(&p), 4);
    place_leave(&p);
}

/* ---- What a write costs ---- */

enum { WAL_HEADER_BYTES = 32, FRAME_BYTES = 24 + 4096 };

static int64_t frames_in_log(const place *p) {
    char path[96];
    struct stat st;
    snprintf(path, sizeof path, "%s-wal", p->path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal((st.st_size - WAL_HEADER_BYTES) % FRAME_BYTES, 0);
    return (st.st_size - WAL_HEADER_BYTES) / FRAME_BYTES;
}

/* How many pages are written when the row of `job`, which has this version, is put again. */
static int64_t pages_of_put(const place *p, rlk_store *s, rlk_store_job *job, int64_t version) {
    const int64_t before = frames_in_log(p);
    job->fields.numbers[RLK_STORE_VERSION] = version;
    assert_int_equal(run_one(s, *job, NULL), RLK_OK);
    return frames_in_log(p) - before;
}

/* The row, the change number, and those indexes only whose columns have another value. */
static void a_row_that_changes_little_costs_little(void **state) {
    (void)state;
    enum { ROW_AND_CHANGE = 2 };
    place p = place_arrive();
    rlk_store *s = open_store(&p);
    rlk_store_job job = put_of("k0");
    job.fields.texts[RLK_STORE_KIND] = LITERAL("grant");
    job.fields.texts[RLK_STORE_STATE] = LITERAL("completed");
    job.fields.texts[RLK_STORE_USER] = LITERAL("u");
    job.fields.texts[RLK_STORE_ACCOUNT] = LITERAL("a");
    job.fields.numbers[RLK_STORE_DUE_MS] = 10;
    assert_int_equal(run_one(s, job, NULL), RLK_OK);
    job.fields.texts[RLK_STORE_DATA] = LITERAL("other");
    assert_int_equal(pages_of_put(&p, s, &job, 1), ROW_AND_CHANGE);
    job.fields.numbers[RLK_STORE_DUE_MS] = 20;
    assert_int_equal(pages_of_put(&p, s, &job, 2), ROW_AND_CHANGE + 1);
    job.fields.texts[RLK_STORE_USER] = (rlk_span){NULL, 0};
    assert_true(pages_of_put(&p, s, &job, 3) > ROW_AND_CHANGE + 1);
    rlk_store_close(s);
    place_leave(&p);
}

/* ---- Schema ---- */

static rlk_err apply(sqlite3 *connection, const char *const *steps, int version) {
    return rlk_schema_apply(connection, (rlk_schema){steps, version}).error;
}

static int64_t version_of(sqlite3 *connection) {
    int64_t version = -1;
    assert_int_equal(rlk_db_number(connection, "PRAGMA user_version", &version), SQLITE_OK);
    return version;
}

static void migrations_climb_in_order(void **state) {
    (void)state;
    static const char *const steps[] = {"CREATE TABLE a (x)", "INSERT INTO a VALUES (1)",
                                        "UPDATE a SET x = x + 1", "CREATE TABLE a (again)"};
    place p = place_arrive();
    sqlite3 *c = connect(&p);
    int64_t x = 0;
    assert_int_equal(apply(c, steps, 1), RLK_OK);
    assert_int_equal(apply(c, steps, 3), RLK_OK);
    assert_int_equal(apply(c, steps, 3), RLK_OK);
    assert_int_equal(version_of(c), 3);
    assert_int_equal(rlk_db_number(c, "SELECT x FROM a", &x), SQLITE_OK);
    assert_int_equal(x, 2);
    assert_int_equal(apply(c, steps, 4), RLK_E_STORE_CORRUPT); /* and nothing of it stays */
    assert_int_equal(version_of(c), 3);
    assert_int_equal(apply(c, steps, 2), RLK_E_STORE_ERROR); /* newer than this one */
    sqlite3_close(c);
    place_leave(&p);
}

static void every_older_file_is_brought_up(void **state) {
    (void)state;
    const rlk_schema schema = rlk_schema_current();
    for (int version = 1; version < schema.version; version++) {
        place p = place_arrive();
        sqlite3 *c = connect(&p);
        assert_int_equal(apply(c, schema.steps, version), RLK_OK);
        assert_int_equal(rows_in(&p), 0);
        assert_int_equal(version_of(c), schema.version);
        sqlite3_close(c);
        place_leave(&p);
    }
}

static void strangers_are_left_alone(void **state) {
    (void)state;
    const rlk_schema schema = rlk_schema_current();
    place p = place_arrive();
    sqlite3 *c = connect(&p);
    assert_int_equal(rlk_db_execute(c, "CREATE TABLE theirs (x)"), SQLITE_OK);
    assert_int_equal(rlk_schema_apply(c, schema).error, RLK_E_STORE_ERROR);
    assert_int_equal(version_of(c), 0);
    sqlite3_close(c);
    place_leave(&p);
}

static bool is_query(const char *text) {
    return strncmp(text, "SELECT", 6) == 0 || strncmp(text, "UPDATE", 6) == 0 ||
           strncmp(text, "DELETE", 6) == 0;
}

/* SQLite says SCAN for whatever it reads from one end to the other. */
static void check_plan(sqlite3 *c, const char *text) {
    char sql[2048];
    sqlite3_stmt *st = NULL;
    snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", text);
    assert_int_equal(sqlite3_prepare_v2(c, sql, -1, &st, NULL), SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW) {
        const char *step = (const char *)sqlite3_column_text(st, 3);
        if (strstr(step, "SCAN") != NULL) fail_msg("%s\n%s", text, step);
    }
    sqlite3_finalize(st);
}

static void no_statement_reads_a_whole_table(void **state) {
    (void)state;
    place p = place_arrive();
    assert_int_equal(rows_in(&p), 0);
    sqlite3 *c = connect(&p);
    int checked = 0;
    for (int i = 0; i < RLK_SQL_COUNT; i++) {
        if (!is_query(rlk_sql_text(i))) continue;
        check_plan(c, rlk_sql_text(i));
        checked++;
    }
    assert_true(checked > 25);
    sqlite3_close(c);
    place_leave(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_our_allocations_may_fail),
        cmocka_unit_test(each_of_sqlites_allocations_may_fail),
        cmocka_unit_test(a_full_disk_loses_nothing),
        cmocka_unit_test(one_failing_write_loses_nothing),
        cmocka_unit_test(a_store_goes_on_when_the_disk_does),
        cmocka_unit_test(a_read_only_file_is_refused),
        cmocka_unit_test(a_job_that_fails_takes_nothing_with_it),
        cmocka_unit_test(a_job_without_its_fields_is_refused),
        cmocka_unit_test(whoever_waits_too_long_is_told),
        cmocka_unit_test(parent_and_child_share_the_file),
        cmocka_unit_test(a_child_that_closes_touches_nothing),
        cmocka_unit_test(a_row_that_changes_little_costs_little),
        cmocka_unit_test(migrations_climb_in_order),
        cmocka_unit_test(every_older_file_is_brought_up),
        cmocka_unit_test(strangers_are_left_alone),
        cmocka_unit_test(no_statement_reads_a_whole_table),
    };
    inject_memory();
    faulty_vfs_register();
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
