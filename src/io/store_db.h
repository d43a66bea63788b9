/* An SQLite connection as the store's jobs see it: statements that are prepared once, fields that
 * find their parameters and columns by name, SQLite's codes turned into ours.
 *
 * A statement's parameters (`:key`) and columns (`key`) are named like the fields of
 * store_sqlite.h; which is which is looked up when it is prepared. All functions that can fail
 * return an SQLite code. The connection belongs to the store; nobody else closes it. */
#ifndef RLK_STORE_DB_H
#define RLK_STORE_DB_H

#include <sqlite3.h>

#include "io/store_sqlite.h"

#if SQLITE_VERSION_NUMBER < 3037000
#error "SQLite 3.37 or later is needed: STRICT tables, RETURNING"
#endif

enum { RLK_DB_PARAMETER_COUNT_MAX = 16 };

typedef struct rlk_db_statement {
    sqlite3_stmt *prepared; /* NULL until it is first needed */
    unsigned char parameters[RLK_DB_PARAMETER_COUNT_MAX];
    unsigned char columns[RLK_DB_PARAMETER_COUNT_MAX];
} rlk_db_statement;

typedef struct rlk_db {
    sqlite3 *connection;
    rlk_db_statement *statements; /* one for each text in store_sql.h */
} rlk_db;

/* What a code means for the caller. SQLITE_OK, _ROW and _DONE mean nothing went wrong. */
rlk_store_problem rlk_db_problem(int code);

/* Runs statement `which`. Its rows are appended to `out` unless that is NULL; `first`, unless NULL,
 * receives the numbers of the first row. */
int rlk_db_run(rlk_db *db, int which, const rlk_store_fields *in, rlk_buf *out,
               rlk_store_fields *first);

/* How many rows the last statement wrote. */
int64_t rlk_db_changes(const rlk_db *db);

/* Runs a text that gives no rows and takes no parameters. */
int rlk_db_execute(sqlite3 *connection, const char *sql);

/* The first column of the first row of a text without parameters. */
int rlk_db_number(sqlite3 *connection, const char *sql, int64_t *out);

/* Whether closing may write: the last to close moves the write-ahead log into the file. */
void rlk_db_may_write_at_close(sqlite3 *connection, bool may);

/* Gives every prepared statement back. */
void rlk_db_finalize(rlk_db *db);

/* Fields of which nothing is there. */
rlk_store_fields rlk_store_no_fields(void);

#endif
