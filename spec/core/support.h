/* What the C tests share: spans, a strict allocator, a seeded generator. */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/span.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* A span over a string literal; NULs inside count. */
#define LITERAL(text) ((rlk_span){(text), sizeof(text) - 1})

static inline rlk_span span_of(const char *text) {
    return (rlk_span){text, strlen(text)};
}

/* An allocator that counts what is out, checks the sizes it is told, and can be made to fail one
 * allocation. Before freeing it looks whether the block was wiped, when told to. */
typedef struct strict_heap {
    size_t bytes_out;
    size_t blocks_out;
    size_t allocations;
    size_t fail_at;    /* which allocation fails, from 1; 0 for none */
    bool demand_wiped; /* every block must be zero when it comes back */
} strict_heap;

typedef union strict_header {
    size_t bytes;
    max_align_t align;
} strict_header;

static inline void strict_free(strict_heap *heap, void *ptr, size_t bytes) {
    strict_header *header = (strict_header *)ptr - 1;
    assert_int_equal(header->bytes, bytes);
    for (size_t i = 0; heap->demand_wiped && i < bytes; i++)
        assert_int_equal(((unsigned char *)ptr)[i], 0);
    heap->bytes_out -= bytes;
    heap->blocks_out--;
    free(header);
}

static inline void *strict_alloc(strict_heap *heap, size_t bytes) {
    heap->allocations++;
    if (heap->allocations == heap->fail_at) return NULL;
    strict_header *header = calloc(1, sizeof *header + bytes); /* unused bytes count as wiped */
    assert_non_null(header);
    header->bytes = bytes;
    heap->bytes_out += bytes;
    heap->blocks_out++;
    return header + 1;
}

/* The core never resizes in place (a copy would stay behind unwiped), so that is not allowed. */
static inline void *strict_resize(void *ud, void *ptr, size_t old_bytes, size_t new_bytes) {
    strict_heap *heap = ud;
    assert_true(ptr == NULL || new_bytes == 0);
    if (ptr == NULL) return new_bytes == 0 ? NULL : strict_alloc(heap, new_bytes);
    strict_free(heap, ptr, old_bytes);
    return NULL;
}

static inline rlk_alloc strict_allocator(strict_heap *heap) {
    return (rlk_alloc){strict_resize, heap};
}

/* splitmix64: the same numbers for the same seed everywhere. */
static inline uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static inline size_t random_below(uint64_t *state, size_t bound) {
    return (size_t)(random_next(state) % bound);
}

/* RINGLINK_SEED replays a run; the first line printed is the seed, as a TAP comment. */
static inline uint64_t random_seed(void) {
    const char *given = getenv("RINGLINK_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 20260213;
    printf("# seed %llu (RINGLINK_SEED replays it)\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

#endif
