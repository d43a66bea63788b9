/* The tables of the store, their versions, and the checks a file has to pass before it is used.
 *
 * The version stands in the file (user_version) beside a mark that it is ringlink's
 * (application_id). An older file is brought up to date, step by step, in one transaction; a newer
 * one is refused. Nothing is written before every check has passed. */
#ifndef RLK_STORE_SCHEMA_H
#define RLK_STORE_SCHEMA_H

#include "io/store_db.h"

/* "rlnk": what `file` and others recognise the database by. */
#define RLK_SCHEMA_APPLICATION_ID 0x726C6E6B

/* Step i takes a database from version i to i + 1. */
typedef struct rlk_schema {
    const char *const *steps;
    int version; /* how many steps */
} rlk_schema;

/* The schema of this version of ringlink. */
rlk_schema rlk_schema_current(void);

/* Looks at the file without a lock and without SQL: a stranger's or a newer file is told before
 * SQLite could make files beside it. */
rlk_store_problem rlk_schema_check_file(sqlite3 *connection, int version);

/* Checks the database itself and brings it up to the schema's version. */
rlk_store_problem rlk_schema_apply(sqlite3 *connection, rlk_schema schema);

#endif
