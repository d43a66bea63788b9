/* The default allocator, and wiping. The only file that calls realloc and free. */
#include "core/alloc.h"

#include <stdlib.h>
#include <string.h>

static void *resize_default(void *ud, void *ptr, size_t old_bytes, size_t new_bytes) {
    (void)ud;
    (void)old_bytes;
    if (new_bytes != 0) return realloc(ptr, new_bytes);
    free(ptr);
    return NULL;
}

rlk_alloc rlk_alloc_default(void) {
    return (rlk_alloc){.resize = resize_default, .ud = NULL};
}

void *rlk_alloc_zeroed(const rlk_alloc *a, size_t bytes) {
    void *ptr = a->resize(a->ud, NULL, 0, bytes);
    if (ptr != NULL) memset(ptr, 0, bytes);
    return ptr;
}

void rlk_alloc_free(const rlk_alloc *a, void *ptr, size_t bytes) {
    if (ptr != NULL) a->resize(a->ud, ptr, bytes, 0);
}

void rlk_wipe(void *ptr, size_t bytes) {
    if (bytes == 0) return;
    memset(ptr, 0, bytes);
    /* The compiler must assume that this reads the memory, so the memset is not dead to it. */
    __asm__ __volatile__("" : : "r"(ptr) : "memory");
}
