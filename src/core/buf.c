/* A growable buffer with a ceiling; the contract is in buf.h. */
#include "core/buf.h"

#include <string.h>

enum { BUF_CAP_MIN = 256 };

void rlk_buf_init(rlk_buf *b, const rlk_alloc *a, size_t bytes_max) {
    *b = (rlk_buf){.alloc = *a, .bytes_max = bytes_max};
}

/* Twice as much as before, but never past the ceiling; the caller checked needed <= bytes_max. */
static size_t next_cap(const rlk_buf *b, size_t needed) {
    size_t cap = b->cap < BUF_CAP_MIN ? BUF_CAP_MIN : b->cap;
    while (cap < needed)
        cap = cap > b->bytes_max / 2 ? b->bytes_max : cap * 2;
    return cap < b->bytes_max ? cap : b->bytes_max;
}

/* realloc would leave an unwiped copy behind, so the block is always a new one. */
static rlk_err grow(rlk_buf *b, size_t needed) {
    const size_t cap = next_cap(b, needed);
    char *data = b->alloc.resize(b->alloc.ud, NULL, 0, cap);
    if (data == NULL) return RLK_E_NO_MEMORY;
    if (b->len > 0) memcpy(data, b->data, b->len);
    rlk_wipe(b->data, b->len);
    rlk_alloc_free(&b->alloc, b->data, b->cap);
    b->data = data;
    b->cap = cap;
    return RLK_OK;
}

rlk_err rlk_buf_append(rlk_buf *b, const void *bytes, size_t len) {
    if (len == 0) return RLK_OK;
    if (len > b->bytes_max - b->len) return RLK_E_RESPONSE_TOO_LARGE;
    if (len > b->cap - b->len) {
        const rlk_err e = grow(b, b->len + len);
        if (e != RLK_OK) return e;
    }
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
    return RLK_OK;
}

void rlk_buf_reset(rlk_buf *b) {
    rlk_wipe(b->data, b->len);
    b->len = 0;
}

void rlk_buf_deinit(rlk_buf *b) {
    if (b->data == NULL) return;
    rlk_buf_reset(b);
    rlk_alloc_free(&b->alloc, b->data, b->cap);
    b->data = NULL;
    b->cap = 0;
}
