/* A worker whose engine does nothing but what a test says, and all that belongs to it.
 *
 * The engine takes items and gives them back at once, unless it is told to hold them, or is kept
 * from its turn altogether. One of the two waits by itself, and can cancel; the other does not. */
#ifndef TEST_STAGE_H
#define TEST_STAGE_H

#include <signal.h>
#include <stdatomic.h>

#include "io/worker.h"
#include "reader.h"

enum { QUEUE_MAX = 100 };

typedef enum outcome { UNTOUCHED, WORKED_ON, FINISHED, CANCELLED, ABANDONED } outcome;

typedef struct task {
    rlk_item item;
    int number;
    outcome outcome;
} task;

/* What the engine works at. */
typedef struct bench {
    rlk_alloc alloc;
    pthread_mutex_t gate; /* whoever has it keeps the thread from its turn */
    atomic_bool waits;    /* the thread is at the gate */
    atomic_bool holds;    /* items stay with the engine instead of being done */
    atomic_size_t taken;  /* items that a turn has seen */
    atomic_bool hurried;
    rlk_items held;
    rlk_items ended;
    pthread_mutex_t lock; /* for the wait of the engine that waits itself */
    pthread_cond_t nudged;
    bool awake;
    sigset_t mask;
    int scheduler, nice;
    char thread_name[32];
} bench;

extern const rlk_engine plain_engine;
extern const rlk_engine waiting_engine;

typedef struct stage {
    shared_heap heap;
    rlk_alloc alloc;
    reader reader;
    bench bench;
    rlk_worker *worker;
} stage;

void stage_open(stage *s, const rlk_engine *engine);
void stage_close(stage *s); /* nothing may be left of its memory */

task *task_of(const rlk_item *item);

/* The ticket, or 0 when it was refused; what with is in *e. */
int64_t try_submit(stage *s, int number, rlk_err *e);

int64_t submit(stage *s, int number);

/* The next completion, for which bytes are waited if need be. */
task next_done(stage *s);

/* Until a turn has seen so many items; until so many are not done. */
void await_taken(stage *s, size_t count);
size_t pending(const stage *s);
void await_pending(stage *s, size_t count);

/* Keeps the thread from its next turn; await_gate returns when it takes nothing any more. */
void hold_turns(stage *s);
void await_gate(stage *s);
void let_turns_go(stage *s);

/* Ends the waiting engine's wait. */
void wake_engine(stage *s);

#endif
