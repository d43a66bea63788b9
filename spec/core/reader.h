/* The loop's side of a wake, for tests: connects, and reads bytes. And an allocator like
 * support.h's that two threads may use at once. */
#ifndef TEST_READER_H
#define TEST_READER_H

#include <pthread.h>

#include "io/wake.h"
#include "support.h"

enum { PATIENCE_MS = 10000 };

typedef struct shared_heap {
    strict_heap plain;
    pthread_mutex_t lock;
    const char *secret; /* must not be in anything that comes back; NULL: whatever */
} shared_heap;

#define SHARED_HEAP_INIT                                                                           \
    { .lock = PTHREAD_MUTEX_INITIALIZER }

rlk_alloc shared_allocator(shared_heap *heap);

/* A connection to a path; -1 when there is none. */
int reader_connect(const char *path);

/* A wake and the connection to it. */
typedef struct reader {
    rlk_wake *wake;
    int fd;
} reader;

reader reader_open(const rlk_alloc *alloc);
void reader_close(reader *r);

/* Reads the bytes that are there, or else waits for some, at most wait_ms. How many came; -1 at the
 * end of the connection. */
int reader_read(const reader *r, int wait_ms);

#endif
