/* An SQLite store on a thread of its own (worker.h): jobs of many tasks, one commit.
 *
 * Whatever is waiting when the thread looks is run in one transaction, up to
 * RLK_STORE_BATCH_COUNT_MAX jobs; while it syncs, the next ones gather. The thread opens the file
 * itself, when it starts; if that failed, every job that waits ends with that error, and the next
 * one tries anew.
 *
 * Ownership: a job is copied when it is started and wiped when its completion is dropped.
 * Threads: all functions from one thread. After a fork the child finds it closed, and freeing it
 * there does nothing. The allocator is used by two threads at once. */
#ifndef RLK_WORKER_STORE_H
#define RLK_WORKER_STORE_H

#include "io/store_sqlite.h"
#include "io/wake.h"
#include "io/worker.h"

enum { RLK_STORE_WORKER_CLOSE_MS = 1000 };

typedef struct rlk_store_worker rlk_store_worker;

/* Starts the thread. What is wrong with the config itself is told here, everything about the file
 * by the results. config->give_up_ms is not read. On failure *out is NULL. */
rlk_store_problem rlk_store_worker_open(rlk_store_worker **out, const rlk_alloc *alloc,
                                        const rlk_store_config *config, size_t queue_max,
                                        rlk_wake *wake);

/* Has a job run. Tickets are positive and never used again. busy when queue_max are out: started
 * and not dropped; no_memory, closed. */
rlk_err rlk_store_worker_start(rlk_store_worker *w, const rlk_store_job *job, int64_t *ticket,
                               const char **detail);

/* Has rlk_store_scrub called, after the jobs that were started before; its answer is the result's
 * `yes`. */
rlk_err rlk_store_worker_scrub(rlk_store_worker *w, int64_t *ticket, const char **detail);

/* The oldest completion and its ticket, or NULL. It stays until it is dropped. */
const rlk_store_result *rlk_store_worker_peek(rlk_store_worker *w, int64_t *ticket);
void rlk_store_worker_drop(rlk_store_worker *w);

/* How many jobs were started, and how many are where. */
int64_t rlk_store_worker_started(const rlk_store_worker *w);
rlk_worker_lengths rlk_store_worker_lengths(rlk_store_worker *w);

/* Runs what was started, closes the file and ends the thread; completions can still be had. Other
 * processes are waited for no longer than RLK_STORE_WORKER_CLOSE_MS from now on, all in all, but a
 * disk as long as it takes. Idempotent. */
void rlk_store_worker_close(rlk_store_worker *w);

/* Closes it and frees everything. NULL is allowed. */
void rlk_store_worker_free(rlk_store_worker *w);

#endif
