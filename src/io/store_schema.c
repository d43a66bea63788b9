/* Tables, migrations and checks; see store_schema.h.
 *
 * `version` of a row is the change number of its last write, so that no version ever comes twice,
 * not even when a row is deleted and made anew. `left_change` is when a row ceased to be unclaimed:
 * with it and the table of removals, what went since some change is found without reading the rest.
 */
#define _POSIX_C_SOURCE 200809L

#include "io/store_schema.h"

#include <string.h>
#include <sys/stat.h>

static const char schema_1[] =
    "CREATE TABLE meta (client INTEGER NOT NULL, key TEXT NOT NULL, data BLOB,"
    " PRIMARY KEY (client, key)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE clients (id INTEGER PRIMARY KEY, client_id TEXT NOT NULL UNIQUE,"
    " change INTEGER NOT NULL) STRICT;"

    "CREATE TABLE rows (id INTEGER PRIMARY KEY, client INTEGER NOT NULL, key TEXT NOT NULL,"
    " kind TEXT, state TEXT, user TEXT, account TEXT, due_ms INTEGER, version INTEGER NOT NULL,"
    " left_change INTEGER, data BLOB NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX rows_key ON rows (client, key);"
    "CREATE INDEX rows_state ON rows (client, state, key) WHERE state IS NOT NULL;"
    "CREATE INDEX rows_user ON rows (client, user) WHERE user IS NOT NULL;"
    "CREATE INDEX rows_account ON rows (client, account) WHERE account IS NOT NULL;"
    "CREATE INDEX rows_due ON rows (client, due_ms) WHERE due_ms IS NOT NULL;"
    "CREATE INDEX rows_unclaimed ON rows (client, version) WHERE state = 'unclaimed';"
    "CREATE INDEX rows_left ON rows (client, left_change) WHERE left_change IS NOT NULL;"

    "CREATE TABLE removed (client INTEGER NOT NULL, key TEXT NOT NULL, change INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL, PRIMARY KEY (client, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX removed_change ON removed (client, change);"
    "CREATE INDEX removed_at ON removed (client, at_ms);"

    "CREATE TABLE leases (client INTEGER NOT NULL, key TEXT NOT NULL, owner TEXT NOT NULL,"
    " boot TEXT NOT NULL, until_ms INTEGER NOT NULL,"
    " PRIMARY KEY (client, key)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE remembered (client INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,"
    " until_ms INTEGER NOT NULL, PRIMARY KEY (client, kind, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX remembered_until ON remembered (client, until_ms);"

    "CREATE TABLE events (id INTEGER PRIMARY KEY, client INTEGER NOT NULL, key TEXT NOT NULL,"
    " alias TEXT, account TEXT, state TEXT NOT NULL, received_ms INTEGER NOT NULL,"
    " due_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, owner TEXT, boot TEXT,"
    " until_ms INTEGER, data BLOB) STRICT;"
    "CREATE UNIQUE INDEX events_key ON events (client, key);"
    "CREATE UNIQUE INDEX events_alias ON events (client, alias) WHERE alias IS NOT NULL;"
    "CREATE INDEX events_account ON events (client, account) WHERE account IS NOT NULL;"
    "CREATE INDEX events_pending ON events (client, due_ms) WHERE state = 'pending';"
    "CREATE INDEX events_received ON events (client, received_ms);";

/* Events that are done stay for days: paging through the others must not pass them all. */
static const char schema_2[] =
    "CREATE INDEX events_pending_key ON events (client, key) WHERE state = 'pending';";

rlk_schema rlk_schema_current(void) {
    static const char *const steps[] = {schema_1, schema_2};
    return (rlk_schema){steps, sizeof steps / sizeof steps[0]};
}

static rlk_store_problem foreign(void) {
    return (rlk_store_problem){RLK_E_STORE_ERROR,
                               "it is the database of another program; name another file", 0};
}

static rlk_store_problem newer(void) {
    return (rlk_store_problem){RLK_E_STORE_ERROR,
                               "it was written by a newer version of ringlink; update this one", 0};
}

static rlk_store_problem judge(int64_t application_id, int64_t version, int version_max) {
    if (application_id != RLK_SCHEMA_APPLICATION_ID) return foreign();
    if (version > version_max) return newer();
    return rlk_db_problem(SQLITE_OK);
}

/* ---- The file's first bytes, as the SQLite file format has them ---- */

enum { HEADER_BYTES = 100, VERSION_AT = 60, APPLICATION_AT = 68 };

static int64_t number_at(const unsigned char *bytes, size_t at) {
    int64_t number = 0;
    for (size_t i = 0; i < 4; i++)
        number = number * 256 + bytes[at + i];
    return number;
}

/* The mark may still lie in the write-ahead log only: SQL will tell. */
static rlk_store_problem judge_header(const unsigned char *header, int version_max) {
    static const char magic[] = "SQLite format 3";
    if (memcmp(header, magic, sizeof magic) != 0) return rlk_db_problem(SQLITE_NOTADB);
    const int64_t application_id = number_at(header, APPLICATION_AT);
    if (application_id == 0) return rlk_db_problem(SQLITE_OK);
    return judge(application_id, number_at(header, VERSION_AT), version_max);
}

rlk_store_problem rlk_schema_check_file(sqlite3 *connection, int version) {
    sqlite3_file *file = NULL;
    sqlite3_int64 bytes = 0;
    unsigned char header[HEADER_BYTES];
    int code = sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (code == SQLITE_OK) code = file->pMethods->xFileSize(file, &bytes);
    if (code != SQLITE_OK || bytes == 0) return rlk_db_problem(code);
    if (bytes < HEADER_BYTES) return rlk_db_problem(SQLITE_NOTADB);
    code = file->pMethods->xRead(file, header, HEADER_BYTES, 0);
    return code == SQLITE_OK ? judge_header(header, version) : rlk_db_problem(code);
}

/* ---- The database ---- */

typedef struct found {
    int64_t application_id;
    int64_t version;
    int64_t things;
} found;

static sqlite3_int64 log_bytes(sqlite3 *c) {
    struct stat st;
    return stat(sqlite3_filename_wal(sqlite3_db_filename(c, "main")), &st) == 0 ? st.st_size : 0;
}

/* SQLite reads what lacks of the last page as zeros. While something is in the log, the file may be
 * short for good reason. */
static int check_length(sqlite3 *c) {
    sqlite3_file *file = NULL;
    sqlite3_int64 bytes = 0;
    int64_t pages = 0, page_bytes = 0;
    int code = rlk_db_number(c, "PRAGMA page_count", &pages);
    if (code == SQLITE_OK) code = rlk_db_number(c, "PRAGMA page_size", &page_bytes);
    if (code != SQLITE_OK || log_bytes(c) > 0) return code;
    code = sqlite3_file_control(c, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (code == SQLITE_OK) code = file->pMethods->xFileSize(file, &bytes);
    return code == SQLITE_OK && bytes < pages * page_bytes ? SQLITE_CORRUPT : code;
}

/* Within a transaction, so that no other process changes things between. */
static int look(sqlite3 *c, found *f) {
    *f = (found){0, 0, 0};
    int code = rlk_db_number(c, "PRAGMA application_id", &f->application_id);
    if (code == SQLITE_OK) code = rlk_db_number(c, "PRAGMA user_version", &f->version);
    if (code == SQLITE_OK)
        code = rlk_db_number(c, "SELECT count(*) FROM sqlite_schema", &f->things);
    return code;
}

static bool is_empty(const found *f) {
    return f->application_id == 0 && f->version == 0 && f->things == 0;
}

static int put_marks(sqlite3 *c, int version) {
    char sql[96];
    (void)sqlite3_snprintf(sizeof sql, sql, "PRAGMA application_id=%d;PRAGMA user_version=%d",
                           RLK_SCHEMA_APPLICATION_ID, version);
    return rlk_db_execute(c, sql);
}

static int climb(sqlite3 *c, rlk_schema schema, int64_t from) {
    int code = SQLITE_OK;
    for (int64_t i = from; i < schema.version && code == SQLITE_OK; i++)
        code = rlk_db_execute(c, schema.steps[i]);
    return code == SQLITE_OK ? put_marks(c, schema.version) : code;
}

/* Looks again inside the transaction: another process may have been first. */
static int upgrade(sqlite3 *c, rlk_schema schema) {
    found f;
    int code = rlk_db_execute(c, "BEGIN IMMEDIATE");
    if (code != SQLITE_OK) return code;
    code = look(c, &f);
    if (code == SQLITE_OK && f.version < schema.version) code = climb(c, schema, f.version);
    if (code == SQLITE_OK) code = rlk_db_execute(c, "COMMIT");
    if (code != SQLITE_OK) (void)rlk_db_execute(c, "ROLLBACK");
    return code;
}

static int look_first(sqlite3 *c, found *f) {
    int code = rlk_db_execute(c, "BEGIN");
    if (code != SQLITE_OK) return code;
    code = look(c, f);
    if (code == SQLITE_OK) code = check_length(c);
    (void)rlk_db_execute(c, "ROLLBACK"); /* it only read */
    return code;
}

rlk_store_problem rlk_schema_apply(sqlite3 *connection, rlk_schema schema) {
    found f;
    int code = look_first(connection, &f);
    if (code != SQLITE_OK) return rlk_db_problem(code);
    if (!is_empty(&f)) {
        const rlk_store_problem p = judge(f.application_id, f.version, schema.version);
        if (p.error != RLK_OK) return p;
    }
    if (f.version < schema.version) code = upgrade(connection, schema);
    return rlk_db_problem(code);
}
