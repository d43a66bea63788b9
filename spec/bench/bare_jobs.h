/* SQLite as the benchmark's baseline uses it: a connection, statements that are prepared once, and
 * the statements of each job in one transaction.
 *
 * Texts and settings are the store's own (io/store_sql.h), so that both sides cannot drift apart;
 * all else is written against SQLite's interface alone. Left out is what makes a store of it: rows
 * are bound from memory and their columns looked at in place, nothing is sealed, encoded, copied
 * out or handed to Lua, no failure is told apart. Whatever goes wrong ends the program. */
#ifndef BENCH_BARE_JOBS_H
#define BENCH_BARE_JOBS_H

#include <sqlite3.h>

#include "io/store_sql.h"
#include "io/store_sqlite.h"

enum { BARE_FIELD_COUNT_MAX = 16 };

typedef struct bare_statement {
    sqlite3_stmt *prepared; /* NULL until it is first needed */
    int field_count;
    int fields[BARE_FIELD_COUNT_MAX]; /* of each parameter: texts first, then numbers */
} bare_statement;

typedef struct bare_db {
    sqlite3 *connection;
    bare_statement statements[RLK_SQL_COUNT];
    int64_t seen_bytes;  /* of all columns that were looked at: nothing is optimised away */
    int64_t seen_number; /* the last one that the last statement gave, or 0 */
} bare_db;

/* Opens a file that ringlink has made. */
void bare_open(bare_db *db, const char *path);

/* Closes it; the write-ahead log goes into the file. */
void bare_close(bare_db *db);

/* Runs the statements of the jobs in one transaction. */
void bare_run(bare_db *db, rlk_store_job *jobs, size_t count);

/* Runs the statements of a job by themselves. */
void bare_do(bare_db *db, rlk_store_job *job);

/* Fields of which nothing is there, and the place of a field's name: texts first, then numbers; -1
 * when there is no such field. */
rlk_store_fields bare_no_fields(void);
int bare_field_named(const char *name, size_t len);

/* Says what happened, and ends the program. */
_Noreturn void bare_die(const char *what, const char *detail);

#endif
