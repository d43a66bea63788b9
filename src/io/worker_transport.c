/* See worker_transport.h. A request is copied once, into a transfer, by the thread that makes it;
 * the transfer travels to the worker's thread, through libcurl, and back with its result. So both
 * threads see the same memory, never at the same time: the queues hand it over. A part goes the
 * same way, more than once; meanwhile the worker's thread touches nothing of what the part consists
 * of.
 *
 * How the transport is doing is written by the worker's thread alone and read by the other. */
#include "io/worker_transport.h"

#include <stdatomic.h>

#include "io/transfer_curl.h"

struct rlk_transport_worker {
    rlk_alloc alloc;
    rlk_worker *worker;
    rlk_transport *transport;
    _Atomic int64_t reused;
    _Atomic int64_t connections;
    atomic_bool failed;
};

typedef struct trip {
    rlk_item item;
    rlk_transfer *transfer;
} trip;

static trip *trip_of(const rlk_item *item) {
    return (trip *)(void *)item;
}

/* ---- The engine ---- */

static void launch(rlk_transport_worker *w, rlk_item *item, rlk_items *done) {
    const char *detail = NULL;
    rlk_transfer *x = trip_of(item)->transfer;
    const rlk_err e = rlk_transport_launch(w->transport, x, &detail);
    if (e == RLK_OK) return;
    rlk_transfer_abort(x, e, detail);
    rlk_items_push(done, item);
}

static void go_on(rlk_transport_worker *w, rlk_item *item) {
    rlk_transfer *x = trip_of(item)->transfer;
    if (item->dead)
        rlk_transport_abort(w->transport, x);
    else
        rlk_transport_take_back(w->transport, x);
}

static void launch_all(rlk_transport_worker *w, rlk_items *backlog, rlk_items *done) {
    for (rlk_item *item; (item = rlk_items_pop(backlog)) != NULL;) {
        if (item->returned)
            go_on(w, item);
        else
            launch(w, item, done);
    }
}

/* A part that nobody has taken is still among what is done when its transfer is called off. */
static bool is_out_already(const rlk_item *item) {
    return item->state == RLK_ITEM_DONE;
}

static void collect_done(rlk_transport_worker *w, rlk_items *done) {
    for (rlk_transfer *x; (x = rlk_transport_pop(w->transport)) != NULL;)
        if (!is_out_already(x->tag)) rlk_items_push(done, x->tag);
    const rlk_transport_stats stats = rlk_transport_counts(w->transport);
    atomic_store(&w->reused, stats.reused);
    atomic_store(&w->connections, stats.connections);
    atomic_store(&w->failed, rlk_transport_has_failed(w->transport));
}

static void turn(void *self, rlk_items *backlog, rlk_items *done, int64_t wait_ms) {
    rlk_transport_worker *w = self;
    launch_all(w, backlog, done);
    (void)rlk_transport_poll(w->transport, done->first == NULL ? wait_ms : 0);
    collect_done(w, done);
}

static void abandon(void *self, rlk_item *item) {
    (void)self;
    rlk_transfer_abort(trip_of(item)->transfer, RLK_E_CANCELLED, "the transfer was cancelled");
}

static void finish(void *self, rlk_items *backlog, rlk_items *done) {
    rlk_transport_worker *w = self;
    for (rlk_item *item; (item = rlk_items_pop(backlog)) != NULL;) {
        if (item->returned) continue; /* the transport has it */
        rlk_transfer_abort(trip_of(item)->transfer, RLK_E_CANCELLED, "the transport was closed");
        rlk_items_push(done, item);
    }
    rlk_transport_abort_all(w->transport);
    collect_done(w, done);
}

static void wake(void *self) {
    rlk_transport_worker *w = self;
    rlk_transport_wake(w->transport);
}

static void cancel(void *self, rlk_item *item) {
    rlk_transport_worker *w = self;
    rlk_transport_abort(w->transport, trip_of(item)->transfer);
}

static void free_item(void *self, rlk_item *item) {
    const rlk_transport_worker *w = self;
    trip *t = trip_of(item);
    rlk_transfer_free(t->transfer);
    rlk_alloc_free(&w->alloc, t, sizeof *t);
}

static const rlk_engine engine = {
    .thread_name = "ringlink-http",
    .turn = turn,
    .finish = finish,
    .wake = wake,
    .cancel = cancel,
    .abandon = abandon,
    .free_item = free_item,
};

/* ---- Open and close ---- */

rlk_err rlk_transport_worker_open(rlk_transport_worker **out, const rlk_alloc *alloc,
                                  const rlk_transport_config *config, size_t queue_max,
                                  rlk_wake *wake, const char **detail) {
    *out = NULL;
    *detail = "out of memory";
    rlk_transport_worker *w = rlk_alloc_zeroed(alloc, sizeof *w);
    if (w == NULL) return RLK_E_NO_MEMORY;
    w->alloc = *alloc;
    rlk_err e = rlk_transport_open(&w->transport, alloc, config, detail);
    if (queue_max > RLK_TRANSPORT_IN_FLIGHT_MAX) queue_max = RLK_TRANSPORT_IN_FLIGHT_MAX;
    if (e == RLK_OK) e = rlk_worker_open(&w->worker, alloc, &engine, w, queue_max, wake, detail);
    if (e == RLK_OK)
        *out = w;
    else
        rlk_transport_worker_free(w);
    return e;
}

void rlk_transport_worker_close(rlk_transport_worker *w) {
    rlk_worker_close(w->worker);
}

void rlk_transport_worker_free(rlk_transport_worker *w) {
    if (w == NULL || (w->worker != NULL && !rlk_worker_is_ours(w->worker))) return;
    rlk_worker_free(w->worker);
    rlk_transport_close(w->transport);
    const rlk_alloc alloc = w->alloc;
    rlk_alloc_free(&alloc, w, sizeof *w);
}

/* ---- Requests and completions ---- */

static rlk_err submit(rlk_transport_worker *w, rlk_transfer *x, int64_t *ticket,
                      const char **detail) {
    *detail = "out of memory";
    trip *t = rlk_alloc_zeroed(&w->alloc, sizeof *t);
    if (t == NULL) return RLK_E_NO_MEMORY;
    t->transfer = x;
    x->tag = &t->item;
    const rlk_err e = rlk_worker_submit(w->worker, &t->item, detail);
    if (e == RLK_OK)
        *ticket = rlk_worker_submitted(w->worker);
    else
        rlk_alloc_free(&w->alloc, t, sizeof *t);
    return e;
}

rlk_err rlk_transport_worker_start(rlk_transport_worker *w, const rlk_request *request,
                                   int64_t *ticket, const char **detail) {
    rlk_transfer *x;
    if (atomic_load(&w->failed)) {
        *detail = "the transport failed; open a new one";
        return RLK_E_CLOSED;
    }
    rlk_err e = rlk_transport_prepare(w->transport, request, &x, detail);
    if (e == RLK_OK) e = submit(w, x, ticket, detail);
    if (e != RLK_OK) rlk_transfer_free(x);
    return e;
}

const rlk_result *rlk_transport_worker_peek(rlk_transport_worker *w) {
    const rlk_item *item = rlk_worker_peek(w->worker);
    if (item == NULL) return NULL;
    rlk_result *result = &trip_of(item)->transfer->result;
    result->ticket = item->ticket;
    return result;
}

void rlk_transport_worker_drop(rlk_transport_worker *w) {
    const rlk_item *item = rlk_worker_peek(w->worker);
    if (item == NULL) return;
    if (trip_of(item)->transfer->result.more)
        rlk_worker_lend(w->worker);
    else
        rlk_worker_drop(w->worker);
}

bool rlk_transport_worker_proceed(rlk_transport_worker *w, int64_t ticket) {
    return rlk_worker_return(w->worker, ticket);
}

bool rlk_transport_worker_cancel(rlk_transport_worker *w, int64_t ticket) {
    return rlk_worker_cancel(w->worker, ticket);
}

rlk_transport_stats rlk_transport_worker_counts(rlk_transport_worker *w) {
    const rlk_worker_lengths lengths = rlk_worker_count(w->worker);
    return (rlk_transport_stats){
        .started = rlk_worker_submitted(w->worker),
        .reused = atomic_load(&w->reused),
        .connections = atomic_load(&w->connections),
        .in_flight = (int64_t)(lengths.queued + lengths.at_work),
    };
}

rlk_worker_lengths rlk_transport_worker_lengths(rlk_transport_worker *w) {
    return rlk_worker_count(w->worker);
}
