/* See worker.h. An item is in one of four lists: `queued` and `done`, which both threads see, or
 * the thread's own backlog and whatever the engine has; a lent one is in none. All items that are
 * out are also strung together by age, for those who ask by ticket.
 *
 * One lock guards what both threads see. It is held for list work only, never for a call of the
 * engine's that could take time, and never together with the wake's. */
#define _POSIX_C_SOURCE 200809L

#include "io/worker.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "io/thread.h"

enum { MS_PER_S = 1000, NS_PER_S = 1000000000, NS_PER_MS = 1000000 };

struct rlk_worker {
    rlk_alloc alloc;
    const rlk_engine *engine;
    void *self;
    rlk_wake *wake;
    size_t queue_max;
    pid_t pid; /* whose thread it is */
    pthread_t thread;
    bool runs; /* the thread must still be joined */

    pthread_mutex_t lock; /* for all that follows */
    pthread_cond_t more;  /* something was queued, or the end was called for */
    rlk_items queued;
    rlk_items done;
    rlk_item *oldest, *newest; /* all that are out */
    size_t out_count;
    size_t queued_count;
    size_t done_count;
    int64_t last_ticket;
    bool has_unwanted; /* some item at work was cancelled */
    bool closing;
};

/* ---- Lists ---- */

void rlk_items_push(rlk_items *items, rlk_item *item) {
    item->next = NULL;
    if (items->last != NULL)
        items->last->next = item;
    else
        items->first = item;
    items->last = item;
}

rlk_item *rlk_items_pop(rlk_items *items) {
    rlk_item *item = items->first;
    if (item == NULL) return NULL;
    items->first = item->next;
    if (items->first == NULL) items->last = NULL;
    return item;
}

static void remove_from(rlk_items *items, rlk_item *gone) {
    rlk_items kept = {NULL, NULL};
    for (rlk_item *item; (item = rlk_items_pop(items)) != NULL;)
        if (item != gone) rlk_items_push(&kept, item);
    *items = kept;
}

static void add_newest(rlk_worker *w, rlk_item *item) {
    item->older = w->newest;
    item->newer = NULL;
    if (w->newest != NULL)
        w->newest->newer = item;
    else
        w->oldest = item;
    w->newest = item;
    w->out_count++;
}

static void unlink_item(rlk_worker *w, rlk_item *item) {
    *(item->older != NULL ? &item->older->newer : &w->oldest) = item->newer;
    *(item->newer != NULL ? &item->newer->older : &w->newest) = item->older;
    w->out_count--;
}

/* ---- The thread ---- */

static void lock(rlk_worker *w) {
    (void)pthread_mutex_lock(&w->lock);
}

static void unlock(rlk_worker *w) {
    (void)pthread_mutex_unlock(&w->lock);
}

static struct timespec in_ms(int64_t ms) {
    struct timespec at = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    const int64_t ns = at.tv_nsec + (ms % MS_PER_S) * NS_PER_MS;
    at.tv_sec += (time_t)(ms / MS_PER_S + ns / NS_PER_S);
    at.tv_nsec = (long)(ns % NS_PER_S);
    return at;
}

/* The caller holds the lock, and does so again afterwards. */
static void wait_for_more(rlk_worker *w, int64_t wait_ms) {
    const struct timespec until = in_ms(wait_ms);
    while (w->queued.first == NULL && !w->closing)
        if (pthread_cond_timedwait(&w->more, &w->lock, &until) != 0) return;
}

static void take_queued(rlk_worker *w, rlk_items *backlog) {
    for (rlk_item *item; (item = rlk_items_pop(&w->queued)) != NULL;) {
        item->state = RLK_ITEM_AT_WORK;
        item->dead = item->unwanted;
        item->unwanted = false;
        rlk_items_push(backlog, item);
    }
    w->queued_count = 0;
}

/* Takes over what is new; false when the end was called for. */
static bool collect(rlk_worker *w, rlk_items *backlog, int64_t wait_ms) {
    lock(w);
    if (w->engine->wake == NULL && backlog->first == NULL) wait_for_more(w, wait_ms);
    take_queued(w, backlog);
    const bool goes_on = !w->closing;
    unlock(w);
    return goes_on;
}

/* The next one after `item`, or from the start (NULL), that is at work and not wanted any more.
 * What is at work stays where it is until this thread publishes it. */
static rlk_item *next_unwanted(rlk_worker *w, const rlk_item *item) {
    lock(w);
    rlk_item *next = item != NULL ? item->newer : w->has_unwanted ? w->oldest : NULL;
    if (item == NULL) w->has_unwanted = false;
    while (next != NULL && !(next->unwanted && next->state == RLK_ITEM_AT_WORK))
        next = next->newer;
    if (next != NULL) next->unwanted = false;
    unlock(w);
    return next;
}

/* After a turn, when the engine has everything that is at work and the backlog nothing. */
static void cancel_unwanted(rlk_worker *w) {
    for (rlk_item *item = NULL; (item = next_unwanted(w, item)) != NULL;)
        w->engine->cancel(w->self, item);
}

static void publish(rlk_worker *w, rlk_items *done) {
    if (done->first == NULL) return;
    lock(w);
    const bool first = w->done.first == NULL;
    for (rlk_item *item; (item = rlk_items_pop(done)) != NULL;) {
        item->state = RLK_ITEM_DONE;
        rlk_items_push(&w->done, item);
        w->done_count++;
    }
    unlock(w);
    if (first) rlk_wake_signal(w->wake);
}

static void *run(void *ud) {
    rlk_worker *w = ud;
    rlk_items backlog = {NULL, NULL}, done = {NULL, NULL};
    rlk_thread_give_way();
    int64_t wait_ms = rlk_wake_beat(w->wake);
    while (collect(w, &backlog, wait_ms)) {
        w->engine->turn(w->self, &backlog, &done, wait_ms);
        publish(w, &done);
        cancel_unwanted(w);
        wait_ms = rlk_wake_beat(w->wake);
    }
    w->engine->finish(w->self, &backlog, &done);
    publish(w, &done);
    return NULL;
}

/* ---- Open and close ---- */

static void init_locks(rlk_worker *w) {
    pthread_condattr_t attributes;
    (void)pthread_mutex_init(&w->lock, NULL); /* none of these can fail on Linux */
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->more, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static rlk_err start_thread(rlk_worker *w, rlk_wake *wake, const char **detail) {
    w->wake = rlk_wake_hold(wake);
    if (w->wake == NULL) {
        *detail = "the wake belongs to the process that this one was forked from";
        return RLK_E_CLOSED;
    }
    *detail = "the system gave no thread";
    const rlk_err e = rlk_thread_start(&w->thread, w->engine->thread_name, run, w);
    w->runs = e == RLK_OK;
    return e;
}

rlk_err rlk_worker_open(rlk_worker **out, const rlk_alloc *alloc, const rlk_engine *engine,
                        void *self, size_t queue_max, rlk_wake *wake, const char **detail) {
    *out = NULL;
    *detail = "out of memory";
    rlk_worker *w = rlk_alloc_zeroed(alloc, sizeof *w);
    if (w == NULL) return RLK_E_NO_MEMORY;
    w->alloc = *alloc;
    w->engine = engine;
    w->self = self;
    w->queue_max = queue_max;
    w->pid = getpid();
    init_locks(w);
    const rlk_err e = start_thread(w, wake, detail);
    if (e == RLK_OK)
        *out = w;
    else
        rlk_worker_free(w);
    return e;
}

bool rlk_worker_is_ours(const rlk_worker *w) {
    return w->pid == getpid();
}

static void nudge(rlk_worker *w) {
    if (w->engine->wake != NULL)
        w->engine->wake(w->self);
    else
        (void)pthread_cond_signal(&w->more);
}

void rlk_worker_close(rlk_worker *w) {
    if (!rlk_worker_is_ours(w) || !w->runs) return;
    lock(w);
    w->closing = true;
    unlock(w);
    if (w->engine->hurry != NULL) w->engine->hurry(w->self);
    nudge(w);
    (void)pthread_join(w->thread, NULL);
    w->runs = false;
}

void rlk_worker_free(rlk_worker *w) {
    if (w == NULL) return;
    rlk_worker_close(w);
    while (rlk_worker_peek(w) != NULL)
        rlk_worker_drop(w);
    rlk_wake_release(w->wake);
    (void)pthread_cond_destroy(&w->more);
    (void)pthread_mutex_destroy(&w->lock);
    const rlk_alloc alloc = w->alloc;
    rlk_alloc_free(&alloc, w, sizeof *w);
}

/* ---- In and out ---- */

static void push_queued(rlk_worker *w, rlk_item *item) {
    item->state = RLK_ITEM_QUEUED;
    rlk_items_push(&w->queued, item);
    w->queued_count++;
}

static rlk_err enqueue(rlk_worker *w, rlk_item *item, const char **detail) {
    if (w->closing) {
        *detail = "it is closed";
        return RLK_E_CLOSED;
    }
    if (w->out_count >= w->queue_max) {
        *detail = "the queue is full";
        return RLK_E_BUSY;
    }
    item->ticket = ++w->last_ticket;
    item->unwanted = false;
    push_queued(w, item);
    add_newest(w, item);
    return RLK_OK;
}

/* The thread takes all that is queued at once: only the first one must tell it. */
rlk_err rlk_worker_submit(rlk_worker *w, rlk_item *item, const char **detail) {
    if (!rlk_worker_is_ours(w)) {
        *detail = "it belongs to the process that this one was forked from";
        return RLK_E_CLOSED;
    }
    lock(w);
    const bool first = w->queued.first == NULL;
    const rlk_err e = enqueue(w, item, detail);
    unlock(w);
    if (e == RLK_OK && first) nudge(w);
    return e;
}

const rlk_item *rlk_worker_peek(rlk_worker *w) {
    if (!rlk_worker_is_ours(w)) return NULL;
    lock(w);
    const rlk_item *item = w->done.first;
    unlock(w);
    return item;
}

void rlk_worker_drop(rlk_worker *w) {
    if (!rlk_worker_is_ours(w)) return;
    lock(w);
    rlk_item *item = rlk_items_pop(&w->done);
    if (item != NULL) {
        unlink_item(w, item);
        w->done_count--;
    }
    unlock(w);
    if (item != NULL) w->engine->free_item(w->self, item);
}

/* The caller holds the lock. */
static void enqueue_again(rlk_worker *w, rlk_item *item) {
    item->returned = true;
    push_queued(w, item);
}

/* One that was cancelled in the queue goes back at once. */
void rlk_worker_lend(rlk_worker *w) {
    if (!rlk_worker_is_ours(w)) return;
    lock(w);
    rlk_item *item = rlk_items_pop(&w->done);
    const bool unwanted = item != NULL && item->unwanted && !w->closing;
    if (item != NULL) {
        item->state = RLK_ITEM_LENT;
        w->done_count--;
    }
    if (unwanted) enqueue_again(w, item);
    unlock(w);
    if (unwanted) nudge(w);
}

static rlk_item *find(const rlk_worker *w, int64_t ticket) {
    rlk_item *item = w->newest;
    while (item != NULL && item->ticket > ticket)
        item = item->older;
    return item != NULL && item->ticket == ticket ? item : NULL;
}

/* One that waits is done at once, by this thread; one that the other has begun is left to it. */
static void call_off(rlk_worker *w, rlk_item *item, rlk_items *ended) {
    if (item->state != RLK_ITEM_QUEUED || item->returned) {
        item->unwanted = w->has_unwanted = true;
        if (item->state == RLK_ITEM_LENT) enqueue_again(w, item);
        return;
    }
    remove_from(&w->queued, item);
    w->queued_count--;
    item->state = RLK_ITEM_AT_WORK;
    rlk_items_push(ended, item);
}

bool rlk_worker_cancel(rlk_worker *w, int64_t ticket) {
    rlk_items ended = {NULL, NULL};
    if (!rlk_worker_is_ours(w)) return false;
    lock(w);
    rlk_item *item = find(w, ticket);
    const bool can = item != NULL && item->state != RLK_ITEM_DONE && w->engine->cancel != NULL;
    if (can) call_off(w, item, &ended);
    if (!can && item != NULL) item->unwanted = true;
    unlock(w);
    if (!can) return false;
    if (ended.first != NULL) {
        w->engine->abandon(w->self, item);
        publish(w, &ended);
    } else {
        nudge(w);
    }
    return true;
}

bool rlk_worker_return(rlk_worker *w, int64_t ticket) {
    if (!rlk_worker_is_ours(w)) return false;
    lock(w);
    rlk_item *item = find(w, ticket);
    const bool can = item != NULL && item->state == RLK_ITEM_LENT && !w->closing;
    if (can) enqueue_again(w, item);
    unlock(w);
    if (can) nudge(w);
    return can;
}

rlk_worker_lengths rlk_worker_count(rlk_worker *w) {
    rlk_worker_lengths lengths = {0, 0, 0};
    if (!rlk_worker_is_ours(w)) return lengths;
    lock(w);
    lengths.queued = w->queued_count;
    lengths.done = w->done_count;
    lengths.at_work = w->out_count - w->queued_count - w->done_count;
    unlock(w);
    return lengths;
}

int64_t rlk_worker_submitted(const rlk_worker *w) {
    return w->last_ticket; /* changed by this thread only */
}
