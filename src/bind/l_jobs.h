/* What the SQLite store in the caller's thread and the one on a thread of its own have in common:
 * how options and jobs are read, how results become tables.
 *
 * The fields are named as in io/store_sqlite.h. A wrong field raises; nothing is held meanwhile. */
#ifndef L_JOBS_H
#define L_JOBS_H

#include "bind/l_compat.h"
#include "io/store_sqlite.h"

/* The options in argument `arg`, a table; texts point into its strings. */
rlk_store_config l_read_store(lua_State *L, int arg);

/* The job in the table on the top of the stack, whose strings it points into. It came in argument
 * 2: by itself (index 0) or in an array; complaints say where. */
void l_read_job(lua_State *L, int index, rlk_store_job *job);

/* Pushes a result as a table: {yes=, value=, entries = { {key=, data=, ...} }}, or {error=,
 * detail=, sqlite_code=} of a job that failed. */
void l_push_job_result(lua_State *L, const rlk_store_result *r);

#endif
