/* See worker_store.h. The store belongs to the worker's thread from its opening to its closing.
 *
 * Closing does not cancel jobs: what a task has given away may be the only copy of a rotated token,
 * and the task need not be alive any more to have it stored. */
#include "io/worker_store.h"

#include <string.h>

#include "io/clock.h"

struct rlk_store_worker {
    rlk_alloc alloc;
    rlk_worker *worker;
    rlk_store_config config; /* its texts lie in `texts` */
    char *texts;
    size_t texts_bytes;
    _Atomic int64_t give_up_ms;

    rlk_store *store; /* from here on the thread's; NULL: not open */
    rlk_store_job jobs[RLK_STORE_BATCH_COUNT_MAX];
    rlk_store_result results[RLK_STORE_BATCH_COUNT_MAX];
};

/* A job, or a scrub, and what came of it. */
typedef struct errand {
    rlk_item item;
    size_t bytes; /* all of it */
    bool scrubs;
    rlk_store_job job; /* its spans point into text */
    rlk_store_result result;
    char text[];
} errand;

static errand *errand_of(const rlk_item *item) {
    return (errand *)(void *)item;
}

/* ---- The engine ---- */

static rlk_store_problem open_store(rlk_store_worker *w) {
    if (w->store != NULL) return (rlk_store_problem){RLK_OK, "", 0};
    return rlk_store_open(&w->store, &w->alloc, &w->config);
}

static bool is_job(const rlk_item *item) {
    return item != NULL && !errand_of(item)->scrubs;
}

static void run_batch(rlk_store_worker *w, rlk_items *batch, size_t count, rlk_items *done) {
    size_t at = 0;
    rlk_store_run(w->store, w->jobs, w->results, count);
    for (rlk_item *item; (item = rlk_items_pop(batch)) != NULL;) {
        errand_of(item)->result = w->results[at++];
        rlk_items_push(done, item);
    }
}

/* All jobs up to the next scrub, as many as a run may have. */
static void run_jobs(rlk_store_worker *w, rlk_items *backlog, rlk_items *done) {
    rlk_items batch = {NULL, NULL};
    size_t count = 0;
    while (is_job(backlog->first) && count < RLK_STORE_BATCH_COUNT_MAX) {
        w->jobs[count++] = errand_of(backlog->first)->job;
        rlk_items_push(&batch, rlk_items_pop(backlog));
    }
    if (count > 0) run_batch(w, &batch, count, done);
}

static void scrub(rlk_store_worker *w, rlk_items *backlog, rlk_items *done) {
    rlk_item *item = rlk_items_pop(backlog);
    errand_of(item)->result.yes = rlk_store_scrub(w->store);
    rlk_items_push(done, item);
}

static void fail_all(rlk_items *backlog, rlk_store_problem p, rlk_items *done) {
    for (rlk_item *item; (item = rlk_items_pop(backlog)) != NULL;) {
        errand_of(item)->result.problem = p;
        rlk_items_push(done, item);
    }
}

static void turn(void *self, rlk_items *backlog, rlk_items *done, int64_t wait_ms) {
    rlk_store_worker *w = self;
    (void)wait_ms;
    if (backlog->first == NULL) return;
    const rlk_store_problem p = open_store(w);
    if (p.error != RLK_OK)
        fail_all(backlog, p, done);
    else if (is_job(backlog->first))
        run_jobs(w, backlog, done);
    else
        scrub(w, backlog, done);
}

static void finish(void *self, rlk_items *backlog, rlk_items *done) {
    rlk_store_worker *w = self;
    while (backlog->first != NULL)
        turn(w, backlog, done, 0);
    rlk_store_close(w->store);
    w->store = NULL;
}

static void hurry(void *self) {
    rlk_store_worker *w = self;
    atomic_store(&w->give_up_ms, rlk_clock_monotonic_ms() + RLK_STORE_WORKER_CLOSE_MS);
}

static void free_item(void *self, rlk_item *item) {
    const rlk_store_worker *w = self;
    errand *e = errand_of(item);
    const size_t bytes = e->bytes;
    rlk_store_result_deinit(&e->result);
    rlk_wipe(e, bytes);
    rlk_alloc_free(&w->alloc, e, bytes);
}

static const rlk_engine engine = {
    .thread_name = "ringlink-store",
    .turn = turn,
    .finish = finish,
    .hurry = hurry,
    .free_item = free_item,
};

/* ---- Open and close ---- */

static bool keep_config(rlk_store_worker *w, const rlk_store_config *config) {
    const size_t path_bytes = strlen(config->path) + 1;
    w->texts_bytes = path_bytes + config->client_id.len;
    w->texts = rlk_alloc_zeroed(&w->alloc, w->texts_bytes);
    if (w->texts == NULL) return false;
    memcpy(w->texts, config->path, path_bytes);
    memcpy(w->texts + path_bytes, config->client_id.ptr, config->client_id.len);
    w->config = *config;
    w->config.path = w->texts;
    w->config.client_id.ptr = w->texts + path_bytes;
    w->config.give_up_ms = &w->give_up_ms;
    return true;
}

static rlk_store_problem start_worker(rlk_store_worker *w, const rlk_store_config *config,
                                      size_t queue_max, rlk_wake *wake) {
    rlk_store_problem p = {RLK_E_NO_MEMORY, "out of memory", 0};
    if (!keep_config(w, config)) return p;
    p.error = rlk_worker_open(&w->worker, &w->alloc, &engine, w, queue_max, wake, &p.detail);
    return p;
}

rlk_store_problem rlk_store_worker_open(rlk_store_worker **out, const rlk_alloc *alloc,
                                        const rlk_store_config *config, size_t queue_max,
                                        rlk_wake *wake) {
    *out = NULL;
    rlk_store_problem p = rlk_store_check(config);
    if (p.error != RLK_OK) return p;
    rlk_store_worker *w = rlk_alloc_zeroed(alloc, sizeof *w);
    if (w == NULL) return (rlk_store_problem){RLK_E_NO_MEMORY, "out of memory", 0};
    w->alloc = *alloc;
    atomic_init(&w->give_up_ms, INT64_MAX);
    p = start_worker(w, config, queue_max, wake);
    if (p.error == RLK_OK)
        *out = w;
    else
        rlk_store_worker_free(w);
    return p;
}

void rlk_store_worker_close(rlk_store_worker *w) {
    rlk_worker_close(w->worker);
}

void rlk_store_worker_free(rlk_store_worker *w) {
    if (w == NULL || (w->worker != NULL && !rlk_worker_is_ours(w->worker))) return;
    rlk_worker_free(w->worker);
    rlk_alloc_free(&w->alloc, w->texts, w->texts_bytes);
    const rlk_alloc alloc = w->alloc;
    rlk_wipe(w, sizeof *w);
    rlk_alloc_free(&alloc, w, sizeof *w);
}

/* ---- Jobs and completions ---- */

static errand *new_errand(const rlk_store_worker *w, size_t text_bytes) {
    errand *e = rlk_alloc_zeroed(&w->alloc, sizeof *e + text_bytes);
    if (e == NULL) return NULL;
    e->bytes = sizeof *e + text_bytes;
    e->result = (rlk_store_result){.problem = {RLK_OK, "", 0}, .value = RLK_STORE_NONE};
    return e;
}

/* A text that is there points somewhere, even when it is empty. */
static void keep_job(errand *e, const rlk_store_job *job) {
    char *at = e->text;
    e->job = *job;
    for (size_t i = 0; i < RLK_STORE_TEXT_COUNT; i++) {
        rlk_span *text = &e->job.fields.texts[i];
        if (text->ptr == NULL) continue;
        memcpy(at, text->ptr, text->len);
        text->ptr = at;
        at += text->len;
    }
}

static rlk_err submit(rlk_store_worker *w, errand *e, int64_t *ticket, const char **detail) {
    if (e == NULL) {
        *detail = "out of memory";
        return RLK_E_NO_MEMORY;
    }
    const rlk_err error = rlk_worker_submit(w->worker, &e->item, detail);
    if (error == RLK_OK)
        *ticket = rlk_worker_submitted(w->worker);
    else
        free_item(w, &e->item);
    return error;
}

rlk_err rlk_store_worker_start(rlk_store_worker *w, const rlk_store_job *job, int64_t *ticket,
                               const char **detail) {
    size_t bytes = 0;
    for (size_t i = 0; i < RLK_STORE_TEXT_COUNT; i++)
        bytes += job->fields.texts[i].len;
    errand *e = new_errand(w, bytes);
    if (e != NULL) keep_job(e, job);
    return submit(w, e, ticket, detail);
}

rlk_err rlk_store_worker_scrub(rlk_store_worker *w, int64_t *ticket, const char **detail) {
    errand *e = new_errand(w, 0);
    if (e != NULL) e->scrubs = true;
    return submit(w, e, ticket, detail);
}

const rlk_store_result *rlk_store_worker_peek(rlk_store_worker *w, int64_t *ticket) {
    const rlk_item *item = rlk_worker_peek(w->worker);
    if (item == NULL) return NULL;
    *ticket = item->ticket;
    return &errand_of(item)->result;
}

void rlk_store_worker_drop(rlk_store_worker *w) {
    rlk_worker_drop(w->worker);
}

int64_t rlk_store_worker_started(const rlk_store_worker *w) {
    return rlk_worker_submitted(w->worker);
}

rlk_worker_lengths rlk_store_worker_lengths(rlk_store_worker *w) {
    return rlk_worker_count(w->worker);
}
