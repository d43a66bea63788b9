/* Statements and what each job runs; see bare_jobs.h. */
#include "bare_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_NUMBER = RLK_STORE_TEXT_COUNT,
    FIELD_COUNT = RLK_STORE_TEXT_COUNT + RLK_STORE_NUMBER_COUNT,
    PLAN_COUNT_MAX = 9
};

#define CLIENT 1 /* the only one in the file */
#define EVENT_KEEP_MS INT64_C(604800000)

_Noreturn void bare_die(const char *what, const char *detail) {
    fprintf(stderr, "bare_sqlite: %s: %s\n", what, detail);
    exit(EXIT_FAILURE);
}

static void check(bare_db *db, int code, const char *what) {
    if (code != SQLITE_OK) bare_die(what, sqlite3_errmsg(db->connection));
}

/* ---- Fields ---- */

int bare_field_named(const char *name, size_t len) {
    static const char *const names[] = {
#define FIELD_NAME(NAME, name) #name,
        RLK_STORE_TEXTS(FIELD_NAME) RLK_STORE_NUMBERS(FIELD_NAME)
#undef FIELD_NAME
    };
    return rlk_span_find((rlk_span){name, len}, names, FIELD_COUNT);
}

rlk_store_fields bare_no_fields(void) {
    rlk_store_fields none;
    memset(&none, 0, sizeof none);
    for (int i = 0; i < RLK_STORE_NUMBER_COUNT; i++)
        none.numbers[i] = RLK_STORE_NONE;
    return none;
}

/* ---- One statement ---- */

static const char *text_of(rlk_sql which) {
    static const char *const texts[] = {
#define SQL_TEXT(NAME, text) text,
        RLK_STORE_SQL(SQL_TEXT)
#undef SQL_TEXT
    };
    return texts[which];
}

static bare_statement *prepare(bare_db *db, rlk_sql which) {
    bare_statement *st = &db->statements[which];
    if (st->prepared != NULL) return st;
    check(db,
          sqlite3_prepare_v3(db->connection, text_of(which), -1, SQLITE_PREPARE_PERSISTENT,
                             &st->prepared, NULL),
          text_of(which));
    st->field_count = sqlite3_bind_parameter_count(st->prepared);
    if (st->field_count > BARE_FIELD_COUNT_MAX) bare_die("too many parameters", text_of(which));
    for (int i = 0; i < st->field_count; i++) {
        const char *name = sqlite3_bind_parameter_name(st->prepared, i + 1) + 1;
        st->fields[i] = bare_field_named(name, strlen(name));
        if (st->fields[i] < 0) bare_die("unknown parameter", name);
    }
    return st;
}

static int bind(sqlite3_stmt *st, int at, int field, const rlk_store_fields *in) {
    if (field >= FIRST_NUMBER) {
        const int64_t number = in->numbers[field - FIRST_NUMBER];
        return number == RLK_STORE_NONE ? sqlite3_bind_null(st, at)
                                        : sqlite3_bind_int64(st, at, number);
    }
    const rlk_span text = in->texts[field];
    if (text.ptr == NULL) return sqlite3_bind_null(st, at);
    if (field == RLK_STORE_DATA) {
        return sqlite3_bind_blob64(st, at, text.ptr, text.len, SQLITE_STATIC);
    }
    return sqlite3_bind_text64(st, at, text.ptr, text.len, SQLITE_STATIC, SQLITE_UTF8);
}

static void look_at_row(bare_db *db, sqlite3_stmt *st) {
    const int count = sqlite3_column_count(st);
    for (int i = 0; i < count; i++) {
        if (sqlite3_column_type(st, i) == SQLITE_INTEGER)
            db->seen_number = sqlite3_column_int64(st, i);
        else if (sqlite3_column_blob(st, i) != NULL)
            db->seen_bytes += sqlite3_column_bytes(st, i);
    }
}

static void run_statement(bare_db *db, rlk_sql which, rlk_store_fields *fields) {
    const bare_statement *st = prepare(db, which);
    int code;
    db->seen_number = 0;
    for (int i = 0; i < st->field_count; i++)
        check(db, bind(st->prepared, i + 1, st->fields[i], fields), "bind");
    while ((code = sqlite3_step(st->prepared)) == SQLITE_ROW) {
        look_at_row(db, st->prepared);
    }
    if (code != SQLITE_DONE) bare_die(text_of(which), sqlite3_errmsg(db->connection));
    check(db, sqlite3_reset(st->prepared), text_of(which));
}

/* ---- Jobs ---- */

typedef struct plan {
    rlk_sql list[PLAN_COUNT_MAX]; /* ends with RLK_SQL_COUNT */
} plan;

#define PLAN(...) ((plan){{__VA_ARGS__, RLK_SQL_COUNT}})
#define WRITE(...) PLAN(RLK_SQL_SAVEPOINT_, __VA_ARGS__, RLK_SQL_RELEASE_)

static plan plan_put(const rlk_store_fields *f) {
    if (f->numbers[RLK_STORE_VERSION] == 0) {
        return WRITE(RLK_SQL_ROW_VERSION_, RLK_SQL_CHANGE_NEXT_, RLK_SQL_ROW_ADD_);
    }
    if (rlk_span_is(f->texts[RLK_STORE_STATE], "unclaimed")) {
        return WRITE(RLK_SQL_ROW_VERSION_, RLK_SQL_CHANGE_NEXT_, RLK_SQL_ROW_PUT_DATA_,
                     RLK_SQL_ROW_PUT_DUE_, RLK_SQL_ROW_PUT_, RLK_SQL_REMOVED_DROP_);
    }
    return WRITE(RLK_SQL_ROW_VERSION_, RLK_SQL_CHANGE_NEXT_, RLK_SQL_ROW_PUT_DATA_,
                 RLK_SQL_ROW_PUT_DUE_, RLK_SQL_ROW_PUT_);
}

static plan plan_find(const rlk_store_fields *f) {
    if (f->texts[RLK_STORE_ACCOUNT].ptr != NULL) return PLAN(RLK_SQL_FIND_ACCOUNT_);
    if (f->texts[RLK_STORE_USER].ptr != NULL) return PLAN(RLK_SQL_FIND_USER_);
    return f->texts[RLK_STORE_STATE].ptr != NULL ? PLAN(RLK_SQL_FIND_STATE_) : PLAN(RLK_SQL_FIND_);
}

static plan plan_unclaimed(const rlk_store_fields *f) {
    if (f->numbers[RLK_STORE_CHANGE] == 0)
        return PLAN(RLK_SQL_UNCLAIMED_, RLK_SQL_REMOVED_, RLK_SQL_CHANGE_);
    return PLAN(RLK_SQL_UNCLAIMED_, RLK_SQL_LEFT_, RLK_SQL_REMOVED_, RLK_SQL_CHANGE_);
}

/* What store_jobs.c runs when a row has the version that was read, a lease is free, no event waits,
 * what is to be remembered is new and what is asked of the stamp stands there. Ops that no
 * benchmark uses are unknown here. */
static plan plan_of(const rlk_store_job *job) {
    switch ((int)job->op) {
    case RLK_STORE_OP_GET:
        return PLAN(RLK_SQL_ROW_);
    case RLK_STORE_OP_PUT_IF:
        return plan_put(&job->fields);
    case RLK_STORE_OP_FIND:
        return plan_find(&job->fields);
    case RLK_STORE_OP_DUE:
        return PLAN(RLK_SQL_DUE_, RLK_SQL_DUE_MORE_, RLK_SQL_DUE_NEXT_);
    case RLK_STORE_OP_UNCLAIMED:
        return plan_unclaimed(&job->fields);
    case RLK_STORE_OP_REMEMBER:
        return WRITE(RLK_SQL_SEEN_, RLK_SQL_SEEN_PUT_);
    case RLK_STORE_OP_META_GET:
        return PLAN(RLK_SQL_META_);
    case RLK_STORE_OP_LEASE:
        return WRITE(RLK_SQL_LEASE_, RLK_SQL_LEASE_PUT_);
    case RLK_STORE_OP_RELEASE:
        return WRITE(RLK_SQL_LEASE_DROP_);
    case RLK_STORE_OP_EVENT_TAKE:
        return WRITE(RLK_SQL_EVENT_TAKE_, RLK_SQL_EVENT_NEXT_);
    case RLK_STORE_OP_PRUNE:
        return WRITE(RLK_SQL_PRUNE_EVENTS_, RLK_SQL_PRUNE_SEEN_, RLK_SQL_PRUNE_REMOVED_,
                     RLK_SQL_PRUNE_LEASES_);
    case RLK_STORE_OP_META_ADD:
        return WRITE(RLK_SQL_META_);
    default:
        bare_die("no statements are known for this op", "see plan_of in bare_jobs.c");
    }
}

/* Of the ways to put a row the first that finds it is enough; one that was changed since it was
 * read is not put at all. */
static bool is_skipped(const bare_db *db, const rlk_store_fields *f, rlk_sql last, rlk_sql next) {
    if (next == RLK_SQL_RELEASE_) return false;
    if (last == RLK_SQL_ROW_VERSION_) return db->seen_number != f->numbers[RLK_STORE_VERSION];
    return (next == RLK_SQL_ROW_PUT_DUE_ || next == RLK_SQL_ROW_PUT_) &&
           sqlite3_changes(db->connection) > 0;
}

static void run_job(bare_db *db, rlk_store_job *job) {
    const plan steps = plan_of(job);
    rlk_sql last = RLK_SQL_BEGIN_;
    for (int at = 0; steps.list[at] != RLK_SQL_COUNT; at++) {
        if (is_skipped(db, &job->fields, last, steps.list[at])) continue;
        last = steps.list[at];
        run_statement(db, last, &job->fields);
        if (last == RLK_SQL_CHANGE_NEXT_) job->fields.numbers[RLK_STORE_CHANGE] = db->seen_number;
    }
}

/* What the store adds to a job's fields by itself. */
static void complete(rlk_store_job *job) {
    int64_t *numbers = job->fields.numbers;
    numbers[RLK_STORE_CLIENT] = CLIENT;
    if (job->op == RLK_STORE_OP_PRUNE)
        numbers[RLK_STORE_UNTIL_MS] = numbers[RLK_STORE_NOW_MS] - EVENT_KEEP_MS;
    else if (numbers[RLK_STORE_TTL_MS] != RLK_STORE_NONE)
        numbers[RLK_STORE_UNTIL_MS] = numbers[RLK_STORE_BOOT_MS] + numbers[RLK_STORE_TTL_MS];
    if (job->op != RLK_STORE_OP_FIND) return;
    if (job->fields.texts[RLK_STORE_AFTER].ptr == NULL)
        job->fields.texts[RLK_STORE_AFTER] = (rlk_span){"", 0};
    if (numbers[RLK_STORE_LIMIT] == RLK_STORE_NONE) numbers[RLK_STORE_LIMIT] = -1;
}

static bool writes(rlk_store_op op) {
    static const bool list[] = {
#define OP_WRITES(NAME, name, writes) writes,
        RLK_STORE_OPS(OP_WRITES)
#undef OP_WRITES
    };
    return list[op];
}

static bool any_writes(const rlk_store_job *jobs, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (writes(jobs[i].op)) return true;
    return false;
}

void bare_do(bare_db *db, rlk_store_job *job) {
    complete(job);
    run_job(db, job);
}

void bare_run(bare_db *db, rlk_store_job *jobs, size_t count) {
    rlk_store_fields none = bare_no_fields();
    run_statement(db, any_writes(jobs, count) ? RLK_SQL_BEGIN_IMMEDIATE_ : RLK_SQL_BEGIN_, &none);
    for (size_t i = 0; i < count; i++) {
        bare_do(db, &jobs[i]);
    }
    run_statement(db, RLK_SQL_COMMIT_, &none);
}

/* ---- The connection ---- */

void bare_open(bare_db *db, const char *path) {
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    memset(db, 0, sizeof *db);
    if (sqlite3_open_v2(path, &db->connection, flags, NULL) != SQLITE_OK) bare_die("open", path);
    check(db, sqlite3_exec(db->connection, RLK_STORE_SETTINGS, NULL, NULL, NULL), "settings");
    check(db, sqlite3_exec(db->connection, "PRAGMA journal_mode=WAL", NULL, NULL, NULL), "WAL");
}

void bare_close(bare_db *db) {
    for (int i = 0; i < RLK_SQL_COUNT; i++)
        (void)sqlite3_finalize(db->statements[i].prepared);
    check(db, sqlite3_close(db->connection), "close");
    db->connection = NULL;
}
