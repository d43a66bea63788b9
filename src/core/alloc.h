/* The one way ringlink's C code gets memory.
 *
 * Every object that allocates is given an allocator and keeps it; nothing calls malloc. A test can
 * therefore fail each allocation in turn, and an embedder can account for every byte.
 * The function has realloc's meaning, plus the old size, so that it can be a lua_Alloc too:
 * new_bytes == 0 frees, ptr == NULL allocates, NULL back means out of memory (ptr stays valid).
 * One that is given to a worker (io/worker.h) is called by two threads at once. */
#ifndef RLK_ALLOC_H
#define RLK_ALLOC_H

#include <stddef.h>

typedef struct rlk_alloc {
    void *(*resize)(void *ud, void *ptr, size_t old_bytes, size_t new_bytes);
    void *ud;
} rlk_alloc;

/* The C library's realloc and free. */
rlk_alloc rlk_alloc_default(void);

/* A zeroed block, or NULL. */
void *rlk_alloc_zeroed(const rlk_alloc *a, size_t bytes);

/* Gives a block back; ptr may be NULL. */
void rlk_alloc_free(const rlk_alloc *a, void *ptr, size_t bytes);

/* Overwrites memory in a way that the compiler may not leave out. */
void rlk_wipe(void *ptr, size_t bytes);

#endif
