/* Text that must not outlive its use: tokens, keys, codes.
 *
 * Owns a copy in memory of its own, wiped before it is given back. A zeroed rlk_secret is closed;
 * an empty secret is open and has len 0. Never printed, never compared but in constant time. */
#ifndef RLK_SECRET_H
#define RLK_SECRET_H

#include "core/alloc.h"
#include "core/err.h"
#include "core/span.h"

#include <stdbool.h>

typedef struct rlk_secret {
    rlk_alloc alloc;
    char *data; /* NULL: closed */
    size_t len;
} rlk_secret;

/* RLK_E_INVALID_REQUEST when text is longer than RLK_SECRET_BYTES_MAX, RLK_E_NO_MEMORY; on
 * failure the secret stays closed. */
rlk_err rlk_secret_init(rlk_secret *s, const rlk_alloc *a, rlk_span text);

/* Wipes and frees; idempotent, and legal on a zeroed one. */
void rlk_secret_deinit(rlk_secret *s);

bool rlk_secret_is_open(const rlk_secret *s);

/* The text; valid until deinit. Empty when closed. */
rlk_span rlk_secret_text(const rlk_secret *s);

/* Constant time for texts of one length; false when closed. */
bool rlk_secret_equals(const rlk_secret *s, rlk_span text);

#endif
