/* The baseline of `make bench`: SQLite alone, doing what ringlink's store does.
 *
 * It works on a copy of a file that ringlink has filled, with the store's own settings and texts of
 * statements, and runs the same statements in the same transactions, savepoints included, over rows
 * of the same bytes: it copies rows that ringlink has added, and does again what a log of
 * ringlink's jobs says. Statements are prepared once, as the store does. It leaves out everything
 * else: sealing and hashing, encoding rows, copying results out, checking files and versions, Lua,
 * the client. See bare_jobs.h.
 *
 * It is told what to do by lines on its input and answers each with a line of name=value words;
 * took_s counts what SQLite did and nothing of how this program came by its jobs. Whatever fails
 * ends it.
 *
 *   open PATH                   took_s
 *   copy SOURCE COUNT BATCH     so many rows of another file that this one lacks: took_s
 *   replay LOG                  took_s, jobs, batches
 *   select LOG [BYTES]          of that log only the rows it gets, each by its key and by itself;
 *                               with BYTES, opens a sealed text of that length for each: took_s,
 * rows sums                        rows, data_bytes, due_ms: what both sides must agree on close
 * took_s */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bare_jobs.h"
#include "bare_log.h"
#include "bare_seal.h"

enum { LINE_BYTES = 4096, WORDS_MAX = 8, COPY_BYTES = 4 << 20 };

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

typedef struct arguments {
    int count;
    const char *words[WORDS_MAX];
} arguments;

static const char *word(const arguments *a, int at) {
    if (at >= a->count) bare_die(a->words[0], "something is missing");
    return a->words[at];
}

static size_t number(const arguments *a, int at) {
    return strtoull(word(a, at), NULL, 10);
}

/* ---- Copying ---- */

#define COPIED "SELECT id, key, kind, state, user, account, data, due_ms FROM rows "
#define COPIED_RANGE "WHERE id > ?1 ORDER BY id LIMIT ?2"

typedef struct copy {
    sqlite3 *source;
    sqlite3_stmt *rows;
    int64_t last;
    size_t used;
    rlk_store_job jobs[RLK_STORE_BATCH_COUNT_MAX];
    char texts[COPY_BYTES];
} copy;

static rlk_span keep(copy *c, int column) {
    const void *bytes = sqlite3_column_blob(c->rows, column);
    const size_t len = (size_t)sqlite3_column_bytes(c->rows, column);
    char *to = c->texts + c->used;
    if (bytes == NULL) return (rlk_span){NULL, 0};
    if (len > sizeof c->texts - c->used) bare_die("copy", "rows are too large");
    memcpy(to, bytes, len);
    c->used += len;
    return (rlk_span){to, len};
}

static void read_row(copy *c, rlk_store_job *job) {
    static const int columns[] = {RLK_STORE_KEY,  RLK_STORE_KIND,    RLK_STORE_STATE,
                                  RLK_STORE_USER, RLK_STORE_ACCOUNT, RLK_STORE_DATA};
    const int count = sizeof columns / sizeof columns[0];
    *job = (rlk_store_job){RLK_STORE_OP_PUT_IF, bare_no_fields()};
    for (int i = 0; i < count; i++)
        job->fields.texts[columns[i]] = keep(c, i + 1);
    job->fields.numbers[RLK_STORE_VERSION] = 0;
    if (sqlite3_column_type(c->rows, count + 1) != SQLITE_NULL)
        job->fields.numbers[RLK_STORE_DUE_MS] = sqlite3_column_int64(c->rows, count + 1);
    c->last = sqlite3_column_int64(c->rows, 0);
}

static size_t read_rows(copy *c, size_t count) {
    size_t read = 0;
    c->used = 0;
    (void)sqlite3_bind_int64(c->rows, 1, c->last);
    (void)sqlite3_bind_int64(c->rows, 2, (int64_t)count);
    while (sqlite3_step(c->rows) == SQLITE_ROW)
        read_row(c, &c->jobs[read++]);
    if (sqlite3_reset(c->rows) != SQLITE_OK) bare_die("copy", sqlite3_errmsg(c->source));
    return read;
}

static int64_t last_row(bare_db *db) {
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db->connection, "SELECT ifnull(max(id), 0) FROM rows", -1, &st, NULL) !=
            SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW) {
        bare_die("copy", sqlite3_errmsg(db->connection));
    }
    const int64_t last = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    return last;
}

static copy *begin_copy(const char *path, int64_t after) {
    copy *c = calloc(1, sizeof *c);
    if (c == NULL) bare_die("copy", "out of memory");
    c->last = after;
    if (sqlite3_open_v2(path, &c->source, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(c->source, COPIED COPIED_RANGE, -1, &c->rows, NULL) != SQLITE_OK) {
        bare_die("copy", path);
    }
    return c;
}

static void end_copy(copy *c) {
    (void)sqlite3_finalize(c->rows);
    (void)sqlite3_close(c->source);
    free(c);
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static void copy_rows(bare_db *db, const arguments *a) {
    copy *c = begin_copy(word(a, 1), last_row(db));
    const size_t batch = smaller(number(a, 3), RLK_STORE_BATCH_COUNT_MAX);
    size_t left = number(a, 2), read;
    double took_s = 0;
    while (left > 0 && (read = read_rows(c, smaller(left, batch))) > 0) {
        const double began_s = now_s();
        bare_run(db, c->jobs, read);
        took_s += now_s() - began_s;
        left -= read;
    }
    printf("took_s=%.9f\n", took_s);
    end_copy(c);
}

/* ---- What a log says ---- */

static void replay(bare_db *db, const arguments *a) {
    static bare_log log;
    size_t jobs = 0, batches = 0;
    double took_s = 0;
    bare_log_open(&log, word(a, 1));
    while (bare_log_next(&log)) {
        const double began_s = now_s();
        size_t from = 0;
        for (size_t i = 0; i < log.batch_count; from = log.batch_ends[i++])
            bare_run(db, log.jobs + from, log.batch_ends[i] - from);
        took_s += now_s() - began_s;
        jobs += log.job_count;
        batches += log.batch_count;
    }
    bare_log_close(&log);
    printf("took_s=%.9f jobs=%zu batches=%zu\n", took_s, jobs, batches);
}

static bool reads_rows(const rlk_store_job *job) {
    return job->op == RLK_STORE_OP_GET || job->op == RLK_STORE_OP_FIND;
}

static size_t select_piece(bare_db *db, bare_log *log, bare_seal *seal) {
    size_t selects = 0;
    for (size_t i = 0; i < log->job_count; i++) {
        if (!reads_rows(&log->jobs[i])) continue;
        bare_do(db, &log->jobs[i]);
        if (seal != NULL) bare_seal_open(seal);
        selects++;
    }
    return selects;
}

static void select_rows(bare_db *db, const arguments *a) {
    static bare_log log;
    bare_seal *seal = a->count > 2 ? bare_seal_new(number(a, 2)) : NULL;
    size_t selects = 0;
    double took_s = 0;
    bare_log_open(&log, word(a, 1));
    while (bare_log_next(&log)) {
        const double began_s = now_s();
        selects += select_piece(db, &log, seal);
        took_s += now_s() - began_s;
    }
    bare_log_close(&log);
    bare_seal_free(seal);
    printf("took_s=%.9f selects=%zu\n", took_s, selects);
}

/* ---- The file ---- */

static void open_file(bare_db *db, const arguments *a) {
    const double began_s = now_s();
    bare_open(db, word(a, 1));
    printf("took_s=%.9f\n", now_s() - began_s);
}

static void close_file(bare_db *db, const arguments *a) {
    const double began_s = now_s();
    (void)a;
    bare_close(db);
    printf("took_s=%.9f\n", now_s() - began_s);
}

static void sums(bare_db *db, const arguments *a) {
    static const char sql[] = "SELECT count(*), sum(length(data)), sum(due_ms), sum(version)"
                              " FROM rows";
    sqlite3_stmt *st = NULL;
    (void)a;
    if (sqlite3_prepare_v2(db->connection, sql, -1, &st, NULL) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW) {
        bare_die("sums", sqlite3_errmsg(db->connection));
    }
    printf("rows=%lld data_bytes=%lld due_ms=%lld versions=%lld\n",
           (long long)sqlite3_column_int64(st, 0), (long long)sqlite3_column_int64(st, 1),
           (long long)sqlite3_column_int64(st, 2), (long long)sqlite3_column_int64(st, 3));
    (void)sqlite3_finalize(st);
}

/* ---- Commands ---- */

static void obey(bare_db *db, const arguments *a) {
    static const struct {
        const char *name;
        void (*run)(bare_db *, const arguments *);
    } commands[] = {{"open", open_file},     {"copy", copy_rows}, {"replay", replay},
                    {"select", select_rows}, {"sums", sums},      {"close", close_file}};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, a->words[0]) != 0) continue;
        commands[i].run(db, a);
        (void)fflush(stdout);
        return;
    }
    bare_die("unknown command", a->words[0]);
}

int main(void) {
    char line[LINE_BYTES];
    bare_db db = {0};
    while (fgets(line, sizeof line, stdin) != NULL) {
        arguments a = {0};
        char *rest = NULL;
        for (char *at = strtok_r(line, " \n", &rest); at != NULL && a.count < WORDS_MAX;
             at = strtok_r(NULL, " \n", &rest))
            a.words[a.count++] = at;
        if (a.count > 0) obey(&db, &a);
    }
    return EXIT_SUCCESS;
}
