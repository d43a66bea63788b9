/* The engine, and what tests do with it; see stage.h. */
#define _GNU_SOURCE

#include "stage.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "io/clock.h"

enum { TURN_MS = 1 };

task *task_of(const rlk_item *item) {
    return (task *)(void *)item;
}

static void move(rlk_items *from, rlk_items *to, outcome o) {
    for (rlk_item *item; (item = rlk_items_pop(from)) != NULL;) {
        if (task_of(item)->outcome == UNTOUCHED) task_of(item)->outcome = o;
        rlk_items_push(to, item);
    }
}

static void engine_turn(void *self, rlk_items *backlog, rlk_items *done, int64_t wait_ms) {
    bench *b = self;
    (void)wait_ms;
    b->waits = true;
    pthread_mutex_lock(&b->gate);
    pthread_mutex_unlock(&b->gate);
    b->waits = false;
    for (rlk_item *item; (item = rlk_items_pop(backlog)) != NULL;) {
        rlk_items_push(&b->held, item);
        b->taken++;
    }
    move(&b->ended, done, UNTOUCHED);
    if (!b->holds) move(&b->held, done, WORKED_ON);
}

static void engine_wait(bench *b, int64_t wait_ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000 + 1;
    pthread_mutex_lock(&b->lock);
    while (!b->awake && pthread_cond_timedwait(&b->nudged, &b->lock, &until) == 0) {
    }
    b->awake = false;
    pthread_mutex_unlock(&b->lock);
}

static void engine_turn_waiting(void *self, rlk_items *backlog, rlk_items *done, int64_t wait_ms) {
    bench *b = self;
    engine_turn(self, backlog, done, wait_ms);
    if (done->first != NULL) return;
    engine_wait(b, wait_ms);
    move(&b->ended, done, UNTOUCHED);
    if (!b->holds) move(&b->held, done, WORKED_ON);
}

static void engine_finish(void *self, rlk_items *backlog, rlk_items *done) {
    bench *b = self;
    move(&b->ended, done, UNTOUCHED);
    move(&b->held, done, FINISHED);
    move(backlog, done, FINISHED);
    pthread_sigmask(SIG_BLOCK, NULL, &b->mask);
    b->scheduler = sched_getscheduler(0);
    b->nice = getpriority(PRIO_PROCESS, 0);
    pthread_getname_np(pthread_self(), b->thread_name, sizeof b->thread_name);
}

static void engine_wake(void *self) {
    bench *b = self;
    pthread_mutex_lock(&b->lock);
    b->awake = true;
    pthread_mutex_unlock(&b->lock);
    pthread_cond_signal(&b->nudged);
}

static void engine_hurry(void *self) {
    bench *b = self;
    b->hurried = true;
}

static void engine_cancel(void *self, rlk_item *gone) {
    bench *b = self;
    rlk_items kept = {NULL, NULL};
    for (rlk_item *item; (item = rlk_items_pop(&b->held)) != NULL;)
        rlk_items_push(item == gone ? &b->ended : &kept, item);
    b->held = kept;
    task_of(gone)->outcome = CANCELLED;
}

static void engine_abandon(void *self, rlk_item *item) {
    (void)self;
    task_of(item)->outcome = ABANDONED;
}

static void engine_free_item(void *self, rlk_item *item) {
    const bench *b = self;
    rlk_alloc_free(&b->alloc, item, sizeof(task));
}

const rlk_engine plain_engine = {
    .thread_name = "test-plain",
    .turn = engine_turn,
    .finish = engine_finish,
    .hurry = engine_hurry,
    .free_item = engine_free_item,
};

const rlk_engine waiting_engine = {
    .thread_name = "test-waiting",
    .turn = engine_turn_waiting,
    .finish = engine_finish,
    .wake = engine_wake,
    .cancel = engine_cancel,
    .abandon = engine_abandon,
    .free_item = engine_free_item,
};

void stage_open(stage *s, const rlk_engine *engine) {
    const char *detail = NULL;
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->heap.lock, NULL);
    pthread_mutex_init(&s->bench.gate, NULL);
    pthread_mutex_init(&s->bench.lock, NULL);
    pthread_cond_init(&s->bench.nudged, NULL);
    s->alloc = shared_allocator(&s->heap);
    s->bench.alloc = s->alloc;
    s->reader = reader_open(&s->alloc);
    assert_int_equal(rlk_worker_open(&s->worker, &s->alloc, engine, &s->bench, QUEUE_MAX,
                                     s->reader.wake, &detail),
                     RLK_OK);
}

void stage_close(stage *s) {
    rlk_worker_free(s->worker);
    reader_close(&s->reader);
    assert_int_equal(s->heap.plain.blocks_out, 0);
}

static task *new_task(stage *s, int number) {
    task *t = rlk_alloc_zeroed(&s->alloc, sizeof *t);
    assert_non_null(t);
    t->number = number;
    return t;
}

int64_t try_submit(stage *s, int number, rlk_err *e) {
    const char *detail = NULL;
    task *t = new_task(s, number);
    *e = rlk_worker_submit(s->worker, &t->item, &detail);
    if (*e == RLK_OK) return rlk_worker_submitted(s->worker);
    assert_non_null(detail);
    engine_free_item(&s->bench, &t->item);
    return 0;
}

int64_t submit(stage *s, int number) {
    rlk_err e;
    const int64_t ticket = try_submit(s, number, &e);
    assert_int_equal(e, RLK_OK);
    return ticket;
}

task next_done(stage *s) {
    const rlk_item *item;
    while ((item = rlk_worker_peek(s->worker)) == NULL)
        assert_true(reader_read(&s->reader, PATIENCE_MS) > 0);
    const task t = *task_of(item);
    rlk_worker_drop(s->worker);
    return t;
}

void await_taken(stage *s, size_t count) {
    for (int i = 0; i < PATIENCE_MS && s->bench.taken < count; i++)
        rlk_clock_sleep_ms(TURN_MS);
    assert_int_equal(s->bench.taken, count);
}

size_t pending(const stage *s) {
    const rlk_worker_lengths lengths = rlk_worker_count(s->worker);
    return lengths.queued + lengths.at_work;
}

void await_pending(stage *s, size_t count) {
    for (int i = 0; i < PATIENCE_MS && pending(s) != count; i++)
        rlk_clock_sleep_ms(TURN_MS);
    assert_int_equal(pending(s), count);
}

void hold_turns(stage *s) {
    pthread_mutex_lock(&s->bench.gate);
}

void let_turns_go(stage *s) {
    pthread_mutex_unlock(&s->bench.gate);
}

void await_gate(stage *s) {
    for (int i = 0; i < PATIENCE_MS && !s->bench.waits; i++)
        rlk_clock_sleep_ms(TURN_MS);
    assert_true(s->bench.waits);
}

void wake_engine(stage *s) {
    engine_wake(&s->bench);
}
