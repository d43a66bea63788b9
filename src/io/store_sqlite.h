/* Keeps rows, leases, remembered ids and events in an SQLite file.
 *
 * Whoever wants something describes it as a job. All jobs of one run share one transaction, each in
 * a savepoint of its own: a job that fails takes nothing else with it, and one sync to disk serves
 * them all. When run returns, what succeeded is durable; when the commit fails, every job of the
 * run has failed and nothing of it was written.
 *
 * Invariants:
 * - A file that is damaged, cut short, of a newer schema or of another program is told and never
 *   written to. Once damage is met, only close is legal, and close writes nothing either.
 * - Several processes may have the file open. Whoever has to wait longer than busy_ms is told so.
 * - A store sees only the rows of the client_id it was opened for.
 * - What is deleted is overwritten in the file, not only unlinked.
 *
 * Ownership: a store owns its connection and copies of what it was opened with. Spans in a job are
 * read during the run only; results belong to the caller, who gives them back.
 * Threads: one at a time, whichever. After a fork the child's first run opens the file anew; fork
 * only while no run is under way. */
#ifndef RLK_STORE_SQLITE_H
#define RLK_STORE_SQLITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/span.h"

enum {
    RLK_STORE_BATCH_COUNT_MAX = 256,
    RLK_STORE_BUSY_MS_DEFAULT = 5000,
    RLK_STORE_BUSY_MS_MAX = 600000,
    RLK_STORE_TEXT_BYTES_MAX = 16 << 20,   /* one field */
    RLK_STORE_RESULT_BYTES_MAX = 256 << 20 /* all entries one job gives */
};

/* The fields of jobs and of entries. Which of them a job reads is said beside it below. */
#define RLK_STORE_TEXTS(X)                                                                         \
    X(KEY, key)         /* a row's or lease's key, an event's or remembered id, a name */          \
    X(KIND, kind)       /* of a row; of a remembered id; `file` for what the whole file shares */  \
    X(STATE, state)     /* of a row's link; pending or done of an event */                         \
    X(USER, user)       /* a tag */                                                                \
    X(ACCOUNT, account) /* Ring's Account ID */                                                    \
    X(ALIAS, alias)     /* another name of an event */                                             \
    X(OWNER, owner)     /* of a lease or of an event that was taken */                             \
    X(BOOT, boot)       /* the boot that boot_ms belongs to */                                     \
    X(AFTER, after)     /* a key */                                                                \
    X(WAS, was)         /* the value that is to be replaced */                                     \
    X(DATA, data)       /* opaque bytes */

#define RLK_STORE_NUMBERS(X)                                                                       \
    X(CLIENT, client)           /* the store's own */                                              \
    X(VERSION, version)         /* of a row; 0: none yet */                                        \
    X(CHANGE, change)           /* a change number */                                              \
    X(DUE_MS, due_ms)           /* wall clock, as all but boot_ms; of a row or an event */         \
    X(ATTEMPTS, attempts)       /* how often an event was put back */                              \
    X(RECEIVED_MS, received_ms) /* when an event came */                                           \
    X(NOW_MS, now_ms)           /* the caller's present */                                         \
    X(UNTIL_MS, until_ms)       /* of what is remembered; a lease's in boot time */                \
    X(BOOT_MS, boot_ms)         /* now, since the machine started */                               \
    X(TTL_MS, ttl_ms)           /* how long a lease holds */                                       \
    X(LIMIT, limit)             /* entries at most */                                              \
    X(COUNT, count)             /* of rows in a state */

enum {
#define RLK_STORE_TEXT_ENUM(NAME, name) RLK_STORE_##NAME,
    RLK_STORE_TEXTS(RLK_STORE_TEXT_ENUM)
#undef RLK_STORE_TEXT_ENUM
        RLK_STORE_TEXT_COUNT
};

enum {
#define RLK_STORE_NUMBER_ENUM(NAME, name) RLK_STORE_##NAME,
    RLK_STORE_NUMBERS(RLK_STORE_NUMBER_ENUM)
#undef RLK_STORE_NUMBER_ENUM
        RLK_STORE_NUMBER_COUNT
};

/* A number that is not there. A text that is not there has ptr == NULL. */
#define RLK_STORE_NONE INT64_MIN

typedef struct rlk_store_fields {
    rlk_span texts[RLK_STORE_TEXT_COUNT];
    int64_t numbers[RLK_STORE_NUMBER_COUNT];
} rlk_store_fields;

/* X(NAME, name, writes): what can be asked for. `gives` means entries of the result. */
#define RLK_STORE_OPS(X)                                                                           \
    X(GET, get, false)      /* key; gives the row */                                               \
    X(PUT_IF, put_if, true) /* key, version, the row; yes when written, value its version */       \
    X(DELETE, delete, true) /* key, now_ms, version or none; yes when it was that */               \
    X(FIND, find, false)    /* state, user, account, after, limit; gives rows by key */            \
    X(DUE, due, false)      /* now_ms, limit, due_ms and after or neither; gives rows, value the   \
                               next due time */                                                    \
    X(UNCLAIMED, unclaimed, false) /* change; gives rows, keys without data; value the change */   \
    X(LEASE, lease, true)     /* key, owner, boot, boot_ms, ttl_ms; yes, or value what is left */  \
    X(RELEASE, release, true) /* key, owner */                                                     \
    X(REMEMBER, remember, true)     /* kind, key, now_ms, until_ms; yes when it is new */          \
    X(EVENT_ADD, event_add, true)   /* key, alias, account, received_ms, data; yes when new, else  \
                                       gives the one that is there */                              \
    X(EVENT_TAKE, event_take, true) /* owner, boot, boot_ms, ttl_ms, now_ms, limit, key; gives     \
                                       events, value when the next of the others is due */         \
    X(EVENT_RELEASE, event_release, true)  /* key, owner, due_ms or none */                        \
    X(EVENT_PENDING, event_pending, false) /* after, limit; gives events by key, taken or not */   \
    X(EVENT_REPLACE, event_replace, true)  /* key, was, data; yes when it was that */              \
    X(EVENT_DONE, event_done, true)        /* key */                                               \
    X(EVENT_FORGET, event_forget, true)    /* account */                                           \
    X(TALLY, tally, false)        /* gives count and state, value how many events are pending */   \
    X(PRUNE, prune, true)         /* now_ms, boot, boot_ms; value how many */                      \
    X(META_GET, meta_get, false)  /* kind, key; gives data */                                      \
    X(META_ADD, meta_add, true)   /* kind, key, data; yes when new, else gives what is there */    \
    X(META_SWAP, meta_swap, true) /* kind, key, was, data; yes when it was that */                 \
    X(LEAVE, leave, false)        /* nothing: closing writes nothing, the file is not ours */

typedef enum rlk_store_op {
#define RLK_STORE_OP_ENUM(NAME, name, writes) RLK_STORE_OP_##NAME,
    RLK_STORE_OPS(RLK_STORE_OP_ENUM)
#undef RLK_STORE_OP_ENUM
        RLK_STORE_OP_COUNT
} rlk_store_op;

typedef struct rlk_store_job {
    rlk_store_op op;
    rlk_store_fields fields;
} rlk_store_job;

/* What went wrong: nothing when error is RLK_OK. */
typedef struct rlk_store_problem {
    rlk_err error;
    const char *detail; /* constant; what happened and what to do, without the file's name */
    int sqlite_code;    /* SQLite's extended code, or 0 */
} rlk_store_problem;

typedef struct rlk_store_result {
    rlk_store_problem problem;
    bool yes;
    int64_t value; /* or RLK_STORE_NONE */
    rlk_buf entries;
} rlk_store_result;

typedef struct rlk_store_config {
    const char *path;   /* of a file; its folder must exist */
    rlk_span client_id; /* whose rows these are */
    int64_t busy_ms;    /* how long to wait for other processes */
    const char *vfs;    /* NULL: the system's */
    /* A moment (monotonic) from which on nobody is waited for; any thread may change it at any
     * time. NULL: there is none. */
    const _Atomic int64_t *give_up_ms;
} rlk_store_config;

typedef struct rlk_store rlk_store;

/* What can be told of a config without looking at the file: fine, or invalid_option. */
rlk_store_problem rlk_store_check(const rlk_store_config *config);

/* Opens the file, and makes it when there is none: for its owner's eyes only. On failure *out is
 * NULL. */
rlk_store_problem rlk_store_open(rlk_store **out, const rlk_alloc *alloc,
                                 const rlk_store_config *config);

/* Closes it. NULL is allowed. */
void rlk_store_close(rlk_store *s);

/* Does the jobs in their order. Every result is written, whatever becomes of the job; count is at
 * most RLK_STORE_BATCH_COUNT_MAX. */
void rlk_store_run(rlk_store *s, const rlk_store_job *jobs, rlk_store_result *results,
                   size_t count);

/* Takes what was deleted out of the write-ahead log too, unless others are reading just now. */
bool rlk_store_scrub(rlk_store *s);

/* Steps through a result's entries: starts at *at == 0, false at the end. The spans live as long as
 * the result. */
bool rlk_store_next(const rlk_store_result *result, size_t *at, rlk_store_fields *entry);

/* Gives a result back; legal on a zeroed one. */
void rlk_store_result_deinit(rlk_store_result *result);

/* Which SQLite, as it says itself. */
const char *rlk_store_library(void);

#endif
