/* What a job does inside the transaction that run has begun; one function for each op. */
#ifndef RLK_STORE_JOBS_H
#define RLK_STORE_JOBS_H

#include "io/store_db.h"

typedef struct rlk_store_scope {
    rlk_db *db;
    rlk_span client_id;
    int64_t client; /* its number in the file; RLK_STORE_NONE until known */
} rlk_store_scope;

/* Whether an op needs the write lock. */
bool rlk_job_writes(rlk_store_op op);

/* Does the job; an SQLite code. The result is only complete with SQLITE_OK. */
int rlk_job_do(rlk_store_scope *scope, const rlk_store_job *job, rlk_store_result *out);

#endif
