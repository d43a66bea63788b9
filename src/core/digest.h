/* SHA-256, HMAC-SHA256 and comparison in constant time; the one door to libcrypto.
 *
 * A rlk_hmac owns a prepared key: the key is digested once and the context only rewound for each
 * use. It is not thread-safe: one at a time. Whatever libcrypto refuses is RLK_E_NO_MEMORY, the
 * only reason it has with these algorithms, and its thread-wide error queue is left as it was (a
 * host such as nginx reads it). */
#ifndef RLK_DIGEST_H
#define RLK_DIGEST_H

#include "core/alloc.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/span.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rlk_hmac rlk_hmac;

/* The key is used as the bytes it is, never decoded (contract 2). RLK_E_INVALID_OPTION unless it
 * has 1 to RLK_KEY_BYTES_MAX bytes, RLK_E_NO_MEMORY; on failure *out is NULL. */
rlk_err rlk_hmac_new(rlk_hmac **out, const rlk_alloc *a, rlk_span key);

/* h may be NULL. */
void rlk_hmac_free(rlk_hmac *h);

/* The HMAC over the parts, one after the other. RLK_E_NO_MEMORY: out is wiped. */
rlk_err rlk_hmac_compute(rlk_hmac *h, const rlk_span *parts, size_t count,
                         uint8_t out[RLK_HMAC_BYTES]);

/* RLK_E_NO_MEMORY: out is wiped. */
rlk_err rlk_sha256(rlk_span bytes, uint8_t out[RLK_HMAC_BYTES]);

/* True when both blocks are the same; takes as long whatever differs. */
bool rlk_same(const void *a, const void *b, size_t bytes);

#endif
