/* A thread that does one kind of work for a loop that must not wait.
 *
 * The loop submits items, the thread's engine works on them, done ones wait to be handed out, and a
 * wake (wake.h) tells the loop so: with one byte whenever the first one is done that the loop has
 * not seen. What an item is and how it is worked on is the engine's (worker_transport.c,
 * worker_store.c); here are the thread, the queues and the order of things.
 *
 * Invariants:
 * - What was submitted is done exactly once and handed out once, in the order in which it was done.
 *   An item that is done in part can be lent, and returned to be worked on again.
 * - At most queue_max items are out: submitted and not handed out yet. More are refused (busy).
 * - Nothing here waits for the engine but close, and that no longer than the engine's last turn.
 * - After a fork the child has no thread: whatever it calls does nothing, and frees nothing of what
 *   the parent's thread works on.
 *
 * Ownership: a worker owns the items that were submitted until they are dropped, and holds its
 * wake. The engine and what it works on belong to whoever made the worker, and outlive it.
 * Threads: all functions from one thread (the loop's); the engine says for each of its own.
 * The allocator is used by both threads at once, and must allow that; the C library's does. */
#ifndef RLK_WORKER_H
#define RLK_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/err.h"
#include "io/wake.h"

typedef enum rlk_item_state {
    RLK_ITEM_QUEUED,
    RLK_ITEM_AT_WORK,
    RLK_ITEM_DONE,
    RLK_ITEM_LENT
} rlk_item_state;

/* The first member of every engine's item. */
typedef struct rlk_item {
    int64_t ticket;
    struct rlk_item *next; /* in the one list of items that it is in */
    struct rlk_item *older, *newer;
    rlk_item_state state;
    bool unwanted; /* cancelled since the thread took it */

    /* For the engine, on the thread: it was in the backlog before; and was cancelled since then. */
    bool returned;
    bool dead;
} rlk_item;

/* First in, first out. Zeroed: empty. */
typedef struct rlk_items {
    rlk_item *first, *last;
} rlk_items;

void rlk_items_push(rlk_items *items, rlk_item *item);
rlk_item *rlk_items_pop(rlk_items *items); /* NULL: empty */

/* How a kind of work is done; `self` is what the worker was opened with. */
typedef struct rlk_engine {
    const char *thread_name; /* at most 15 bytes */

    /* On the thread: takes from `backlog` what it can begin with and adds what is done to `done`.
     * Waits at most wait_ms, and only if it has `wake`; else the worker does the waiting. */
    void (*turn)(void *self, rlk_items *backlog, rlk_items *done, int64_t wait_ms);

    /* On the thread, the last turn: everything that it has and the backlog end up in `done`. */
    void (*finish)(void *self, rlk_items *backlog, rlk_items *done);

    /* From the loop's thread: ends a turn that waits, or else the next one. NULL: none waits. */
    void (*wake)(void *self);

    /* From the loop's thread: the worker is being closed, so nothing should take long. May be NULL.
     */
    void (*hurry)(void *self);

    /* On the thread: ends an item that it took from the backlog. From the loop's thread: makes a
     * completion of one that no turn has seen. Both NULL: nothing can be cancelled. An engine that
     * has them empties its backlog in every turn. */
    void (*cancel)(void *self, rlk_item *item);
    void (*abandon)(void *self, rlk_item *item);

    /* From the loop's thread: wipes an item and gives it back. */
    void (*free_item)(void *self, rlk_item *item);
} rlk_engine;

typedef struct rlk_worker rlk_worker;

/* Starts the thread. On failure *out is NULL and *detail a constant text; nothing runs then. */
rlk_err rlk_worker_open(rlk_worker **out, const rlk_alloc *alloc, const rlk_engine *engine,
                        void *self, size_t queue_max, rlk_wake *wake, const char **detail);

/* False in a process that was forked from the one that opened it. */
bool rlk_worker_is_ours(const rlk_worker *w);

/* Hands an item over and gives it its ticket, which is never used again; on busy and closed it
 * stays with the caller. */
rlk_err rlk_worker_submit(rlk_worker *w, rlk_item *item, const char **detail);

/* The oldest item that is done, or NULL. It stays until it is dropped, so that a caller who fails
 * half-way loses nothing. */
const rlk_item *rlk_worker_peek(rlk_worker *w);

/* Gives the oldest item that is done back. */
void rlk_worker_drop(rlk_worker *w);

/* Instead of giving it back: keeps the oldest item that is done until it is returned. */
void rlk_worker_lend(rlk_worker *w);

/* Gives a lent item to the thread again. False when it is not lent. */
bool rlk_worker_return(rlk_worker *w, int64_t ticket);

/* Asks for an item to end now; its completion says what came of it. False when it is done already,
 * or unknown; one that is done in part then ends once it is lent. */
bool rlk_worker_cancel(rlk_worker *w, int64_t ticket);

/* How many items are out: not taken over by the thread yet, with it, done but not dropped yet. */
typedef struct rlk_worker_lengths {
    size_t queued, at_work, done;
} rlk_worker_lengths;

rlk_worker_lengths rlk_worker_count(rlk_worker *w); /* zeroes in a forked child */

/* How many were submitted at all. */
int64_t rlk_worker_submitted(const rlk_worker *w);

/* Ends and joins the thread. What was out is done now, one way or another, and can still be handed
 * out; nothing new is taken. Idempotent. */
void rlk_worker_close(rlk_worker *w);

/* Closes it and frees everything. NULL is allowed. Not for a forked child, where nothing is freed:
 * ask rlk_worker_is_ours. */
void rlk_worker_free(rlk_worker *w);

#endif
