/* A log of jobs, as spec/bench/job_log.lua writes it: what ringlink asked of its store, to be asked
 * of SQLite alone.
 *
 * A line is a job, `op=put_if` and the other fields, each `name=value`, between tabs; of `data`
 * only its length stands there (`data=812`). An empty line ends a transaction. The log is read
 * piece by piece, so that the program's memory does not grow with it. */
#ifndef BENCH_BARE_LOG_H
#define BENCH_BARE_LOG_H

#include <stdio.h>

#include "io/store_sqlite.h"

enum {
    BARE_LOG_JOBS_MAX = 2 * RLK_STORE_BATCH_COUNT_MAX, /* of a piece */
    BARE_LOG_TEXT_BYTES = 1 << 20
};

typedef struct bare_log {
    FILE *file;
    size_t job_count, batch_count; /* of this piece */
    rlk_store_job jobs[BARE_LOG_JOBS_MAX];
    size_t batch_ends[BARE_LOG_JOBS_MAX]; /* the job after each batch's last */
    char text[BARE_LOG_TEXT_BYTES];       /* what the jobs point into */
} bare_log;

void bare_log_open(bare_log *log, const char *path);

/* Reads the next piece: whole batches, up to the first that makes it as large as one may be. False
 * at the end. */
bool bare_log_next(bare_log *log);

void bare_log_close(bare_log *log);

#endif
