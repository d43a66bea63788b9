/* Open, run and close; see store_sqlite.h. The connection lives in a rlk_db (store_db.h), tables
 * and checks in store_schema.c, what a job does in store_jobs.c.
 *
 * Until every check has passed, and again once damage was met, closing must not write either:
 * SQLite would move the write-ahead log into the file. The same holds for a connection inherited
 * through a fork: it is closed in the child so that SQLite forgets what the parent had locked (its
 * record of locks is the process's, the locks themselves are not inherited), and touches no file.
 */
#define _POSIX_C_SOURCE 200809L

#include "io/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/ms.h"
#include "io/clock.h"
#include "io/store_db.h"
#include "io/store_jobs.h"
#include "io/store_schema.h"
#include "io/store_sql.h"

enum { RETRY_MS_MAX = 32 };

struct rlk_store {
    rlk_alloc alloc;
    rlk_db db;
    rlk_store_scope scope;
    pid_t opened_by;
    int broken; /* the code of what was met, once only close is legal */
    int64_t busy_ms;
    const _Atomic int64_t *give_up_ms;
    int64_t busy_since_ms;
    const char *vfs;
    char *texts; /* path, client_id */
    size_t texts_bytes;
    char *path;
    rlk_db_statement statements[RLK_SQL_COUNT];
};

static rlk_store_problem fine(void) {
    return rlk_db_problem(SQLITE_OK);
}

static rlk_store_problem trouble(rlk_err error, const char *detail) {
    return (rlk_store_problem){error, detail, 0};
}

/* ---- The file ---- */

static rlk_store_problem no_file(void) {
    switch (errno) {
    case ENOENT:
        return trouble(RLK_E_STORE_ERROR, "its folder does not exist; make it");
    case ENOSPC:
    case EDQUOT:
        return rlk_db_problem(SQLITE_FULL);
    case EROFS:
        return trouble(RLK_E_STORE_ERROR, "the file system is read-only; name another folder");
    case EACCES:
    case EPERM:
        return trouble(RLK_E_STORE_ERROR, "the folder does not allow it; check owner and mode");
    default:
        return trouble(RLK_E_STORE_ERROR, "it cannot be made; check the path and the folder");
    }
}

/* For its owner only: SQLite gives the files it puts beside it the same mode. A file that is there
 * must not be opened and closed here: that would take this process's locks away. */
static rlk_store_problem make_file(const char *path) {
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISREG(st.st_mode)) return fine();
        return trouble(RLK_E_STORE_ERROR, S_ISDIR(st.st_mode)
                                              ? "it is a folder; name a file in it"
                                              : "it is no ordinary file; name another");
    }
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0) return errno == EEXIST ? fine() : no_file();
    (void)close(fd);
    return fine();
}

/* ---- Connecting ---- */

/* Others have held the file since then, at `tries` looks in a row: waits a little before the next
 * one. False when it took too long. */
static bool wait_for_others(const rlk_store *s, int64_t since_ms, int tries) {
    const int64_t now_ms = rlk_clock_monotonic_ms();
    int64_t left_ms = since_ms + s->busy_ms - now_ms;
    if (s->give_up_ms != NULL) left_ms = rlk_ms_min(left_ms, atomic_load(s->give_up_ms) - now_ms);
    if (left_ms <= 0) return false;
    (void)rlk_clock_sleep_ms(rlk_ms_min(left_ms, tries < 5 ? 1 << tries : RETRY_MS_MAX));
    return true;
}

static int on_busy(void *ud, int tries) {
    rlk_store *s = ud;
    if (tries == 0) s->busy_since_ms = rlk_clock_monotonic_ms();
    return wait_for_others(s, s->busy_since_ms, tries) ? 1 : 0;
}

/* Changing to WAL does not wait for others by itself. */
static int switch_to_wal(rlk_store *s) {
    const int64_t since_ms = rlk_clock_monotonic_ms();
    for (int tries = 0;; tries++) {
        const int code = rlk_db_execute(s->db.connection, "PRAGMA journal_mode=WAL");
        if ((code & 0xff) != SQLITE_BUSY || !wait_for_others(s, since_ms, tries)) return code;
    }
}

static int prepare_connection(rlk_store *s) {
    (void)sqlite3_db_config(s->db.connection, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_busy_handler(s->db.connection, on_busy, s);
    return rlk_db_execute(s->db.connection, RLK_STORE_SETTINGS);
}

static rlk_store_problem check_wal(rlk_store *s) {
    int64_t is_wal = 0;
    int code = switch_to_wal(s);
    if (code == SQLITE_OK) {
        code = rlk_db_number(s->db.connection,
                             "SELECT journal_mode = 'wal' FROM pragma_journal_mode", &is_wal);
    }
    if (code != SQLITE_OK || is_wal == 1) return rlk_db_problem(code);
    return trouble(RLK_E_STORE_ERROR, "its file system allows no write-ahead log; put it on a "
                                      "local disk");
}

static rlk_store_problem check_and_prepare(rlk_store *s) {
    sqlite3 *connection = s->db.connection;
    const rlk_schema schema = rlk_schema_current();
    if (sqlite3_db_readonly(connection, "main") == 1) return rlk_db_problem(SQLITE_READONLY);
    rlk_store_problem p = rlk_schema_check_file(connection, schema.version);
    if (p.error == RLK_OK) p = rlk_db_problem(prepare_connection(s));
    if (p.error == RLK_OK) p = rlk_schema_apply(connection, schema);
    if (p.error == RLK_OK) p = check_wal(s);
    return p;
}

static void disconnect(rlk_store *s) {
    if (s->db.connection == NULL) return;
    const bool is_ours = s->broken == SQLITE_OK && s->opened_by == getpid();
    if (!is_ours) rlk_db_may_write_at_close(s->db.connection, false);
    rlk_db_finalize(&s->db);
    (void)sqlite3_close(s->db.connection);
    s->db.connection = NULL;
    s->scope.client = RLK_STORE_NONE;
}

static rlk_store_problem connect(rlk_store *s) {
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    rlk_store_problem p = make_file(s->path);
    if (p.error != RLK_OK) return p;
    s->opened_by = getpid();
    const int code = sqlite3_open_v2(s->path, &s->db.connection, flags, s->vfs);
    if (s->db.connection == NULL) return rlk_db_problem(SQLITE_NOMEM);
    rlk_db_may_write_at_close(s->db.connection, false);
    p = code == SQLITE_OK ? check_and_prepare(s) : rlk_db_problem(code);
    if (p.error == RLK_OK)
        rlk_db_may_write_at_close(s->db.connection, true);
    else
        disconnect(s);
    return p;
}

/* ---- Opening and closing ---- */

/* "./" makes a plain file of every name that means something else to SQLite. */
static bool keep_texts(rlk_store *s, const rlk_store_config *config) {
    const char *prefix = config->path[0] == '/' ? "" : "./";
    const size_t prefix_len = strlen(prefix), path_len = strlen(config->path);
    s->texts_bytes = prefix_len + path_len + 1 + config->client_id.len;
    s->texts = rlk_alloc_zeroed(&s->alloc, s->texts_bytes);
    if (s->texts == NULL) return false;
    s->path = s->texts;
    memcpy(s->path, prefix, prefix_len);
    memcpy(s->path + prefix_len, config->path, path_len + 1);
    char *client_id = s->path + prefix_len + path_len + 1;
    memcpy(client_id, config->client_id.ptr, config->client_id.len);
    s->scope.client_id = (rlk_span){client_id, config->client_id.len};
    return true;
}

rlk_store_problem rlk_store_check(const rlk_store_config *config) {
    if (config->path[0] == '\0') return trouble(RLK_E_INVALID_OPTION, "the path is empty");
    if (strcmp(config->path, ":memory:") == 0) {
        return trouble(RLK_E_INVALID_OPTION, "this would not outlive the process; name a file, or "
                                             "use the store \"memory\"");
    }
    if (config->client_id.len == 0) return trouble(RLK_E_INVALID_OPTION, "the client_id is empty");
    return fine();
}

rlk_store_problem rlk_store_open(rlk_store **out, const rlk_alloc *alloc,
                                 const rlk_store_config *config) {
    *out = NULL;
    rlk_store_problem p = rlk_store_check(config);
    if (p.error != RLK_OK) return p;
    rlk_store *s = rlk_alloc_zeroed(alloc, sizeof *s);
    if (s == NULL) return rlk_db_problem(SQLITE_NOMEM);
    s->alloc = *alloc;
    s->busy_ms = config->busy_ms;
    s->give_up_ms = config->give_up_ms;
    s->vfs = config->vfs;
    s->db.statements = s->statements;
    s->scope.db = &s->db;
    s->scope.client = RLK_STORE_NONE;
    p = keep_texts(s, config) ? connect(s) : rlk_db_problem(SQLITE_NOMEM);
    if (p.error == RLK_OK)
        *out = s;
    else
        rlk_store_close(s);
    return p;
}

void rlk_store_close(rlk_store *s) {
    if (s == NULL) return;
    disconnect(s);
    if (s->texts != NULL) rlk_alloc_free(&s->alloc, s->texts, s->texts_bytes);
    const rlk_alloc alloc = s->alloc;
    rlk_alloc_free(&alloc, s, sizeof *s);
}

/* ---- Running ---- */

static int control(rlk_store *s, rlk_sql which) {
    const rlk_store_fields none = rlk_store_no_fields();
    return rlk_db_run(&s->db, (int)which, &none, NULL, NULL);
}

/* Damage is final: what is written after it could only make it worse. */
static int note(rlk_store *s, int code) {
    const int kind = code & 0xff;
    if (kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB) s->broken = code;
    return code;
}

static bool was_moved(rlk_store *s) {
    int moved = 0;
    (void)sqlite3_file_control(s->db.connection, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved != 0;
}

static rlk_store_problem make_ready(rlk_store *s) {
    if (s->db.connection != NULL && s->opened_by != getpid()) disconnect(s);
    if (s->db.connection == NULL) {
        const rlk_store_problem p = connect(s);
        if (p.error != RLK_OK) return p;
    }
    if (s->broken == SQLITE_OK && was_moved(s)) s->broken = SQLITE_READONLY_DBMOVED;
    return rlk_db_problem(s->broken);
}

/* SQLite ends the transaction by itself after some failures. */
static bool in_transaction(const rlk_store *s) {
    return sqlite3_get_autocommit(s->db.connection) == 0;
}

static void roll_back(rlk_store *s) {
    if (in_transaction(s)) (void)control(s, RLK_SQL_ROLLBACK_);
    s->scope.client = RLK_STORE_NONE;
}

static void clear(rlk_store_result *r) {
    r->yes = false;
    r->value = RLK_STORE_NONE;
    rlk_buf_deinit(&r->entries);
}

static void fail(rlk_store_result *r, rlk_store_problem p) {
    clear(r);
    r->problem = p;
}

static int do_in_savepoint(rlk_store *s, const rlk_store_job *job, rlk_store_result *out) {
    int code = control(s, RLK_SQL_SAVEPOINT_);
    if (code != SQLITE_OK) return code;
    code = rlk_job_do(&s->scope, job, out);
    if (code != SQLITE_OK && in_transaction(s)) {
        s->scope.client = RLK_STORE_NONE; /* it may have been written just now */
        (void)control(s, RLK_SQL_UNDO_);
    }
    if (in_transaction(s)) (void)control(s, RLK_SQL_RELEASE_);
    return code;
}

static void do_job(rlk_store *s, const rlk_store_job *job, rlk_store_result *out) {
    const bool alone = !rlk_job_writes(job->op);
    const int code = alone ? rlk_job_do(&s->scope, job, out) : do_in_savepoint(s, job, out);
    if (code != SQLITE_OK) fail(out, rlk_db_problem(note(s, code)));
}

static bool any_writes(const rlk_store_job *jobs, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (rlk_job_writes(jobs[i].op)) return true;
    return false;
}

/* Whatever breaks off here is what every job of the run ends with. */
static rlk_store_problem do_all(rlk_store *s, const rlk_store_job *jobs, rlk_store_result *results,
                                size_t count) {
    const bool writes = any_writes(jobs, count);
    int code = control(s, writes ? RLK_SQL_BEGIN_IMMEDIATE_ : RLK_SQL_BEGIN_);
    if (code != SQLITE_OK) return rlk_db_problem(note(s, code));
    for (size_t i = 0; i < count; i++) {
        do_job(s, &jobs[i], &results[i]);
        if (!in_transaction(s) || s->broken != SQLITE_OK) {
            roll_back(s);
            return results[i].problem;
        }
    }
    code = control(s, RLK_SQL_COMMIT_);
    if (code != SQLITE_OK) roll_back(s);
    return rlk_db_problem(note(s, code));
}

void rlk_store_run(rlk_store *s, const rlk_store_job *jobs, rlk_store_result *results,
                   size_t count) {
    for (size_t i = 0; i < count; i++) {
        results[i] = (rlk_store_result){.problem = fine(), .value = RLK_STORE_NONE};
        rlk_buf_init(&results[i].entries, &s->alloc, RLK_STORE_RESULT_BYTES_MAX);
    }
    rlk_store_problem p = make_ready(s);
    if (p.error == RLK_OK) p = do_all(s, jobs, results, count);
    for (size_t i = 0; i < count && p.error != RLK_OK; i++)
        fail(&results[i], p);
}

bool rlk_store_scrub(rlk_store *s) {
    if (make_ready(s).error != RLK_OK) return false;
    return sqlite3_wal_checkpoint_v2(s->db.connection, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                     NULL) == SQLITE_OK;
}

void rlk_store_result_deinit(rlk_store_result *result) {
    rlk_buf_deinit(&result->entries);
}
