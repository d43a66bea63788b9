/* Randomness from the kernel, for keys, ids and jitter.
 *
 * May be called from any thread; keeps no state. */
#ifndef RLK_RANDOM_H
#define RLK_RANDOM_H

#include <stddef.h>

#include "core/err.h"

/* Fills `bytes` bytes, waiting for the kernel's pool at boot if need be. On failure the memory is
 * wiped, so that half a key is never taken for a whole one, and RLK_E_NO_MEMORY comes back: the
 * kernel has no randomness to give. */
rlk_err rlk_random_bytes(void *out, size_t bytes);

#endif
