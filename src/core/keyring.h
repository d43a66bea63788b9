/* The HMAC keys in rotation, newest first.
 *
 * Owns 1 to RLK_KEY_COUNT_MAX prepared keys. What is made is made with the newest; what comes in
 * is checked against all. A zeroed keyring is closed. Not thread-safe, as its keys are not. */
#ifndef RLK_KEYRING_H
#define RLK_KEYRING_H

#include "core/digest.h"

typedef struct rlk_keyring {
    rlk_hmac *keys[RLK_KEY_COUNT_MAX];
    size_t count; /* 0: closed */
} rlk_keyring;

/* Adds a key after (older than) those already in. RLK_E_INVALID_OPTION when the ring is full or
 * the key has a wrong length, RLK_E_NO_MEMORY; the ring is unchanged then. */
rlk_err rlk_keyring_add(rlk_keyring *ring, const rlk_alloc *a, rlk_span key);

/* The key that makes nonces and signatures; NULL when closed. */
rlk_hmac *rlk_keyring_newest(const rlk_keyring *ring);

/* Idempotent, and legal on a zeroed one. */
void rlk_keyring_deinit(rlk_keyring *ring);

#endif
