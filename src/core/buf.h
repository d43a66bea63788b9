/* A growable buffer with a ceiling, for bytes that may be secret.
 *
 * The ceiling is demanded at init, so that no peer can make it grow without end. Whatever memory
 * the buffer gives back, while growing or at the end, is wiped first. A zeroed rlk_buf is empty and
 * closed: deinit is legal, append is not. The buffer owns its bytes; data is not NUL-terminated. */
#ifndef RLK_BUF_H
#define RLK_BUF_H

#include "core/alloc.h"
#include "core/err.h"

typedef struct rlk_buf {
    rlk_alloc alloc;
    char *data; /* NULL until the first append */
    size_t len;
    size_t cap;
    size_t bytes_max;
} rlk_buf;

/* Takes no memory yet. */
void rlk_buf_init(rlk_buf *b, const rlk_alloc *a, size_t bytes_max);

/* Appends all of it, or changes nothing: RLK_E_RESPONSE_TOO_LARGE past bytes_max,
 * RLK_E_NO_MEMORY. bytes must not lie inside the buffer. */
rlk_err rlk_buf_append(rlk_buf *b, const void *bytes, size_t len);

/* Empties it and wipes what it held; the memory is kept for the next use. */
void rlk_buf_reset(rlk_buf *b);

/* Wipes and frees; idempotent, and legal on a zeroed one. Only init may follow. */
void rlk_buf_deinit(rlk_buf *b);

#endif
